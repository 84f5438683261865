"""Check, convert and write shards of images, without a shuffle.

The images of a shard are read from their files in the order in which they are written, and at most ROW_GROUP_IMAGES of
them are in memory. Shards share nothing: `ingest` writes several at once, in threads or, if there are many images, in
processes. These import this module, so it must not import Beam.
"""

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from base import console
from base.artifacts import COMPRESSION, PARQUET, shard_name, shard_of, whole_file, write_table
from base.schemas import IMAGES, QUARANTINE
from pipelines.ingest.decoding import THUMBNAIL_SIDE, BadImageError, CheckedImage, check_image
from pipelines.ingest.duplicates import fingerprints_of
from pipelines.ingest.file_names import escape
from pipelines.ingest.image_archives import Place, PlaceReader, decode_base64
from pipelines.ingest.image_catalogue import SOURCE_IMAGES, TARGET_IMAGES, Entry, show

ROW_GROUP_IMAGES = 256  # images that are in memory at a time, and that a reader of the shards gets at a time
TABLE_OF = {"source": SOURCE_IMAGES, "target": TARGET_IMAGES}

# Metadata of a Parquet file from which Hugging Face's `datasets` learns to decode `image` as an image.
FEATURES: dict[str, dict[str, str]] = {
    **{name: {"dtype": "string", "_type": "Value"} for name in ("image_id", "domain", "category")},
    **{name: {"dtype": "int32", "_type": "Value"} for name in ("width", "height")},
    "image": {"_type": "Image"},
}
IMAGE_SHARDS = IMAGES.with_metadata({"huggingface": json.dumps({"info": {"features": FEATURES}})})
# JPEG does not get smaller; trying to compress it would take as much time as all the rest of the writing.
CODECS = {**dict.fromkeys((*IMAGES.names[:-1], "image.path"), COMPRESSION), "image.bytes": "none"}

# An entry as a row: rows travel to workers a hundred times faster than objects.
ENTRIES = pa.schema(
    [
        *((name, pa.string()) for name in ("image_id", "domain", "category")),
        *(("file", pa.binary()), ("row", pa.int64()), ("name", pa.binary())),  # names of files may be any bytes
        ("packing", pa.string()),
        *((name, pa.int64()) for name in ("offset", "length", "size")),
    ]
)


@dataclass(frozen=True)
class ShardPlan:
    """The images of one shard.

    Attributes:
        shard: its number.
        table: the images, in order, as ENTRIES.
    """

    shard: int
    table: pa.RecordBatch

    @property
    def entries(self) -> list[Entry]:
        """Return the images, in order."""
        columns = [column.to_pylist() for column in self.table.columns]
        return [
            Entry(image_id, domain, category, Place(os.fsdecode(file), row, os.fsdecode(name), *rest))
            for image_id, domain, category, file, row, name, *rest in zip(*columns, strict=True)
        ]


def plan_shards(entries: Sequence[Entry], num_shards: int) -> list[ShardPlan]:
    """Assign images to shards by a stable hash of their id; each shard's rows are in the order of image ids."""
    shards: list[list[Entry]] = [[] for _ in range(num_shards)]
    for entry in entries:
        shards[shard_of(entry.image_id, num_shards)].append(entry)
    return [ShardPlan(number, _as_table(sorted(shard))) for number, shard in enumerate(shards)]


def _as_table(entries: Sequence[Entry]) -> pa.RecordBatch:
    rows = [
        (*entry[:3], os.fsencode(place.file), place.row, os.fsencode(place.name), *place[3:])
        for entry, place in ((entry, entry.place) for entry in entries)
    ]
    columns = zip(*rows, strict=True) if rows else [()] * len(ENTRIES)
    return pa.RecordBatch.from_arrays(
        [pa.array(column, kind) for column, kind in zip(columns, ENTRIES.types, strict=True)], schema=ENTRIES
    )


