"""The word click matrix C': how often each image was clicked for queries with each vocabulary word.

    python -m pipelines.words.click_matrix --clicks data/sets/toy/ingested/clicks \
        --queries data/sets/toy/features/queries --vocabulary data/sets/toy/features/vocabulary.parquet \
        --images data/sets/toy/splits/images.parquet \
        --output data/sets/toy/features/click_matrix

Input: the log bucketed by query, its segmented queries, the vocabulary, the selected images. Output: shards by image
(schemas.CLICK_MATRIX), one row for every source image, its lists empty where it has no click on a vocabulary word.

    c'_ij = sum over the queries k that contain word j of c_ik,   or C' = Cs Z

The product is computed bucket by bucket; only its non-zero entries travel, and are added up by image.

Reference: Tan et al. 2019, section III-A, step 3.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from base.artifacts import SHARDS, whole_directory
from base.console import stage
from base.schemas import CLICK_MATRIX, VOCABULARY
from pipelines.beam.concurrency import concurrently
from pipelines.beam.runner import pipeline
from pipelines.beam.shards import WriteCounts, read_counts, read_shard, write_shard
from pipelines.beam.shuffle import GroupIntoShards, Packer, merge, packing, unpack
from pipelines.ingest.sums import check_sums
from pipelines.words.image_sets import source_images
from pipelines.words.query_buckets import QueryBucket, ReadBuckets, unpack_bucket

IMAGE_SHARDS = 16  # of click_matrix/ and click_features/


def vocabulary_part(bucket: QueryBucket, words: pa.Array) -> sparse.csr_array:
    """Return Z with a column for each vocabulary word instead of one for each word of the bucket.

    Shape:
        words: (K,); result: int8 (m, K)
    """
    word_ids = pc.fill_null(pc.index_in(bucket.words, value_set=words), -1).to_numpy()
    all_words = bucket.query_words
    ids = word_ids[all_words.indices]
    is_kept = ids >= 0
    starts = np.r_[0, np.cumsum(is_kept, dtype=np.int32)].astype(np.int32)[all_words.indptr]
    return sparse.csr_array((all_words.data[is_kept], ids[is_kept], starts), shape=(all_words.shape[0], len(words)))


def partial_click_matrix(bucket: QueryBucket, words: pa.RecordBatch) -> pa.RecordBatch:
    """Return a bucket's share of C', a row for each of its images; schemas.CLICK_MATRIX, rows in any order.

    Args:
        bucket: some queries with all of their clicks.
        words: the vocabulary by word_id, column word.

    Raises:
        UserError: an image's clicks on a word do not fit into 64 bits.
    """
    part = vocabulary_part(bucket, words.column("word"))
    bucket.check_products(lambda query_clicks: (query_clicks @ part).data)
    product = bucket.query_clicks @ part
    return matrix_batch(bucket.image_ids, product)


def matrix_batch(image_ids: pa.Array, matrix: sparse.csr_array) -> pa.RecordBatch:
    """Return a sparse matrix with a row per image as a batch of schemas.CLICK_MATRIX, word_ids ascending."""
    matrix.sort_indices()
    starts = pa.array(matrix.indptr, pa.int32())
    word_ids = pa.ListArray.from_arrays(starts, pa.array(matrix.indices, pa.int32()))
    clicks = pa.ListArray.from_arrays(starts, pa.array(matrix.data, pa.int64()))
    return pa.record_batch([image_ids, word_ids, clicks], schema=CLICK_MATRIX)


def sparse_rows(batch: pa.RecordBatch) -> sparse.csr_array:
    """Return a batch of schemas.CLICK_MATRIX as a sparse matrix of clicks, as wide as its largest word_id needs."""
    word_ids = batch.column("word_ids").flatten().to_numpy()
    lengths = pc.list_value_length(batch.column("word_ids")).to_numpy()
    width = int(word_ids.max()) + 1 if len(word_ids) else 1
    starts = np.r_[0, np.cumsum(lengths)].astype(np.int32)
    clicks = batch.column("clicks").flatten().to_numpy()
    return sparse.csr_array((clicks, word_ids, starts), shape=(batch.num_rows, width))


def add_up_rows(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Add up the rows of each image; return rows by image_id in code-point order.

    The sum is also a product: A (images x rows), 1 where a row belongs to the image, times the rows.

    Raises:
        UserError: a sum does not fit into 64 bits.
    """
    images = batch.column("image_id").dictionary_encode()
    order = pc.sort_indices(images.dictionary)
    rank = np.empty(len(order), np.int32)
    rank[order.to_numpy()] = np.arange(len(order), dtype=np.int32)
    of_image = sparse.csr_array(
        (
            np.ones(batch.num_rows, np.int64),
            (rank[images.indices.to_numpy()], np.arange(batch.num_rows, dtype=np.int32)),
        ),
        shape=(len(order), batch.num_rows),
    )
    rows = sparse_rows(batch)
    check_sums(
        rows.data,
        lambda numbers: (of_image @ sparse.csr_array((numbers, rows.indices, rows.indptr), shape=rows.shape)).data,
    )
    return matrix_batch(images.dictionary.take(order), of_image @ rows)


