"""The images on which click features are fitted and for which they are made."""

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from base.artifacts import reading
from base.console import UserError
from base.inputs import is_file
from base.stores import Location, location, source
from pipelines.ingest.image_ids import composed_ids


def source_images(path: str | Location, split: str | None = None, id_column: str = "image_id") -> pa.Array:
    """Return the image ids of a table that lists images, in NFC and in code-point order.

    Args:
        path: a Parquet file, or tab-separated text whose first line has the columns' names. If it has a column domain,
            only its ``source`` images are taken.
        split: only images of this split (column split); ``None`` takes all.
        id_column: the column of image ids.

    Raises:
        UserError: the file does not exist or is damaged, a column is missing, a row has no id, an image occurs twice,
            or no image is left.
    """
    path = location(path)
    if not is_file(path):
        raise UserError(f"{path}: no such file; expected a table with a column {id_column}")
    table = _read_table(path)
    needed = [id_column] if split is None else [id_column, "split"]
    if missing := [column for column in needed if column not in table.column_names]:
        raise UserError(f"{path}: lacks the column {missing[0]}; it has {', '.join(table.column_names)}")
    if "domain" in table.column_names:
        table = table.filter(pc.equal(table["domain"], "source"))
    if split is not None:
        table = table.filter(pc.equal(table["split"], split))
    image_ids = table[id_column].cast(pa.string()).combine_chunks()
    if image_ids.null_count:
        raise UserError(f"{path}: {image_ids.null_count} rows without an {id_column} (null); leave them out")
    if not len(image_ids):
        raise UserError(f"{path}: no source images{f' in split {split}' if split else ''}")
    image_ids = composed_ids(image_ids)
    image_ids = image_ids.take(pc.sort_indices(image_ids))
    if twice := image_ids[1:].filter(pc.equal(image_ids[1:], image_ids[:-1])).to_pylist():
        raise UserError(f"{path}: image {twice[0]!r} occurs more than once; keep one row for each image")
    return image_ids


def _read_table(path: Location) -> pa.Table:
    """Read a Parquet file, or tab-separated text without quotes, whose columns are all text.

    Raises:
        UserError: the file is damaged, or its lines have more fields than the first.
    """
    with path.open("rb") as file:
        is_text = file.read(1) != b"P" or file.read(3) != b"AR1"
    if not is_text or path.suffix == ".parquet":
        with reading(path):
            return pq.read_table(source(path))
    try:
        return pl.read_csv(source(path), separator="\t", quote_char=None, infer_schema=False).to_arrow()
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{path}: neither Parquet nor a table in tab-separated UTF-8 text ({error})") from error
