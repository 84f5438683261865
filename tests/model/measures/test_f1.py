import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from model.measures.f1 import overall, per_category
from model.measures.units import reduce_units

# Four images, labels cat, dog, red (no image has it, but it is predicted once), old (never predicted).
TRUE = np.array([[1, 0, 0, 1], [1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]], bool)
PREDICTED = np.array([[1, 0, 1, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]], bool)
IMAGES, LABELS = ["i", "j", "k", "l"], ["cat", "dog", "red", "old"]


def test_overall_by_hand() -> None:
    units = overall("overall", IMAGES, PREDICTED, TRUE)
    assert units.filter(metric="overall_f1").select("unit", "numerator", "denominator").rows() == [
        ("i", 2, 4), ("j", 2, 3), ("k", 2, 2), ("l", 0, 1),
    ]  # fmt: skip
    # 3 correct labels, 4 predicted, 6 true
    assert reduce_units(units) == pytest.approx(
        {"overall_precision": 3 / 4, "overall_recall": 3 / 6, "overall_f1": 6 / 10}
    )


def test_per_category_by_hand() -> None:
    units = per_category("per_category", LABELS, PREDICTED, TRUE)
    assert units.filter(metric="per_category_f1").select("unit", "numerator", "denominator").rows() == [
        ("cat", 0.5, 1), ("dog", 1, 1), ("red", 0, 0), ("old", 0, 1),
    ]  # fmt: skip
    assert reduce_units(units) == pytest.approx(
        {"per_category_precision": 2 / 3, "per_category_recall": (1 / 3 + 1) / 3, "per_category_f1": 1.5 / 3}
    )


@st.composite
def label_sets(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(st.tuples(st.integers(1, 6), st.integers(2, 5)))  # scikit-learn doesn't read one column as a label set
    flat = st.lists(st.booleans(), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])
    return tuple(np.array(draw(flat), bool).reshape(shape) for _ in range(2))  # type: ignore[return-value]


@given(label_sets())
def test_both_are_scikit_learns(found: tuple[np.ndarray, np.ndarray]) -> None:
    predicted, true = found
    images, labels = ([str(number) for number in range(size)] for size in predicted.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        micro = precision_recall_fscore_support(true, predicted, average="micro", zero_division=0)[:3]
        there = true.any(axis=0)  # scikit-learn also counts absent categories
        macro = precision_recall_fscore_support(true, predicted, average=None, zero_division=0)[:3]
    for wanted, value in zip(micro, reduce_units(overall("o", images, predicted, true)).values(), strict=True):
        assert (value or 0.0) == pytest.approx(wanted)
    means = [float(values[there].mean()) if there.any() else None for values in macro]
    for wanted, value in zip(means, reduce_units(per_category("c", labels, predicted, true)).values(), strict=True):
        assert value == (None if wanted is None else pytest.approx(wanted))


def test_what_is_no_label_sets_is_refused() -> None:
    with pytest.raises(ValueError, match="two boolean arrays of one shape"):
        overall("o", IMAGES, PREDICTED.astype(int), TRUE)
    with pytest.raises(ValueError, match=r"predicted bool \(4, 3\) and true bool \(4, 4\)"):
        per_category("c", LABELS, PREDICTED[:, :3], TRUE)
