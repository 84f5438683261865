"""The vocabulary: the most clicked words, with their weights.

    python -m pipelines.words.vocabulary --clicks data/sets/toy/ingested/clicks \
        --queries data/sets/toy/features/queries --images data/sets/toy/splits/images.parquet \
        --split data/sets/toy/splits/seed-0.parquet --output data/sets/toy/features/vocabulary.parquet

Input: the log bucketed by query, its segmented queries, the selected images. Output: one file (schemas.VOCABULARY).

    rho'_w = clicks of all queries that contain w;   V = the K words with the largest rho'
    idf_w  = ln(n / n_w),   n_w = images with a click on a query that contains w,   n = all images

A word counts once per query. Words with the same rho' are in code-point order. If there are fewer than K words, all are
kept. With ``fit_on: all``, rho', n_w and n are counted on all selected source images. With ``fit_on: train``, all three
are counted on those of the training split, so the held-out images do not affect the definition of the features. The
split is that of the first seed, because all seeds share one vocabulary: with ``all``, the default, vocabularies of each
seed would be equal. So with several seeds, ``train`` keeps only the first seed's held-out images out; the report counts
the test images of the other seeds that take part. In both cases a vocabulary word has n_w >= 1, because it was clicked
for one of these very images.

Reference: Tan et al. 2019, section III-A, steps 2 and 4, and eq. 1.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import apache_beam as beam
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from base.artifacts import whole_file, write_table
from base.console import UserError, stage
from base.params import DEFAULT_PATH, Params, load_section
from base.schemas import VOCABULARY
from base.stores import Location, location, source
from pipelines.beam.concurrency import concurrently
from pipelines.beam.runner import pipeline
from pipelines.beam.shards import read_shard, shard_files, write_shard
from pipelines.beam.shuffle import GroupIntoShards, Packer, buckets_of, packing, unpack
from pipelines.ingest.sums import check_sums, sums_by
from pipelines.words.about import OTHER_WORDS, about_features, as_metadata, read_about
from pipelines.words.click_matrix import IMAGE_SHARDS, ClickMatrix
from pipelines.words.image_sets import source_images
from pipelines.words.query_buckets import QueryBucket, ReadBuckets, unpack_bucket

WORD_CLICKS = pa.schema([VOCABULARY.field("word"), VOCABULARY.field("clicks")])
WORD_PARTITIONS = 16  # of the words while their clicks are added up; no artifact depends on this number


class VocabularyParams(Params):
    """Section ``vocabulary`` of a parameter file."""

    top_words: int = Field(ge=1, le=1_000_000, description="K, the number of words; 1 .. 1,000,000; the paper: 1,000")
    fit_on: Literal["all", "train"] = Field(
        description="images on which clicks, document frequencies and n are counted: all selected or the training split"
    )


def word_clicks(bucket: QueryBucket) -> pa.RecordBatch:
    """Return rho' within a bucket: for each word, the clicks of the bucket's queries that contain it.

    Shape:
        result: one row for each of the bucket's words

    Raises:
        UserError: a word's clicks do not fit into 64 bits.
    """
    words = bucket.query_words.T.astype(np.int64)
    bucket.check_products(lambda query_clicks: words @ query_clicks.sum(axis=0))
    clicks = words @ bucket.query_clicks.sum(axis=0)
    return pa.record_batch([bucket.words, pa.array(clicks, pa.int64())], schema=WORD_CLICKS)


def most_clicked(words: pa.RecordBatch, top_words: int | None = None) -> pa.RecordBatch:
    """Add up clicks by word; return the most clicked words first, words with the same clicks by code point.

    Words without clicks are left out: none of the images was clicked for them.

    Args:
        words: word, clicks; a word may have several rows.
        top_words: K; ``None`` returns all.

    Raises:
        UserError: a word's clicks do not fit into 64 bits.
    """
    rows = pl.DataFrame(pa.Table.from_batches([words]))
    check_sums(rows["clicks"].to_numpy(), partial(sums_by, rows.select("word")))
    frame = rows.group_by("word").agg(pl.col("clicks").sum())
    ranked = frame.filter(pl.col("clicks") > 0).sort("clicks", "word", descending=[True, False])
    kept = ranked if top_words is None else ranked.head(top_words)
    return pa.record_batch([kept["word"].to_arrow().cast(pa.string()), kept["clicks"].to_arrow()], WORD_CLICKS)


@dataclass(eq=False)
class MostClickedWords(beam.PTransform):
    """Takes buckets; returns the vocabulary's words and clicks, one record batch by rank, and the number of all words.

    The K most clicked words of all are among the K most clicked of their partitions. So each partition is cut first,
    and no step holds all words. The result is a pair of collections of one element each.

    Attributes:
        top_words: K.
        packer: how words travel.
        more: files of words' clicks in earlier logs, to be added (WORD_CLICKS).
        directory: an existing folder to write the partitions' words to, as such files; ``None`` writes none.
    """

    top_words: int
    packer: Packer
    more: Sequence[Location] = ()
    directory: Location | None = None

    def expand(self, buckets: beam.PCollection) -> Any:
        """Add up clicks per bucket and per word, take the top of each partition, then the top of these."""
        words = buckets | "ClicksByBucket" >> concurrently("vocabulary", bucket_words).with_output_types(pa.RecordBatch)
        if self.more:
            more = (
                buckets.pipeline
                | "WordFiles" >> beam.Create(list(map(str, self.more)))
                | "MoreWords" >> concurrently("vocabulary", read_word_clicks).with_output_types(pa.RecordBatch)
            )
            words = (words, more) | "AllWords" >> beam.Flatten()
        tops = words | "ClicksByWord" >> GroupIntoShards(
            WORD_CLICKS,
            "word",
            WORD_PARTITIONS,
            partial(top_of_partition, top_words=self.top_words, directory=self.directory),
            self.packer,
            "vocabulary",
            buckets_of,
        ).with_output_types(tuple[int, pa.RecordBatch])
        num_words = tops | "WordsInPartition" >> beam.Keys() | "NumWords" >> beam.CombineGlobally(sum)
        words = (
            tops
            | "TopOfPartitions" >> beam.Values().with_output_types(pa.RecordBatch)
            | "Words"
            >> GroupIntoShards(
                WORD_CLICKS, "word", 1, partial(top_of_all, top_words=self.top_words), self.packer, "vocabulary"
            ).with_output_types(pa.RecordBatch)
        )
        return words, num_words


def bucket_words(packed: bytes) -> Iterable[pa.RecordBatch]:
    """Return the clicks of a packed bucket's words."""
    return [word_clicks(unpack_bucket(packed))]


