"""How well queries find images: nDCG@k with clicks as gains, and average precision, for each query of a cell."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy import sparse

from base.seeding import derive_seed
from model.measures.average_precision import average_precision
from model.measures.ndcg import ndcg
from model.measures.retrieval import unit_rows
from systems.dckt.clicks.config import MAP, NDCG

AT_ONCE = 2**22  # scores that are in memory at once


def chosen_queries(gains: sparse.csr_array, most: int, seed: int) -> np.ndarray:
    """Return the rows of queries with a clicked image, ascending; of more than `most` so many are drawn.

    Shape:
        gains: (Q, N)
    """
    rows = np.flatnonzero(gains.sum(axis=1) > 0)
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(derive_seed(seed, "queries of a cell")).permutation(rows)[:most])
    return rows


def rank(
    names: Sequence[str],
    queries: np.ndarray,
    images: np.ndarray,
    gains: sparse.csr_array,
    k: int,
    suffix: str = "",
    at_once: int = AT_ONCE,
) -> pl.DataFrame:
    """Return the units of both measures: each query ranks all images by the cosine of codes.

    Args:
        names: of the queries.
        queries, images: codes.
        gains: clicks of each query on each image; an image is relevant if it was clicked.
        k: ranks of nDCG@k.
        suffix: of the metrics' names.
        at_once: scores in memory at once; no result depends on it.

    Shape:
        queries: (Q, K); images: (N, K); gains: (Q, N)
    """
    one, other = unit_rows(queries), unit_rows(images)
    block, units = max(1, at_once // max(1, len(other))), []
    for start in range(0, len(one), block):
        rows = slice(start, start + block)
        scores, dense = (one[rows] @ other.T).astype(np.float64), gains[rows].toarray()
        units.append(ndcg(NDCG + suffix, names[rows], scores, dense, k))
        units.append(average_precision(MAP + suffix, names[rows], scores, dense > 0))
    return pl.concat(units).sort("metric", "unit")
