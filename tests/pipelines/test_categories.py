"""Category names as Stanford Dogs, CUB-200-2011, Clickture and people spell them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.categories import normalise_category


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("n02085620-Chihuahua", "chihuahua"),
        ("n02113799-standard_poodle", "standard poodle"),
        ("n02097298 Scotch terrier", "scotch terrier"),
        ("001.Black_footed_Albatross", "black footed albatross"),
        ("Black-footed  albatross ", "black footed albatross"),
        ("n123-short", "n123 short"),  # no synset has three digits
        ("2nd_dog", "2nd dog"),  # a number without the dot belongs to the name
        ("Cafe\u0301_hound", "caf\u00e9 hound"),  # the accent written apart
        ("沼泽猎犬", "沼泽猎犬"),
        ("001.", ""),
        (" _-_ ", ""),
    ],
)
def test_spellings(name: str, expected: str) -> None:
    assert normalise_category(name) == expected


def test_spellings_of_both_domains_agree() -> None:
    assert normalise_category("004.Groove_billed_Ani") == normalise_category("groove billed ani")


@given(st.text(st.sampled_from("aB 日_-é"), max_size=20))
def test_a_normalised_name_without_prefix_stays_as_it_is(name: str) -> None:
    once = normalise_category(name)
    assert normalise_category(once) == once
    assert once == once.strip()
    assert not set("_-") & set(once)
    assert "  " not in once
