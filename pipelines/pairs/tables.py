"""Read image-text pairs from tables: Parquet, tab-separated text with a header, JSON Lines; the texts also gzipped.

A table has a row for each pair. Its images are in it (Parquet: a column of bytes, or of structs with the field `bytes`,
as Hugging Face's `datasets` writes them; text: a column of base64), or in a folder: the column then has paths below it.
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.parquet as pq

from base.artifacts import reading
from base.console import UserError
from base.inputs import check_file
from pipelines.ingest.image_archives import LEADS_OUT, BadImageError, Place, decode_base64
from pipelines.ingest.image_catalogue import BYTE_ORDER_MARK, show
from pipelines.pairs.records import Piece, RawPair

NEEDED, OPTIONAL = ("id", "text", "category"), ("split",)
IMAGE, IMAGE_BASE64 = "image", "image_base64"  # bytes or a path; base64 text
COLUMNS = (*NEEDED, *OPTIONAL, IMAGE, IMAGE_BASE64)
FORMS = {".parquet": "parquet", ".tsv": "tsv", ".txt": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
READ_ROWS = 64  # rows of Parquet that are converted at once


@dataclass(frozen=True)
class TablePiece(Piece):
    """A row group of a Parquet file, or a whole file of text.

    Attributes:
        path: the file.
        form: parquet, tsv or jsonl.
        columns: the table's name of each of COLUMNS that it has.
        root: the folder of the images.
        group: number of the row group.
        first_row: number of its first row in the file, from 1.
    """

    path: Path
    form: str
    columns: Mapping[str, str]
    root: Path
    group: int = 0
    first_row: int = 1

    def read(self) -> Iterator[RawPair]:
        """Yield the rows."""
        rows = {"parquet": self._parquet, "tsv": self._tsv, "jsonl": self._jsonl}[self.form]()
        for number, cells in rows:
            if isinstance(cells, RawPair):
                yield cells
            else:
                yield self._pair(number, cells)

    def _parquet(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        number = self.first_row
        with reading(self.path), pq.ParquetFile(self.path) as file:
            wanted = list(self.columns.values())
            for batch in file.iter_batches(READ_ROWS, row_groups=[self.group], columns=wanted):
                for cells in batch.to_pylist():
                    yield number, cells
                    number += 1

    def _lines(self) -> Iterator[tuple[int, str | RawPair]]:
        with open_text(self.path) as stream:
            for number, line in enumerate(stream, start=1):
                text = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
                text = text.rstrip(b"\r\n")
                try:
                    yield number, text.decode("utf-8") if text else self._refused(number, "empty line", text)
                except UnicodeDecodeError:
                    yield number, self._refused(number, "not UTF-8", text)

    def _tsv(self) -> Iterator[tuple[int, Mapping[str, Any] | RawPair]]:
        names: list[str] = []
        for number, line in self._lines():
            if isinstance(line, RawPair):
                yield number, line
            elif not names:
                names = line.split("\t")
            elif len(fields := line.split("\t")) != len(names):
                yield number, self._refused(number, f"not {len(names)} fields", line.encode())
            else:
                yield number, dict(zip(names, fields, strict=True))

    def _jsonl(self) -> Iterator[tuple[int, Mapping[str, Any] | RawPair]]:
        for number, line in self._lines():
            if isinstance(line, RawPair):
                yield number, line
                continue
            try:
                cells = json.loads(line)
            except (ValueError, RecursionError):
                cells = None
            yield (
                number,
                cells if isinstance(cells, dict) else self._refused(number, "not a JSON object", line.encode()),
            )

    def _refused(self, number: int, reason: str, raw: bytes) -> RawPair:
        return RawPair(self.path.name, number, reason=reason, raw=show(raw))

    def _pair(self, number: int, cells: Mapping[str, Any]) -> RawPair:
        pair_id, text, category, split = (as_text(cells.get(self.columns.get(name, ""))) for name in NEEDED + OPTIONAL)
        if isinstance(labels := cells.get(self.columns["category"]), list):
            category = as_text(labels[0]) if labels else ""
        pair = RawPair(self.path.name, number, pair_id, category, split, text)
        if IMAGE_BASE64 in self.columns:
            encoded = as_text(cells.get(self.columns[IMAGE_BASE64]))
            try:
                return pair._replace(image=decode_base64(encoded.encode()) if encoded else None)
            except BadImageError as error:
                return pair._replace(reason=str(error))
        return with_image(pair, cells.get(self.columns[IMAGE]))


def with_image(pair: RawPair, cell: Any) -> RawPair:
    """Return the pair with the image that a cell has: bytes, a struct of bytes and path, or a path."""
    if isinstance(cell, dict):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, bytes):
        return pair._replace(image=cell or None)
    path = as_text(cell)
    if not path:
        return pair
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\0" in path:
        return pair._replace(reason=LEADS_OUT.replace("archive", "images' folder"))
    return pair._replace(image=Place(path, name=path))


def as_text(cell: Any) -> str:
    """Return a cell as text: several values joined by spaces, none as an empty text."""
    if isinstance(cell, list):
        return " ".join(as_text(value) for value in cell if value is not None)
    return "" if cell is None else str(cell)


def open_text(path: Path) -> Any:
    """Open a file of text for reading bytes, also if it is gzipped."""
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def table_pieces(path: Path, names: Mapping[str, str], images: Path | None) -> list[TablePiece]:
    """Return the pieces of a table: a file, or a folder of Parquet files.

    Args:
        path: the file or folder.
        names: the table's names of COLUMNS where they are others.
        images: the folder of the images; by default that of the table.

    Raises:
        UserError: the file's form is unknown, it is damaged or lacks a column.
    """
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise UserError(f"{path}: no *.parquet here; name a table (Parquet, TSV, JSON Lines) or a folder of Parquet")
    if unknown := sorted(set(names) - set(COLUMNS)):
        raise UserError(f"columns: {unknown[0]!r} is none of {', '.join(COLUMNS)}")
    pieces = []
    for file in files:
        check_file(file)
        form = FORMS.get(Path(file.name.removesuffix(".gz")).suffix.lower())
        if form is None:
            raise UserError(f"{file}: not known as a table by its name; known: {', '.join(FORMS)}, also with .gz")
        root = images if images is not None else file.parent
        columns = chosen_columns(file, columns_of(file, form), names)
        groups = [0]
        if form == "parquet":
            with reading(file), pq.ParquetFile(file) as opened:
                groups = [opened.metadata.row_group(group).num_rows for group in range(opened.num_row_groups)]
        first = 1
        for group, rows in enumerate(groups):
            pieces.append(TablePiece(file, form, columns, root, group, first))
            first += rows
    return pieces


def columns_of(file: Path, form: str) -> list[str]:
    """Return the names of a table's columns; of JSON Lines those of the first row.

    Raises:
        UserError: the file has no header or first row.
    """
    if form == "parquet":
        with reading(file):
            return list(pq.read_schema(file).names)
    with open_text(file) as stream:
        first = stream.readline().removeprefix(BYTE_ORDER_MARK).rstrip(b"\r\n").decode("utf-8", "replace")
    if form == "tsv":
        return first.split("\t")
    try:
        return list(json.loads(first))
    except (ValueError, TypeError):
        raise UserError(f"{file}: the first line is not a JSON object: {show(first.encode())!r}") from None


def chosen_columns(file: Path, found: list[str], names: Mapping[str, str]) -> dict[str, str]:
    """Return the table's name of each of COLUMNS that it has.

    Raises:
        UserError: a needed or named column, or one of images, is missing.
    """
    columns = {name: names.get(name, name) for name in COLUMNS}
    here = {name: column for name, column in columns.items() if column in found}
    missing = [name for name in columns if name not in here and (name in NEEDED or name in names)]
    if not missing and IMAGE not in here and IMAGE_BASE64 not in here:
        missing = [IMAGE]
    if missing:
        name = missing[0]
        raise UserError(
            f"{file}: no column {columns[name]!r}, which should have the {name}; it has {', '.join(found)}. Name the "
            f"right one: columns: {{{name}: NAME}}, or --columns {name}=NAME"
        )
    return here
