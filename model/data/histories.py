"""Users' tag histories, kept as counts of the tags that each user has, and made dense for the users of a batch only.

A matrix of 250,000 users x 1,540 tags would take 1.5 GB; most users have a few tags.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy import sparse

from base.console import UserError


class Histories:
    """How often each user gave each tag.

    Args:
        table: `base.schemas.TAG_HISTORIES`.
        num_tags: N, number of tags.

    Attributes:
        counts: the counts, one row per user; int64 CSR (U, N).
        user_ids: the users with a history, in code-point order, which is the order of the rows.

    Raises:
        UserError: a tag is not below N, or a user has a tag twice.
    """

    def __init__(self, table: pl.DataFrame, num_tags: int) -> None:
        tags = table["tag_id"].to_numpy()
        if len(tags) and not 0 <= tags.min() <= tags.max() < num_tags:
            raise UserError(f"the histories have tag {tags.max()}, but there are {num_tags} tags")
        self.user_ids = table["user_id"].unique().sort()
        rows = self.rows_of(table["user_id"])
        self.counts = sparse.csr_array((table["count"].to_numpy(), (rows, tags)), shape=(len(self.user_ids), num_tags))
        if self.counts.nnz < len(table):
            raise UserError("the histories have a tag of a user twice; run pipelines.tags.split again")
        self.counts.sort_indices()

    def rows_of(self, user_ids: pl.Series) -> np.ndarray:
        """Return the row of each user; -1 for a user without a history.

        Shape:
            result: int64 (B,)
        """
        if self.user_ids.is_empty():
            return np.full(len(user_ids), -1)
        places = self.user_ids.search_sorted(user_ids).to_numpy().astype(np.int64)
        places = np.minimum(places, len(self.user_ids) - 1)
        return np.where((self.user_ids.gather(places) == user_ids).to_numpy(), places, -1)

    def of(self, rows: np.ndarray, without: Sequence[np.ndarray] | None = None) -> np.ndarray:
        """Return the counts of some users, for each less the tags of one post, if they are given (leave one out).

        Args:
            rows: of the users, as from `rows_of`.
            without: for each user, different tags of a post that the history contains.

        Shape:
            rows: (B,); result: int64 (B, N)

        Raises:
            ValueError: a post's tag is not in its user's history.
        """
        known = rows >= 0
        dense = np.zeros((len(rows), self.counts.shape[1]), np.int64)
        dense[known] = self.counts[rows[known]].toarray()
        if without is not None:
            for of_user, tags in zip(dense, without, strict=True):
                of_user[tags] -= 1
            if (dense < 0).any():
                raise ValueError("a post to leave out is not in its user's history")
        return dense

    def lengths(self, rows: np.ndarray) -> np.ndarray:
        """Return the sum of each user's counts: int64 (B,)."""
        sums = np.append(self.counts.sum(axis=1), 0)  # the last, at -1, is of users without a history
        return np.asarray(sums[rows]).astype(np.int64)


def relative(counts: np.ndarray) -> np.ndarray:
    """Return u_h: each row's counts divided by its largest count; a row of zeros stays as it is.

    Shape:
        counts: integers (B, N); result: float32 (B, N), in [0, 1]
    """
    largest = counts.max(axis=1, keepdims=True, initial=0)
    return (counts / np.maximum(largest, 1)).astype(np.float32)
