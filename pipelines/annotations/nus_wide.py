r"""NUS-WIDE's own files.

| file | holds |
|---|---|
| ``ImageList/TrainImagelist.txt``, ``TestImagelist.txt`` | a line for each image, as ``actor\0001_2124494179.jpg`` |
| ``TrainTestLabels/Labels_<label>_Train.txt``, ``…_Test.txt`` | 0 or 1 for each line of that list |
| ``NUS_WID_Tags/All_Tags.txt`` | lines of photo id and tags, separated by white space |
| ``Flickr/`` | the images, as ``actor/0001_2124494179.jpg``; many are no longer to be had |

The folders may lie deeper, as they unpack (``Groundtruth/TrainTestLabels``). An image's id is that of the photo on
Flickr, the number after the underscore.

Reference: Chua et al., "NUS-WIDE: a real-world web image database from National University of Singapore" (CIVR 2009).
"""

import re
from pathlib import Path

import polars as pl
import pyarrow as pa

from base.artifacts import write_table
from base.console import UserError
from pipelines.annotations.source import LABEL_ROWS, TAG_LOG, Images, Source, files_of, given_splits
from pipelines.ingest.click_log import find_logs
from pipelines.ingest.image_catalogue import Refused
from pipelines.ingest.log_slices import LogFile

LISTS = {"train": "TrainImagelist.txt", "test": "TestImagelist.txt"}
PHOTO = re.compile(r"(?:.*[\\/])?\d+_(\d+)\.jpe?g", re.IGNORECASE)
LABEL_FILE = re.compile(r"Labels_(.+)_(Train|Test)\.txt")
ALL_TAGS = "All_Tags.txt"


def photo_id(name: str) -> str | None:
    r"""Return the photo's id on Flickr, of a name such as ``actor\0001_2124494179.jpg``; None if it is no such name.

    >>> photo_id("actor\\0001_2124494179.jpg"), photo_id("readme.txt")
    ('2124494179', None)
    """
    found = PHOTO.fullmatch(name.strip())
    return found[1] if found else None


def read_nus_wide(raw: Path, scratch: Path) -> Source:
    """Read NUS-WIDE.

    Args:
        raw: its folder.
        scratch: an existing folder, which gets the tags as a log.

    Raises:
        UserError: a list is missing, has a line that is no photo, or is not as long as its labels.
    """
    lists = {split: _photos(_find(raw, name)) for split, name in LISTS.items()}
    given = given_splits(((photo, split) for split, photos in lists.items() for photo in photos), f"{raw}: ImageList")
    parts = []
    for path in sorted(raw.rglob("Labels_*_T*.txt")):
        named = LABEL_FILE.fullmatch(path.name)
        if named:
            parts.append(_labels(path, named[1], lists[named[2].lower()], LISTS[named[2].lower()]))
    if not parts:
        raise UserError(f"{raw}: no Labels_<label>_Train.txt; expected NUS-WIDE's TrainTestLabels in it")
    return Source(_images(raw), pl.concat(parts), given, _tags(raw, scratch))


def _find(raw: Path, name: str) -> Path:
    found = sorted(raw.rglob(name))
    if len(found) != 1:
        raise UserError(f"{raw}: {len(found)} files {name} in it; expected one, as NUS-WIDE's ImageList has it")
    return found[0]


def _photos(path: Path) -> list[str]:
    photos = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        photo = photo_id(line)
        if photo is None:
            raise UserError(f"{path}, line {number}: {line[:80]!r}: expected a photo, as actor\\0001_2124494179.jpg")
        photos.append(photo)
    return photos


def _labels(path: Path, label: str, photos: list[str], of_list: str) -> pl.DataFrame:
    """Return the rows of a label's file that are 1."""
    values = path.read_text(encoding="ascii", errors="replace").split()
    if len(values) != len(photos) or not {*values} <= {"0", "1"}:
        raise UserError(f"{path}: expected 0 or 1 for each of the {len(photos):,} lines of {of_list}: {len(values):,}")
    rows = [
        (path.name, row, photo, label)
        for row, (photo, value) in enumerate(zip(photos, values, strict=True), start=1)
        if value == "1"
    ]
    return pl.DataFrame(rows, schema=LABEL_ROWS, orient="row")


def _images(raw: Path) -> Images:
    places, refused = [], []
    for name, listed in files_of(raw, "Flickr"):
        photo = photo_id(name)
        if listed.reason or photo is None:
            reason = listed.reason or "not a photo's name"
            refused.append(Refused(listed.place.file, listed.place.row, reason, listed.place.name))
        else:
            places.append((photo, listed.place))
    return Images(raw, places, refused)


def _tags(raw: Path, scratch: Path) -> list[LogFile]:
    """Return the tags as a log; lines of photo id and any number of tags become rows."""
    photos: list[str] = []
    tags: list[str] = []
    for path in sorted(raw.rglob(ALL_TAGS))[:1]:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                words = line.split()
                photos += words[:1] * (len(words) - 1)
                tags += words[1:]
    if not tags:
        return []
    log = scratch / "All_Tags.parquet"
    write_table(pa.table([photos, tags], schema=TAG_LOG), log)
    return find_logs([log], root=scratch)
