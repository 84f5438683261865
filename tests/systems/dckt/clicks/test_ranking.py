"""Ranking images for queries: both measures against scikit-learn, whatever the blocks; which queries are measured."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import average_precision_score, ndcg_score
from sklearn.metrics.pairwise import cosine_similarity

from systems.dckt.clicks.ranking import chosen_queries, rank

RANDOM = np.random.default_rng(4)
QUERIES, IMAGES = RANDOM.normal(size=(5, 3)), RANDOM.normal(size=(9, 3))
GAINS = RANDOM.poisson(1.0, (5, 9)) * RANDOM.integers(1, 6, (5, 9))
NAMES = ["b", "a", "e", "d", "c"]


@pytest.mark.parametrize("at_once", [1, 20, 10**6])
def test_both_measures_are_scikit_learns(at_once: int) -> None:
    units = rank(NAMES, QUERIES, IMAGES, sparse.csr_array(GAINS), 4, "_x", at_once)
    scores = cosine_similarity(QUERIES, IMAGES)
    found = {(metric, unit): value for metric, unit, value, _ in units.iter_rows()}
    for name, row, gains in zip(NAMES, scores, GAINS, strict=True):
        assert found["ndcg_x", name] == pytest.approx(ndcg_score([gains], [row], k=4), abs=1e-9)
        assert found["map_x", name] == pytest.approx(average_precision_score(gains > 0, row), abs=1e-9)
    assert units["unit"].to_list() == ["a", "b", "c", "d", "e"] * 2


def test_only_queries_with_a_click_are_chosen_and_of_many_some() -> None:
    gains = sparse.csr_array(np.eye(12, dtype=np.int64)[[0, 1, 2, 3, 4, 5]] * 3 * (np.arange(6) != 2)[:, None])
    assert chosen_queries(gains, 10, seed=0).tolist() == [0, 1, 3, 4, 5]
    some = chosen_queries(gains, 3, seed=0)
    assert len(some) == 3
    assert set(some) < {0, 1, 3, 4, 5}
    assert (np.diff(some) > 0).all()
    assert some.tolist() == chosen_queries(gains, 3, seed=0).tolist()
    assert len({tuple(chosen_queries(gains, 3, seed)) for seed in range(9)}) > 1
