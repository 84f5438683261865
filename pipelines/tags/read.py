"""Read tag logs in blocks, and check their rows.

    files = find_logs(["tags.tsv"])      # pipelines/ingest/click_log.py
    rows = pipeline | "TagLog" >> ReadTagLog(files, layout_of(params), params.fold, left_out=())
    rows.tags, rows.quarantine, rows.counts

Files are read one after the other, some 16 MiB at a time; the rows of several blocks are checked at once.
"""

import csv
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from base.artifacts import reading
from base.console import UserError
from pipelines.beam.blocks import BlockCoder
from pipelines.beam.concurrency import concurrently
from pipelines.ingest.click_rows import KEPT, LONGEST_LINE, MARK, NOT_UTF8, as_bytes, valid_rows
from pipelines.ingest.containers import PARQUET, documents, unpacking
from pipelines.ingest.encodings import as_utf8
from pipelines.ingest.log_records import csv_rows
from pipelines.ingest.log_slices import SLICE_BYTES, SLICE_ROWS, LogFile, num_lines, whole_lines
from pipelines.tags.layouts import FIELDS, IMAGE, NUS_LISTS, TAG, USER, YFCC_COLUMNS, TagLayout, places_in
from pipelines.tags.rows import Rows, check_rows, of_fields, split_lines

HEAD = 1 << 16  # bytes, in which the header must end
LIST_SEPARATOR = "\x1f"  # between the tags of a Parquet list


class TagBlock(NamedTuple):
    """Some rows of a log, read but not yet checked.

    Attributes:
        name: the file's name in the quarantine.
        first_row: the 1-based number of its first row.
        rows: whole lines, a batch of `log_records.RECORDS` (CSV with quotes), or the columns of FIELDS of Parquet.
        layout: how tags stand in their field.
        places: of lines and records: for each permitted number of fields, the position of each field.
        delimiter: between the fields of lines and records.
        has_header: whether the first line holds names.
    """

    name: str
    first_row: int
    rows: bytes | pa.RecordBatch
    layout: TagLayout
    places: Mapping[int, Mapping[str, int]]
    delimiter: str = "\t"
    has_header: bool = False


beam.coders.registry.register_coder(TagBlock, BlockCoder)


def read_blocks(file: LogFile, layout: TagLayout) -> Iterator[TagBlock]:
    """Read a file.

    Raises:
        UserError: the file is damaged, its header lacks a field, or of NUS-WIDE's lists one is missing or shorter.
    """
    path = Path(file.path)
    if layout.kind == "nus-wide":
        yield from _lists(file, layout)
        return
    with path.open("rb") as stream:
        is_parquet = stream.read(len(PARQUET)) == PARQUET
    if is_parquet:
        yield from _parquet(file, layout)
        return
    for document in documents(path, file.name):
        with unpacking(path):
            head = document.stream.peek(HEAD).removeprefix(MARK).split(b"\n", 1)[0].removesuffix(b"\r")
        yield from _text(document.stream, document.name, head, file, layout)


def _text(stream: Any, name: str, head: bytes, file: LogFile, layout: TagLayout) -> Iterator[TagBlock]:
    """Read a text from its beginning to its end."""

    def chunks() -> Iterator[bytes]:
        with unpacking(Path(file.path)):
            while chunk := stream.read(SLICE_BYTES):
                yield chunk

    places: Mapping[int, Mapping[str, int]] = YFCC_COLUMNS
    columns: Sequence[str] = ()
    has_header, delimiter = layout.kind != "yfcc100m", "\t"
    if has_header:
        text = head.decode("utf-8", "replace")
        delimiter = "\t" if "\t" in text else ","
        columns = text.split("\t") if delimiter == "\t" else next(csv.reader([text]), [])
        places = {len(columns): places_in(columns, layout.names, file.path)}
    lines = whole_lines(as_utf8(chunks(), "utf-8"), LONGEST_LINE)
    if delimiter == ",":
        for row, rows in csv_rows(lines, columns, {}, delimiter, LONGEST_LINE, has_header):
            yield TagBlock(name, row, rows, layout, places, delimiter, has_header and row == 1)
        return
    row = 1
    for block in lines:
        block = block.removeprefix(MARK) if row == 1 else block
        yield TagBlock(name, row, block, layout, places, delimiter, has_header and row == 1)
        row += num_lines(block)


def _parquet(file: LogFile, layout: TagLayout) -> Iterator[TagBlock]:
    """Read Parquet; a list of tags becomes one text with LIST_SEPARATOR."""
    path, row = Path(file.path), 1
    with reading(path):
        parquet = pq.ParquetFile(path)
        schema = parquet.schema_arrow
        if layout.kind == "yfcc100m":
            raise UserError(f"{path}: the layout {layout.kind} is a text; read Parquet as layout table")
        places = places_in(schema.names, layout.names, file.path)
        if pa.types.is_list(schema.types[places[TAG]]) or pa.types.is_large_list(schema.types[places[TAG]]):
            layout = layout._replace(separator=LIST_SEPARATOR)
        for batch in parquet.iter_batches(SLICE_ROWS, columns=[schema.names[place] for place in places.values()]):
            columns = {}
            for field, place in places.items():
                column = batch.column(schema.names[place])
                if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
                    column = pc.binary_join(column.cast(pa.list_(pa.string())), LIST_SEPARATOR)
                elif pa.types.is_timestamp(column.type):
                    column = column.cast(pa.timestamp("s", column.type.tz), safe=False).cast(pa.int64())
                columns[field] = as_bytes(column)
            missing = pa.repeat(pa.scalar(b""), batch.num_rows)
            yield TagBlock(
                file.name, row, pa.record_batch({name: columns.get(name, missing) for name in FIELDS}), layout, {}
            )
            row += batch.num_rows


