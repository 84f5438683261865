"""Labels of images from a click log and a list of category names, in one command and one Beam job.

    python -m pipelines.label_from_clicks --clicks clicks.tsv --categories names.txt --output labels
    python -m pipelines.label_from_clicks --params presets/unsplash_lite.yaml --clicks conversions.tsv000 \\
        --categories presets/unsplash_lite_names.txt --output labels

Input: a log as for `pipelines.build_click_features` (docs/click_features.md), counts or events; the categories, a text
with one name in each line or Parquet with a column category; aliases, lines ``alias <TAB> category``. A query votes for
the categories whose names it has (pipelines/words/naming.py), an image gets the votes of its queries times their
clicks. Output, whole or not at all:

- ``labels/part-*.parquet``: schemas.CLICK_LABELS, a row for every image of the log;
- ``names.parquet``, ``words.parquet``: schemas.NAMES, NAME_WORDS; how often names and their words are asked for;
- ``several.parquet``: schemas.SEVERAL_NAMES; the most clicked queries that name several categories;
- ``quarantine/part-*.parquet``: schemas.QUARANTINE; every row that could not be used;
- ``summary.json``: counts that add up, names nobody asked for, categories without an image.

The same log, names and options give the same bytes, however the log is cut into files, on any runner and any number of
workers. (The quarantine names files and rows, so it depends on the cut.)
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
from pydantic import Field

from base.artifacts import read_tables, scratch_directory, whole_directory, write_json
from base.console import UserError, as_counts, by_reason, rows_add_up, stage
from base.params import Params, load_section, validate_section
from base.schemas import CLICK_MATRIX, CLICKS
from pipelines.beam.concurrency import concurrently
from pipelines.beam.runner import pipeline
from pipelines.beam.shards import WriteCounts, read_counts
from pipelines.beam.shuffle import GroupIntoShards, LargeShards, Packer, buckets_of, packing
from pipelines.ingest.bad_rows import ReadLog
from pipelines.ingest.click_data import IngestParams
from pipelines.ingest.click_log import LARGE_BUCKET, ReadClickLog, add_up, find_logs, num_buckets
from pipelines.ingest.log_format import LogFormat, LogParams, add_log_options, format_of, log_params_of
from pipelines.ingest.log_slices import TSV, LogFile
from pipelines.ingest.quarantine import WriteQuarantine, outliving
from pipelines.words.category_names import read_names
from pipelines.words.click_matrix import IMAGE_SHARDS, rows_without_clicks
from pipelines.words.image_labels import (
    NAMES_FILE,
    SEVERAL_FILE,
    WORDS_FILE,
    write_evidence,
    write_labels,
    write_several,
)
from pipelines.words.image_sets import source_images
from pipelines.words.lexicon import Lexicon, build_lexicon, write_dictionary
from pipelines.words.name_buckets import add_evidence, label_bucket, most_clicked, name_bucket
from pipelines.words.naming import KINDS
from pipelines.words.query_buckets import of_images
from pipelines.words.segmentation import Segmenter, SegmentParams, add_segment_options, segment_params_of
from pipelines.words.word_lists import warn_of_idle_entries

COUNTS_FILE = "counts"
OUTPUT = ("labels", "quarantine", NAMES_FILE, WORDS_FILE, SEVERAL_FILE, "summary.json")


class LabelParams(Params):
    """Section ``label_from_clicks`` of a parameter file."""

    least_reliability: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="0 to 1; a query with part of a name votes if a word of that part is as reliable as this; 1 leaves "
        "nearly only whole names",
    )
    variants: bool = Field(
        default=True, description="whether words of names are also recognised in another number or spelling"
    )


def summarise(counts: Mapping[str, int], names: pa.Table, categories: Sequence[str]) -> dict[str, Any]:
    """Return the contents of summary.json.

    Args:
        counts: summed counts by name.
        names: schemas.NAMES.
        categories: all of them.

    Raises:
        RuntimeError: rows do not add up; this is a defect of the program.
    """
    quarantined = by_reason("quarantined", counts)
    rows_add_up(counts.get("rows read", 0), counts.get("rows kept", 0), quarantined, "the click log")
    without, images_of = counts["images: without a name"], by_reason("images of", counts)
    rows_add_up(counts["images"], sum(images_of.values()), {"without a name": without}, "the images")
    idle = [
        name for name, clicks in zip(names["name"].to_pylist(), names["clicks"].to_pylist(), strict=True) if not clicks
    ]
    totals = {}
    for what in ("queries", "pairs", "clicks"):
        kinds = {kind: counts.get(f"{what}: {kind}", 0) for kind in KINDS}
        totals[what] = {"total": sum(kinds.values()), **{f"with {kind}": number for kind, number in kinds.items()}}
    return {
        "rows_read": counts.get("rows read", 0),
        "rows_kept": counts.get("rows kept", 0),
        "rows_quarantined": quarantined,
        **totals,
        "images": {
            "total": counts["images"],
            "with a name": counts["images"] - without,
            "without a name": without,
            "between several": counts["images: between several"],
        },
        "names": {"total": names.num_rows, "nobody asked for": idle},
        "categories": {
            "total": len(categories),
            "without an image": [category for category in categories if category not in images_of],
            "images": images_of,
        },
    }


@dataclass(frozen=True)
class Labelling:
    """One labelling of a log.

    Attributes:
        files: the log.
        form: how the log is written.
        most_bad_rows: the largest share of bad rows, 0 to 1.
        image_ids: the images to label; ``None``: those of the log.
        segment: how queries are segmented.
        lexicon: of the categories' names.
        least_reliability: as in :class:`LabelParams`.
    """

    files: Sequence[LogFile]
    form: LogFormat
    most_bad_rows: float
    image_ids: pa.Array | None
    segment: SegmentParams
    lexicon: Lexicon
    least_reliability: float

    def run(self, output: Path, beam_arguments: Sequence[str]) -> dict[str, Any]:
        """Write the labels, whole or not at all; return their summary.

        Raises:
            UserError: the log has no usable row, too many rows are bad, no query names a category, or the folder holds
                something other than labels.
        """
        with whole_directory(output, holds=OUTPUT) as folder, outliving(folder / "quarantine", output):
            for name in ("labels", "quarantine"):
                (folder / name).mkdir()
            with packing(beam_arguments, output) as packer, pipeline(beam_arguments) as job:
                self.wire(job, packer, folder)
            counts = read_counts(folder / COUNTS_FILE)
            log = ReadLog(self.files, self.form, counts, folder / "quarantine")
            log.check(self.most_bad_rows)
            if not counts.get("rows kept"):
                raise UserError("\n".join(["the log has no usable row", *log.explanation()]))
            if counts["images"] == counts["images: without a name"]:
                asked = ", ".join(map(repr, self.lexicon.categories[:3]))
                raise UserError(
                    "\n".join(
                        [
                            f"no query of an image names any of the {len(self.lexicon.categories):,} categories, as "
                            f"{asked}; check their language, give aliases, and check that log and images use the same "
                            "ids",
                            *log.explanation(),
                        ]
                    )
                )
            summary = summarise(counts, read_tables(folder / NAMES_FILE), self.lexicon.categories)
            write_json(summary, folder / "summary.json")
        return summary

    def wire(self, job: beam.Pipeline, packer: Packer, folder: Path) -> None:
        """Add the steps that write everything but the summary into the folder."""
        log = job | "ClickLog" >> ReadClickLog(self.files, self.form)
        clicks = log.clicks
        if self.image_ids is not None:
            clicks |= "OfImages" >> beam.Map(of_images, self.image_ids).with_output_types(pa.RecordBatch)
        _ = log.quarantine | "Quarantine" >> WriteQuarantine(folder / "quarantine", packer)
        named = clicks | "NamedBuckets" >> GroupIntoShards(
            CLICKS,
            "query",
            num_buckets(self.files),
            partial(name_bucket, lexicon=self.lexicon, params=self.segment, packer=packer),
            packer,
            "names",
            buckets_of,
            outputs=("buckets", "evidence", "several"),
            large=LargeShards(LARGE_BUCKET, add_up, are_cut=True),
        )
        evidence = named.evidence | "Evidence" >> beam.CombineGlobally(add_evidence).without_defaults()
        _ = evidence | "WrittenEvidence" >> beam.Map(write_evidence, self.lexicon, folder)
        _ = (
            named.several
            | "MostClicked" >> beam.CombineGlobally(most_clicked)
            | "WrittenSeveral" >> beam.Map(write_several, folder)
        )
        voted = named.buckets | "Votes" >> concurrently(
            "votes", label_bucket, self.lexicon, self.least_reliability, beam.pvalue.AsSingleton(evidence)
        ).with_outputs("rows", "counts")
        rows = voted.rows
        if self.image_ids is not None:
            images = (
                job
                | "Images" >> beam.Create([rows_without_clicks(self.image_ids)], reshuffle=False)
                | "ImageRows" >> beam.Map(lambda rows: rows).with_output_types(pa.RecordBatch)
            )
            rows = (rows, images) | "AllRows" >> beam.Flatten()
        labels = rows | "Labels" >> GroupIntoShards(
            CLICK_MATRIX,
            "image_id",
            IMAGE_SHARDS,
            partial(write_labels, lexicon=self.lexicon, directory=folder / "labels"),
            packer,
            "labels",
        )
        _ = (
            (log.counts, voted.counts, labels)
            | "AllCounts" >> beam.Flatten()
            | "Counts" >> WriteCounts(folder / COUNTS_FILE)
        )


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--clicks", nargs="+", action="extend", required=True, metavar="LOG", help="files, folders (whole) or globs"
    )
    parser.add_argument(
        "--categories", type=Path, required=True, metavar="NAMES", help="one name in each line, or Parquet (category)"
    )
    parser.add_argument(
        "--aliases", type=Path, metavar="FILE", help="lines: alias, tab, category; or a folder with names.tsv, or none"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--images", type=Path, metavar="FILE", help="table with image_id: label these images only")
    parser.add_argument(
        "--params", type=Path, metavar="FILE", help="parameter file, in place of all options below (its ingest.log, "
        "segment and label_from_clicks)"
    )  # fmt: skip
    parser.add_argument(
        "--ingested", action="store_true", help="the log is a folder ingested/clicks, not as ingest.log"
    )
    own = parser.add_argument_group("options that a parameter file has")
    own.add_argument(
        "--least-reliability", type=float, default=LabelParams().least_reliability, metavar="SHARE",
        help="of a word, 0 to 1, by which part of a name votes (%(default)s)",
    )  # fmt: skip
    own.add_argument("--no-variants", dest="variants", action="store_false", help="neither plurals nor spellings")
    add_log_options(parser)
    add_segment_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = build_parser()
    arguments, beam_arguments = parser.parse_known_args(argv)
    with stage("label_from_clicks") as closing:
        log_params, segment, params = read_parameters(arguments, parser)
        warn_of_idle_entries(segment)
        form = TSV if arguments.ingested else format_of(log_params)
        names = read_names(arguments.categories, arguments.aliases)
        segmenter = Segmenter(segment)
        lexicon = build_lexicon(names, segmenter, params.variants)
        files = find_logs(arguments.clicks)
        image_ids = (
            source_images(arguments.images, id_column=form.columns.names["image_id"]) if arguments.images else None
        )
        with scratch_directory(arguments.output) as scratch:
            summary = Labelling(
                files=files,
                form=form,
                most_bad_rows=log_params.most_bad_rows,
                image_ids=image_ids,
                segment=write_dictionary(names, segmenter, scratch),
                lexicon=lexicon,
                least_reliability=params.least_reliability,
            ).run(arguments.output, beam_arguments)
        closing.counts["rows read"] = summary["rows_read"]
        closing.counts["rows kept"] = summary["rows_kept"]
        closing.counts.update(as_counts("quarantined", summary["rows_quarantined"]))
        for what in ("queries", "images"):
            closing.counts.update({f"{what} {name}": n for name, n in summary[what].items() if name != "total"})
        closing.counts["names nobody asked for"] = len(summary["names"]["nobody asked for"])
        closing.counts["categories without an image"] = len(summary["categories"]["without an image"])
        closing.wrote[str(arguments.output)] = (
            f"labels of {summary['images']['with a name']:,} of {summary['images']['total']:,} images"
        )
        closing.next_command = (
            f"""python -c "import polars; print(polars.read_parquet('{arguments.output}/labels'))\""""
        )


def read_parameters(
    arguments: argparse.Namespace, parser: argparse.ArgumentParser
) -> tuple[LogParams, SegmentParams, LabelParams]:
    """Return the parameters of the file that the command line names, or of its options.

    Raises:
        UserError: a value is impossible, or a file is named and an option that it has is also given.
    """
    if arguments.params is None:
        own = {name: getattr(arguments, name) for name in LabelParams.model_fields}
        params = validate_section(LabelParams, "label_from_clicks", own, where="command line")
        return log_params_of(arguments), segment_params_of(arguments), params
    options = [*LogParams.model_fields, *SegmentParams.model_fields, *LabelParams.model_fields]
    if given := [name for name in options if getattr(arguments, name) != parser.get_default(name)]:
        raise UserError(
            f"--params {arguments.params}: the file has the parameter {given[0]}, so it can't be an option too; change "
            "it in the file, or leave out --params"
        )
    return (
        load_section(IngestParams, "ingest", arguments.params).log,
        load_section(SegmentParams, "segment", arguments.params),
        load_section(LabelParams, "label_from_clicks", arguments.params),
    )


if __name__ == "__main__":
    main()
