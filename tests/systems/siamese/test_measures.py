"""A phase's measures against scikit-learn and loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, top_k_accuracy_score
from sklearn.neighbors import NearestCentroid

from model.measures.units import reduce_units
from systems.siamese.measures import Outputs, nearest_mean, pair_units, phase_units


def unit_rows(number: int, seed: int, size: int = 4) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(number, size)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_nearest_mean_is_that_of_scikit_learn() -> None:
    trained, tested = unit_rows(40, 1), unit_rows(25, 2)
    labels = np.random.default_rng(3).choice([0, 2, 3], 40)  # category 1 has no training images
    expected = NearestCentroid().fit(trained.astype(np.float64), labels).predict(tested.astype(np.float64))
    assert nearest_mean(tested, trained, labels, 5).tolist() == expected.tolist()


@given(st.integers(0, 60))
def test_each_images_pair_auc_is_that_of_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    g, labels = unit_rows(11, seed), random.integers(0, 3, 11)
    g[4] = g[7]  # ties
    units = pair_units("auc", [f"image {number:02d}" for number in range(11)], g, labels)
    for image, (name, won, pairs) in enumerate(units.select("unit", "numerator", "denominator").iter_rows()):
        others = np.arange(11) != image
        assert name == f"image {image:02d}"
        same = labels[others] == labels[image]
        assert pairs == same.sum() * (~same).sum()
        if pairs:
            assert won / pairs == pytest.approx(roc_auc_score(same, (g @ g[image])[others]), abs=1e-9)


def test_without_two_images_of_a_category_the_pair_auc_is_null() -> None:
    units = pair_units("auc", ["a", "b", "c"], unit_rows(3, 0), np.array([0, 1, 2]))
    assert reduce_units(units) == {"auc": None}


def test_a_phases_measures_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(5)
    logits, labels = random.normal(size=(60, 9)).astype(np.float32), random.choice([0, 1, 1, 1, 4, 7, 8], 60)
    names, categories = [f"{number:02d}" for number in range(60)], [f"category {number}" for number in range(9)]
    tested = Outputs(logits, unit_rows(60, 6))
    found = reduce_units(phase_units("p", names, labels, tested, np.full(60, 4), categories))
    right = logits.argmax(axis=1) == labels
    assert found["accuracy_p"] == pytest.approx(right.mean())
    assert found["category_accuracy_p"] == pytest.approx(np.mean([right[labels == one].mean() for one in set(labels)]))
    assert found["top5_p"] == pytest.approx(top_k_accuracy_score(labels, logits, k=5, labels=list(range(9))))
    assert found["nearest_mean_p"] == pytest.approx((labels == 4).mean())
    assert set(found) == {f"{name}_p" for name in ("accuracy", "category_accuracy", "top5", "nearest_mean", "pair_auc")}
