"""The study's counts, shares and broken promises, on a few pairs that are counted by hand."""

import numpy as np
import pytest

from benchmarks.studies.cut_offs import Above, check_names, check_words, interval, shuffled, summed
from clicksight.cut_offs import Seen


def test_shares_and_broken_words_by_hand() -> None:
    selected = np.zeros((40, 3), bool)
    selected[:, 0], selected[:10, 1] = True, True  # nothing is above the third word's cut-off
    right = selected.copy()
    right[:30, 0] = False  # 10 of 40: chance wouldn't explain it, of 9 of 10 it would
    right[0, 1] = False
    row = summed([Above(selected, right)], 0.95, of_each_word=True).split(" | ")
    assert row[:2] == ["50", "38.0%"]
    assert row[3] == "2 (1)"
    assert summed([Above(selected, right)], 0.95, of_each_word=False).endswith("| 1 (1)")
    assert summed([Above(selected[:, 2:], right[:, 2:])], 0.95, of_each_word=True) == "0 | – | – | –"


def test_an_interval_has_a_width_even_if_all_is_right() -> None:
    one = np.ones(25, int)
    low, high = interval(one, one)
    assert (low, high) == (pytest.approx(0.025 ** (1 / 25)), 1)  # Clopper and Pearson
    low, high = interval(one, np.arange(25) % 5 > 0)
    assert 0.5 < low < 0.8 < high < 1


def images(number: int, seed: int) -> Seen:
    """Return images of both domains whose click features tell their category, and the source's clicks for it."""
    generator = np.random.default_rng(seed)
    kinds = generator.integers(4, size=number)
    values = np.eye(4, dtype=np.float32)[kinds] * generator.uniform(0.5, 1, (number, 1)).astype(np.float32)
    is_source = np.arange(number) < number // 2
    clicked = (values > 0) & is_source[:, None]
    return Seen(values, np.array(["a", "b", "c", "d"], object)[kinds], clicked, is_source)


def test_what_is_always_right_keeps_its_promise_and_shuffled_clicks_have_no_cut_off() -> None:
    seeds = [(images(400, 1), images(100, 2))]
    assert check_words(seeds, 0.8).startswith("words | 80% | 4 to 4 (0 to 0) | ")
    assert " | 100.0% | " in check_words(seeds, 0.8)
    vectors = [np.eye(4, dtype=np.float32)]
    source, target = check_names(seeds, vectors, 0.8, unseen=False)
    assert source.startswith("names, source | 80% | 1 (0) | 50 | 100.0%")
    assert target.startswith("names, target | 80% | 1 (0) | 50 | 100.0%")
    unseen, _ = check_names(seeds, vectors, 0.8, unseen=True)
    selected = int(np.isin(seeds[0][1].categories[:50], ["b", "d"]).sum())  # of the names that were not learned with
    assert unseen.startswith(f"unseen names, source | 80% | 1 (0) | {selected} | 100.0%")


def test_shuffling_keeps_the_domains_apart() -> None:
    seen = images(400, 1)
    dealt = shuffled(seen)
    assert sorted(dealt.categories[:200]) == sorted(seen.categories[:200])
    assert not dealt.clicked[200:].any()
    assert (dealt.clicked.sum(axis=0) == seen.clicked.sum(axis=0)).all()
    assert (dealt.categories != seen.categories).any()