def _lists(file: LogFile, layout: TagLayout) -> Iterator[TagBlock]:
    """Read the three lists of a part of NUS-WIDE; the log's file is the list of images, the others lie beside it."""
    path = Path(file.path)
    if not path.name.endswith(NUS_LISTS[0]):
        if path.name.endswith(NUS_LISTS[1:]):
            return
        raise UserError(f"{path}: a list of images has a name as trainimgs.txt, with trainusrs.txt and traintags.txt")
    texts = []
    for ending in NUS_LISTS:
        beside = path.with_name(path.name.removesuffix(NUS_LISTS[0]) + ending)
        if not beside.is_file():
            raise UserError(f"{beside}: no such file; {path.name} needs the lists of its users and tags beside it")
        texts.append(beside.read_bytes().replace(b"\t", b" ").removesuffix(b"\n").split(b"\n"))
    if len({len(text) for text in texts}) > 1:
        numbers = ", ".join(f"{len(text):,} {ending}" for text, ending in zip(texts, NUS_LISTS, strict=True))
        raise UserError(f"{path}: the lists differ in length: {numbers} lines; they must go line by line")
    rows = b"\n".join(b"\t".join(fields) for fields in zip(*texts, strict=True))
    yield TagBlock(file.name, 1, rows, layout, {3: {IMAGE: 0, USER: 1, TAG: 2}})


def check_block(
    block: TagBlock, fold: bool, left_out: Collection[str], longest: int = LONGEST_LINE
) -> Iterable[beam.pvalue.TaggedOutput]:
    """Check a block's rows; yield tags, quarantine and counts, each under its tag."""
    if isinstance(block.rows, bytes):
        rows = split_lines(block.rows, block.first_row, block.places, block.delimiter, longest, block.has_header)
    elif block.places:
        rows = _of_records(block)
    else:
        rows = _of_columns(block)
    checked = check_rows(rows, block.name, block.layout, fold, left_out)
    yield beam.pvalue.TaggedOutput("counts", ("rows read", len(rows)))
    yield beam.pvalue.TaggedOutput("tags", checked.tags)
    if checked.quarantine.num_rows:
        yield beam.pvalue.TaggedOutput("quarantine", checked.quarantine)
    for count in checked.counts.items():
        yield beam.pvalue.TaggedOutput("counts", count)


def _of_records(block: TagBlock) -> Rows:
    """Return rows of CSV, whose fields are parsed again: `csv_rows` returns those of a click log alone."""
    assert isinstance(block.rows, pa.RecordBatch)
    reasons, fields = block.rows.column("reason").to_numpy().copy(), []
    for number, raw in enumerate(block.rows.column("raw").to_pylist()):
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            reasons[number] = reasons[number] or NOT_UTF8
        if reasons[number] == KEPT:
            fields.append(next(csv.reader([text], delimiter=block.delimiter), []))
    return of_fields(block.rows.column("row").to_numpy(), block.rows.column("raw"), reasons, fields, block.places)


def _of_columns(block: TagBlock) -> Rows:
    """Return rows of Parquet."""
    assert isinstance(block.rows, pa.RecordBatch)
    columns = {name: block.rows.column(name) for name in FIELDS}
    raws = pc.binary_join_element_wise(*columns.values(), b"\t")
    is_text = valid_rows(raws)
    if not is_text.all():
        columns = {name: column.filter(pa.array(is_text)) for name, column in columns.items()}
    return Rows(
        numbers=block.first_row + np.arange(len(raws)),
        reasons=np.where(is_text, KEPT, NOT_UTF8),
        fields={name: column.cast(pa.string()) for name, column in columns.items()},
        raws=lambda some: raws.take(pa.array(some)),
    )


@dataclass(eq=False)
class ReadTagLog(beam.PTransform):
    """Reads a tag log as three collections: ``tags`` (batches of `rows.TAG_ROWS`), ``quarantine``, ``counts``.

    Attributes:
        files: the log.
        layout: how it is written.
        fold: whether tags that differ in case or compatibility forms are one tag.
        left_out: users whose rows are left out.
    """

    files: Sequence[LogFile]
    layout: TagLayout
    fold: bool
    left_out: Collection[str]

    def expand(self, begin: beam.pvalue.PBegin) -> Any:
        """Read the files, spread over the workers, and check their rows."""
        return (
            begin
            | "Files" >> beam.Create(list(self.files))
            | "Blocks" >> beam.FlatMap(read_blocks, self.layout).with_output_types(TagBlock)
            | "CheckedRows"
            >> concurrently("read", check_block, self.fold, frozenset(self.left_out)).with_outputs(
                "tags", "quarantine", "counts"
            )
        )
