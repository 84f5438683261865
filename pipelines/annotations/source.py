"""What every layout of annotated images is read into: images, rows of labels, given splits, and logs of tags."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow as pa

from base.console import UserError
from pipelines.ingest.image_archives import Folder, Listed, Place, is_archive, list_folder
from pipelines.ingest.image_catalogue import Refused, stem
from pipelines.ingest.image_ids import composed
from pipelines.ingest.image_tables import copy_images
from pipelines.ingest.log_slices import LogFile

SPLITS = ("train", "validation", "test")
LABEL_ROWS = pl.Schema({"file": pl.String, "row": pl.Int64, "image_id": pl.String, "label": pl.String})
GIVEN = pl.Schema({"image_id": pl.String, "split": pl.String})
TAG_LOG = pa.schema([("image_id", pa.string()), ("tag", pa.string())])  # of tags that a layout holds in another form


@dataclass(frozen=True)
class Images:
    """The images of a raw data set, before any is decoded.

    Attributes:
        root: the folder to which the places are relative.
        places: image id and place, in any order; an id may occur twice.
        refused: files that can't be images of the data set, with reasons.
    """

    root: Path
    places: list[tuple[str, Place]]
    refused: list[Refused] = field(default_factory=list)


@dataclass(frozen=True)
class Source:
    """A raw data set of annotated images.

    Attributes:
        images: the images.
        labels: rows of image id and label as they were found, with file and 1-based row.
        given: the split of images for which the data set gives one, as train, validation or test; may be empty.
        tags: the logs of tags, with columns that `tag_columns` names; may be empty.
        tag_columns: as in `LogParams.columns`.
        refused_tags: tags that are not in the logs, with reasons.
    """

    images: Images
    labels: pl.DataFrame
    given: pl.DataFrame
    tags: list[LogFile] = field(default_factory=list)
    tag_columns: str = "image_id=image_id,query=tag"
    refused_tags: list[Refused] = field(default_factory=list)


def files_of(raw: Path, path: str) -> Iterator[tuple[str, Listed]]:
    """Yield all files of a folder or archive, in name order, with their paths below it in NFC.

    Raises:
        UserError: there is no such folder or archive, or an archive is damaged.
    """
    if not (raw / path).is_dir() and not (is_archive(path) and (raw / path).is_file()):
        raise UserError(f"{raw / path}: no such folder or archive of images")
    pending: list[tuple[str, Folder]] = [("", list_folder(raw, path))]
    while pending:
        above, folder = pending.pop()
        for listed in folder.files:
            yield composed(above + listed.name), listed
        pending += [(f"{above}{name}/", below) for name, below in reversed(folder.folders.items())]


def folder_of_images(raw: Path, path: str) -> Images:
    """Return the images of a folder or archive; an image's id is its path below it without the last suffix."""
    places, refused = [], []
    for name, listed in files_of(raw, path):
        if listed.reason:
            refused.append(Refused(listed.place.file, listed.place.row, listed.reason, listed.place.name))
        else:
            above = name.rpartition("/")[0]
            places.append((f"{above}/{stem(listed.name)}" if above else stem(listed.name), listed.place))
    return Images(raw, places, refused)


def images_of_table(path: Path, ids: Iterable[str | None], column: str, folder: Path) -> Images:
    """Return the images of a Parquet table's column, which is copied into a folder.

    Args:
        path: the table.
        ids: of its rows.
        column: see `pipelines.ingest.image_tables.copy_images`.
        folder: an existing one, not the table's own.

    Raises:
        UserError: the file is damaged, or has no such column of images.
    """
    rows = list(enumerate(zip(ids, copy_images(path, column, folder), strict=True), start=1))
    return Images(
        folder,
        [(name or "", place) for _, (name, place) in rows if place is not None],
        [Refused(path.name, row, "no image", name or "") for row, (name, place) in rows if place is None],
    )


def given_splits(rows: Iterable[tuple[str, str]], where: str) -> pl.DataFrame:
    """Return given splits, with `GIVEN`'s columns.

    Args:
        rows: image id and split.
        where: the file, for errors.

    Raises:
        UserError: a split has another name, or an image has two.
    """
    found: dict[str, str] = {}
    for image_id, split in rows:
        if split not in SPLITS:
            raise UserError(f"{where}: image {image_id!r} is in split {split!r}; expected {', '.join(SPLITS)}")
        if found.setdefault(image_id, split) != split:
            raise UserError(f"{where}: image {image_id!r} is in the splits {found[image_id]} and {split}; name one")
    return pl.DataFrame(list(found.items()), schema=GIVEN, orient="row")


def read_rows(path: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    """Read columns of a tab-separated table with a header, all as text, with the 1-based line `row`.

    Raises:
        UserError: it is not UTF-8, a line has too many fields, or a column is missing.
    """
    try:
        table = pl.read_csv(path, separator="\t", quote_char=None, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{path}: not a table in tab-separated UTF-8 text ({error})") from None
    if missing := [name for name in columns if name not in table.columns]:
        raise UserError(f"{path}: lacks the column {missing[0]}; its first line has {', '.join(table.columns)}")
    return table.with_row_index("row", offset=2).select(pl.col("row").cast(pl.Int64), *columns)
