"""How artifacts reach the disk: whole or not at all, and with the same bytes for the same rows."""

import json
import os
import re
import shutil
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from base.console import UserError
from base.outputs import why_not

COMPRESSION = "zstd"
SHARDS = ("part-*.parquet",)  # all that a folder of shards holds


@contextmanager
def whole_directory(path: Path, holds: Sequence[str] = ("*",)) -> Iterator[Path]:
    """Yield an empty folder that replaces ``path`` when the block ends well and vanishes when it fails.

    The folder stands beside ``path`` under a hidden name, so the final rename stays on one file system. An older folder
    is moved aside before it is deleted: a run killed at any moment leaves the old one, the new one, or none, never a
    part of one. What it left under hidden names is swept away by the next run. Of a link to a folder, the folder is
    replaced and the link stays.

    Args:
        path: the folder.
        holds: names of what such a folder has in it, as in ``part-*.parquet``. A folder that holds anything else is
            not ours to delete.

    Raises:
        UserError: ``path`` must not be replaced: it is a file, holds the current folder, or something else.
    """
    path = _behind_link(Path(path))
    if reason := why_not(path) or _foreign(path, holds):
        raise UserError(f"{path}: {reason}")
    with scratch_directory(path) as temporary:
        yield temporary
        old = _hidden_name(path)
        if path.exists():
            path.rename(old)
        temporary.rename(path)
        shutil.rmtree(old, ignore_errors=True)


def _behind_link(path: Path) -> Path:
    """Return what a link leads to: an output replaces that, and its scratch folders belong on that disk."""
    return path.resolve() if path.is_symlink() else path


def _foreign(path: Path, holds: Sequence[str]) -> str:
    """Say what keeps a folder from being one that a stage wrote; empty if nothing does."""
    if not path.exists():
        return ""
    if not path.is_dir():
        return "is a file; name a folder to write"
    for name in sorted(child.name for child in path.iterdir()):
        if not any(fnmatchcase(name, pattern) for pattern in holds):
            return f"holds {name}, which this command never writes and would delete; name a folder of its own"
    return ""


@contextmanager
def scratch_directory(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path``, under a hidden name, that vanishes after the block.

    What a killed run leaves is swept away by the next one that has the same ``path``.
    """
    path = _behind_link(Path(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_leftovers(path)
    temporary = _hidden_name(path)
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary file name that replaces ``path`` when the block ends well and vanishes when it fails.

    Raises:
        UserError: ``path`` is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file to write")
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_leftovers(path)
    temporary = _hidden_name(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _hidden_name(path: Path) -> Path:
    return path.parent / f".{path.name}.{os.getpid()}-{uuid.uuid4().hex}.partial"


def sweep_leftovers(path: Path) -> None:
    """Remove what killed runs have left beside ``path``; what a living process is still writing stays."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.(\d+)-[0-9a-f]{{32}}\.partial")
    for leftover in path.parent.iterdir():
        match = pattern.fullmatch(leftover.name)
        if match is None or is_alive(int(match[1])):
            continue
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def is_alive(process: int) -> bool:
    """Whether there is a process of this id, perhaps somebody else's."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def write_table(table: pa.Table, path: Path, row_group_rows: int = 65_536) -> None:
    """Write one Parquet file, whole or not at all; codec, encodings and row-group size are set: bytes stay.

    Floats hardly repeat: split by bytes they pack better than in a dictionary, in half the time.
    """
    floats, others = _leaves(table.schema)
    with whole_file(path) as temporary:
        pq.write_table(
            table,
            temporary,
            compression=COMPRESSION,
            row_group_size=row_group_rows,
            version="2.6",
            use_dictionary=others,
            use_byte_stream_split=floats,
        )


def _leaves(fields: Iterable[pa.Field], path: str = "") -> tuple[list[str], list[str]]:
    """Return the Parquet paths of the float columns and of all others."""
    floats, others = [], []
    for field in fields:
        name = path + field.name
        if pa.types.is_struct(field.type) or pa.types.is_list(field.type):
            inner = (
                list(field.type)
                if pa.types.is_struct(field.type)
                else [pa.field("list.element", field.type.value_type)]
            )
            more_floats, more_others = _leaves(inner, f"{name}.")
            floats += more_floats
            others += more_others
        else:
            (floats if pa.types.is_floating(field.type) else others).append(name)
    return floats, others


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write one JSON file, whole or not at all, with stable bytes; NaN is refused because readers disagree on it."""
    with whole_file(path) as temporary:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that a stage wrote: a mapping.

    Raises:
        FileNotFoundError: there is none; the message names the path.
        UserError: it is damaged.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; run the stage that writes it, or `dvc repro`") from None
    except ValueError as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); run what writes it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no mapping; run what writes it again")
    return content


def shard_of(key: str, num_shards: int) -> int:
    """Return the shard of a key: the same on every machine and in every run (unlike ``hash()``)."""
    return zlib.crc32(key.encode("utf-8")) % num_shards


def shard_name(shard: int) -> str:
    """Return the file name of a shard, as in ``part-00003.parquet``."""
    return f"part-{shard:05d}.parquet"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say which file it is that Arrow cannot read: its own words leave that out.

    Raises:
        UserError: the file is damaged, cut short, or not Parquet.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(
            f"{path}: cannot be read as Parquet ({error}); if it is damaged or cut short, fetch it again or run what "
            "writes it"
        ) from error


def read_tables(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet file, or all shards of a folder in name order, as one table.

    Raises:
        FileNotFoundError: nothing is there; the message names the path.
        UserError: a file is damaged.
    """
    path = Path(path)
    files = [path] if path.is_file() else sorted(path.glob("*.parquet"))
    if not files:
        raise FileNotFoundError(f"{path}: no such Parquet file or folder of shards; run the stage that writes it")
    tables = []
    for file in files:
        with reading(file):
            tables.append(pq.read_table(file, columns=columns))
    return pa.concat_tables(tables)
