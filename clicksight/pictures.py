"""Reads pictures from whatever people have: files, folders, globs, archives, Parquet shards, standard input.

Nothing is unpacked to disk, and only as many pictures are in memory as are being decoded. A file that is no usable
picture becomes an entry with a reason, in its place; it never ends the work. What pictures may be is what the ingest
allows (`pipelines.ingest.decoding`): the first of several pictures, upright as EXIF says, transparency on white.
"""

import glob
import io
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from base.artifacts import reading
from base.console import UserError
from base.cores import CORES
from base.inputs import check_file
from base.raw_files import matches
from model.data.images import centre_crop, decode
from pipelines.annotations.source import files_of
from pipelines.ingest.decoding import BadImageError, check_image
from pipelines.ingest.image_archives import MOST_BYTES, Place, PlaceReader, is_archive
from pipelines.ingest.image_catalogue import IMAGE_SUFFIXES
from pipelines.ingest.image_tables import image_batches

STANDARD_INPUT = "-"
TABLE = ".parquet"
IDS = ("image_id", "item_id", "id")  # columns that name a table's pictures, the first that there is
JPEG_QUALITY = 80  # of thumbnails
NARROWEST = 50  # longer to shorter side; resized to the shorter side, a narrower picture would take all memory


class Encoded(NamedTuple):
    """A picture before it is decoded.

    Attributes:
        name: shown to people: its path, or archive or table and its name there.
        id: its path below the named folder, archive or table, without suffix; as the ingest names images.
        data: the file's bytes; None: it can't be read.
        reason: why not.
    """

    name: str
    id: str
    data: bytes | None
    reason: str = ""


class Picture(NamedTuple):
    """A decoded picture.

    Attributes:
        name, id: as in `Encoded`.
        pixels: the middle square, uint8 (S, S, 3); None: it is unusable.
        reason: why it is.
        thumbnail: the whole picture as a small JPEG, if it was asked for.
    """

    name: str
    id: str
    pixels: np.ndarray | None
    reason: str = ""
    thumbnail: bytes = b""


@dataclass(frozen=True)
class _Part:
    """One input: how many pictures it has, and how to read them."""

    number: int
    read: Callable[[], Iterator[Encoded]]


class Pictures:
    """The pictures of all inputs, in the order of the inputs and of their names.

    Args:
        inputs: paths of files, folders, archives (.zip, .tar, .tar.gz, .tgz) and Parquet tables, patterns with ``*``,
            or ``-`` for the bytes of one picture on standard input. Folders and archives give their picture files, by
            suffix; a named file is always tried.
        column: of the pictures in a Parquet table.
        standard_input: is read for ``-``.

    Raises:
        UserError: an input doesn't exist, matches nothing, has no picture file, or is no such table or archive.
    """

    def __init__(self, inputs: Sequence[str], column: str = "image", standard_input: BinaryIO | None = None) -> None:
        self.column = column
        self.standard_input = standard_input or sys.stdin.buffer
        self._parts = [part for name in inputs for part in self._parts_of(name)]

    def __len__(self) -> int:
        return sum(part.number for part in self._parts)

    def __iter__(self) -> Iterator[Encoded]:
        for part in self._parts:
            yield from part.read()

    def _parts_of(self, name: str) -> Iterator[_Part]:
        if name == STANDARD_INPUT:
            yield _Part(1, self._from_standard_input)
            return
        path = Path(name)
        if path.exists():
            yield self._part(path)
            return
        check_file(path)
        found = sorted(matches(name)) if glob.has_magic(name) else []
        if not found:
            raise UserError(f"{name}: " + ("matches nothing" if glob.has_magic(name) else "no such file or folder"))
        yield from map(self._part, found)

    def _part(self, path: Path) -> _Part:
        check_file(path)
        if path.is_dir() or is_archive(path.name):
            return self._of_folder(path)
        if path.suffix.lower() == TABLE:
            with reading(path):
                return _Part(pq.ParquetFile(path).metadata.num_rows, lambda: self._of_table(path))
        return _Part(1, lambda: _read(path.absolute().parent, [(str(path), path.stem, Place(path.name), "")]))

    def _of_folder(self, path: Path) -> _Part:
        root = path.absolute().parent
        files = [
            (f"{path}/{name}", str(PurePosixPath(name).with_suffix("")), listed.place, listed.reason)
            for name, listed in files_of(root, path.name)
            if listed.name.lower().endswith(IMAGE_SUFFIXES)
        ]
        if not files:
            raise UserError(f"{path}: no picture in it or below it (expected {', '.join(IMAGE_SUFFIXES)})")
        return _Part(len(files), lambda: _read(root, files))

    def _of_table(self, path: Path) -> Iterator[Encoded]:
        with reading(path):
            names = pq.ParquetFile(path).schema_arrow.names
        named = next((column for column in IDS if column in names and column != self.column), None)
        row = 0
        for images, ids in image_batches(path, self.column, named):
            for number, image in enumerate(images):
                row += 1
                data = image.as_py()
                name = str(row) if ids is None else str(ids[number].as_py())
                yield Encoded(f"{path}/{name}", name, data, "" if data is not None else "no image in this row")

    def _from_standard_input(self) -> Iterator[Encoded]:
        data = self.standard_input.read(MOST_BYTES + 1)
        too_large = len(data) > MOST_BYTES
        yield Encoded("standard input", STANDARD_INPUT, None if too_large else data, "too many bytes" * too_large)


