"""Images out of the Parquet shards: found, decoded, resized, cropped.

Encoded images stay in Arrow memory, without a Python object each; decoded ones are kept only on request. Crops and
mirrors come from a hash of (seed, purpose, pass, image), so they don't depend on who loads an image, or in which order.
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


def decode(encoded: bytes, resize: int) -> np.ndarray:
    """Decode an image and resize it so that its shorter side is ``resize`` pixels.

    Large JPEGs are decoded at a smaller scale, never below the size wanted.

    Args:
        encoded: the bytes of an image file.
        resize: pixels.

    Shape:
        result: uint8 (height, width, 3), RGB

    Raises:
        UserError: the bytes are no image.
    """
    try:
        file = Image.open(io.BytesIO(encoded))
        file.draft("RGB", (resize, resize))
        image = file.convert("RGB")
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
        raise UserError(f"cannot decode an image of {len(encoded):,} bytes: {error}") from None
    width, height = image.size
    scale = resize / min(width, height)
    size = (max(resize, round(width * scale)), max(resize, round(height * scale)))
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image)


def centre_crop(image: np.ndarray, size: int) -> np.ndarray:
    """Return the middle square, as used in validation and test.

    Shape:
        image: (height, width, 3), both at least ``size``; result: (size, size, 3)
    """
    top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
    return image[top : top + size, left : left + size]


def random_crop(image: np.ndarray, size: int, seed: int, mirror: bool = True) -> np.ndarray:
    """Return a random square, mirrored half of the time, as used in training.

    Args:
        image: decoded and resized.
        size: side of the square, pixels.
        seed: any number >= 0; equal seeds give equal crops.
        mirror: False never mirrors; the squares are the same.

    Shape:
        image: (height, width, 3), both at least ``size``; result: (size, size, 3)
    """
    seed, top = divmod(seed, image.shape[0] - size + 1)
    seed, left = divmod(seed, image.shape[1] - size + 1)
    crop = image[top : top + size, left : left + size]
    return crop[:, ::-1] if mirror and seed % 2 else crop


class ImageStore:
    """The encoded images of some rows, in the rows' order.

    Args:
        shards: the folder that `ingest` writes (`schemas.IMAGES`), or one for each domain.
        rows: which images, with columns ``domain`` and ``image_id``.
        resize: shorter side after decoding, pixels.
        cache: decode all now and keep them.

    Raises:
        UserError: an image is not in the shards (named).
    """

    def __init__(self, shards: Path | Mapping[str, Path], rows: pl.DataFrame, resize: int, cache: bool) -> None:
        self.resize = resize
        self.names = list(zip(rows["domain"], rows["image_id"], strict=True))
        self._encoded = _read_encoded(folders_of(shards, rows["domain"].unique()), rows)
        self._decoded: list[np.ndarray] | None = None
        if cache:
            places = progress(range(len(self)), "decode", "images", total=len(self))
            self._decoded = [_by_planes(self._decode(place)) for place in places]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, place: int) -> np.ndarray:
        """Return a row's image, decoded and resized: uint8 (height, width, 3)."""
        return self._decoded[place] if self._decoded is not None else self._decode(place)

    def _decode(self, place: int) -> np.ndarray:
        try:
            return decode(self._encoded[place].as_py(), self.resize)
        except UserError as error:
            raise UserError(f"{self.names[place][0]} image {self.names[place][1]!r}: {error}") from None

    def crop(self, place: int, size: int, seed: int, draw: int | None, mirror: bool = True) -> np.ndarray:
        """Return a crop: the middle one, or in training the one of a draw.

        Args:
            place: the row.
            size: pixels.
            seed: the run's.
            draw: None for the middle, else the number of the pass over the images that it is drawn in.
            mirror: whether a draw's crop is mirrored half of the time.

        Shape:
            result: uint8 (size, size, 3)
        """
        if draw is None:
            return centre_crop(self[place], size)
        return random_crop(self[place], size, derive_seed(seed, "crop", draw, *self.names[place]), mirror)

    def crops(self, draws: Sequence[Draw], size: int, seed: int, mirror: bool = True) -> Tensor:
        """Return the crops of some draws, as :meth:`crop` does.

        Shape:
            result: uint8 (draws, 3, size, size)
        """
        pixels = np.empty((len(draws), 3, size, size), np.uint8)
        for image, draw in zip(pixels, draws, strict=True):
            image[:] = self.crop(draw.row, size, seed, draw.turn, mirror).transpose(2, 0, 1)
        return torch.from_numpy(pixels)


def folders_of(shards: Path | Mapping[str, Path], domains: Iterable[str]) -> dict[Path, list[str]]:
    """Return each folder of image shards with the domains whose images are read from it."""
    by_domain = shards if isinstance(shards, Mapping) else dict.fromkeys(sorted(domains), shards)
    folders: dict[Path, list[str]] = {}
    for domain, folder in by_domain.items():
        folders.setdefault(Path(folder), []).append(domain)
    return folders


def _by_planes(image: np.ndarray) -> np.ndarray:
    """Return the same image with its colour planes apart in memory: crops, above all mirrored ones, are copied faster.

    Shape:
        image, result: (height, width, 3)
    """
    return np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0)


def _read_encoded(folders: Mapping[Path, list[str]], rows: pl.DataFrame) -> pa.ChunkedArray:
    """Return the encoded images of the rows, in their order; shard by shard, keeping only what is wanted."""
    wanted = rows.select("domain", "image_id").with_row_index("place")
    places: list[pl.Series] = []
    pieces: list[pa.ChunkedArray] = []
    for folder, domains in folders.items():
        files = sorted(folder.glob("*.parquet"))
        if not files:
            raise UserError(f"{folder}: no image shards here; run the ingest stage")
        wanted_here = wanted.filter(pl.col("domain").is_in(domains))
        found_here = []
        for file in files:
            table = pq.read_table(file, columns=["domain", "image_id", "image"])
            keys = pl.DataFrame({name: pl.from_arrow(table[name]) for name in ("domain", "image_id")})
            found = keys.with_row_index("here").join(wanted_here, on=["domain", "image_id"]).sort("here")
            found_here.append(found["place"])
            encoded = pc.struct_field(table["image"], "bytes").cast(pa.large_binary())
            pieces.append(encoded.take(pa.array(found["here"].to_numpy())))
        there = pl.concat(found_here)
        if len(there) != len(wanted_here):
            missing = wanted_here.filter(~pl.col("place").is_in(there.implode()))["image_id"].to_list()
            raise UserError(
                f"{folder}: {len(missing)} of {len(wanted_here)} images are not there, as"
                f" {', '.join(map(repr, missing[:5]))}; run the ingest and select stages again"
            )
        places.append(there)
    together = pa.chunked_array([chunk for piece in pieces for chunk in piece.chunks], pa.large_binary())
    return together.take(pa.array(pl.concat(places).arg_sort().to_numpy()))
