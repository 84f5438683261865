"""nDCG against scikit-learn, numbers by hand and its properties."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from model.measures.ndcg import ndcg
from model.measures.units import reduce_units


def value_of(scores: list[float], gains: list[float], k: int) -> float:
    return ndcg("n", ["q"], np.array([scores]), np.array([gains]), k)["numerator"].item()


def test_by_hand() -> None:
    # ranked gains 1, 3, 0, 7; ideal 7, 3, 1
    found = value_of([0.9, 0.2, 0.8, 0.1], [1, 0, 3, 7], 3)
    ideal = 7 + 3 / math.log2(3) + 1 / 2
    assert found == pytest.approx((1 + 3 / math.log2(3)) / ideal, abs=1e-12)


def test_items_with_equal_scores_share_their_gains() -> None:
    # ranks 1 and 2 are tied: each has 2.5; of the ranks 3 and 4, tied too, only the third counts
    found = value_of([5.0, 5.0, 1.0, 1.0], [5, 0, 2, 4], 3)
    ideal = 5 + 4 / math.log2(3) + 2 / 2
    assert found == pytest.approx((2.5 + 2.5 / math.log2(3) + 3 / 2) / ideal, abs=1e-12)


@given(st.integers(1, 5), st.integers(2, 12), st.integers(1, 14), st.sampled_from([2, 50]), st.integers(0, 999))
def test_against_scikit_learn(queries: int, items: int, k: int, values: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.integers(0, values, (queries, items)) / 7  # few values: many ties
    gains = random.poisson(1.0, (queries, items)) * random.integers(1, 9, (queries, items))
    names = [f"q{number}" for number in range(queries)]
    units = ndcg("n", names, scores, gains, k)
    expected = [ndcg_score([of_query], [ranked], k=k) for of_query, ranked in zip(gains, scores, strict=True)]
    assert units["numerator"].to_list() == pytest.approx(expected, abs=1e-12)
    assert units["denominator"].to_list() == [float(of_query.any()) for of_query in gains]


def test_a_query_without_clicks_does_not_count() -> None:
    scores, gains = np.array([[1.0, 2.0], [1.0, 2.0]]), np.array([[0, 0], [4, 1]])
    units = ndcg("n", ["none", "one"], scores, gains, 10)
    assert units["denominator"].to_list() == [0, 1]
    expected = (1 + 4 / math.log2(3)) / (4 + 1 / math.log2(3))
    assert reduce_units(units)["n"] == pytest.approx(expected)


@given(st.integers(0, 99))
def test_the_order_of_the_items_is_of_no_matter_and_the_best_order_has_1(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores, gains = random.integers(0, 4, 9).astype(float), random.integers(0, 5, 9)
    order = random.permutation(9)
    one, other = value_of(list(scores), list(gains), 4), value_of(list(scores[order]), list(gains[order]), 4)
    assert one == pytest.approx(other, abs=1e-12)
    if gains.any():
        assert value_of(list(gains.astype(float)), list(gains), 4) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("scores", "gains", "k", "message"),
    [
        ([[1.0]], [[1]], 0, "k = 0"),
        ([[1.0, 2.0]], [[1]], 1, "two equal shapes"),
        ([[np.nan, 2.0]], [[1, 1]], 1, "a score is NaN"),
        ([[1.0, 2.0]], [[1, -1]], 1, "not negative"),
    ],
)
def test_bad_input(scores: list, gains: list, k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ndcg("n", ["q"], np.array(scores), np.array(gains), k)
