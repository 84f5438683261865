"""Features of images from a frozen ConvNet: computed once, by each backbone of :mod:`model.nets.backbones`.

Images are decoded at full scale, resized with cubic interpolation, and cropped to the middle square.

The Parquet files say in their metadata, under `KEY`, what made the features (`Frozen`); a training copies it into
run.json, so that its model can be applied to pictures.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import Field, ValidationError
from torch import Tensor, nn

from base.artifacts import reading, whole_directory, write_table
from base.console import UserError, progress
from base.params import Params
from base.schemas import EMBEDDED
from model.data.images import centre_crop, decode
from model.folder import device_at_hand, weights_digest
from model.nets.backbones import ConvNet, Visual, build_backbone
from model.nets.params import BackboneParams

KEY = "clicksight.frozen"  # of the files' metadata: `Frozen` as JSON
Kind = Literal["mean and maximum", "map", "phi"]


class FrozenParams(BackboneParams):
    """The frozen ConvNet."""

    batch_size: int = Field(description="images that are computed at once", ge=1)
    threads: int = Field(description="CPU threads", ge=1)


class Frozen(Params):
    """All that frozen features depend on besides the images."""

    network: BackboneParams
    kind: Kind
    weights_digest: str | None = Field(description="of the file with the weights; null: weights are no file")


def frozen_of(params: FrozenParams, kind: Kind) -> Frozen:
    """Return what makes features with some parameters: without batch size and threads, which change rounding alone."""
    network = {name: getattr(params, name) for name in BackboneParams.model_fields}
    return Frozen(network=BackboneParams(**network), kind=kind, weights_digest=weights_digest(params.weights))


def read_frozen(path: Path) -> Frozen | None:
    """Return what made the features in a file or folder of shards; None: they don't say.

    Raises:
        UserError: the shards were made by different networks, or an entry is not as :func:`embed` writes it.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.parquet"))
    entries = list[bytes | None]()
    for file in files:
        with reading(file):
            entries.append((pq.read_schema(file).metadata or {}).get(KEY.encode()))
    written = entries[0] if entries else None
    if other := next((file for file, one in zip(files, entries, strict=True) if one != written), None):
        raise UserError(
            f"{path}: {files[0].name} and {other.name} were made by different networks; compute all features again"
        )
    if written is None:
        return None
    try:
        return Frozen.model_validate_json(written)
    except ValidationError as error:
        raise UserError(f"{path}: the metadata {KEY} is not as embed writes it: {error}; compute it again") from None


def frozen_entry(frozen: Frozen | None) -> dict[str, Any] | None:
    """Return run.json's entry `frozen`."""
    return None if frozen is None else frozen.model_dump(mode="json")


class FrozenNet(nn.Module):
    """From the middle squares of images to their frozen features.

    Args:
        frozen: what made the features.

    Attributes:
        params: size and weights of the ConvNet.
        num_features: F.

    Shape:
        input: uint8 (B, 3, S, S), of images that were decoded finely; output: float32 (B, F)

    Raises:
        UserError: the file with the weights is missing, or is another one.
    """

    def __init__(self, frozen: Frozen) -> None:
        super().__init__()
        self.params, self.kind = frozen.network, frozen.kind
        self.net = seeded_net(frozen.network)
        if (found := weights_digest(self.params.weights)) != frozen.weights_digest:
            raise UserError(
                f"{self.params.weights}: has the digest {found}, the frozen features were computed with "
                f"{frozen.weights_digest}; get that file, or train the model again"
            )
        channels, height, width = self.net.map_shape
        sizes = {"phi": self.net.num_features, "map": channels * height * width, "mean and maximum": 2 * channels}
        self.num_features: int = sizes[self.kind]

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the features."""
        return features_of(self.net(pixels), self.kind)


def frozen_net_of(folder: Path, run: Mapping[str, Any], num_features: int) -> FrozenNet:
    """Return the frozen ConvNet of a trained run, in evaluation mode, on the CPU.

    Args:
        folder: the model folder, for errors.
        run: the content of run.json; its entry `frozen` is read.
        num_features: that the model reads.

    Raises:
        UserError: the run doesn't say what made its features, they are of another number, or the file with the
            weights is missing or another one.
    """
    if run.get("frozen") is None:
        raise UserError(
            f"{folder}: this model sees frozen features, and its run.json doesn't say what made them: they were "
            "computed by an earlier version or another program; compute them by `embed` and train again"
        )
    try:
        net = FrozenNet(Frozen.model_validate(run["frozen"])).eval()
    except ValidationError as error:
        raise UserError(f"{folder}/run.json: frozen: {error}; train the model again") from None
    except UserError as error:
        raise UserError(f"{folder}: the ConvNet of its frozen features: {error}") from None
    if net.num_features != num_features:
        raise UserError(
            f"{folder}: reads {num_features} features, its frozen ConvNet makes {net.num_features}; train again"
        )
    return net


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
    device = device_at_hand()
    return seeded_net(params).to(device), device


def seeded_net(params: BackboneParams) -> ConvNet:
    """Return the ConvNet in evaluation mode; its weights, where none are loaded, are always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_backbone(params).eval()


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
        output: a folder of schemas.EMBEDDED, a file for each shard, with its name; `KEY` is in their metadata.
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
    made_by = json.dumps(frozen_of(params, kind).model_dump(mode="json"), sort_keys=True)
    schema = EMBEDDED.with_metadata({KEY: made_by})
    with whole_directory(output) as folder, torch.inference_mode():
        for shard in progress(shards, "embed", "shards", len(shards)):
            with reading(shard):
                rows = pq.read_table(shard, columns=columns)
            ids = rows[id_column].combine_chunks()
            parts = list(shard_features(rows, ids.to_pylist(), net, device, params, kind))
            values = np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
            domains = rows["domain"].combine_chunks() if domain is None else pa.array([domain] * len(ids), pa.string())
            write_table(pa.Table.from_arrays([ids, domains, as_lists(values)], schema=schema), folder / shard.name)
            num_images += len(ids)
    return num_images


def as_lists(values: np.ndarray) -> pa.ListArray:
    """Return the rows of a matrix as lists.

    Shape:
        values: (n, d); result: (n,)
    """
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.ravel()))
