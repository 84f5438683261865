"""Images in a column of a Parquet table, as data sets are commonly published.

Parquet gives no access to a single row's bytes. So the column is copied once, row group by row group, to a file of
bytes end to end, from which any worker reads any image (`pipelines.ingest.image_archives.PlaceReader`).
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from base.artifacts import reading
from base.console import UserError
from pipelines.ingest.image_archives import Place

BATCH_ROWS = 256  # rows whose images are in memory at a time


def copy_images(table: Path, column: str, folder: Path) -> list[Place | None]:
    """Copy a column's images into a folder, to a file that has the table's name; return the place of each row's image.

    Args:
        table: the Parquet file.
        column: of binary values, or of structs with a field `bytes` (Hugging Face's Image feature).
        folder: an existing folder, not the table's own; it is the `raw` of a later `PlaceReader`.

    Returns:
        A place for each row, its `row` from 1; None where the column is null.

    Raises:
        UserError: the file is damaged, has no such column, or the column has another type.
    """
    places: list[Place | None] = []
    position = 0
    with (folder / table.name).open("wb") as copied:
        for images, _ in image_batches(table, column):
            for image in images:
                data = image.as_buffer()
                place = None
                if data is not None:
                    copied.write(data)
                    place = Place(table.name, len(places) + 1, table.name, "stored", position, data.size)
                    position += data.size
                places.append(place)
    return places


def image_batches(table: Path, column: str, ids: str | None = None) -> Iterator[tuple[pa.Array, pa.Array | None]]:
    """Yield the images of some rows at a time, as binary values, with the values of the column that names them.

    Args:
        table: the Parquet file.
        column: as in `copy_images`.
        ids: another column; None: the images have no names.

    Raises:
        UserError: as `copy_images`.
    """
    with reading(table):
        file = pq.ParquetFile(table)
        names = file.schema_arrow.names
        if column not in names:
            raise UserError(f"{table}: no column {column!r} of images; it has {', '.join(names)}")
        kind = file.schema_arrow.field(column).type
        is_struct = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
        inner = kind.field("bytes").type if is_struct else kind
        if not (pa.types.is_binary(inner) or pa.types.is_large_binary(inner)):
            raise UserError(f"{table}: column {column!r} is {kind}; expected the bytes of image files (binary)")
        for batch in file.iter_batches(BATCH_ROWS, columns=[column, *([ids] if ids else [])]):
            images = batch.column(column)
            yield pc.struct_field(images, "bytes") if is_struct else images, batch.column(ids) if ids else None