def _read(root: Path, files: Sequence[tuple[str, str, Place, str]]) -> Iterator[Encoded]:
    with PlaceReader(root) as reader:
        for name, id_, place, reason in files:
            if reason:
                yield Encoded(name, id_, None, reason)
                continue
            try:
                yield Encoded(name, id_, reader.read(place))
            except BadImageError as error:
                yield Encoded(name, id_, None, str(error))


def squares_of(pictures: Sequence[Picture]) -> Tensor:
    """Return the squares of the usable pictures, at least one, as models take them: uint8 (B, 3, S, S)."""
    pixels = np.stack([picture.pixels for picture in pictures if picture.pixels is not None])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def _checked(data: bytes) -> bytes:
    """Return a usable picture as JPEG.

    Raises:
        BadImageError: it is none.
    """
    checked = check_image(data)
    width, height = checked.width, checked.height
    if max(width, height) > NARROWEST * min(width, height):
        raise BadImageError(f"too narrow ({width} x {height} pixels)")
    return checked.data


def _middle_square(jpeg: bytes, resize: int, size: int, finely: bool) -> np.ndarray:
    try:
        return centre_crop(decode(jpeg, resize, finely), size)
    except UserError as error:
        raise BadImageError(str(error)) from None


def middle_square(data: bytes, resize: int, size: int, finely: bool = False) -> np.ndarray:
    """Decode a picture as training did, and return its middle square.

    Args:
        data: the file.
        resize: shorter side after decoding, pixels.
        size: S, side of the square, pixels.
        finely: as `model.prediction.Predictor` says.

    Shape:
        result: uint8 (S, S, 3)

    Raises:
        BadImageError: it is no usable picture.
    """
    return _middle_square(_checked(data), resize, size, finely)


def _thumbnail(jpeg: bytes, side: int) -> bytes:
    image = Image.open(io.BytesIO(jpeg))
    image.draft("RGB", (side, side))
    image.thumbnail((side, side))
    written = io.BytesIO()
    image.save(written, "JPEG", quality=JPEG_QUALITY)
    return written.getvalue()


def picture_of(encoded: Encoded, resize: int, size: int, thumbnail: int | None = None, finely: bool = False) -> Picture:
    """Decode a picture; one that can't be used has the reason.

    Args:
        encoded: the picture's file.
        resize: shorter side after decoding, pixels.
        size: side of the middle square, pixels.
        thumbnail: longer side of the thumbnail, pixels, unless the picture is smaller; None: there is none.
        finely: as `model.prediction.Predictor` says.
    """
    name, id_, data, reason = encoded
    if data is None:
        return Picture(name, id_, None, reason)
    try:
        jpeg = _checked(data)
        small = b"" if thumbnail is None else _thumbnail(jpeg, thumbnail)
        return Picture(name, id_, _middle_square(jpeg, resize, size, finely), thumbnail=small)
    except BadImageError as error:
        return Picture(name, id_, None, str(error))


def decoded(
    pictures: Iterator[Encoded], resize: int, size: int, thumbnail: int | None = None, finely: bool = False
) -> Iterator[Picture]:
    """Decode pictures by :func:`picture_of` in threads, in their order.

    At most twice as many as there are cores wait in memory.
    """
    waiting: deque[Future[Picture]] = deque()
    with ThreadPoolExecutor(CORES, thread_name_prefix="decode") as pool:
        try:
            for encoded in pictures:
                waiting.append(pool.submit(picture_of, encoded, resize, size, thumbnail, finely))
                if len(waiting) > 2 * CORES:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # the caller may stop early
            for future in waiting:
                future.cancel()
