"""Tests of average precision by cosine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from model.measures.average_precision import average_precision
from model.measures.retrieval import cosine_average_precision, unit_rows


def loop(queries: np.ndarray, items: np.ndarray, query_labels: np.ndarray, item_labels: np.ndarray) -> list[float]:
    """Eq. 11 by a loop over ranks; of equal cosines the first item ranks first."""
    found = []
    for query, label in zip(unit_rows(queries), query_labels, strict=True):
        cosines = [float(np.float32(np.dot(query, item))) for item in unit_rows(items)]
        ranking = sorted(range(len(items)), key=lambda place: (-cosines[place], place))
        hits, total = 0, 0.0
        for rank, place in enumerate(ranking, start=1):
            if item_labels[place] == label:
                hits += 1
                total += hits / rank
        found.append(total / hits if hits else 0.0)
    return found


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(1, 7), st.integers(1, 3), st.integers(0, 10_000), st.integers(1, 20))
def test_it_is_the_papers_formula_with_ties_by_index(n: int, m: int, labels: int, seed: int, at_once: int) -> None:
    random = np.random.default_rng(seed)
    # one dimension: all cosines are -1, 0 or 1, so there are many ties
    queries, items = (random.integers(-1, 2, (size, 1)).astype(np.float32) for size in (n, m))
    one, other = random.integers(0, labels, n), random.integers(0, labels, m)
    found, relevant = cosine_average_precision(queries, items, one, other, at_once)
    assert found.tolist() == pytest.approx(loop(queries, items, one, other))
    assert relevant.tolist() == [(other == label).sum() for label in one]


def test_without_ties_it_is_scikit_learns() -> None:
    random = np.random.default_rng(4)
    queries, items = random.normal(size=(9, 5)), random.normal(size=(30, 5))
    one, other = random.integers(0, 4, 9), random.integers(0, 4, 30)
    found, _ = cosine_average_precision(queries, items, one, other)
    scores = unit_rows(queries) @ unit_rows(items).T
    expected = [average_precision_score(other == label, row) for label, row in zip(one, scores, strict=True)]
    assert found == pytest.approx(expected)
    ours = average_precision("map", [str(n) for n in range(9)], scores, one[:, None] == other[None, :])
    assert ours["numerator"].to_list() == pytest.approx(expected)


def test_a_tie_goes_to_the_first_item() -> None:
    items = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])
    for labels, expected in [([1, 0, 0], 1.0), ([0, 1, 0], 0.5), ([0, 0, 1], 1 / 3), ([1, 0, 1], (1 + 2 / 3) / 2)]:
        found, _ = cosine_average_precision(np.array([[1.0, 0.0]]), items, np.array([1]), np.array(labels))
        assert found[0] == pytest.approx(expected)


def test_a_query_without_relevant_items_is_counted_as_such() -> None:
    found, relevant = cosine_average_precision(np.eye(2), np.eye(2), np.array([5, 0]), np.array([0, 0]))
    assert relevant.tolist() == [0, 2]
    assert found.tolist() == [0.0, 1.0]


def test_one_category_is_always_perfect() -> None:
    random = np.random.default_rng(0)
    found, _ = cosine_average_precision(
        random.normal(size=(4, 3)), random.normal(size=(6, 3)), np.zeros(4), np.zeros(6)
    )
    assert (found == 1).all()


def test_lengths_of_codes_do_not_matter_and_zeros_are_last_but_the_opposite() -> None:
    items = np.array([[-5.0, 0.0], [0.0, 0.0], [0.01, 0.0]])
    found, _ = cosine_average_precision(np.array([[7.0, 0.0]]), items, np.array([1]), np.array([0, 1, 1]))
    assert found.tolist() == [1.0]


def test_no_items() -> None:
    found, relevant = cosine_average_precision(np.ones((2, 3)), np.ones((0, 3)), np.zeros(2), np.zeros(0))
    assert found.tolist() == [0.0, 0.0]
    assert relevant.tolist() == [0, 0]


def test_blocks_bound_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    sort = np.argsort

    def counted(values: np.ndarray, **options: object) -> np.ndarray:
        sizes.append(values.size)
        return sort(values, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(np, "argsort", counted)
    cosine_average_precision(np.ones((50, 2)), np.ones((20, 2)), np.zeros(50), np.zeros(20), at_once=100)
    assert sizes == [100] * 10


@pytest.mark.parametrize(
    ("queries", "items", "message"),
    [
        (np.ones((2, 3)), np.ones((4, 2)), r"queries \(2, 3\), 2 labels; items \(4, 2\), 4 labels"),
        (np.ones((2, 2)), np.full((4, 2), np.nan), "a code is NaN"),
    ],
    ids=["shapes", "NaN"],
)
def test_bad_codes_are_errors(queries: np.ndarray, items: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cosine_average_precision(queries, items, np.zeros(2), np.zeros(4))