def read_word_clicks(path: str) -> Iterable[pa.RecordBatch]:
    """Read words and their clicks."""
    return [read_shard(location(path), WORD_CLICKS)]


def top_of_partition(
    partition: int, words: pa.RecordBatch, top_words: int, directory: Location | None
) -> Iterable[tuple[int, pa.RecordBatch]]:
    """Return the number of a partition's words and the most clicked of them; write all of them into the folder."""
    ranked = most_clicked(words)
    if directory is not None:
        write_shard((partition, ranked), directory)
    return [(ranked.num_rows, ranked.slice(0, top_words))]


def top_of_all(partition: int, words: pa.RecordBatch, top_words: int) -> Iterable[pa.RecordBatch]:
    """Return the most clicked words of all partitions."""
    return [most_clicked(words, top_words)]


def document_frequencies(matrix: pa.RecordBatch, words: pa.RecordBatch) -> np.ndarray:
    """Count the images of some rows of the click matrix, and the images with each word.

    Shape:
        words: (K,); result: int64 (1 + K,), the number of images first
    """
    word_ids = matrix.column("word_ids").flatten().to_numpy()
    return np.r_[matrix.num_rows, np.bincount(word_ids, minlength=words.num_rows)].astype(np.int64)


def shard_frequencies(shard: tuple[int, bytes], words: pa.RecordBatch) -> Iterable[np.ndarray]:
    """Count a packed shard's images, and its images with each word."""
    return [document_frequencies(unpack(shard[1]), words)]


