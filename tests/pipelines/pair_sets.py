"""Small sets of image-text pairs: blocks of random greys, each picture far from every other, with short texts."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SIZES = {"boats": 5, "birds": 4, "bells": 3}
WORDS = ("old", "red", "small", "wooden", "loud", "quiet", "bright", "broken", "heavy", "wet", "dry", "long")


def picture(seed: int, size: tuple[int, int] = (24, 20), quality: int = 95) -> bytes:
    """Return a JPEG of 8 x 8 blocks; pictures of two seeds differ in most bits of their perceptual hashes."""
    greys = np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(greys).resize(size, Image.Resampling.NEAREST).convert("RGB").save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def pair_rows() -> list[dict[str, Any]]:
    """Return twelve good pairs of three categories, not in the order of their ids."""
    rows: list[dict[str, Any]] = []
    for category, number in SIZES.items():
        for n in range(number):
            seed = len(rows)
            split = ("train", "test", "train", "train", "test")[n]
            rows.append(
                {"id": f"p{(7 * seed) % 12:02d}", "text": f"a {WORDS[seed]} {category[:-1]}", "category": category,
                 "split": split, "image": picture(seed)}
            )  # fmt: skip
    return rows


def write_parquet(path: Path, rows: list[dict[str, Any]], group: int = 5) -> Path:
    """Write pairs as Parquet, with so many rows in a row group."""
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=group)
    return path


def write_tsv(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write pairs as tab-separated text; images in base64 as `image_base64`."""
    lines = ["id\ttext\tcategory\tsplit\timage_base64"]
    lines += [
        f"{r['id']}\t{r['text']}\t{r['category']}\t{r['split']}\t{base64.b64encode(r['image']).decode()}" for r in rows
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write pairs as JSON Lines, and their images into the folder beside them."""
    (path.parent / "pictures").mkdir()
    lines = []
    for row in rows:
        name = f"pictures/{row['id']}.jpg"
        (path.parent / name).write_bytes(row["image"])
        lines.append(json.dumps({**row, "image": name}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
