"""Iterative stratification: shares of labels and images, copies, order, and a set drawn by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.splits.label_sets import stratify

SHARES = {"train": 0.5, "validation": 0.2, "test": 0.3}


def drawn(seed: int, number: int, frequencies: list[float]) -> np.ndarray:
    labels = np.random.default_rng(seed).random((number, len(frequencies))) < frequencies
    labels[:, 0] |= ~labels.any(axis=1)
    return labels


def test_by_hand() -> None:
    # the rare label b first: its two images go to different halves; then a's four fill up
    labels = np.array([[1, 0], [1, 1], [1, 0], [1, 1]], bool)
    found = stratify(labels, list("wxyz"), {"one": 0.5, "two": 0.5}, seed=3)
    assert found[1] != found[3]
    assert found[0] != found[2]
    assert np.bincount(found).tolist() == [2, 2]


@given(st.integers(0, 10**6), st.integers(60, 200))
def test_labels_have_their_shares(seed: int, number: int) -> None:
    labels = drawn(seed, number, [0.5, 0.3, 0.1, 0.06])
    found = stratify(labels, [f"i{i}" for i in range(number)], SHARES, seed)
    for split, share in enumerate(SHARES.values()):
        # the rarest label is placed while every split still wants it: it is off by less than an image
        rarest = int(labels.sum(axis=0).argmin())
        assert abs((labels[:, rarest] & (found == split)).sum() - share * labels[:, rarest].sum()) <= 1
        for label in range(labels.shape[1]):
            assert abs((labels[:, label] & (found == split)).sum() - share * labels[:, label].sum()) <= 4


def test_numbers_of_images_are_closer_to_their_shares_than_by_drawing() -> None:
    shares = list(SHARES.values())

    def off(split: np.ndarray) -> float:
        return float(np.abs(np.bincount(split, minlength=3) - np.array(shares) * len(split)).max())

    ours, random = [], []
    for seed in range(40):
        labels = drawn(seed, 200, [0.5, 0.3, 0.1, 0.06])
        ours.append(off(stratify(labels, [f"i{i}" for i in range(200)], SHARES, seed)))
        random.append(off(np.random.default_rng(seed).choice(3, 200, p=shares)))
    assert np.mean(ours) < np.mean(random) / 2


def test_it_is_closer_than_drawing() -> None:
    labels = drawn(1, 400, [0.4, 0.2, 0.05, 0.03, 0.02])
    names = [f"i{i}" for i in range(400)]

    def off(split: np.ndarray) -> float:
        found = [[labels[split == s, j].sum() for s in range(3)] for j in range(5)]
        return float(np.abs(np.array(found) - labels.sum(axis=0)[:, None] * list(SHARES.values())).mean())

    random = [off(np.random.default_rng(i).choice(3, 400, p=list(SHARES.values()))) for i in range(20)]
    assert off(stratify(labels, names, SHARES, 0)) < min(random) / 3


@given(st.integers(0, 10**6))
def test_the_order_of_images_does_not_matter_and_seeds_differ(seed: int) -> None:
    labels = drawn(seed, 40, [0.5, 0.2, 0.1])
    names = np.array([f"i{i}" for i in range(40)])
    order = np.random.default_rng(seed).permutation(40)
    found = stratify(labels, names.tolist(), SHARES, seed)
    assert (stratify(labels[order], names[order].tolist(), SHARES, seed) == found[order]).all()
    assert (stratify(labels, names.tolist(), SHARES, seed + 1) != found).any()


def test_copies_stay_together() -> None:
    labels = drawn(2, 90, [0.5, 0.2, 0.1])
    groups = np.arange(90) // 3 * 7  # 30 groups of three, with any numbers
    found = stratify(labels, [f"i{i}" for i in range(90)], SHARES, 5, groups)
    assert all(len(set(found[groups == group])) == 1 for group in np.unique(groups))
    assert np.abs(np.bincount(found) - 90 * np.array(list(SHARES.values()))).max() <= 6


def test_images_without_labels_are_placed_too_and_bad_shares_refused() -> None:
    found = stratify(np.zeros((10, 2), bool), [f"i{i}" for i in range(10)], SHARES, 0)
    assert np.bincount(found).tolist() == [5, 2, 3]
    assert len(stratify(np.zeros((0, 2), bool), [], SHARES, 0)) == 0
    with pytest.raises(ValueError, match="add up to 1"):
        stratify(np.zeros((2, 1), bool), ["a", "b"], {"train": 0.5, "test": 0.4}, 0)
