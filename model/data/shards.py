"""The places of encoded images in Parquet shards, so that an image is read when it is needed and not before.

`ingest` writes the bytes of images without compression, so an image lies in its shard as it is, and 20 bytes of index
are all that a process has to hold of it. Several processes of a machine share the kernel's cache of the files.
"""

import mmap
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from base.console import UserError, progress

BYTES = "image.bytes"  # the column's path in a shard
UNKNOWN = -1  # the length of an image that has not been looked for


class EncodedImages:
    """The encoded images of the given rows, by row number.

    :meth:`find` looks for images; one that it was not asked for is found, with all others, when it is read.

    Args:
        folders: folders of shards, each with the domains that are read from it.
        rows: the images, with columns ``domain`` and ``image_id``.

    Attributes:
        order: the place of each row in an order in which the images of a shard follow each other, scrambled. Ids often
            begin with categories, so their own order would not do for groups of images (`TrainParams.groups`).

    Raises:
        UserError: an image is not in the shards (named), or a folder has no shards.
    """

    def __init__(self, folders: Mapping[Path, list[str]], rows: pl.DataFrame) -> None:
        self._files: list[BinaryIO] = []  # of the shards; open, so that a shard that is replaced is still the same
        self._shard = np.empty(len(rows), np.int32)  # the number of the shard; ~number of the piece that holds a copy
        self._start = np.empty(len(rows), np.int64)  # first the row in the shard; then bytes, or the row in the piece
        self._length = np.full(len(rows), UNKNOWN, np.int32)  # bytes
        self._pieces: list[pa.Array] = []  # copies of images that lie compressed or encoded in their shards
        self._lock = threading.Lock()
        wanted = rows.select("domain", "image_id").with_row_index("row")
        for folder, domains in folders.items():
            self._index(folder, wanted.filter(pl.col("domain").is_in(domains)))
        pa.default_memory_pool().release_unused()
        self.order = np.empty(len(rows), np.int32)
        self.order[np.argsort(self._shard.astype(np.int64) << 32 | scrambled(self._start))] = np.arange(len(rows))

    def __len__(self) -> int:
        return len(self._length)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for another process that is not a fork: it opens the shards itself."""
        return {**vars(self), "_files": [file.name for file in self._files], "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state, and open the shards."""
        vars(self).update(state)
        self._files = [Path(name).open("rb") for name in state["_files"]]  # noqa: SIM115 (open as long as the object)
        self._lock = threading.Lock()

    def __getitem__(self, row: int) -> bytes:
        """Return an encoded image.

        Raises:
            UserError: its shard was cut or overwritten since it was found.
        """
        if self._length[row] == UNKNOWN:
            self.find(np.arange(len(self)))
        shard, start, length = int(self._shard[row]), int(self._start[row]), int(self._length[row])
        if shard < 0:
            return self._pieces[~shard][start].as_py()
        found = os.pread(self._files[shard].fileno(), length, start)
        if len(found) != length:
            raise UserError(
                f"{self._files[shard].name}: has become shorter; run the ingest stage, then this command again"
            )
        return found

    def find(self, rows: np.ndarray) -> None:
        """Look for the images of some rows; reads the parts of the shards that hold any of them."""
        with self._lock:
            rows = np.unique(rows[self._length[rows] == UNKNOWN])
            rows = rows[np.lexsort((self._start[rows], self._shard[rows]))]
            cuts = np.flatnonzero(np.diff(self._shard[rows])) + 1
            shards = [part for part in np.split(rows, cuts) if len(part)]
            for of_shard in progress(shards, "find images", "shards", total=len(shards)):
                self._find_in_shard(int(self._shard[of_shard[0]]), of_shard)
            pa.default_memory_pool().release_unused()

    def _index(self, folder: Path, wanted: pl.DataFrame) -> None:
        """Note the shard and the row there of each wanted image."""
        files = sorted(folder.glob("*.parquet"))
        if not files:
            raise UserError(f"{folder}: no image shards here; run the ingest stage")
        keys = []
        for path in files:
            file = path.open("rb")
            table = pq.read_table(file, columns=["domain", "image_id"])
            named = {name: pl.Series(pl.from_arrow(table[name])) for name in ("domain", "image_id")}
            shard = pl.lit(len(self._files), pl.Int32)
            keys.append(pl.DataFrame(named).with_columns(shard=shard, start=pl.int_range(pl.len(), dtype=pl.Int64)))
            self._files.append(file)
        found = wanted.join(pl.concat(keys), on=["domain", "image_id"], how="left")
        missing = found.filter(pl.col("shard").is_null())["image_id"].to_list()
        if missing:
            raise UserError(
                f"{folder}: {len(missing)} of {len(wanted)} images are not there, as"
                f" {', '.join(map(repr, missing[:5]))}; run the ingest and select stages again"
            )
        rows = found["row"].to_numpy()
        self._shard[rows], self._start[rows] = found["shard"].to_numpy(), found["start"].to_numpy()

    def _find_in_shard(self, shard: int, rows: np.ndarray) -> None:
        """Find the images of some rows, which are all in this shard, in the order of the shard."""
        file, places = self._files[shard], self._start[rows]
        with pq.ParquetFile(file) as parquet, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
            sizes = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
            firsts = np.r_[0, np.cumsum(sizes)]
            group_of = np.searchsorted(firsts, places, "right") - 1
            for group in np.unique(group_of):
                inside = group_of == group
                chunks = parquet.read_row_group(int(group), columns=[BYTES])["image"].chunks
                encoded = pa.chunked_array(
                    [pc.struct_field(chunk, "bytes").cast(pa.large_binary()) for chunk in chunks], pa.large_binary()
                ).combine_chunks()
                starts = find_values(memory, _plain(parquet, group), (value.as_py() for value in encoded))
                self._note(rows[inside], places[inside] - firsts[group], encoded, starts)

    def _note(self, rows: np.ndarray, places: np.ndarray, encoded: pa.Array, starts: list[int] | None) -> None:
        """Note where images of a row group lie in their shard, or keep copies if they don't lie there as they are.

        Args:
            rows: the wanted images.
            places: of these in the row group.
            encoded: all images of the row group.
            starts: where they begin in the shard; None: they don't lie there as they are.
        """
        lengths = pc.binary_length(encoded).to_numpy()
        if starts is None:
            self._shard[rows], self._start[rows] = ~len(self._pieces), np.arange(len(rows))
            self._pieces.append(encoded.take(pa.array(places)))
        else:
            self._start[rows] = np.array(starts)[places]
        self._length[rows] = lengths[places]


