"""Ingested shards of noisy coloured squares: source categories red (8), blue (7) and green (2), target blue (3)."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from base import schemas

COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200), "green": (30, 200, 30)}
COUNTS = [("source", "red", 8), ("source", "blue", 7), ("source", "green", 2), ("target", "blue", 3)]
CLEANER_PARAMS = """\
cleaning:
  network: {backbone: plain, weights: none, image_size: 16, resize: 16, dropout: 0.0}
  train:
    minimum_category_size: 3
    folds: 1
    seed: 0
    train:
      epochs: 4
      batch_size: 5
      learning_rate: 0.02
      recogniser_multiplier: 1.0
      momentum: 0.9
      weight_decay: 0.0
      schedule: {kind: constant, warm_up: 0.0}
      mixed_precision: 'no'
      accumulation: 1
      compile: false
      channels_last: false
      workers: 0
      threads: 1
      cache_images: true
  score: {batch_size: 4, threads: 1}
"""


def square(colour: tuple[int, int, int], seed: int) -> bytes:
    """Return a 20 x 18 JPEG of about that colour."""
    noise = np.random.default_rng(seed).integers(-25, 26, (18, 20, 3))
    buffer = io.BytesIO()
    Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def image_table() -> pa.Table:
    """Return all images, rows by domain and image id."""
    rows = [
        {"image_id": f"{domain[0]}-{name}-{i}", "domain": domain, "category": name, "width": 20, "height": 18,
         "image": {"bytes": square(COLOURS[name], seed=100 * number + i), "path": None}}
        for number, (domain, name, count) in enumerate(COUNTS)
        for i in range(count)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schemas.IMAGES)


def write_images(folder: Path, table: pa.Table, num_shards: int) -> None:
    """Write the images as shards, in turn."""
    folder.mkdir(parents=True)
    for shard in range(num_shards):
        rows = table.take(list(range(shard, table.num_rows, num_shards)))
        pq.write_table(rows, folder / f"part-{shard:05d}.parquet")