def write_image_shard(
    plan: ShardPlan, raw: Path, directory: Path, longest_side: int | None
) -> tuple[pa.RecordBatch, Counter[str]]:
    """Check a shard's images and write the good ones, ROW_GROUP_IMAGES at a time.

    Args:
        plan: the images.
        raw: the raw data set's folder.
        directory: gets the shard in images/, and the columns that :func:`find_duplicates` compares in fingerprints/.
        longest_side: pixels; see :func:`pipelines.ingest.decoding.check_image`.

    Returns:
        The bad images, as schemas.QUARANTINE, and counts: ``source images: rows kept``, ``source images: quarantined:
        <reason>``, ``source images: converted: <reason>``, and the same for the target.
    """
    refused: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    fingerprints: list[pa.RecordBatch] = []
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(whole_file(directory / "images" / shard_name(plan.shard)))
        writer = stack.enter_context(
            pq.ParquetWriter(path, IMAGE_SHARDS, compression=CODECS, use_dictionary=["domain", "category"], **PARQUET)
        )
        reader = stack.enter_context(PlaceReader(raw))
        good: list[tuple[Entry, CheckedImage]] = []
        for entry in console.progress(plan.entries, f"images, shard {plan.shard}", "images"):
            table, place = TABLE_OF[entry.domain], entry.place
            packed = b""
            try:
                packed = reader.read(place)
                data = decode_base64(packed) if place.packing == "base64" else packed
                checked = check_image(data, longest_side)
            except BadImageError as error:
                is_row = place.packing == "base64"
                text = show(entry.image_id.encode() + b"\t" + packed) if is_row else escape(place.name)
                refused.append(
                    {"file": escape(place.file), "row": place.row, "reason": str(error), "raw": text, "rows": 1}
                )
                counts[f"{table}: quarantined: {error}"] += 1
                continue
            counts[f"{table}: rows kept"] += 1
            if checked.conversion:
                counts[f"{table}: converted: {checked.conversion}"] += 1
            good.append((entry, checked))
            if len(good) == ROW_GROUP_IMAGES:
                writer.write_batch(image_batch(good))
                fingerprints.append(fingerprint_batch(good))
                good = []
        if good:  # an empty row group would be refused by some readers (see write_table)
            writer.write_batch(image_batch(good))
        fingerprints.append(fingerprint_batch(good))
    write_table(pa.Table.from_batches(fingerprints), directory / "fingerprints" / shard_name(plan.shard))
    return pa.RecordBatch.from_pylist(refused, schema=QUARANTINE), counts


def image_batch(images: Sequence[tuple[Entry, CheckedImage]]) -> pa.RecordBatch:
    """Return images as rows of a shard."""
    paths = [f"{entry.image_id}.jpg" for entry, _ in images]
    files = pa.array([checked.data for _, checked in images], pa.binary())
    columns = [
        *_names(images),
        pa.array([checked.width for _, checked in images], pa.int32()),
        pa.array([checked.height for _, checked in images], pa.int32()),
        pa.StructArray.from_arrays([files, pa.array(paths, pa.string())], fields=list(IMAGES.field("image").type)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=IMAGE_SHARDS)


def fingerprint_batch(images: Sequence[tuple[Entry, CheckedImage]]) -> pa.RecordBatch:
    """Return the columns that :func:`find_duplicates` compares."""
    thumbnails = np.frombuffer(b"".join(checked.thumbnail for _, checked in images), np.uint8)
    hashes = fingerprints_of(thumbnails.reshape(len(images), THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    digests = [hashlib.sha256(checked.data).digest() for _, checked in images]
    columns = [*_names(images), pa.array(digests, pa.binary(32)), *hashes.values()]
    return pa.RecordBatch.from_arrays(columns, names=["image_id", "domain", "category", "digest", *hashes])


def _names(images: Sequence[tuple[Entry, CheckedImage]]) -> list[pa.Array]:
    return [
        pa.array([entry[column] for entry, _ in images], pa.string())
        for column in range(3)  # image_id, domain, category
    ]
