"""Segment every distinct query into words.

    python -m pipelines.words.segment --clicks data/sets/toy/ingested/clicks --output data/sets/toy/features/queries

Input: shards of clicks, bucketed by query (schemas.CLICKS). Output: as many shards with the same names, each with its
bucket's distinct queries in code-point order with their words (schemas.QUERIES).
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from base.artifacts import SHARDS, whole_directory
from base.console import stage
from base.params import DEFAULT_PATH, load_section
from base.schemas import CLICKS, QUERIES
from pipelines.beam.concurrency import concurrently
from pipelines.beam.runner import pipeline
from pipelines.beam.shards import WriteCounts, read_counts, read_shard, shard_files, write_shard
from pipelines.words.about import SEGMENT_KEY, digest_of, segment_options
from pipelines.words.query_buckets import QueryBucket, query_bucket
from pipelines.words.segmentation import Segmenter, SegmentParams, segmenter_of
from pipelines.words.word_lists import warn_of_idle_entries


def segment_queries(clicks: pa.RecordBatch, segmenter: Segmenter) -> pa.RecordBatch:
    """Return the distinct queries of some clicks, sorted, with their words; schemas.QUERIES."""
    queries = pc.unique(clicks.column("query"))
    queries = queries.take(pc.sort_indices(queries))
    return pa.record_batch([queries, segmenter(queries)], schema=QUERIES)


def segmented_bucket(clicks: pa.RecordBatch, segmenter: Segmenter) -> tuple[pa.Array, QueryBucket]:
    """Return the distinct queries of some clicks, and their bucket, with the queries in the same order."""
    queries = clicks.column("query").dictionary_encode()
    return queries.dictionary, query_bucket(
        clicks.column("image_id"),
        queries.indices.to_numpy(),
        clicks.column("clicks").to_numpy(),
        segmenter(queries.dictionary),
    )


def segment_shard(
    shard: tuple[int, str], params: SegmentParams, options: str, output: Path
) -> Iterable[tuple[str, int]]:
    """Segment and write a shard's queries, with the digest of all options; return counts for the closing lines."""
    number, file = shard
    queries = segment_queries(read_shard(Path(file), CLICKS), segmenter_of(params))
    queries = queries.replace_schema_metadata({SEGMENT_KEY: options})
    write_shard((number, queries), output)
    lengths = pc.list_value_length(queries.column("words"))
    return [
        ("queries", len(queries)),
        ("queries without a word", pc.sum(pc.equal(lengths, 0)).as_py() or 0),
        ("words in all queries", pc.sum(lengths).as_py() or 0),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=Path, required=True, help="folder of click shards, bucketed by query")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (section segment)")
    arguments, beam_arguments = parser.parse_known_args(argv)
    with stage("segment") as closing:
        params = load_section(SegmentParams, "segment", arguments.params)
        warn_of_idle_entries(params)
        options = digest_of(segment_options(params))
        files = list(enumerate(map(str, shard_files(arguments.clicks))))
        with whole_directory(arguments.output, holds=SHARDS) as folder:
            counts_file = folder / "counts"
            with pipeline(beam_arguments) as job:
                (
                    job
                    | "ClickShards" >> beam.Create(files)
                    | "QueryShards"
                    >> concurrently("segment", segment_shard, params, options, folder).with_output_types(
                        tuple[str, int]
                    )
                    | "Counts" >> WriteCounts(counts_file)
                )
            closing.counts.update(read_counts(counts_file))
        closing.wrote[str(arguments.output)] = f"{len(files)} shards"
        closing.next_command = "python -m pipelines.words.vocabulary (see dvc.yaml)"


if __name__ == "__main__":
    main()
