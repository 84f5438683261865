"""Average precision of retrieval by cosine, for as many queries and items as there are: in blocks of queries."""

import numpy as np

AT_ONCE = 2**22  # similarities that are held in memory together; a block of queries has about 100 MB of them


def unit_rows(codes: np.ndarray) -> np.ndarray:
    """Return rows scaled to length 1 as float32; a row of zeros stays, so that its cosine with everything is 0."""
    codes = np.asarray(codes, np.float32)
    return np.asarray(codes / np.maximum(np.linalg.norm(codes, axis=1, keepdims=True), np.finfo(np.float32).tiny))


def cosine_average_precision(
    queries: np.ndarray,
    items: np.ndarray,
    query_labels: np.ndarray,
    item_labels: np.ndarray,
    at_once: int = AT_ONCE,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the average precision of each query over all items, ranked by the cosine of their codes.

    AP = 1 / R sum over k of rel_k R_k / k, where rel_k is 1 if the item of rank k has the query's label and else 0,
    R_k is the number of such items among the first k, and R is their number in all. Of items with equal cosines the
    first in order ranks first, as in the released code of DCKT; `model.measures.average_precision` has scikit-learn's
    convention.

    Args:
        queries: codes of the queries.
        items: codes of the items.
        query_labels: a number for each query.
        item_labels: a number for each item.
        at_once: similarities to hold in memory together, at least one query's; no result depends on it.

    Shape:
        queries: (N, D); items: (M, D); labels: int (N,) and (M,); results: float64 (N,), int64 (N,)

    Returns:
        The average precisions, 0 where R is 0, and R.

    Raises:
        ValueError: the shapes don't fit, or a code is NaN or infinite.

    Reference: DCKT, eq. 11.
    """
    if queries.shape != (len(query_labels), items.shape[1]) or len(items) != len(item_labels):
        raise ValueError(
            f"queries {queries.shape}, {len(query_labels)} labels; items {items.shape}, {len(item_labels)} labels"
        )
    if not (np.isfinite(queries).all() and np.isfinite(items).all()):
        raise ValueError("a code is NaN or infinite")
    one, other = unit_rows(queries), unit_rows(items)
    precisions, numbers = np.zeros(len(one)), np.zeros(len(one), np.int64)
    ranks = np.arange(1, len(other) + 1)
    block = max(1, at_once // max(1, len(other)))
    for start in range(0, len(one), block):
        rows = slice(start, start + block)
        order = np.argsort(-(one[rows] @ other.T), axis=1, kind="stable")
        is_relevant = item_labels[order] == query_labels[rows, None]
        hits = np.cumsum(is_relevant, axis=1, dtype=np.int32)
        sums = np.einsum("nm,nm->n", is_relevant, hits / ranks)
        numbers[rows] = hits[:, -1] if len(other) else 0
        precisions[rows] = sums / np.maximum(numbers[rows], 1)
    return precisions, numbers
