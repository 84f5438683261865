"""Click features of any click log, in one command and one Beam job.

    python -m pipelines.build_click_features --clicks clicks.tsv --output features
    python -m pipelines.build_click_features --previous features --clicks new_day.tsv --output features

Input: a log of (image id, query, clicks) rows: tab-separated text, CSV, JSON Lines, the same packed, Parquet, folders,
globs; any number of them (see docs/click_features.md). Output, whole or not at all:

- ``vocabulary.parquet``: word_id, word, clicks, document_frequency, idf; by word_id, which is the rank by clicks;
- ``click_features/part-*.parquet``: image_id, word_ids, clicks, tfidf; a row for every image of the log;
- ``quarantine/part-*.parquet``: file, row, reason, raw, rows; every row that could not be used; equal rows are one
  record with their number; a file for each 128 MiB of records, chosen by the text;
- ``history/``: what is needed to add a later log (see pipelines/words/history.py);
- ``summary.json``: rows read = rows kept + rows quarantined, images, queries, words, and the seconds that workers
  spent in each step. Only the seconds differ from one run to the next.

If the job fails after it has read the log, the quarantine is kept in ``OUTPUT.quarantine/``; so it is if more rows are
bad than ``--most-bad-rows`` allows.

The same log and options give the same bytes of vocabulary and features, however the log is cut into files, on any
runner, and whether it is built at once or added log by log with ``--previous``. (The quarantine names files and rows,
so it depends on the cut.) ``--output`` may be the folder of ``--previous``, or hold another build, which is
``--direct_num_workers 2 --direct_running_mode multi_processing``.

The log, ``--images``, ``--output`` and ``--previous`` may be in an object store, ``s3://BUCKET/KEY`` or
``gs://BUCKET/KEY`` (docs/stores.md).
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import apache_beam as beam
import pyarrow as pa

from base.artifacts import whole_directory, write_json
from base.console import UserError, as_counts, by_reason, rows_add_up, stage
from base.params import validate_section
from base.publication import current, published
from base.schemas import CLICKS
from base.stores import Location, StorePath, location
from pipelines.beam.concurrency import concurrently
from pipelines.beam.runner import check_places, pipeline
from pipelines.beam.shards import WriteCounts, read_counts
from pipelines.beam.shuffle import GroupIntoShards, LargeShards, Packer, buckets_of, packing
from pipelines.beam.steps import seconds_by_step
from pipelines.ingest.bad_rows import ReadLog
from pipelines.ingest.click_log import (
    LARGE_BUCKET,
    ReadClickLog,
    add_up,
    find_logs,
    num_buckets,
)
from pipelines.ingest.log_format import LogFormat, add_log_options, format_of, log_params_of
from pipelines.ingest.log_slices import LogFile
from pipelines.ingest.quarantine import WriteQuarantine, outliving
from pipelines.words.about import about_features, digest_of, segment_options
from pipelines.words.click_features import write_packed
from pipelines.words.click_matrix import IMAGE_SHARDS, ClickMatrix
from pipelines.words.history import (
    QUERY,
    History,
    Previous,
    digests_of,
    fingerprint,
    write_bucket,
)
from pipelines.words.image_sets import source_images
from pipelines.words.query_buckets import of_images
from pipelines.words.segment import segmented_bucket
from pipelines.words.segmentation import SegmentParams, add_segment_options, segment_params_of, segmenter_of
from pipelines.words.vocabulary import (
    MostClickedWords,
    Vocabulary,
    VocabularyParams,
    check_vocabulary,
    write_vocabulary,
)
from pipelines.words.word_lists import warn_of_idle_entries

VOCABULARY_FILE, COUNTS_FILE = "vocabulary.parquet", "counts"
NAME_LENGTH = 16  # hexadecimal digits
BUILD = (VOCABULARY_FILE, "click_features", "quarantine", "history", "summary.json")  # all that a build holds


def summarise(
    counts: Mapping[str, int], seconds: Mapping[str, float], previous: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the contents of summary.json.

    Args:
        counts: summed counts by name; row counts are those of this log only.
        seconds: by step.
        previous: the summary of the build to which the log is added.

    Raises:
        RuntimeError: the rows do not add up; this is a defect of the program.
    """
    old = previous or {"rows_read": 0, "rows_kept": 0, "rows_quarantined": {}}
    quarantined = Counter(old["rows_quarantined"]) + Counter(by_reason("quarantined", counts))
    read, kept = old["rows_read"] + counts.get("rows read", 0), old["rows_kept"] + counts.get("rows kept", 0)
    rows_add_up(read, kept, quarantined, "the click log")
    return {
        "rows_read": read,
        "rows_kept": kept,
        "rows_quarantined": dict(sorted(quarantined.items())),
        "images": counts.get("images", 0),
        "queries": counts.get("queries", 0),
        "words": counts.get("words", 0),
        "vocabulary": counts["vocabulary"],
        "seconds": dict(seconds),
    }


