"""A bucket of the click log: some queries with all of their clicks and words, as two sparse matrices.

The log is bucketed by query, so all that concerns a query's words needs one bucket only: its words are found once, the
clicks of its words are a matrix-vector product, and its share of the word click matrix is a matrix product

    C' = Cs Z,   Cs (images x queries) the clicks, Z (queries x words) 1 where a query contains a word.

Reference: Tan et al. 2019, section III-A: Cs, zeta_j and C'.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from base.console import UserError
from base.schemas import CLICKS, QUERIES
from pipelines.beam.concurrency import concurrently
from pipelines.beam.shards import read_shard, shard_files
from pipelines.beam.shuffle import Packer, unpack
from pipelines.ingest.sums import check_sums

# A bucket as one row, so that it travels like any batch: both matrices in compressed rows; the ones of Z are left out.
BUCKET = pa.schema(
    [
        pa.field("image_ids", pa.list_(pa.string())),
        pa.field("words", pa.list_(pa.string())),
        pa.field("click_starts", pa.list_(pa.int32())),
        pa.field("click_queries", pa.list_(pa.int32())),
        pa.field("clicks", pa.list_(pa.int64())),
        pa.field("word_starts", pa.list_(pa.int32())),
        pa.field("word_ids", pa.list_(pa.int32())),
    ]
)


@dataclass(frozen=True)
class QueryBucket:
    """Some queries, their clicks and their words.

    Attributes:
        image_ids: the images clicked for these queries, each once, in any order.
        words: the words in these queries, each once, in any order.
        query_clicks: Cs of this bucket, clicks >= 1.
        query_words: Z of this bucket, 0 or 1.

    Shape:
        image_ids: (n,); words: (k,); query_clicks: int64 (n, m); query_words: int8 (m, k), m queries
    """

    image_ids: pa.Array
    words: pa.Array
    query_clicks: sparse.csr_array
    query_words: sparse.csr_array

    def check_products(self, product: Callable[[sparse.csr_array], np.ndarray]) -> None:
        """Check that no clicks wrap in a product of Cs.

        Args:
            product: takes Cs with other numbers in place of its clicks and returns the numbers of the product.

        Raises:
            UserError: a number of the product does not fit into 64 bits.
        """
        counts = self.query_clicks
        check_sums(
            counts.data,
            lambda numbers: product(sparse.csr_array((numbers, counts.indices, counts.indptr), shape=counts.shape)),
        )

    def to_batch(self) -> pa.RecordBatch:
        """Return the bucket as a batch of one row."""
        clicks, words = self.query_clicks, self.query_words
        columns = [self.image_ids, self.words, clicks.indptr, clicks.indices, clicks.data, words.indptr, words.indices]
        return pa.record_batch(
            [
                pa.ListArray.from_arrays(
                    pa.array([0, len(column)], pa.int32()), pa.array(column, field.type.value_type)
                )
                for column, field in zip(columns, BUCKET, strict=True)
            ],
            schema=BUCKET,
        )


def bucket_of(batch: pa.RecordBatch) -> QueryBucket:
    """Return the bucket that :meth:`QueryBucket.to_batch` turned into a batch; numbers are views, not copies."""
    image_ids, words, *numbers = (column.flatten() for column in batch.columns)
    click_starts, click_queries, clicks, word_starts, word_ids = (column.to_numpy() for column in numbers)
    num_queries = len(word_starts) - 1
    return QueryBucket(
        image_ids=image_ids,
        words=words,
        query_clicks=sparse.csr_array((clicks, click_queries, click_starts), shape=(len(image_ids), num_queries)),
        query_words=sparse.csr_array(
            (np.ones(len(word_ids), np.int8), word_ids, word_starts), shape=(num_queries, len(words))
        ),
    )


def unpack_bucket(packed: bytes) -> QueryBucket:
    """Return the bucket of a packed batch."""
    return bucket_of(unpack(packed))


def query_bucket(image_ids: pa.Array, query_codes: np.ndarray, clicks: np.ndarray, words: pa.Array) -> QueryBucket:
    """Return the bucket of some log rows; the clicks of rows with the same image and query are added up.

    Args:
        image_ids: each row's image.
        query_codes: each row's query, as an index into ``words``.
        clicks: each row's clicks.
        words: each query's words, each once.

    Shape:
        image_ids, query_codes, clicks: (rows,); words: lists of strings (m,)

    Raises:
        UserError: the clicks of an image and query do not fit into 64 bits together.
    """
    images = image_ids.dictionary_encode()
    places = images.indices.to_numpy(), query_codes.astype(np.int32, copy=False)
    shape = len(images.dictionary), len(words)
    check_sums(clicks, lambda numbers: sparse.csr_array((numbers, places), shape=shape).data)
    flat = words.flatten().dictionary_encode()
    lengths = pc.list_value_length(words).to_numpy()
    return QueryBucket(
        image_ids=images.dictionary,
        words=flat.dictionary,
        query_clicks=sparse.csr_array((clicks, places), shape=shape),
        query_words=sparse.csr_array(
            (np.ones(len(flat), np.int8), flat.indices.to_numpy(), np.r_[0, np.cumsum(lengths)].astype(np.int32)),
            shape=(len(words), len(flat.dictionary)),
        ),
    )


def of_images(clicks: pa.RecordBatch, image_ids: pa.Array | None) -> pa.RecordBatch:
    """Return the rows of the given images; all rows for ``None``."""
    return clicks if image_ids is None else clicks.filter(pc.is_in(clicks.column("image_id"), value_set=image_ids))


def read_bucket(files: tuple[str, str], image_ids: pa.Array | None) -> QueryBucket:
    """Read a bucket from its shards of ingested/clicks and features/queries.

    Args:
        files: the two shards.
        image_ids: the images whose clicks to keep; ``None`` keeps all.

    Raises:
        UserError: a clicked query is not among the queries.
    """
    clicks = of_images(read_shard(Path(files[0]), CLICKS), image_ids)
    queries = read_shard(Path(files[1]), QUERIES)
    codes = pc.index_in(clicks.column("query"), value_set=queries.column("query"))
    if codes.null_count:
        missing = clicks.column("query").filter(codes.is_null())[0].as_py()
        raise UserError(
            f"{files[1]}: the query {missing!r} of {files[0]} is missing; run `pipelines.words.segment` again"
        )
    return query_bucket(
        clicks.column("image_id"), codes.to_numpy(), clicks.column("clicks").to_numpy(), queries.column("words")
    )


def pack_bucket(files: tuple[str, str], image_ids: pa.Array | None, packer: Packer) -> Iterable[bytes]:
    """Read a bucket and pack it."""
    return packer.pack([read_bucket(files, image_ids).to_batch()])


@dataclass(eq=False)
class ReadBuckets(beam.PTransform):
    """Reads every bucket of a segmented log, as a packed batch of a :class:`QueryBucket`.

    Attributes:
        clicks: ingested/clicks.
        queries: features/queries.
        image_ids: the images whose clicks to keep; ``None`` keeps all.
        packer: how buckets travel.
    """

    clicks: Path
    queries: Path
    image_ids: pa.Array | None
    packer: Packer

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection:
        """Pair the shards, then read and pack each bucket."""
        return (
            begin
            | "ShardPairs" >> beam.Create(shard_pairs(self.clicks, self.queries))
            | "Buckets" >> concurrently("read", pack_bucket, self.image_ids, self.packer).with_output_types(bytes)
        )


def shard_pairs(clicks: Path, queries: Path) -> Sequence[tuple[str, str]]:
    """Return each bucket's shard of clicks and of queries.

    Raises:
        UserError: the folders have different numbers of shards.
    """
    click_files, query_files = shard_files(clicks), shard_files(queries)
    if len(click_files) != len(query_files):
        raise UserError(
            f"{clicks} has {len(click_files)} shards, {queries} has {len(query_files)}; "
            "run `pipelines.words.segment` again"
        )
    return [(str(c), str(q)) for c, q in zip(click_files, query_files, strict=True)]
