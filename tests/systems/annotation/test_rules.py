"""Label sets from probabilities, by hand and against searches over all thresholds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from systems.annotation.rules import above, most_probable, tuned_thresholds

PROBABILITIES = np.array([[0.2, 0.9, 0.2, 0.5], [0.1, 0.1, 0.1, 0.1], [0.7, 0.3, 0.8, 0.0]])


def test_most_probable_labels_of_equal_ones_the_first() -> None:
    assert most_probable(PROBABILITIES, 2).astype(int).tolist() == [[0, 1, 0, 1], [1, 1, 0, 0], [1, 0, 1, 0]]
    found = most_probable(PROBABILITIES, np.array([3, 0, 9]))
    assert found.astype(int).tolist() == [[1, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]]


def test_thresholds_may_give_no_label() -> None:
    assert above(PROBABILITIES, 0.5).sum(axis=1).tolist() == [2, 0, 2]
    assert above(PROBABILITIES, np.array([0.7, 0.95, 0.9, 0.1])).astype(int).tolist() == [
        [0, 0, 0, 1], [0, 0, 0, 1], [1, 0, 0, 0],
    ]  # fmt: skip


@settings(max_examples=30)  # scikit-learn takes long for each threshold
@given(st.integers(0, 10**6), st.integers(2, 12))
def test_tuned_thresholds_are_the_best_of_all(seed: int, number: int) -> None:
    random = np.random.default_rng(seed)
    probabilities = random.integers(0, 6, (number, 3)) / 5  # with ties
    true = random.random((number, 3)) < 0.4
    true[0] = True
    found = tuned_thresholds(probabilities, true, fewest=1)
    for p, t, threshold in zip(probabilities.T, true.T, found, strict=True):
        every = [f1_score(t, p >= candidate, zero_division=0) for candidate in np.unique(p)]
        assert f1_score(t, p >= threshold, zero_division=0) == pytest.approx(max(every))


def test_a_label_without_images_gets_the_threshold_that_is_best_for_all() -> None:
    true = np.array([[1, 0, 0, 1], [0, 0, 0, 0], [1, 0, 1, 0]], bool)
    found = tuned_thresholds(PROBABILITIES, true, fewest=1)
    assert found.tolist() == [0.2, 0.5, 0.8, 0.5]  # overall, 0.5 gives 4 labels, 3 of 4 right
    assert tuned_thresholds(PROBABILITIES, np.zeros_like(true)).tolist() == [np.inf] * 4
    # with two images at least, only the first label has a threshold of its own
    assert tuned_thresholds(PROBABILITIES, true, fewest=2).tolist() == [0.2, 0.5, 0.5, 0.5]