def vocabulary_table(
    words: pa.RecordBatch, frequencies: np.ndarray, about: Mapping[str, str] | None = None
) -> pa.RecordBatch:
    """Return the vocabulary with document frequencies and weights; schemas.VOCABULARY.

    Args:
        words: word and clicks by rank.
        frequencies: the results of :func:`document_frequencies`, summed over the shards.
        about: becomes the metadata, with the number of images; ``None``: there is none.

    Shape:
        words: (K,); frequencies: (1 + K,)
    """
    num_images, frequency = frequencies[0], frequencies[1:]
    idf = np.log(num_images / frequency)
    columns = [np.arange(words.num_rows, dtype=np.int32), *words.columns, frequency, idf]
    table = pa.record_batch([pa.array(column) for column in columns], schema=VOCABULARY)
    if about is None:
        return table
    return table.replace_schema_metadata(
        as_metadata({**about, "images": str(num_images)}, "pipelines.words.vocabulary")
    )


@dataclass(eq=False)
class Vocabulary(beam.PTransform):
    """Takes (shard, click matrix) pairs; returns the vocabulary, one record batch (schemas.VOCABULARY).

    Attributes:
        words: the result of :class:`MostClickedWords`.
        about: what the files say of themselves (:mod:`pipelines.words.about`).
    """

    words: beam.PCollection
    about: Mapping[str, str]

    def expand(self, matrix: beam.PCollection) -> beam.PCollection:
        """Sum the frequencies over the shards, and add them to the words."""
        frequencies = (
            matrix
            | "DocumentFrequencies"
            >> concurrently("vocabulary", shard_frequencies, beam.pvalue.AsSingleton(self.words))
            | "SumOfFrequencies" >> beam.CombineGlobally(sum)
        )
        return self.words | "WithWeights" >> beam.Map(
            vocabulary_table, beam.pvalue.AsSingleton(frequencies), self.about
        ).with_output_types(pa.RecordBatch)


def write_vocabulary(vocabulary: pa.RecordBatch, path: Location) -> None:
    """Write the vocabulary file."""
    write_table(pa.Table.from_batches([vocabulary]), path)


def check_vocabulary(path: Location, top_words: int) -> int:
    """Return the number of words in a vocabulary file.

    Raises:
        UserError: it has no words, so that all features would be empty.
    """
    num_words = pq.read_metadata(source(path)).num_rows
    if not num_words:
        raise UserError(
            f"the vocabulary is empty: no query clicked for these images has a word (top_words = {top_words}); "
            "check the stop words and minimum_length, the quarantine, and that log and images use the same ids"
        )
    return num_words


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=Path, required=True, help="folder of click shards, bucketed by query")
    parser.add_argument("--queries", type=Path, required=True, help="folder of the same buckets' segmented queries")
    parser.add_argument("--images", type=Path, required=True, help="Parquet file of the selected images")
    parser.add_argument("--split", type=Path, required=True, help="Parquet file of their splits, for fit_on: train")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (section vocabulary)")
    parser.add_argument("--licence", help="licence of the features, for their files' metadata (not stated)")
    arguments, beam_arguments = parser.parse_known_args(argv)
    with stage("vocabulary") as closing:
        params = load_section(VocabularyParams, "vocabulary", arguments.params)
        on_training_split = params.fit_on == "train"
        image_ids = source_images(arguments.split, "train") if on_training_split else source_images(arguments.images)
        segment = read_about(shard_files(arguments.queries)[0]).get("segment", OTHER_WORDS)
        about = about_features(segment, params.top_words, params.fit_on, arguments.licence)
        with whole_file(arguments.output) as output:
            with packing(beam_arguments, arguments.output) as packer, pipeline(beam_arguments) as job:
                buckets = job | "Log" >> ReadBuckets(arguments.clicks, arguments.queries, image_ids, packer)
                words, _ = buckets | "MostClickedWords" >> MostClickedWords(params.top_words, packer)
                matrix = buckets | "ClickMatrix" >> ClickMatrix(words, IMAGE_SHARDS, image_ids, packer)
                vocabulary = matrix | "Vocabulary" >> Vocabulary(words, about)
                _ = vocabulary | "Written" >> beam.Map(write_vocabulary, output)
            num_words = check_vocabulary(output, params.top_words)
        closing.counts["images"] = len(image_ids)
        closing.counts["words"] = num_words
        closing.wrote[str(arguments.output)] = f"the {num_words:,} most clicked words"
        closing.next_command = "python -m pipelines.words.click_matrix (see dvc.yaml)"


if __name__ == "__main__":
    main()
