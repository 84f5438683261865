"""Features of images from a frozen ConvNet: computed once, by each backbone of :mod:`model.nets.backbones`.

Images are decoded at full scale, resized with cubic interpolation, and cropped to the middle square.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import Field
from torch import Tensor

from base.artifacts import reading, whole_directory, write_table
from base.console import UserError, progress
from base.schemas import EMBEDDED
from model.data.images import centre_crop, decode
from model.nets.backbones import ConvNet, Visual, build_backbone
from model.nets.params import BackboneParams

Kind = Literal["mean and maximum", "map", "phi"]


class FrozenParams(BackboneParams):
    """The frozen ConvNet."""

    batch_size: int = Field(description="images that are computed at once", ge=1)
    threads: int = Field(description="CPU threads", ge=1)


def features_of(visual: Visual, kind: Kind) -> Tensor:
    """Return one vector for each image.

    Args:
        visual: a ConvNet's output.
        kind: mean and maximum: both over omega's positions; map: all of omega (VGG's pool5 has 25,088 values for 224
            pixels); phi: the deep visual feature (VGG's fc7).

    Shape:
        result: (B, 2 C), (B, C H W) or (B, D)
    """
    if kind == "phi":
        return visual.phi.float()
    omega = visual.omega.float()
    if kind == "map":
        return omega.flatten(1)
    return torch.cat([omega.mean((2, 3)), omega.amax((2, 3))], dim=1)


def frozen_net(params: FrozenParams) -> tuple[ConvNet, torch.device]:
    """Return the ConvNet in evaluation mode, and its device: a GPU if there is one. Set the number of CPU threads."""
    torch.set_num_threads(params.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)  # of the weights, where none are loaded
    return build_backbone(params).eval().to(device), device


def image_pixels(encoded: bytes, params: FrozenParams) -> np.ndarray:
    """Return an image's middle square: uint8 (3, image_size, image_size).

    Raises:
        UserError: the bytes are not an image.
    """
    return centre_crop(decode(encoded, params.resize, finely=True), params.image_size).transpose(2, 0, 1)


def shard_features(
    rows: pa.Table, ids: Sequence[str], net: ConvNet, device: torch.device, params: FrozenParams, kind: Kind
) -> Iterator[np.ndarray]:
    """Yield the features of a shard's images in batches: float32 (batch, features).

    Args:
        rows: has the column `image`, as schemas.IMAGES.
        ids: of the rows, for errors.
        net: the frozen ConvNet.
        device: where it is.
        params: size of the images and batches.
        kind: see :func:`features_of`.

    Raises:
        UserError: an image cannot be decoded (named).
    """
    at = 0
    for batch in rows.select(["image"]).to_batches(params.batch_size):
        squares = []
        for number, image in enumerate(batch["image"].to_pylist()):
            try:
                squares.append(image_pixels(image["bytes"], params))
            except UserError as error:
                raise UserError(f"image {ids[at + number]!r}: {error}") from None
        at += len(squares)
        yield features_of(net(torch.from_numpy(np.stack(squares)).to(device)), kind).cpu().numpy()


def embed(
    shards: Sequence[Path],
    output: Path,
    params: FrozenParams,
    kind: Kind = "mean and maximum",
    id_column: str = "image_id",
    domain: str | None = None,
) -> int:
    """Compute the features of all images in some shards and write the folder; return the number of images.

    Args:
        shards: files with the columns `image` and `id_column`.
        output: a folder of schemas.EMBEDDED, a file for each shard, with its name.
        params: the frozen ConvNet.
        kind: see :func:`features_of`.
        id_column: the column of ids.
        domain: of all images; None: the shards have the column `domain`.

    Raises:
        UserError: a shard is damaged, or an image cannot be decoded.
    """
    net, device = frozen_net(params)
    columns = [id_column, "image"] + (["domain"] if domain is None else [])
    num_images = 0
    with whole_directory(output) as folder, torch.inference_mode():
        for shard in progress(shards, "embed", "shards", len(shards)):
            with reading(shard):
                rows = pq.read_table(shard, columns=columns)
            ids = rows[id_column].combine_chunks()
            parts = list(shard_features(rows, ids.to_pylist(), net, device, params, kind))
            values = np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
            domains = rows["domain"].combine_chunks() if domain is None else pa.array([domain] * len(ids), pa.string())
            write_table(pa.Table.from_arrays([ids, domains, as_lists(values)], schema=EMBEDDED), folder / shard.name)
            num_images += len(ids)
    return num_images


def as_lists(values: np.ndarray) -> pa.ListArray:
    """Return the rows of a matrix as lists.

    Shape:
        values: (n, d); result: (n,)
    """
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.ravel()))
