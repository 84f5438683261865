"""Votes from mappings."""

import numpy as np

from systems.cleaning.votes import Votes


def votes_of(rows: list[dict[int, float]]) -> Votes:
    """Return votes from mappings of categories to clicks."""
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    pairs = [pair for row in rows for pair in sorted(row.items())]
    return Votes(starts, np.array([c for c, _ in pairs], np.int32), np.array([v for _, v in pairs], np.float64))
