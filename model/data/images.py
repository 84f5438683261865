"""Reads images from Parquet shards, decodes, resizes and crops them.

Encoded images stay in Arrow memory, without one Python object per image; decoded images are kept only on request. Crops
and mirrors are derived from a hash of (seed, purpose, pass, image), so they don't depend on the process that loads an
image, or on the order.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from base.console import UserError, progress
from base.seeding import derive_seed
from model.data.batches import Draw


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
    """The encoded images of the given rows, in the order of the rows.

    Args:
        shards: the folder that `ingest` writes (`schemas.IMAGES`), or one folder per domain.
        rows: the images, with columns ``domain`` and ``image_id``.
        resize: shorter side after decoding, pixels.
        cache: decode all images now and keep them.

    Raises:
        UserError: an image is not in the shards (named).
    """

    def __init__(self, shards: Path | Mapping[str, Path], rows: pl.DataFrame, resize: int, cache: bool) -> None:
        self.resize = resize
        self.names = list(zip(rows["domain"], rows["image_id"], strict=True))
        self._encoded = _read_encoded(folders_of(shards, rows["domain"].unique()), rows)
        self._decoded: list[np.ndarray] | None = None
        if cache:
            rows_to_decode = progress(range(len(self)), "decode", "images", total=len(self))
            self._decoded = [_by_planes(self._decode(row)) for row in rows_to_decode]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, row: int) -> np.ndarray:
        """Return a row's image, decoded and resized: uint8 (height, width, 3)."""
        return self._decoded[row] if self._decoded is not None else self._decode(row)

    def _decode(self, row: int) -> np.ndarray:
        try:
            return decode(self._encoded[row].as_py(), self.resize)
        except UserError as error:
            raise UserError(f"{self.names[row][0]} image {self.names[row][1]!r}: {error}") from None

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
        return random_crop(self[row], size, derive_seed(seed, "crop", pass_number, *self.names[row]), mirror)

    def crops(self, draws: Sequence[Draw], size: int, seed: int, mirror: bool = True) -> Tensor:
        """Return the crops of the draws; :meth:`crop` describes them.

        Shape:
            result: uint8 (draws, 3, size, size)
        """
        pixels = np.empty((len(draws), 3, size, size), np.uint8)
        for image, draw in zip(pixels, draws, strict=True):
            image[:] = self.crop(draw.row, size, seed, draw.pass_number, mirror).transpose(2, 0, 1)
        return torch.from_numpy(pixels)


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


def _read_encoded(folders: Mapping[Path, list[str]], rows: pl.DataFrame) -> pa.ChunkedArray:
    """Return the encoded images of the rows, in the order of the rows; read shard by shard, keep only these images."""
    wanted = rows.select("domain", "image_id").with_row_index("row")
    found_rows: list[pl.Series] = []
    pieces: list[pa.ChunkedArray] = []
    for folder, domains in folders.items():
        files = sorted(folder.glob("*.parquet"))
        if not files:
            raise UserError(f"{folder}: no image shards here; run the ingest stage")
        wanted_here = wanted.filter(pl.col("domain").is_in(domains))
        rows_here = []
        for file in files:
            table = pq.read_table(file, columns=["domain", "image_id", "image"])
            keys = pl.DataFrame({name: pl.from_arrow(table[name]) for name in ("domain", "image_id")})
            found = keys.with_row_index("here").join(wanted_here, on=["domain", "image_id"]).sort("here")
            rows_here.append(found["row"])
            encoded = pc.struct_field(table["image"], "bytes").cast(pa.large_binary())
            pieces.append(encoded.take(pa.array(found["here"].to_numpy())))
        found_in_folder = pl.concat(rows_here)
        if len(found_in_folder) != len(wanted_here):
            missing = wanted_here.filter(~pl.col("row").is_in(found_in_folder.implode()))["image_id"].to_list()
            raise UserError(
                f"{folder}: {len(missing)} of {len(wanted_here)} images are not there, as"
                f" {', '.join(map(repr, missing[:5]))}; run the ingest and select stages again"
            )
        found_rows.append(found_in_folder)
    all_pieces = pa.chunked_array([chunk for piece in pieces for chunk in piece.chunks], pa.large_binary())
    return all_pieces.take(pa.array(pl.concat(found_rows).arg_sort().to_numpy()))
