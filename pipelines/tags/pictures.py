"""Check the pictures of a tag log that are not those of a click data set; quarantine bad ones with a reason.

    python -m pipelines.tags.pictures --raw data/raw/openclipart --output data/sets/openclipart/ingested

In: a folder with ``items.parquet``, whose columns the parameter file's section ``pictures`` names, or with ``images/``
or an archive of that name, where a picture's id is its path below it without the suffix. Section ``ingest`` says how
pictures are written.
Out, whole or not at all:

- ``images/``: `schemas.IMAGES`, of the domain ``source`` and without category;
- ``duplicates.parquet``: `schemas.DUPLICATES`; ``quarantine/``: `schemas.QUARANTINE`;
- ``summary.json``: read = kept + quarantined.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from base import console
from base.artifacts import reading, scratch_directory, whole_directory, write_json
from base.console import UserError
from base.params import DEFAULT_PATH, Params, load_section
from base.schemas import QUARANTINE
from pipelines.annotations.source import Images, folder_of_images, images_of_table
from pipelines.beam import runner
from pipelines.beam.shards import WriteCounts, read_counts
from pipelines.beam.shuffle import packing
from pipelines.ingest.checked_images import CheckImages, write_duplicates
from pipelines.ingest.click_data import IngestParams
from pipelines.ingest.image_archives import ARCHIVES
from pipelines.ingest.image_catalogue import SOURCE_IMAGES, Entry, Refused
from pipelines.ingest.image_ids import composed
from pipelines.ingest.quarantine import WriteQuarantine, outliving

ITEMS, FOLDER = "items.parquet", "images"
OUTPUT = ("images", "duplicates.parquet", "quarantine", "summary.json")
EMPTY, SECOND = "empty image id", "second image of the id"


class PictureParams(Params):
    """Section `pictures`: the columns of ``items.parquet``."""

    image_id: str = Field(description="column of ids, which the log has as its images' ids", min_length=1)
    image: str = Field(description="column of image files: bytes, or a struct with a field bytes", min_length=1)


def find_pictures(raw: Path, scratch: Path, params: PictureParams) -> Images:
    """Return the pictures of a raw folder; `scratch` is an existing folder, which gets copies of a table's.

    Raises:
        UserError: there is neither a table nor a folder or archive, or the table lacks a column.
    """
    path = raw / ITEMS
    if path.is_file():
        with reading(path):
            names = pq.read_schema(path).names
        if params.image_id not in names:
            raise UserError(f"{path}: no column {params.image_id!r} (pictures.image_id); it has {', '.join(names)}")
        with reading(path):
            ids = pq.read_table(path, columns=[params.image_id])[params.image_id].cast(pa.string()).to_pylist()
        return images_of_table(path, ids, params.image, scratch)
    for name in (FOLDER, *(FOLDER + suffix for suffix in ARCHIVES)):
        if (raw / name).exists():
            return folder_of_images(raw, name)
    raise UserError(f"{raw}: no pictures: expected {ITEMS}, or a folder or archive {FOLDER}")


def as_entries(images: Images) -> tuple[list[Entry], list[Refused]]:
    """Return the pictures to be decoded, and the others with reasons."""
    entries, refused = [], list(images.refused)
    seen: set[str] = set()
    for name, place in images.places:
        image_id = composed(name.strip())
        if reason := EMPTY if not image_id else SECOND if image_id in seen else "":
            refused.append(Refused(place.file, place.row, reason, image_id))
        else:
            entries.append(Entry(image_id, "source", "", place))
        seen.add(image_id)
    return entries, refused


def run(
    raw: Path, output: Path, params: PictureParams, ingest: IngestParams, beam_arguments: Sequence[str] = ()
) -> dict[str, Any]:
    """Check the pictures of a raw folder; return the contents of summary.json.

    Raises:
        UserError: there are none, or none is usable.
    """
    with (
        scratch_directory(output) as scratch,
        whole_directory(output, holds=OUTPUT) as directory,
        outliving(directory / "quarantine", output),
    ):
        images = find_pictures(raw, scratch, params)
        entries, refused = as_entries(images)
        for name in ("images", "fingerprints", "quarantine"):
            (directory / name).mkdir()
        rows = pa.RecordBatch.from_pylist([{**row._asdict(), "rows": 1} for row in refused], schema=QUARANTINE)
        with packing(beam_arguments, output) as packer, runner.pipeline(beam_arguments) as pipeline:
            checked = pipeline | "Images" >> CheckImages(
                entries, images.root, directory, ingest.image_shards, ingest.longest_side, packer, beam_arguments
            )
            known = pipeline | "Refused" >> beam.Create([rows])
            every = (checked.quarantine, known) | "EveryQuarantine" >> beam.Flatten()
            _ = every | "Quarantine" >> WriteQuarantine(directory / "quarantine", packer)
            _ = checked.counts | "Counts" >> WriteCounts(directory / "counts.parquet")
        counts = Counter(read_counts(directory / "counts.parquet"))
        counts.update(f"{SOURCE_IMAGES}: quarantined: {row.reason}" for row in refused)
        read, kept = len(images.places) + len(images.refused), counts[f"{SOURCE_IMAGES}: rows kept"]
        quarantined = console.by_reason(f"{SOURCE_IMAGES}: quarantined", counts)
        console.rows_add_up(read, kept, quarantined, "pictures")
        if not kept:
            reasons = ", ".join(f"{reason} {number}" for reason, number in quarantined.items())
            raise UserError(f"{raw}: no usable picture: {read} read, quarantined: {reasons or 'none'}")
        summary: dict[str, Any] = {"pictures": {"rows_read": read, "rows_kept": kept, "quarantined": quarantined}}
        summary["converted"] = console.by_reason(f"{SOURCE_IMAGES}: converted", counts)
        duplicates = write_duplicates(directory, ingest.duplicate_distance)
        summary["duplicates"] = duplicates.get("source", {}).get("source", {})
        write_json(summary, directory / "summary.json")
    return summary


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, required=True, help="the raw data set's folder")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments, beam_arguments = parser.parse_known_args(argv)
    with console.stage("pictures", describe=str(arguments.raw)) as closing:
        params = load_section(PictureParams, "pictures", arguments.params)
        ingest = load_section(IngestParams, "ingest", arguments.params)
        summary = run(arguments.raw, arguments.output, params, ingest, beam_arguments)
        rows = summary["pictures"]
        closing.counts["pictures read"] = rows["rows_read"]
        closing.counts.update(console.as_counts("quarantined", rows["quarantined"]))
        closing.counts.update(console.as_counts("converted", summary["converted"]))
        closing.counts.update(console.as_counts("with a duplicate", summary["duplicates"]))
        closing.wrote[str(arguments.output)] = f"{rows['rows_kept']:,} pictures"
        closing.next_command = "python -m systems.cleaning.embed ..."


if __name__ == "__main__":
    main()
