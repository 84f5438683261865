"""Category names as Stanford Dogs, CUB-200-2011, Clickture and people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.ingest.categories import Aliases, matching_plurals, normalise_category, singulars


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("n02085620-Chihuahua", "chihuahua"),
        ("n02113799-standard_poodle", "standard poodle"),
        ("n02097298 Scotch terrier", "scotch terrier"),
        ("001.Black_footed_Albatross", "black footed albatross"),
        ("Black-footed  albatross ", "black footed albatross"),
        ("n123-short", "n123 short"),  # not a synset: too few digits
        ("2nd_dog", "2nd dog"),  # a number without the dot belongs to the name
        ("Cafe\u0301_hound", "caf\u00e9 hound"),  # the accent is a character of its own
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


@pytest.mark.parametrize(
    ("names", "others", "renamed"),
    [
        ({"cairn terriers"}, {"cairn terrier"}, {"cairn terriers": "cairn terrier"}),
        ({"red foxes", "fairies"}, {"red fox", "fairy"}, {"red foxes": "red fox", "fairies": "fairy"}),
        ({"wolves", "knives"}, {"wolf", "knife"}, {"wolves": "wolf", "knives": "knife"}),
        ({"axes"}, {"ax", "axe"}, {"axes": "axe"}),  # the first rule that fits
        ({"grass", "bus", "albatross"}, {"gras", "dog"}, {"grass": "gras"}),  # only because the other domain has "gras"
        ({"grass", "bus", "pelicans"}, {"grass", "bus", "pelicans", "pelican"}, {}),  # the other domain has the plural
        ({"terriers", "terrier"}, {"terrier"}, {"terriers": "terrier"}),  # two names of one domain become the same
        ({"cairn terrier"}, {"cairn terriers"}, {}),  # only the plural is renamed, in its own domain
        ({"as", "s"}, {"a", ""}, {}),  # too short to be plurals
        ({"birds of prey"}, {"bird of prey"}, {}),  # needs an alias
    ],
)
def test_plurals_of_the_other_domains_names(names: set[str], others: set[str], renamed: dict[str, str]) -> None:
    assert matching_plurals(names, others) == renamed


@given(st.sets(st.text("abes y", max_size=6)), st.sets(st.text("abes y", max_size=6)))
def test_plurals_only_ever_become_names_of_the_other_domain(names: set[str], others: set[str]) -> None:
    for plural, singular in matching_plurals(names, others).items():
        assert plural in names - others
        assert singular in others
        assert singular in singulars(plural)


def test_aliases_are_compared_as_categories_are() -> None:
    aliases = Aliases([("n02085620-Chihuahua_dog", "CHIHUAHUA"), ("gsd", "german_shepherd"), ("Akita", "akita")])
    assert aliases.category("chihuahua-dog") == "chihuahua"
    assert aliases.category("001.Black_footed_Albatross") == "black footed albatross"
    assert aliases.idle() == ["gsd"]
    assert aliases.category("GSD") == "german shepherd"
    assert aliases.idle() == []


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("a", "b"), ("A", "c")], "'a' is to become both 'b' and 'c'; keep one"),
        ([("a", "b"), ("b", "c")], "'a' is to become 'b', which is to become 'c'; name the last"),
        ([("a", "b"), ("b", "a")], "'a' is to become 'b', which is to become 'a'"),
    ],
)
def test_contradicting_aliases(pairs: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Aliases(pairs)
