"""Measures of label sets against scikit-learn, a loop, and derivatives by the images' weights."""

import warnings

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from model.measures.label_sets import SET_MEASURES, measure_sets, nearest_counts, quantity_units, set_units
from model.measures.units import reduce_units

# Four images, labels cat, dog, red (no image has it, but it is given once), old (never given).
TRUE = np.array([[1, 0, 0, 1], [1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]], bool)
PREDICTED = np.array([[1, 0, 1, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]], bool)
NAMES = ["i", "j", "k", "l"]


def weighted(predicted: np.ndarray, true: np.ndarray, weights: np.ndarray) -> list[float]:
    """Return the seven measures by loops, with a weight for each image."""
    precisions, recalls = [], []
    right = given_ = truly = 0.0
    for j in range(true.shape[1]):
        c = sum(w for w, p, t in zip(weights, predicted[:, j], true[:, j], strict=True) if p and t)
        n = sum(w for w, p in zip(weights, predicted[:, j], strict=True) if p)
        t = sum(w for w, t in zip(weights, true[:, j], strict=True) if t)
        right, given_, truly = right + c, given_ + n, truly + t
        if t:
            precisions.append(c / n if n else 0.0)
            recalls.append(c / t)

    def f(a: float, b: float) -> float:
        return 2 * a * b / (a + b) if a + b else 0.0

    cp, cr = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    ip, ir = right / given_ if given_ else 0.0, right / truly
    return [cp, cr, f(cp, cr), ip, ir, f(ip, ir), f(f(cp, cr), f(ip, ir))]


def test_by_hand() -> None:
    found = reduce_units(set_units("", NAMES, PREDICTED, TRUE))
    cp, cr, ip, ir = 2 / 3, (1 / 3 + 1) / 3, 3 / 4, 3 / 6
    c, i = 2 * cp * cr / (cp + cr), 2 * ip * ir / (ip + ir)
    assert found == pytest.approx(
        {"c_p": cp, "c_r": cr, "c_f1": c, "i_p": ip, "i_r": ir, "i_f1": i, "h_f1": 2 * c * i / (c + i)}
    )


@st.composite
def label_sets(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(st.tuples(st.integers(1, 6), st.integers(2, 5)))
    flat = st.lists(st.booleans(), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])
    predicted, true = (np.array(draw(flat), bool).reshape(shape) for _ in range(2))
    true[0, 0] = True
    return predicted, true


@given(label_sets())
def test_against_scikit_learn_and_a_loop(found: tuple[np.ndarray, np.ndarray]) -> None:
    predicted, true = found
    values = {name: measured.value for name, measured in measure_sets(predicted, true).items()}
    assert list(values.values()) == pytest.approx(weighted(predicted, true, np.ones(len(true))))
    there = np.flatnonzero(true.any(axis=0))  # scikit-learn also counts absent labels
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        macro = precision_recall_fscore_support(true, predicted, average="macro", labels=there, zero_division=0)
        micro = precision_recall_fscore_support(true, predicted, average="micro", zero_division=0)
    assert [values["c_p"], values["c_r"]] == pytest.approx(macro[:2])
    assert [values["i_p"], values["i_r"], values["i_f1"]] == pytest.approx(micro[:3])


@given(label_sets())
def test_slopes_are_derivatives_by_weights_and_sum_to_zero(found: tuple[np.ndarray, np.ndarray]) -> None:
    predicted, true = found
    measured = measure_sets(predicted, true)
    for image in range(len(true)):
        up, down = (np.ones(len(true)) + step * np.eye(len(true))[image] for step in (1e-5, -1e-5))
        numeric = (np.array(weighted(predicted, true, up)) - weighted(predicted, true, down)) / 2e-5
        assert [one.slopes[image] for one in measured.values()] == pytest.approx(numeric.tolist(), abs=1e-6)
    assert [one.slopes.sum() for one in measured.values()] == pytest.approx([0.0] * 7, abs=1e-12)


@given(label_sets())
def test_units_reduce_to_the_measures(found: tuple[np.ndarray, np.ndarray]) -> None:
    predicted, true = found
    units = set_units("_top", [str(i) for i in range(len(true))], predicted, true)
    assert units["metric"].unique(maintain_order=True).to_list() == [f"{name}_top" for name in SET_MEASURES]
    values = {name: one.value for name, one in measure_sets(predicted, true).items()}
    for name, value in reduce_units(units).items():  # without any given label, precision is not defined: None
        assert (value or 0.0) == pytest.approx(values[name.removesuffix("_top")], abs=1e-12)


def test_the_units_spread_is_that_of_the_bootstrap() -> None:
    random = np.random.default_rng(5)
    true = random.random((300, 6)) < [0.5, 0.3, 0.2, 0.1, 0.4, 0.15]
    predicted = true ^ (random.random(true.shape) < 0.2)
    units = set_units("", [str(i) for i in range(300)], predicted, true).filter(metric="h_f1")
    drawn = [random.integers(300, size=300) for _ in range(400)]
    spread = np.std([measure_sets(predicted[rows], true[rows])["h_f1"].value for rows in drawn])
    assert float(units["numerator"].std()) / 300**0.5 == pytest.approx(spread, rel=0.15)  # 400 draws: some 3.5 %


def test_without_labels_there_is_nothing_to_measure() -> None:
    with pytest.raises(ValueError, match="no image has a label"):
        measure_sets(PREDICTED, np.zeros_like(TRUE))


def test_quantities_by_hand() -> None:
    units = quantity_units("_f", NAMES, np.array([1.4, 2.5, 0.2, 1.0]), np.array([1, 3, 1, 3]), most=4)
    assert units.filter(pl.col("metric") == "quantity_accuracy_f")["numerator"].to_list() == [1, 1, 1, 0]
    assert reduce_units(units) == pytest.approx(
        {"quantity_accuracy_f": 0.75, "quantity_mse_f": (0.16 + 0.25 + 0.64 + 4) / 4}
    )


def test_counts_are_nearest_and_within_bounds() -> None:
    # rounding to even would make 2 of 2.5
    assert nearest_counts(np.array([-3.0, 0.49, 1.5, 2.5, 2.49, 7.4, 99.0]), 7).tolist() == [1, 1, 2, 3, 2, 7, 7]
