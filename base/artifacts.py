"""Reads and writes artifacts: an output is written whole or not at all, and equal rows give equal bytes."""

import json
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from base.console import MAKE_ROOM, UserError, is_no_room
from base.inputs import check_file
from base.outputs import reason_not_to_write
from base.replacement import hidden_name, put_back, replace, sweep_leftovers
from base.stores import Location, StorePath, location, sorted_glob, source

COMPRESSION = "zstd"
# The form of every Parquet file: plain values and dictionaries are the encodings that all common programs read.
# BYTE_STREAM_SPLIT would pack floats better, but Spark and fastparquet refuse it (docs/click_features.md).
PARQUET: dict[str, Any] = {"version": "2.6", "data_page_version": "1.0", "use_byte_stream_split": False}
SHARDS = ("part-*.parquet",)  # names of all files in a folder of shards


@contextmanager
def whole_directory(path: Path, holds: Sequence[str] = ("*",)) -> Iterator[Path]:
    """Yield an empty folder that replaces ``path`` if the block succeeds and is deleted if it fails.

    The new folder has a hidden name beside ``path``, so the final rename stays on one file system. It is exchanged with
    an older folder at ``path``: a run killed at any moment leaves the whole old folder or the whole new one
    (:mod:`base.replacement`). The next run deletes hidden folders that a killed run left. If ``path`` is a link to a
    folder, that folder is replaced and the link stays.

    Args:
        path: the folder.
        holds: patterns of the names that this command writes into the folder, as in ``part-*.parquet``. A folder with
            any other name in it is not replaced.

    Raises:
        UserError: ``path`` must not be replaced: it is a file, holds the current folder, or holds other names. Or there
            is no room to write.
    """
    path = _follow_link(Path(path))
    put_back(path)
    if reason := reason_not_to_write(path) or _reason_not_to_replace(path, holds):
        raise UserError(f"{path}: {reason}")
    with scratch_directory(path) as temporary:
        yield temporary
        replace(path, temporary)


def _follow_link(path: Path) -> Path:
    """Return the target of a link: an output replaces the target, and scratch folders belong on the target's disk."""
    return path.resolve() if path.is_symlink() else path


def _reason_not_to_replace(path: Path, holds: Sequence[str]) -> str:
    """Return why a path is not an earlier output of this command; an empty text if it is one or doesn't exist."""
    if not path.exists():
        return ""
    if not path.is_dir():
        return "is a file; name a folder to write"
    for name in sorted(child.name for child in path.iterdir()):
        if not any(fnmatchcase(name, pattern) for pattern in holds):
            return f"holds {name}, which this command never writes and would delete; name a new or empty folder"
    return ""


@contextmanager
def scratch_directory(path: Path) -> Iterator[Path]:
    """Yield an empty folder with a hidden name beside ``path``; delete it after the block.

    The next run with the same ``path`` deletes what a killed run left.

    Raises:
        UserError: there is no room to write.
    """
    path = _follow_link(Path(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_leftovers(path)
    temporary = hidden_name(path)
    with _no_room_is_reported(path):
        temporary.mkdir()
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def whole_file(path: Location) -> Iterator[Path]:
    """Yield a temporary file name that replaces ``path`` if the block succeeds; delete the file if the block fails.

    An object of a store is written into the machine's folder for temporary files first.

    Raises:
        UserError: ``path`` is a folder, or there is no room to write.
    """
    if isinstance(path, StorePath):
        with _no_room_is_reported(path), tempfile.TemporaryDirectory(prefix="clicksight-") as folder:
            yield Path(folder) / path.name
            path.put(Path(folder) / path.name)
        return
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file to write")
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_leftovers(path)
    temporary = hidden_name(path)
    with _no_room_is_reported(path):
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _no_room_is_reported(path: Location) -> Iterator[None]:
    """Turn any library's error about a full disk into a :class:`UserError` that names the output.

    Outputs are nested: a file of a folder, which has a hidden name yet. The outermost output is named in the end.

    Raises:
        UserError: there was no room to write.
    """
    try:
        yield
    except Exception as error:
        if not is_no_room(error):
            raise
        raise UserError(f"{path}: {MAKE_ROOM}") from error


@contextmanager
def table_writer(path: Location, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Yield the writer of one Parquet file, which appears whole or not at all; codec and encodings are fixed.

    Floats rarely repeat, so they have no dictionary: it would take more bytes and more time than plain values.
    """
    columns = columns_but_floats(schema)
    with (
        whole_file(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression=COMPRESSION, use_dictionary=columns, **PARQUET) as writer,
    ):
        yield writer


def write_table(table: pa.Table, path: Location, row_group_rows: int = 65_536) -> None:
    """Write one Parquet file, whole or not at all; the fixed row-group size also keeps its bytes stable.

    A table without rows has no row group, because Hugging Face's `datasets` refuses a folder with an empty row group in
    it.
    """
    with table_writer(path, table.schema) as writer:
        if table.num_rows:
            writer.write_table(table, row_group_size=row_group_rows)


def columns_but_floats(fields: Iterable[pa.Field], path: str = "") -> list[str]:
    """Return the Parquet paths of all columns except those of floats, as in ``clicks.list.element``."""
    columns = []
    for field in fields:
        if pa.types.is_struct(field.type):
            columns += columns_but_floats(field.type, f"{path}{field.name}.")
        elif pa.types.is_list(field.type):
            element = pa.field("list.element", field.type.value_type)
            columns += columns_but_floats([element], f"{path}{field.name}.")
        elif not pa.types.is_floating(field.type):
            columns.append(path + field.name)
    return columns


def write_json(content: Mapping[str, Any], path: Location) -> None:
    """Write one JSON file, whole or not at all, with stable bytes; raise on NaN, because readers disagree on it."""
    with whole_file(path) as temporary:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Location) -> dict[str, Any]:
    """Read a mapping from a JSON file that a stage wrote.

    Raises:
        FileNotFoundError: the file doesn't exist; the message names the path.
        UserError: the file is not JSON or not a mapping.
    """
    try:
        content = json.loads(location(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; run the stage that writes it, or `dvc repro`") from None
    except ValueError as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); run the stage that writes it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no mapping; run the stage that writes it again")
    return content


def shard_of(key: str, num_shards: int) -> int:
    """Return the shard of a key: the same on every machine and in every run (unlike ``hash()``)."""
    return zlib.crc32(key.encode("utf-8")) % num_shards


def shard_name(shard: int) -> str:
    """Return the file name of a shard, as in ``part-00003.parquet``."""
    return f"part-{shard:05d}.parquet"


@contextmanager
def reading(path: Location) -> Iterator[None]:
    """Turn Arrow's errors in the block into a :class:`UserError` that names the file; Arrow's own text doesn't.

    Raises:
        UserError: the file is damaged, cut short, not Parquet, or not a regular file.
    """
    check_file(path)
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(
            f"{path}: cannot be read as Parquet ({error}); if the file is damaged or cut short, fetch it again or "
            "run the stage that writes it"
        ) from error


def read_tables(path: Location, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet file, or all shards of a folder in name order, as one table.

    Raises:
        FileNotFoundError: there is no Parquet file; the message names the path.
        UserError: a file is damaged.
    """
    path = location(path)
    files = [path] if path.is_file() else sorted_glob(path, "*.parquet")
    if not files:
        raise FileNotFoundError(f"{path}: no such Parquet file or folder of shards; run the stage that writes it")
    tables = []
    for file in files:
        with reading(file):
            tables.append(pq.read_table(source(file), columns=columns))
    return pa.concat_tables(tables)
