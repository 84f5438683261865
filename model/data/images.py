"""Reads images from Parquet shards, decodes, resizes and crops them.

Encoded images stay in their shards (`model.data.shards`); decoded images are kept only on request. Crops and mirrors
are derived from a hash of (seed, purpose, pass, image), so they don't depend on the process that loads an image, or on
the order.
"""

import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from base.console import UserError, progress
from base.seeding import derive_seed
from model.data.batches import Draw
from model.data.shards import EncodedImages

ROWS_OF_CSV = 100_000  # rows whose text is in memory at a time


def decode(encoded: bytes, resize: int, finely: bool = False) -> np.ndarray:
    """Decode an image and resize it so that its shorter side is ``resize`` pixels.

    Large JPEGs are decoded at a smaller scale, but never below the wanted size.

    Args:
        encoded: the bytes of an image file.
        resize: pixels.
        finely: decode whole images at their full scale, and interpolate with cubic instead of linear functions: slower.

    Shape:
        result: uint8 (height, width, 3), RGB

    Raises:
        UserError: the bytes are not an image.
    """
    try:
        file = Image.open(io.BytesIO(encoded))
        if not finely:
            file.draft("RGB", (resize, resize))
        image = file.convert("RGB")
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
        raise UserError(f"cannot decode an image of {len(encoded):,} bytes: {error}") from None
    width, height = image.size
    scale = resize / min(width, height)
    size = (max(resize, round(width * scale)), max(resize, round(height * scale)))
    if image.size != size:
        image = image.resize(size, Image.Resampling.BICUBIC if finely else Image.Resampling.BILINEAR)
    return np.asarray(image)


def centre_crop(image: np.ndarray, size: int) -> np.ndarray:
    """Return the middle square, which validation and test use.

    Shape:
        image: (height, width, 3), both at least ``size``; result: (size, size, 3)
    """
    top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
    return image[top : top + size, left : left + size]


def random_crop(image: np.ndarray, size: int, seed: int, mirror: bool = True) -> np.ndarray:
    """Return a random square, mirrored half of the time, which training uses.

    Args:
        image: decoded and resized.
        size: side of the square, pixels.
        seed: any number >= 0; equal seeds give equal crops.
        mirror: False never mirrors; the squares stay the same.

    Shape:
        image: (height, width, 3), both at least ``size``; result: (size, size, 3)
    """
    seed, top = divmod(seed, image.shape[0] - size + 1)
    seed, left = divmod(seed, image.shape[1] - size + 1)
    crop = image[top : top + size, left : left + size]
    return crop[:, ::-1] if mirror and seed % 2 else crop


class ImageStore:
    """The images of the given rows, in the order of the rows.

    Args:
        shards: the folder that `ingest` writes (`schemas.IMAGES`), or one folder per domain.
        rows: the images, with columns ``domain`` and ``image_id``.
        resize: shorter side after decoding, pixels.
        cache: keep decoded the images that :meth:`read` is asked for.
        read: call :meth:`read` for all rows; False: whoever uses the store calls it for the rows that it will need.

    Attributes:
        order: the place of each row in an order in which the images of a shard follow each other.

    Raises:
        UserError: an image is not in the shards (named).
    """

    def __init__(
        self, shards: Path | Mapping[str, Path], rows: pl.DataFrame, resize: int, cache: bool, read: bool = True
    ) -> None:
        self.resize = resize
        self._domains, self._ids = rows["domain"], rows["image_id"]
        self._encoded = EncodedImages(folders_of(shards, rows["domain"].unique()), rows)
        self.order = self._encoded.order
        self._decoded: list[np.ndarray | None] | None = [None] * len(rows) if cache else None
        if read:
            self.read(np.arange(len(rows)))

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def names(self) -> list[tuple[str, str]]:
        """Domain and image id of every row; a new list."""
        return list(zip(self._domains, self._ids, strict=True))

    @property
    def num_decoded(self) -> int:
        """The number of images that are kept decoded."""
        return sum(image is not None for image in self._decoded or ())

    def read(self, rows: np.ndarray) -> None:
        """Make ready to return the images of some rows quickly: find them, and decode them if they are kept decoded.

        A training calls this before its loader processes start, so that they share what is kept.
        """
        self._encoded.find(rows)
        if self._decoded is None:
            return
        missing = [row for row in np.unique(rows).tolist() if self._decoded[row] is None]
        for row in progress(missing, "decode", "images", total=len(missing)):
            self._decoded[row] = _by_planes(self._decode(row))

    def __getitem__(self, row: int) -> np.ndarray:
        """Return a row's image, decoded and resized: uint8 (height, width, 3)."""
        kept = None if self._decoded is None else self._decoded[row]
        return self._decode(row) if kept is None else kept

    def _decode(self, row: int) -> np.ndarray:
        try:
            return decode(self._encoded[row], self.resize)
        except UserError as error:
            raise UserError(f"{self._domains[row]} image {self._ids[row]!r}: {error}") from None

    def crop(self, row: int, size: int, seed: int, pass_number: int | None, mirror: bool = True) -> np.ndarray:
        """Return a crop: the middle one, or in training a random one.

        Args:
            row: the row number.
            size: side of the crop, pixels.
            seed: the run's seed.
            pass_number: None for the middle crop, else the number of the pass over the images (`Draw.pass_number`).
            mirror: whether a random crop is mirrored half of the time.

        Shape:
            result: uint8 (size, size, 3)
        """
        if pass_number is None:
            return centre_crop(self[row], size)
        name = self._domains[row], self._ids[row]
        return random_crop(self[row], size, derive_seed(seed, "crop", pass_number, *name), mirror)

    def crops(self, draws: Sequence[Draw], size: int, seed: int, mirror: bool = True) -> Tensor:
        """Return the crops of the draws; :meth:`crop` describes them.

        Shape:
            result: uint8 (draws, 3, size, size)
        """
        pixels = np.empty((len(draws), 3, size, size), np.uint8)
        for image, draw in zip(pixels, draws, strict=True):
            image[:] = self.crop(draw.row, size, seed, draw.pass_number, mirror).transpose(2, 0, 1)
        return torch.from_numpy(pixels)


def digest_of_rows(rows: pl.DataFrame) -> "hashlib.blake2b":
    """Return a digest of rows as a CSV file, which is made a part at a time; more may be added to it."""
    digest = hashlib.blake2b(digest_size=8)
    digest.update(rows.clear().write_csv().encode())
    for part in rows.iter_slices(ROWS_OF_CSV):
        digest.update(part.write_csv().partition("\n")[2].encode())  # without the header
    return digest


def folders_of(shards: Path | Mapping[str, Path], domains: Iterable[str]) -> dict[Path, list[str]]:
    """Return the folders of image shards, each with the domains whose images are read from it."""
    by_domain = shards if isinstance(shards, Mapping) else dict.fromkeys(sorted(domains), shards)
    folders: dict[Path, list[str]] = {}
    for domain, folder in by_domain.items():
        folders.setdefault(Path(folder), []).append(domain)
    return folders


def _by_planes(image: np.ndarray) -> np.ndarray:
    """Return the image with separate colour planes in memory: crops, especially mirrored ones, are then copied faster.

    Shape:
        image, result: (height, width, 3)
    """
    return np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0)
