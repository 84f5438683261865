"""The pictures of an index, each named by its row: their click features by blocks, names and thumbnails of single rows.

A row group of the file is read when something of it is asked for.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from base.artifacts import reading
from base.console import UserError

FILE = "pictures.parquet"  # in an index
GROUPS_HELD = 8  # columns of row groups that stay in memory


class Entries:
    """The pictures of an index.

    Args:
        folder: the index.
        num_words: K.

    Raises:
        UserError: the file can't be read.
    """

    def __init__(self, folder: Path, num_words: int) -> None:
        self.path, self.num_words = folder / FILE, num_words
        with reading(self.path):
            self._metadata = pq.read_metadata(self.path)
        sizes = [self._metadata.row_group(number).num_rows for number in range(self._metadata.num_row_groups)]
        self._starts = np.cumsum([0, *sizes])
        self._column = lru_cache(GROUPS_HELD)(self._read)
        self._held: list[np.ndarray] | None = None

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def held(self) -> bool:
        """Whether the click features are in memory."""
        return self._held is not None

    def hold(self) -> None:
        """Read all click features into memory, for many searches."""
        self._held = list(self.blocks())

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the click features of a row group at a time, in the order of the rows: float32 (pictures, K).

        Raises:
            UserError: they have another length.
        """
        if self._held is not None:
            yield from self._held
            return
        for group, size in enumerate(np.diff(self._starts)):
            values = self._read(group, "clicks").combine_chunks().values
            if len(values) != size * self.num_words:
                raise UserError(f"{self.path}: its vectors have another length than index.json's words; make it again")
            yield values.to_numpy().reshape(size, self.num_words)

    def names(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        """Return the names of pictures by their rows."""
        return [self._value(int(row), "image") for row in rows]

    def thumbnail(self, row: int) -> bytes | None:
        """Return a picture's JPEG; None: there is no such row, or it has none."""
        if not 0 <= row < len(self):
            return None
        found: bytes | None = self._value(row, "thumbnail")
        return found

    def _value(self, row: int, column: str) -> Any:
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._column(group, column)[row - int(self._starts[group])].as_py()

    def _read(self, group: int, column: str) -> pa.ChunkedArray:
        with reading(self.path):
            file = pq.ParquetFile(self.path, metadata=self._metadata)  # which takes longer to read than a row group
            return file.read_row_group(group, columns=[column])[column]