def _plain(parquet: pq.ParquetFile, group: int) -> range:
    """Return where a row group's images are in the shard, in bytes; none if they are compressed."""
    described = parquet.metadata.row_group(int(group))
    columns = [described.column(number) for number in range(described.num_columns)]
    column = next(column for column in columns if column.path_in_schema == BYTES)
    if column.compression != "UNCOMPRESSED" or column.has_dictionary_page:
        return range(0)
    start = column.data_page_offset
    return range(start, start + column.total_compressed_size)


def find_values(memory: mmap.mmap, inside: range, values: Iterable[bytes]) -> list[int] | None:
    """Return where values begin that follow each other as Parquet's plain encoding has them; None if they don't.

    Each has its length before it (4 bytes, little-endian), and headers of pages may lie between two. What is returned
    is right however the file came about: the bytes at each place were compared.

    Args:
        memory: the bytes of a file.
        inside: the bytes where the values are looked for.
        values: in their order.
    """
    starts, position = [], inside.start
    for value in values:
        stored = len(value).to_bytes(4, "little") + value
        if position + len(stored) > inside.stop:
            return None
        if memory[position : position + len(stored)] != stored:
            position = memory.find(stored, position, inside.stop)
            if position < 0:
                return None
        starts.append(position + 4)
        position += len(stored)
    return starts


def scrambled(numbers: np.ndarray) -> np.ndarray:
    """Return a number in [0, 2^32) for each number, without any visible order (the last steps of MurmurHash3).

    Shape:
        numbers: any integers; result: int64, distinct for distinct numbers below 2^32
    """
    mixed = numbers.astype(np.uint64) & np.uint64(0xFFFFFFFF)
    for factor, shift in ((0x85EBCA6B, 16), (0xC2B2AE35, 13), (1, 16)):
        mixed ^= mixed >> np.uint64(shift)
        mixed = mixed * np.uint64(factor) & np.uint64(0xFFFFFFFF)
    return mixed.astype(np.int64)
