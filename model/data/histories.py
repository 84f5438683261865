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
        own = None
        if without is not None:
            own = np.repeat(np.arange(len(rows)), list(map(len, without))), np.concatenate([[], *without]).astype(int)
        places, _, counts = self._entries(rows, own)
        return self._dense(len(rows), places, counts, np.int64)

    def relative_of(self, rows: np.ndarray, own: tuple[np.ndarray, np.ndarray] | None = None) -> np.ndarray:
        """Return :func:`relative` of the counts of some users; only the tags that they have are computed with.

        Args:
            rows: of the users, as from `rows_of`.
            own: tags to leave out, as pairs: the place of a user in `rows`, and a tag; see `of`.

        Shape:
            rows: (B,); own: integers (n,), (n,); result: float32 (B, N), in [0, 1]
        """
        places, users, counts = self._entries(rows, own)
        largest = np.ones(len(rows), np.int64)
        np.maximum.at(largest, users, counts)
        return self._dense(len(rows), places, counts / largest[users], np.float32)

    def _entries(
        self, rows: np.ndarray, own: tuple[np.ndarray, np.ndarray] | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the counts of some users without zeros: their places in the flat (B, N), and users."""
        num_tags = self.counts.shape[1]
        users, entries = ragged_places(self.counts.indptr, rows, rows >= 0)
        places = users * num_tags + self.counts.indices[entries]
        counts = self.counts.data[entries]
        if own is not None:
            left_out = own[0] * num_tags + own[1]
            found = np.searchsorted(places, left_out)
            known = found < len(places)
            if not known.all() or (places[found] != left_out).any() or (counts[found] < 1).any():
                raise ValueError("a post to leave out is not in its user's history")
            counts[found] -= 1
        return places, users, counts

    def _dense(self, number: int, places: np.ndarray, values: np.ndarray, kind: type) -> np.ndarray:
        dense = np.zeros((number, self.counts.shape[1]), kind)
        dense.ravel()[places] = values
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


def ragged_places(
    offsets: np.ndarray, rows: np.ndarray, is_wanted: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return where the entries of some rows are in a flat array with the entries of all rows.

    Args:
        offsets: row r has the entries offsets[r] .. offsets[r + 1] - 1.
        rows: the rows.
        is_wanted: whether the entries of each of them are wanted; None: all are.

    Shape:
        offsets: integers (R + 1,); rows: integers (B,); is_wanted: booleans (B,); results: the place in `rows` of each
        of the n entries' row, int64 (n,), and its own place, int64 (n,)
    """
    owners = np.arange(len(rows)) if is_wanted is None else np.flatnonzero(is_wanted)
    starts = offsets[rows[owners]].astype(np.int64)
    lengths = offsets[rows[owners] + 1] - starts
    ends = np.cumsum(lengths)
    number = int(ends[-1]) if len(ends) else 0
    return np.repeat(owners, lengths), np.arange(number) + np.repeat(starts - ends + lengths, lengths)