def rows_without_clicks(image_ids: pa.Array) -> pa.RecordBatch:
    """Return an empty row for each image, so that images that were never clicked have a row; schemas.CLICK_MATRIX."""
    return matrix_batch(image_ids, sparse.csr_array((len(image_ids), 1), dtype=np.int64))


@dataclass(eq=False)
class ClickMatrix(beam.PTransform):
    """Takes buckets; returns (shard, packed rows) of the word click matrix: schemas.CLICK_MATRIX, rows by image_id.

    Every image of a bucket has a row, even if its queries have no vocabulary word.

    Attributes:
        words: a collection of one record batch with column word, by word_id.
        num_shards: number of shards of the result.
        image_ids: images that get a row even if no bucket has them; ``None`` for those of the buckets only. Buckets
            must hold no others (see :func:`pipelines.words.query_buckets.of_images`).
        packer: how rows travel.
        more: further rows under the same word_ids, as a collection of record batches.
        old_rows: takes (shard, words) and returns the shard's rows of an earlier build; picklable.
    """

    words: beam.PCollection
    num_shards: int
    image_ids: pa.Array | None
    packer: Packer
    more: beam.PCollection | None = None
    old_rows: Callable[[int, pa.RecordBatch], pa.RecordBatch] | None = None

    def expand(self, buckets: beam.PCollection) -> beam.PCollection:
        """Compute products per bucket, add rows of images without clicks, and add up by image."""
        words = beam.pvalue.AsSingleton(self.words)
        parts = [
            buckets
            | "Products" >> concurrently("click_matrix", bucket_product, words).with_output_types(pa.RecordBatch)
        ]
        if self.image_ids is not None:
            parts.append(
                buckets.pipeline
                | "Images" >> beam.Create([rows_without_clicks(self.image_ids)], reshuffle=False)
                | "Rows" >> beam.Map(lambda rows: rows).with_output_types(pa.RecordBatch)
            )
        if self.more is not None:
            parts.append(self.more)
        rows = parts | "AllRows" >> beam.Flatten()
        return rows | "ByImage" >> GroupIntoShards(
            CLICK_MATRIX,
            "image_id",
            self.num_shards,
            partial(pack_sum, packer=self.packer, old_rows=self.old_rows),
            self.packer,
            "click_matrix",
            side_inputs=() if self.old_rows is None else (words,),
        ).with_output_types(tuple[int, bytes])


def bucket_product(packed: bytes, words: pa.RecordBatch) -> Iterable[pa.RecordBatch]:
    """Return a packed bucket's share of C'."""
    return [partial_click_matrix(unpack_bucket(packed), words)]


def pack_sum(
    shard: int,
    rows: pa.RecordBatch,
    words: pa.RecordBatch | None = None,
    *,
    packer: Packer,
    old_rows: Callable[[int, pa.RecordBatch | None], pa.RecordBatch] | None,
) -> Iterable[tuple[int, bytes]]:
    """Add up a shard's rows and those of an earlier build by image, and pack the result."""
    if old_rows is not None:
        rows = merge([rows, old_rows(shard, words)], CLICK_MATRIX)
    return [(shard, packed) for packed in packer.pack([add_up_rows(rows)])]


def written_rows(shard: tuple[int, bytes], directory: Path) -> list[tuple[str, int]]:
    """Write a shard of the matrix; return counts for the closing lines."""
    number, matrix = shard[0], unpack(shard[1])
    _, num_images = write_shard((number, matrix), directory)
    lengths = pc.list_value_length(matrix.column("word_ids")).to_numpy()
    return [
        ("images", num_images),
        ("images without a vocabulary word", int((lengths == 0).sum())),
        ("non-zero entries", int(lengths.sum())),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=Path, required=True, help="folder of click shards, bucketed by query")
    parser.add_argument("--queries", type=Path, required=True, help="folder of the same buckets' segmented queries")
    parser.add_argument("--vocabulary", type=Path, required=True, help="the vocabulary file")
    parser.add_argument("--images", type=Path, required=True, help="Parquet file of the selected images")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    arguments, beam_arguments = parser.parse_known_args(argv)
    with stage("click_matrix") as closing:
        image_ids = source_images(arguments.images)
        vocabulary = read_shard(arguments.vocabulary, VOCABULARY)
        with whole_directory(arguments.output, holds=SHARDS) as folder:
            counts_file = folder / "counts"
            with packing(beam_arguments, arguments.output) as packer, pipeline(beam_arguments) as job:
                buckets = job | "Log" >> ReadBuckets(arguments.clicks, arguments.queries, image_ids, packer)
                words = job | "Words" >> beam.Create([vocabulary], reshuffle=False)
                (
                    buckets
                    | "ClickMatrix" >> ClickMatrix(words, IMAGE_SHARDS, image_ids, packer)
                    | "Written" >> concurrently("write", written_rows, folder).with_output_types(tuple[str, int])
                    | "Counts" >> WriteCounts(counts_file)
                )
            closing.counts.update(read_counts(counts_file))
        closing.wrote[str(arguments.output)] = f"{IMAGE_SHARDS} shards"
        closing.next_command = "python -m pipelines.words.click_features (see dvc.yaml)"


if __name__ == "__main__":
    main()