def segment_bucket(
    bucket: int, clicks: pa.RecordBatch, params: SegmentParams, packer: Packer, log: Location | None, num_buckets: int
) -> Iterable[beam.pvalue.TaggedOutput]:
    """Segment a bucket's queries, also into the history; yield the packed bucket and the names of its own queries.

    A hot query is in other buckets as well, but is named by its own bucket alone, so that it counts once.
    """
    queries, segmented = segmented_bucket(clicks, segmenter_of(params))
    if log is not None:
        write_bucket(bucket, segmented, queries, log)
    is_own = buckets_of(queries, num_buckets) == bucket % num_buckets
    yield beam.pvalue.TaggedOutput("queries", pa.record_batch([queries.filter(pa.array(is_own))], schema=QUERY))
    yield beam.pvalue.TaggedOutput("buckets", packer.pack([segmented.to_batch()])[0])


@dataclass(frozen=True)
class Build:
    """One build of click features.

    Attributes:
        files: the log.
        form: how the log is written.
        most_bad_rows: the largest share of bad rows, 0 to 1.
        image_ids: the images to keep and to make features of; ``None``: those of the log.
        segment: how queries are segmented.
        top_words: K.
        about: what vocabulary and features say of themselves (:mod:`pipelines.words.about`).
        history: what is kept for later builds; ``None``: nothing.
        previous: the build to which the log is added, if any.
        name: of the build's folder in a store; the same for the same inputs and options.
    """

    files: Sequence[LogFile]
    form: LogFormat
    most_bad_rows: float
    image_ids: pa.Array | None
    segment: SegmentParams
    top_words: int
    about: Mapping[str, str]
    history: History | None
    previous: Previous | None
    name: str

    def run(self, output: Location, beam_arguments: Sequence[str]) -> dict[str, Any]:
        """Write the build, whole or not at all; return its summary.

        Raises:
            UserError: too many rows are bad, no word is left for a vocabulary, or the folder holds something other than
                a build.
        """
        whole = published(output, self.name) if isinstance(output, StorePath) else whole_directory(output, holds=BUILD)
        with whole as folder, outliving(folder / "quarantine", output):
            for name in ("click_features", "quarantine"):
                (folder / name).mkdir()
            if self.history is not None:
                self.history.start(folder, self.previous)
            with packing(beam_arguments, output) as packer, pipeline(beam_arguments) as job:
                self.wire(job, packer, folder)
            counts = read_counts(folder / COUNTS_FILE)
            log = ReadLog(self.files, self.form, counts, folder / "quarantine")
            log.check(self.most_bad_rows)
            try:
                counts["vocabulary"] = check_vocabulary(folder / VOCABULARY_FILE, self.top_words)
            except UserError as error:
                raise UserError("\n".join([str(error), *log.explanation()])) from error
            old = None if self.previous is None else self.previous.summary()
            summary = summarise(counts, seconds_by_step(job.result), old)
            write_json(summary, folder / "summary.json")
        return summary

    def wire(self, job: beam.Pipeline, packer: Packer, folder: Location) -> None:
        """Add the steps that write everything but the summary into the folder."""
        old = self.previous
        log = job | "ClickLog" >> ReadClickLog(self.files, self.form)
        clicks, quarantine = log.clicks, log.quarantine
        if self.image_ids is not None:
            clicks |= "OfImages" >> beam.Map(of_images, self.image_ids).with_output_types(pa.RecordBatch)
        if old is not None:
            quarantine = (quarantine, old.quarantine(job)) | "WholeQuarantine" >> beam.Flatten()
        _ = quarantine | "Quarantine" >> WriteQuarantine(folder / "quarantine", packer)

        log_folder, words_folder = (None, None) if self.history is None else self.history.folders(folder)
        number = num_buckets(self.files)
        segmented = clicks | "SegmentedBuckets" >> GroupIntoShards(
            CLICKS,
            "query",
            number,
            partial(segment_bucket, params=self.segment, packer=packer, log=log_folder, num_buckets=number),
            packer,
            "segment",
            buckets_of,
            outputs=("buckets", "queries"),
            large=LargeShards(LARGE_BUCKET, add_up, are_cut=True),
            fan_out="image_id",
        )
        buckets = segmented.buckets
        words, num_words = buckets | "MostClickedWords" >> MostClickedWords(
            self.top_words, packer, () if old is None else old.word_files(), words_folder
        )
        matrix = buckets | "ClickMatrix" >> ClickMatrix(
            words, IMAGE_SHARDS, self.image_ids, packer, *(() if old is None else (old.entering(job, words), old.rows))
        )
        vocabulary = matrix | "Vocabulary" >> Vocabulary(words, self.about)
        _ = vocabulary | "WrittenVocabulary" >> beam.Map(write_vocabulary, folder / VOCABULARY_FILE)
        images = matrix | "ClickFeatures" >> concurrently(
            "click_features", write_packed, folder / "click_features", beam.pvalue.AsSingleton(vocabulary)
        )
        if old is None:
            queries = segmented.queries | "NumQueries" >> beam.Map(lambda names: ("queries", names.num_rows))
        else:
            queries = old.queries(job, segmented.queries, packer)
        _ = (
            (
                log.counts,
                images,
                queries,
                num_words | "NumWords" >> beam.Map(lambda number: ("words", number)),
            )
            | "AllCounts" >> beam.Flatten()
            | "Counts" >> WriteCounts(folder / COUNTS_FILE)
        )


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--clicks", nargs="+", action="extend", required=True, metavar="LOG", help="files, folders (whole) or globs"
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to write")
    add_log_options(parser)
    parser.add_argument("--previous", metavar="DIR", help="an earlier build, to which the log is added")
    parser.add_argument("--no-history", action="store_true", help="keep nothing for a later --previous")
    parser.add_argument("--images", metavar="FILE", help="Parquet file with image_id: these images only")
    parser.add_argument("--top-words", type=int, default=1000, metavar="K", help="size of the vocabulary (1000)")
    parser.add_argument(
        "--licence",
        help="licence of the features, for their files' metadata (that of --previous; not stated)",
    )
    add_segment_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    arguments, beam_arguments = build_parser().parse_known_args(argv)
    with stage("build_click_features") as closing:
        segment = segment_params_of(arguments)
        vocabulary = validate_section(
            VocabularyParams,
            "vocabulary",
            {"top_words": arguments.top_words, "fit_on": "all"},
            where="command line",
        )
        warn_of_idle_entries(segment)
        log_params = log_params_of(arguments)
        form = format_of(log_params)
        output = location(arguments.output)
        images = location(arguments.images) if arguments.images else None
        image_ids = source_images(images) if images is not None else None
        places = [arguments.output, *arguments.clicks, arguments.previous, arguments.images]
        check_places(beam_arguments, [location(text) for text in places if text is not None])
        files = find_logs(arguments.clicks)
        history = History(fingerprint(segment, images), digests_of(files, form))
        previous = None if arguments.previous is None else Previous(current(location(arguments.previous)))
        if previous is not None:
            previous.check(history, files, form)
        has_history = not arguments.no_history
        licence = arguments.licence
        if licence is None and previous is not None:
            licence = previous.about().get("licence")
        about = about_features(digest_of(segment_options(segment)), vocabulary.top_words, vocabulary.fit_on, licence)
        decides = [history.files, history.options, about, repr(form), log_params.most_bad_rows, has_history]
        decides.append(None if previous is None else [str(previous.build), previous.summary()])
        summary = Build(
            files=files,
            form=form,
            most_bad_rows=log_params.most_bad_rows,
            image_ids=image_ids,
            segment=segment,
            top_words=vocabulary.top_words,
            about=about,
            history=history if has_history else None,
            previous=previous,
            name=digest_of({"decides": decides})[:NAME_LENGTH],
        ).run(output, beam_arguments)
        closing.counts["rows read"] = summary["rows_read"]
        closing.counts["rows kept"] = summary["rows_kept"]
        closing.counts.update(as_counts("quarantined", summary["rows_quarantined"]))
        closing.counts.update({name: summary[name] for name in ("images", "queries", "words")})
        built = current(output)
        closing.wrote[str(built)] = f"features of {summary['images']:,} images over {summary['vocabulary']:,} words"
        shards = f"{built}/click_features{'/*.parquet' if isinstance(built, StorePath) else ''}"
        closing.next_command = f'''python -c "import polars; print(polars.read_parquet('{shards}'))"'''


if __name__ == "__main__":
    main()
