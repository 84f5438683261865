import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from model.measures.accuracy import accuracy, accuracy_at_k, best_columns, coverage_at_k, precision_at_k, recall_at_k
from model.measures.average_precision import average_precision
from model.measures.units import check_reduces, reduce_units, units_of

# Three queries over five items. The first has a tie of items 1 and 3, the second no relevant item, the third only
# relevant items.
SCORES = np.array([[0.9, 0.5, 0.1, 0.5, 0.3], [0.1, 0.2, 0.3, 0.4, 0.5], [5.0, 4.0, 3.0, 2.0, 1.0]])
RELEVANT = np.array([[0, 1, 0, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
NAMES = ["b", "a", "c"]


def rows(units) -> list[tuple]:
    return units.select("unit", "numerator", "denominator").rows()


def test_accuracy_by_hand() -> None:
    units = accuracy("accuracy", ["x", "y", "z"], np.array([2, 0, 1]), np.array([2, 1, 1]))
    assert rows(units) == [("x", 1, 1), ("y", 0, 1), ("z", 1, 1)]
    assert reduce_units(units) == {"accuracy": 2 / 3}


def test_at_k_by_hand() -> None:
    # the best two: items 0 and 1 (in a tie the lower number is better), 4 and 3, 0 and 1
    assert rows(precision_at_k("p", NAMES, SCORES, RELEVANT, 2)) == [("b", 1, 2), ("a", 0, 2), ("c", 2, 2)]
    assert rows(recall_at_k("r", NAMES, SCORES, RELEVANT, 2)) == [("b", 0.5, 1), ("a", 0, 0), ("c", 0.4, 1)]
    assert rows(accuracy_at_k("a", NAMES, SCORES, RELEVANT, 1)) == [("b", 0, 1), ("a", 0, 1), ("c", 1, 1)]
    assert reduce_units(recall_at_k("r", NAMES, SCORES, RELEVANT, 2)) == {"r": pytest.approx(0.45)}
    # with fewer columns than k, the denominator is the number of columns
    assert reduce_units(precision_at_k("p", NAMES, SCORES, RELEVANT, 9)) == {"p": 7 / 15}


@st.composite
def rankings(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 8)))
    scores = draw(st.lists(st.integers(0, 4), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))
    relevant = draw(st.lists(st.booleans(), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))
    return np.array(scores, float).reshape(shape), np.array(relevant, bool).reshape(shape)


@given(rankings(), st.integers(1, 9))
def test_at_k_is_what_a_loop_counts(ranking: tuple[np.ndarray, np.ndarray], k: int) -> None:
    scores, relevant = ranking
    names = [str(row) for row in range(len(scores))]
    precision = dict(zip(names, precision_at_k("p", names, scores, relevant, k)["numerator"], strict=True))
    recall = dict(zip(names, recall_at_k("r", names, scores, relevant, k)["numerator"], strict=True))
    hit = dict(zip(names, accuracy_at_k("a", names, scores, relevant, k)["numerator"], strict=True))
    for name, of_row, truth in zip(names, scores.tolist(), relevant.tolist(), strict=True):
        best = sorted(range(len(of_row)), key=lambda item: (-of_row[item], item))[:k]
        found = sum(truth[item] for item in best)
        assert precision[name] == found
        assert hit[name] == (found > 0)
        assert recall[name] == (found / sum(truth) if any(truth) else 0)


@given(rankings(), st.integers(1, 9))
def test_coverage_counts_the_columns_that_are_ever_among_the_best(ranking, k: int) -> None:
    scores, _ = ranking
    names = [f"tag {column}" for column in range(scores.shape[1])]
    best = [sorted(range(len(row)), key=lambda item: (-row[item], item))[:k] for row in scores.tolist()]
    assert best_columns(scores, k).tolist() == best
    covered = {column for row in best for column in row}
    assert rows(coverage_at_k("c", names, scores, k)) == [(name, n in covered, 1) for n, name in enumerate(names)]


@given(rankings())
def test_average_precision_is_scikit_learns(ranking: tuple[np.ndarray, np.ndarray]) -> None:
    scores, relevant = ranking
    names = [str(row) for row in range(len(scores))]
    units = average_precision("map", names, scores, relevant)
    expected = [
        average_precision_score(truth, of_row) if truth.any() else None
        for truth, of_row in zip(relevant, scores, strict=True)
    ]
    for (_, value, weight), wanted in zip(rows(units), expected, strict=True):
        assert weight == (wanted is not None)
        assert value == pytest.approx(wanted or 0.0, abs=1e-12)
    there = [value for value in expected if value is not None]
    assert reduce_units(units)["map"] == (pytest.approx(sum(there) / len(there)) if there else None)


def test_average_precision_by_hand() -> None:
    # ranks 1, 2-3 (one of two relevant), 4 (relevant), 5: AP = (1/3 + 2/4) / 2
    assert rows(average_precision("map", NAMES, SCORES, RELEVANT))[0][1] == pytest.approx((1 / 3 + 2 / 4) / 2)


@pytest.mark.parametrize("k", [0, -1])
def test_a_k_below_one_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"k = {k}: at least 1 expected"):
        precision_at_k("p", NAMES, SCORES, RELEVANT, k)


def test_scores_that_are_nan_or_of_another_shape_are_refused() -> None:
    broken = SCORES.copy()
    broken[1, 2] = math.nan
    for measure in (lambda s, r: average_precision("m", NAMES, s, r), lambda s, r: recall_at_k("m", NAMES, s, r, 2)):
        with pytest.raises(ValueError, match="a score is NaN"):
            measure(broken, RELEVANT)
        with pytest.raises(ValueError, match=r"scores \(3, 5\) and relevant \(3, 4\)"):
            measure(SCORES, RELEVANT[:, :4])


def test_units_are_each_once_and_finite() -> None:
    with pytest.raises(ValueError, match="m: a unit is listed twice"):
        units_of("m", ["a", "a"], np.zeros(2), 1.0)
    for above, below in ((math.nan, 1.0), (1.0, math.inf), (1.0, -1.0)):
        with pytest.raises(ValueError, match="m: numerators must be finite"):
            units_of("m", ["a"], np.array([above]), below)


def test_stated_metrics_are_compared_with_their_units() -> None:
    units = units_of("accuracy", ["a", "b", "c"], np.array([1.0, 0.0, 1.0]), 1.0)
    check_reduces({"accuracy": 66.6667, "other": 3}, units, scale=100, tolerance=1e-3)
    for stated in (66.7, None):
        with pytest.raises(ValueError, match=f"accuracy is stated as {stated}, its units give 66.6"):
            check_reduces({"accuracy": stated}, units, scale=100, tolerance=1e-3)
    empty = units_of("recall", ["a"], np.array([0.0]), 0.0)
    check_reduces({"recall": None}, empty)
    with pytest.raises(ValueError, match=r"recall is stated as 0\.0, its units give None"):
        check_reduces({"recall": 0.0}, empty)
