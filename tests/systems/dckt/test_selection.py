"""Tests of the progressive selection."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from systems.dckt.selection import probabilities, retrieve, select

AP = np.array([2.0, 1.0, 0.5, 0.0])


def test_the_papers_probabilities_by_hand() -> None:
    # eq. 13 with max AP = 2: (2 - AP) / (2 iter) is 0, 1/2, 3/4, 1 for iter 1, and half of that for iter 2
    first = [1.0, 1 - math.log2(1.5), 1 - math.log2(1.75), 0.0]
    assert probabilities(AP, 1, 0.2) == pytest.approx([0.2 * share for share in first])
    second = [1.0, 1 - math.log2(1.25), 1 - math.log2(1.375), 1 - math.log2(1.5)]
    assert probabilities(AP, 2, 0.5) == pytest.approx([0.5 * share for share in second])


def test_the_released_codes_probabilities_by_hand() -> None:
    # natural logarithm, AP not divided by its maximum: ln(1 + 2) > 1, so the last pair is never chosen at first
    first = [1.0, 1 - math.log(2), 1 - math.log(2.5), 0.0]
    assert probabilities(AP, 1, 0.2, "released") == pytest.approx([0.2 * share for share in first])
    late = probabilities(AP, 20, 0.2, "released")
    assert late[3] == pytest.approx(0.2 * (1 - math.log(1.1)))
    assert probabilities(AP, 1000, 0.2, "released").tolist() == late.tolist()  # the divisor is 20 at most


@pytest.mark.parametrize("rule", ["paper", "released"])
def test_if_nothing_is_found_all_pairs_are_alike(rule) -> None:
    assert probabilities(np.zeros(3), 1, 0.2, rule).tolist() == [0.2] * 3


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, st.integers(1, 20), elements=st.floats(0, 2)), st.integers(1, 50), st.floats(0.01, 1))
def test_better_pairs_are_likelier_and_all_become_alike(consistency: np.ndarray, iteration: int, alpha: float) -> None:
    found, later = (probabilities(consistency, when, alpha) for when in (iteration, iteration + 1))
    assert ((found >= 0) & (found <= alpha)).all()
    order = np.argsort(consistency)
    assert (np.diff(found[order]) >= -1e-12).all()
    assert (later >= found - 1e-12).all()
    assert found[consistency.argmax()] == alpha


def test_each_pair_is_drawn_by_itself() -> None:
    chances = np.array([0.9, 0.5, 0.1, 0.0, 1.0])
    drawn = np.zeros(5)
    for seed in range(2000):
        drawn[select(chances, seed, 1, "progressive")] += 1
    assert drawn / 2000 == pytest.approx(chances, abs=0.04)


def test_the_same_seed_and_iteration_choose_the_same() -> None:
    chances = np.full(200, 0.3)
    first = select(chances, 5, 2, "progressive")
    assert first.tolist() == select(chances, 5, 2, "progressive").tolist() == sorted(first.tolist())
    assert first.tolist() != select(chances, 6, 2, "progressive").tolist()
    assert first.tolist() != select(chances, 5, 3, "progressive").tolist()


def test_random_takes_as_many_but_others() -> None:
    chances = np.concatenate([np.full(100, 0.5), np.zeros(100)])
    chosen, drawn = (select(chances, 3, 1, kind) for kind in ("progressive", "random"))
    assert len(drawn) == len(chosen) == len(set(drawn.tolist()))
    assert (chosen < 100).all()
    assert (drawn >= 100).sum() > 10


def test_all_takes_all() -> None:
    assert select(np.zeros(4), 0, 1, "all").tolist() == [0, 1, 2, 3]


def test_at_least_two_pairs_are_chosen() -> None:
    assert select(np.array([0.0, 1e-12, 0.0, 1e-9]), 0, 1, "progressive").tolist() == [1, 3]
    assert select(np.zeros(3), 0, 1, "progressive").tolist() == [0, 1]
    assert select(np.array([0.0, 0.0, 1.0]), 0, 1, "progressive").tolist() == [0, 2]
    assert select(np.array([0.1]), 0, 1, "progressive").tolist() == [0]


def test_both_directions_are_measured() -> None:
    labels = np.array([0, 1, 1])
    images, texts = np.eye(3), np.array([[1.0, 0, 0], [1.0, 0.1, 0], [0, 0, 1.0]])
    found = retrieve(images, texts, labels)
    # image 0 ranks texts 0, 1, 2; image 1 ranks 1, 0, 2; image 2 ranks 2, 0, 1
    assert found.image_to_text == pytest.approx([1, (1 + 2 / 3) / 2, (1 + 2 / 3) / 2])
    # text 0 ranks images 0, 1, 2; text 1 ranks 0, 1, 2; text 2 ranks 2, 0, 1
    assert found.text_to_image == pytest.approx([1, (1 / 2 + 2 / 3) / 2, (1 + 2 / 3) / 2])
