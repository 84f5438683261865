"""Small pictures of the data set's images, for the report's page."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from model.data.shards import EncodedImages
from report.thumbnails import Thumbnail, thumbnail


def read_pictures(images: Path, domain: str, image_ids: Sequence[str], side: int) -> dict[str, Thumbnail]:
    """Return small pictures of some images of a domain, by image id.

    Args:
        images: the folder of ingested images.
        domain: source or target.
        image_ids: distinct.
        side: the longer one, pixels.

    Raises:
        UserError: an image is not among the ingested ones (named).
    """
    if not image_ids:
        return {}
    rows = pl.DataFrame({"domain": [domain] * len(image_ids), "image_id": image_ids})
    encoded = EncodedImages({images: [domain]}, rows)
    encoded.find(np.arange(len(rows)))
    found = {}
    for row, image_id in enumerate(image_ids):
        with Image.open(io.BytesIO(encoded[row])) as image:
            found[image_id] = thumbnail(image.convert("RGB"), side)
    return found
