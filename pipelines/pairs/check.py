"""Check single pairs, decode their images, and compute what copies are found by."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa

from base.schemas import PAIRS, QUARANTINE
from pipelines.ingest.categories import normalise_category
from pipelines.ingest.decoding import THUMBNAIL_SIDE, BadImageError, CheckedImage, check_image
from pipelines.ingest.duplicates import fingerprints_of
from pipelines.ingest.file_names import escape
from pipelines.ingest.image_archives import Place, PlaceReader, decode_base64
from pipelines.ingest.image_ids import composed
from pipelines.pairs.records import EMPTY_TEXT, NO_CATEGORY, NO_ID, NO_IMAGE, SPLIT_NAMES, UNKNOWN_SPLIT, RawPair

# A checked pair on its way to its shard: its fingerprint, and its place in the data set, which orders pairs of one id.
CHECKED = pa.schema(
    [
        *(PAIRS.field(name) for name in ("pair_id", "category", "split", "text", "width", "height")),
        pa.field("image", pa.large_binary(), nullable=False),
        pa.field("digest", pa.binary(32), nullable=False),
        pa.field("coarse", pa.uint64(), nullable=False),
        pa.field("fine", pa.binary(32), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("raw", pa.string(), nullable=False),
    ]
)


class GoodPair(NamedTuple):
    """A pair that passed all checks.

    Attributes:
        raw: as it was read.
        pair_id: in NFC.
        category: normalised.
        split: train, validation, test, or None.
        text: without white space at its ends.
        image: decoded once.
    """

    raw: RawPair
    pair_id: str
    category: str
    split: str | None
    text: str
    image: CheckedImage


def check_pair(pair: RawPair, reader: PlaceReader, longest_side: int | None) -> GoodPair | str:
    """Return a checked pair, or the first reason why it cannot be used.

    Args:
        pair: as read.
        reader: reads images that are not in the pair itself.
        longest_side: pixels; see :func:`pipelines.ingest.decoding.check_image`.
    """
    split = (pair.split or "").strip().lower()
    category = normalise_category(pair.category)
    reason = pair.reason or (
        NO_ID if not pair.pair_id.strip()
        else NO_CATEGORY if not category
        else UNKNOWN_SPLIT if split and split not in SPLIT_NAMES
        else EMPTY_TEXT if not pair.text.strip()
        else NO_IMAGE if pair.image is None
        else ""
    )  # fmt: skip
    if reason:
        return reason
    try:
        image = check_image(image_bytes(pair, reader), longest_side)
    except BadImageError as error:
        return f"image {error}" if str(error) == "cannot be read" else str(error)
    return GoodPair(pair, composed(pair.pair_id), category, SPLIT_NAMES.get(split), pair.text.strip(), image)


def image_bytes(pair: RawPair, reader: PlaceReader) -> bytes:
    """Return the bytes of a pair's image.

    Raises:
        BadImageError: they cannot be read.
    """
    if not isinstance(pair.image, Place):
        return pair.image or b""
    data = reader.read(pair.image)
    return decode_base64(data) if pair.image.packing == "base64" else data


def check_pairs(
    pairs: Sequence[RawPair], root: Path, longest_side: int | None
) -> Iterable[
    beam.pvalue.TaggedOutput[Literal["pairs", "quarantine"], pa.RecordBatch]
    | beam.pvalue.TaggedOutput[Literal["counts"], tuple[str, int]]
]:
    """Check some pairs; yield the good ones, the refused ones and counts under their tags.

    Counts are ``rows read``, ``quarantined: <reason>`` and ``converted: <why the image was>``. Good pairs are counted
    when they are written, because there may be several of one id.
    """
    good, refused, counts = [], [], Counter({"rows read": len(pairs)})
    with PlaceReader(root) as reader:
        for pair in pairs:
            found = check_pair(pair, reader, longest_side)
            if isinstance(found, str):
                refused.append(quarantine_row(escape(pair.file), pair.row, found, pair.shown()))
                counts[f"quarantined: {found}"] += 1
            else:
                good.append(found)
                if found.image.conversion:
                    counts[f"converted: {found.image.conversion}"] += 1
    if good:
        yield beam.pvalue.TaggedOutput("pairs", checked_batch(good))
    if refused:
        yield beam.pvalue.TaggedOutput("quarantine", pa.RecordBatch.from_pylist(refused, schema=QUARANTINE))
    for count in sorted(counts.items()):
        yield beam.pvalue.TaggedOutput("counts", count)


def quarantine_row(file: str, row: int, reason: str, raw: str) -> dict[str, Any]:
    """Return a row of `schemas.QUARANTINE`."""
    return {"file": file, "row": row, "reason": reason, "raw": raw, "rows": 1}


def checked_batch(pairs: Sequence[GoodPair]) -> pa.RecordBatch:
    """Return checked pairs as CHECKED."""
    thumbnails = np.frombuffer(b"".join(pair.image.thumbnail for pair in pairs), np.uint8)
    hashes = fingerprints_of(thumbnails.reshape(len(pairs), THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    columns = {
        **{name: [getattr(pair, name) for pair in pairs] for name in ("pair_id", "category", "split", "text")},
        **{name: [getattr(pair.image, name) for pair in pairs] for name in ("width", "height")},
        "image": [pair.image.data for pair in pairs],
        "digest": [hashlib.sha256(pair.image.data).digest() for pair in pairs],
        **hashes,
        "file": [escape(pair.raw.file) for pair in pairs],
        "row": [pair.raw.row for pair in pairs],
        "raw": [pair.raw.shown() for pair in pairs],
    }
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, kind)
        for column, kind in ((columns[field.name], field.type) for field in CHECKED)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=CHECKED)
