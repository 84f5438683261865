"""Compute frozen features of all images: mean and maximum over the positions of a ConvNet's last map.

    python -m systems.cleaning.embed --images data/sets/toy/ingested/images --output data/sets/toy/embedded

In: the ingested images (`schemas.IMAGES`), both domains. Out: shards of `schemas.EMBEDDED`, those of the images.
"""

import argparse
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from base.artifacts import whole_directory, write_table
from base.console import progress, stage
from base.params import DEFAULT_PATH, load_section
from base.schemas import EMBEDDED
from model.nets.params import BackboneParams
from pipelines.beam.shards import shard_files


class EmbedParams(BackboneParams):
    """The frozen ConvNet."""

    batch_size: int = Field(description="images that are computed at once", ge=1)
    threads: int = Field(description="CPU threads", ge=1)


def pixels(encoded: bytes, resize: int, size: int) -> np.ndarray:
    """Return an image's middle square: uint8 (3, size, size), of the image with a shorter side of `resize`."""
    from PIL import Image

    with Image.open(io.BytesIO(encoded)) as opened:
        image = opened.convert("RGB")
    scale = resize / min(image.size)
    width, height = (max(resize, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size))).transpose(2, 0, 1)


def run(images: Path, output: Path, params: EmbedParams) -> int:
    """Compute the features of all shards and write the folder; return the number of images."""
    import torch

    from model.nets.backbones import build_backbone

    torch.set_num_threads(params.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)  # of the weights, where none are loaded
    net = build_backbone(params).eval().to(device)
    shards, num_images = shard_files(images), 0
    with whole_directory(output) as folder, torch.inference_mode():
        for shard in progress(shards, "embed", "shards", len(shards)):
            rows = pq.read_table(shard, columns=["image_id", "domain", "image"])
            parts = []
            for batch in rows.to_batches(params.batch_size):
                encoded = batch["image"].to_pylist()
                stacked = np.stack([pixels(image["bytes"], params.resize, params.image_size) for image in encoded])
                omega = net(torch.from_numpy(stacked).to(device)).omega.float()
                parts.append(torch.cat([omega.mean((2, 3)), omega.amax((2, 3))], dim=1).cpu().numpy())
            values = np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
            features = pa.ListArray.from_arrays(
                pa.array(np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]), pa.array(values.ravel())
            )
            columns = [rows["image_id"].combine_chunks(), rows["domain"].combine_chunks(), features]
            write_table(pa.Table.from_arrays(columns, schema=EMBEDDED), folder / shard.name)
            num_images += len(rows)
    return num_images


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of the ingested images")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH)
    arguments = parser.parse_args(argv)
    with stage("embed") as closing:
        params = load_section(EmbedParams, "cleaning.embed", arguments.params)
        closing.counts = {"images": run(arguments.images, arguments.output, params)}
        closing.wrote[str(arguments.output)] = f"features of {params.backbone}"
        closing.next_command = "python -m systems.cleaning.denoise"


if __name__ == "__main__":
    main()
