"""Beam's steps on a bucket of the log by query: names in its queries, and the votes of its queries for its images.

What queries say of the names (:class:`Evidence`) is added up over all buckets before any query votes, because a word's
reliability concerns the whole log.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import apache_beam as beam
import numpy as np
import pyarrow as pa
from scipy import sparse

from base.console import UserError
from base.schemas import SEVERAL_NAMES
from pipelines.beam.shuffle import Packer
from pipelines.ingest.sums import LARGEST_SUM
from pipelines.words.click_matrix import matrix_batch, vocabulary_part
from pipelines.words.lexicon import Lexicon, forms_in
from pipelines.words.naming import (
    KINDS,
    NOTHING,
    UNITS,
    distinct_patterns,
    match_names,
    rests,
    votes,
    whole_names,
)
from pipelines.words.query_buckets import query_bucket, unpack_bucket
from pipelines.words.segmentation import SegmentParams, segmenter_of

MOST_SEVERAL = 1000  # queries in several.parquet
MOST_CLICKS = LARGEST_SUM // UNITS  # of all queries in a bucket


@dataclass(frozen=True, eq=False)
class Evidence:
    """What queries say of the lexicon, added up over queries; Python's integers, which have no limit.

    Shape:
        word_clicks, word_rests: objects (W,), clicks, and clicks times rests in units; form_clicks: (F,);
        name_queries, name_clicks: (N,)
    """

    word_clicks: np.ndarray
    word_rests: np.ndarray
    form_clicks: np.ndarray
    name_queries: np.ndarray
    name_clicks: np.ndarray

    def reliability(self) -> np.ndarray:
        """Return r_w of each word; 0 for a word that no query has."""
        pairs = zip(self.word_rests.tolist(), self.word_clicks.tolist(), strict=True)
        return np.array([rest / (clicks * UNITS) if clicks else 0.0 for rest, clicks in pairs])


def add_evidence(parts: Iterable[Evidence]) -> Evidence:
    """Add up the evidence of one or more buckets."""
    some = list(parts)
    columns = [[getattr(part, field.name) for part in some] for field in fields(Evidence)]
    return Evidence(*(sum(column[1:], column[0]) for column in columns))


def name_bucket(
    bucket: int, clicks: pa.RecordBatch, lexicon: Lexicon, params: SegmentParams, packer: Packer
) -> Iterable[beam.pvalue.TaggedOutput]:
    """Find the words of names in a bucket's queries; yield the packed bucket, its evidence, queries of several names.

    Raises:
        UserError: the bucket has more clicks than fit.
    """
    queries = clicks.column("query").dictionary_encode()
    forms = forms_in(queries.dictionary, segmenter_of(params), lexicon)
    words = (forms.astype(np.int32) @ lexicon.form_words).tocsr()
    words.sort_indices()
    lists = pa.ListArray.from_arrays(
        pa.array(words.indptr, pa.int32()), lexicon.words.take(pa.array(words.indices, pa.int32()))
    )
    log = query_bucket(clicks.column("image_id"), queries.indices.to_numpy(), clicks.column("clicks").to_numpy(), lists)
    check_clicks(log.query_clicks.data)
    query_clicks = log.query_clicks.sum(axis=0)
    words = sparse.csr_array((np.ones(len(words.indices), np.int8), words.indices, words.indptr), shape=words.shape)
    patterns, codes = distinct_patterns(words)
    matches = match_names(patterns, lexicon)
    whole = whole_names(matches, patterns.shape[0], lexicon)

    pattern_queries = np.bincount(codes, minlength=patterns.shape[0])
    pattern_clicks = np.zeros(patterns.shape[0], np.int64)
    np.add.at(pattern_clicks, codes, query_clicks)
    rows, row_words, units = rests(matches, lexicon)
    word_clicks, word_rests = np.zeros((2, len(lexicon.words)), np.int64)
    np.add.at(word_clicks, row_words, pattern_clicks[rows])
    np.add.at(word_rests, row_words, pattern_clicks[rows] * units)
    whole_counts = whole.T.astype(np.int64)
    counts = (
        word_clicks,
        word_rests,
        forms.T.astype(np.int64) @ query_clicks,
        whole_counts @ pattern_queries,
        whole_counts @ pattern_clicks,
    )
    yield beam.pvalue.TaggedOutput("evidence", Evidence(*(count.astype(object) for count in counts)))
    yield beam.pvalue.TaggedOutput("several", several_names(queries.dictionary, query_clicks, whole, codes, lexicon))
    yield beam.pvalue.TaggedOutput("buckets", packer.pack([log.to_batch()])[0])


def check_clicks(clicks: np.ndarray) -> None:
    """Check that the clicks fit into 64 bits together, in units.

    Raises:
        UserError: they don't.
    """
    if len(clicks) and int(clicks.max()) * len(clicks) > MOST_CLICKS and sum(clicks.tolist()) > MOST_CLICKS:
        raise UserError(
            f"sums of clicks must be below {MOST_CLICKS:,}; check the log's numbers of clicks, or scale all of them "
            "down"
        )


def several_names(
    queries: pa.Array, clicks: np.ndarray, whole: sparse.csr_array, codes: np.ndarray, lexicon: Lexicon
) -> pa.RecordBatch:
    """Return the most clicked queries that name several categories; schemas.SEVERAL_NAMES.

    Shape:
        queries: strings (m,); clicks: (m,); whole: (P, N); codes: (m,), each query's pattern
    """
    categories = [
        sorted({lexicon.categories[lexicon.name_categories[name]] for name in whole.indices[start:end].tolist()})
        for start, end in zip(whole.indptr[:-1].tolist(), whole.indptr[1:].tolist(), strict=True)
    ]
    is_several = np.array([len(some) > 1 for some in categories], bool)[codes]
    rows = np.flatnonzero(is_several)
    columns = [queries.take(pa.array(rows)), clicks[rows], [categories[code] for code in codes[rows].tolist()]]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SEVERAL_NAMES, strict=True)]
    return most_clicked([pa.record_batch(arrays, schema=SEVERAL_NAMES)])


def most_clicked(batches: Iterable[pa.RecordBatch]) -> pa.RecordBatch:
    """Return the MOST_SEVERAL most clicked queries of some batches, by clicks, then by query."""
    empty = pa.record_batch([pa.array([], field.type) for field in SEVERAL_NAMES], schema=SEVERAL_NAMES)
    table = pa.concat_batches([empty, *batches])
    return table.sort_by([("clicks", "descending"), ("query", "ascending")]).slice(0, MOST_SEVERAL)


def label_bucket(
    packed: bytes, lexicon: Lexicon, least_reliability: float, evidence: Evidence
) -> Iterable[beam.pvalue.TaggedOutput]:
    """Yield the votes for each image of a packed bucket, in units, and counts of its queries, pairs and clicks.

    The votes are a batch of schemas.CLICK_MATRIX: what stands there for a word is a category, and after the categories
    the clicks and the number of the queries that name something.
    """
    bucket = unpack_bucket(packed)
    patterns, codes = distinct_patterns(vocabulary_part(bucket, lexicon.words))
    found, kinds = votes(patterns, evidence.reliability(), least_reliability, lexicon)
    query_kinds = kinds[codes]
    is_named = (query_kinds != NOTHING).astype(np.int64)
    columns = sparse.hstack([found[codes], sparse.csr_array(is_named.reshape(-1, 1))], format="csr", dtype=np.int64)
    clicks = bucket.query_clicks
    pairs = sparse.csr_array((np.ones_like(clicks.data), clicks.indices, clicks.indptr), shape=clicks.shape)
    products = [clicks @ columns, pairs @ sparse.csr_array(is_named.reshape(-1, 1))]
    yield beam.pvalue.TaggedOutput(
        "rows", matrix_batch(bucket.image_ids, sparse.hstack(products, format="csr", dtype=np.int64))
    )
    for what, numbers in (
        ("queries", np.ones(len(codes), np.int64)),
        ("pairs", pairs.sum(axis=0)),
        ("clicks", clicks.sum(axis=0)),
    ):
        for kind, name in enumerate(KINDS):
            yield beam.pvalue.TaggedOutput("counts", (f"{what}: {name}", int(numbers[query_kinds == kind].sum())))
