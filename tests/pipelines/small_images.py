"""Tiny image files for tests of ingest: each colour gives another picture."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


def jpeg(number: int) -> bytes:
    """Return a picture of random blocks, other ones for each number."""
    blocks = np.random.default_rng(number).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.kron(blocks, np.ones((8, 8, 1), np.uint8))).save(buffer, "JPEG")
    return buffer.getvalue()


def write_jpeg(path: Path, number: int) -> None:
    """Write such a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(number))
