"""Click features of any click log, in one command and one Beam job.

    python -m pipelines.build_click_features --clicks clicks.tsv --output features

In: a log of (image id, query, clicks) rows: tab-separated text, the same gzipped, Parquet, folders, globs; any number
of them (see pipelines/click_log.py). Out, whole or not at all:

- ``vocabulary.parquet``: word_id, word, clicks, document_frequency, idf; by word_id, which is the rank by clicks;
- ``click_features/part-*.parquet``: image_id, word_ids, clicks, tfidf; a row for every image of the log;
- ``quarantine/part-00000.parquet``: file, row, reason, raw; every row that could not be used;
- ``summary.json``: rows read = rows kept + rows quarantined, images, queries, words, and the seconds that workers
  spent in each step. The seconds are the only thing here that differs from one run to the next.

The same log and options give the same vocabulary and features to the byte, however the log is cut into files, on any
runner (the quarantine names files and rows, so it tells how the log was cut). Any Beam option may follow, as in
``--direct_num_workers 2 --direct_running_mode multi_processing``.
"""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa

from pipelines.artifacts import whole_directory, write_json
from pipelines.click_features import write_parcel
from pipelines.click_log import ReadClickLog, WriteQuarantine, find_logs, num_buckets
from pipelines.click_matrix import IMAGE_SHARDS, ClickMatrix
from pipelines.concurrency import concurrently
from pipelines.console import as_counts, by_reason, rows_add_up, stage
from pipelines.image_sets import source_images
from pipelines.params import validate_section
from pipelines.query_buckets import of_images
from pipelines.runner import pipeline
from pipelines.schemas import CLICKS
from pipelines.segment import segment_bucket
from pipelines.segmentation import SegmentParams, segmenter_of
from pipelines.shards import WriteCounts, read_counts
from pipelines.shuffle import GroupIntoShards, buckets_of, packing
from pipelines.steps import seconds_by_step
from pipelines.vocabulary import MostClickedWords, Vocabulary, VocabularyParams, check_vocabulary, write_vocabulary


def summarise(counts: Mapping[str, int], seconds: Mapping[str, float]) -> dict[str, Any]:
    """Return what summary.json holds, from summed counts by name.

    Raises:
        RuntimeError: the rows do not add up; a defect of ours.
    """
    quarantined = by_reason("quarantined", counts)
    read, kept = counts.get("rows read", 0), counts.get("rows kept", 0)
    rows_add_up(read, kept, quarantined, "the click log")
    return {
        "rows_read": read,
        "rows_kept": kept,
        "rows_quarantined": quarantined,
        "images": counts.get("images", 0),
        "queries": counts.get("queries", 0),
        "words": counts.get("words", 0),
        "vocabulary": counts["vocabulary"],
        "seconds": dict(seconds),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", nargs="+", required=True, metavar="LOG", help="files, folders or globs")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--images", type=Path, metavar="FILE", help="Parquet file with image_id: these images only")
    parser.add_argument("--top-words", type=int, default=1000, metavar="K", help="size of the vocabulary (1000)")
    parser.add_argument("--stop-words", metavar="FILE", help="words to leave out, one a line, UTF-8")
    parser.add_argument("--dictionary", metavar="FILE", help="jieba dictionary in place of jieba's own")
    parser.add_argument("--user-dictionary", metavar="FILE", help="jieba dictionary on top")
    parser.add_argument("--minimum-length", type=int, default=1, metavar="N", help="characters a word has at least (1)")
    arguments, beam_arguments = parser.parse_known_args(argv)
    with stage("build_click_features") as closing:
        options = {"where": "command line"}
        segment = validate_section(
            SegmentParams,
            "segment",
            {key: getattr(arguments, key) for key in SegmentParams.model_fields},
            **options,
        )
        top_words = validate_section(
            VocabularyParams, "vocabulary", {"top_words": arguments.top_words, "fit_on": "all"}, **options
        ).top_words
        segmenter_of(segment)
        image_ids = source_images(arguments.images) if arguments.images else None
        files = find_logs(arguments.clicks)
        with whole_directory(arguments.output) as folder:
            counts_file = folder / "counts"
            vocabulary_file = folder / "vocabulary.parquet"
            for name in ("click_features", "quarantine"):
                (folder / name).mkdir()
            with packing(beam_arguments, arguments.output) as packer, pipeline(beam_arguments) as job:
                log = job | "ClickLog" >> ReadClickLog(files)
                _ = log.quarantine | "Quarantine" >> WriteQuarantine(folder / "quarantine", packer)
                clicks = log.clicks
                if image_ids is not None:
                    clicks |= "OfImages" >> beam.Map(of_images, image_ids).with_output_types(pa.RecordBatch)
                segmented = clicks | "SegmentedBuckets" >> GroupIntoShards(
                    CLICKS,
                    "query",
                    num_buckets(files),
                    partial(segment_bucket, params=segment, packer=packer),
                    packer,
                    "segment",
                    buckets_of,
                    ("buckets", "counts"),
                )
                buckets = segmented.buckets
                words, num_words = buckets | "MostClickedWords" >> MostClickedWords(top_words, packer)
                matrix = buckets | "ClickMatrix" >> ClickMatrix(words, IMAGE_SHARDS, image_ids, packer)
                vocabulary = matrix | "Vocabulary" >> Vocabulary(words)
                _ = vocabulary | "WrittenVocabulary" >> beam.Map(write_vocabulary, vocabulary_file)
                images = matrix | "ClickFeatures" >> concurrently(
                    "click_features", write_parcel, folder / "click_features", beam.pvalue.AsSingleton(vocabulary)
                )
                num_words = num_words | "NumWords" >> beam.Map(lambda number: ("words", number))
                _ = (
                    (log.counts, images, segmented.counts, num_words)
                    | "AllCounts" >> beam.Flatten()
                    | "Counts" >> WriteCounts(counts_file)
                )
            vocabulary_size = check_vocabulary(vocabulary_file, top_words)
            summary = summarise(
                {**read_counts(counts_file), "vocabulary": vocabulary_size}, seconds_by_step(job.result)
            )
            write_json(summary, folder / "summary.json")
        closing.counts["rows read"] = summary["rows_read"]
        closing.counts["rows kept"] = summary["rows_kept"]
        closing.counts.update(as_counts("quarantined", summary["rows_quarantined"]))
        closing.counts.update({name: summary[name] for name in ("images", "queries", "words")})
        closing.wrote[str(arguments.output)] = (
            f"features of {summary['images']:,} images over {vocabulary_size:,} words"
        )
        closing.next_command = (
            f"""python -c "import polars; print(polars.read_parquet('{arguments.output}/click_features'))\""""
        )


if __name__ == "__main__":
    main()
