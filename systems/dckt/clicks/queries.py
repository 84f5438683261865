"""Compute the features of a log's queries, and hold out some of the queries.

    python -m systems.dckt.clicks.queries --queries data/sets/toy/features/queries \\
        --counts data/dckt/clicks/evaluations/queries.json --output data/dckt/clicks/queries.parquet

In: segmented queries (`schemas.QUERIES`). Out: `schemas.QUERY_FEATURES`, a row for each query with a known word; rows
by query. And a JSON file with the numbers of queries, for the report.

A query's split is decided by a stable hash of its text, so it is the same for all seeds, and stays when the log grows.
A bag's words are those of the training queries, so that no held-out query decides what is known.
"""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from scipy import sparse

from base.artifacts import read_tables, shard_of, write_json, write_table
from base.console import UserError, stage
from base.params import DEFAULT_PATH, load_section
from base.schemas import QUERY_FEATURES
from pipelines.words.word_vectors import check_coverage, occurrences_of, read_vectors, train_vectors
from systems.dckt.clicks.config import TEST, TRAIN, VALIDATION, QueriesParams, QueryShares

PARTS = 10_000  # that the hash distinguishes


def split_of(query: str, shares: QueryShares) -> str:
    """Return a query's split, by CRC-32 of its text."""
    place = shard_of(query, PARTS) / PARTS
    if place < shares.test:
        return TEST
    return VALIDATION if place < shares.test + shares.validation else TRAIN


def bag_words(words: Sequence[Sequence[str]], most: int) -> list[str]:
    """Return the words of most queries, of equally frequent ones the first by code points."""
    counts = Counter(word for query in words for word in set(query))
    return sorted(counts, key=lambda word: (-counts[word], word))[:most]


def means_of(words: Sequence[Sequence[str]], vectors: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean vector of each query's known words, and the number of these words.

    Args:
        words: of each query; a word that is listed twice counts twice.
        vectors: by word, all of one length.

    Shape:
        result: float32 (Q, V), zeros without a known word; int64 (Q,)
    """
    places = {word: row for row, word in enumerate(vectors)}
    known = [[places[word] for word in query if word in places] for query in words]
    numbers = np.array([len(rows) for rows in known], np.int64)
    ends = np.concatenate([[0], np.cumsum(numbers)])
    each = sparse.csr_array(
        (np.ones(ends[-1], np.float32), np.array([row for rows in known for row in rows], np.int64), ends),
        shape=(len(words), len(places)),
    )
    sums = each @ np.stack(list(vectors.values())).astype(np.float32)
    return sums / np.maximum(numbers, 1)[:, None].astype(np.float32), numbers


def vectors_of(queries: pa.Table, is_trained: np.ndarray, params: QueriesParams) -> dict[str, np.ndarray]:
    """Return the vectors of words: of a bag's words, read from a file, or trained.

    Args:
        queries: all queries, `schemas.QUERIES`; a file's vectors are looked up for all of their words.
        is_trained: the training queries, from which a bag's words and trained vectors are.
        params: which of these.

    Shape:
        is_trained: bool (Q,)

    Raises:
        UserError: the training queries have no words, or as `pipelines.words.word_vectors`.
    """
    training = queries.filter(pa.array(is_trained))
    if params.features == "bag":
        listed = bag_words(training["words"].to_pylist(), params.most_words)
        if not listed:
            raise UserError(f"{len(training)} training queries have no words; lower dckt.clicks.queries.shares")
        return dict(zip(listed, np.eye(len(listed), dtype=np.float32), strict=True))
    if params.word_vectors is None:
        return train_vectors(training, params.trained)
    words, path = occurrences_of(queries), Path(params.word_vectors)
    found = read_vectors(path, words)
    check_coverage(path, found, words, params.trained.least_coverage)
    return found


def features_of(queries: pa.Table, params: QueriesParams) -> pl.DataFrame:
    """Return the features of all queries that have a known word, as `schemas.QUERY_FEATURES`.

    Args:
        queries: `schemas.QUERIES`.
        params: which features, and the shares of held-out queries.

    Raises:
        UserError: as :func:`vectors_of`, or no query has a known word.
    """
    queries = queries.sort_by("query")
    splits = [split_of(query, params.shares) for query in queries["query"].to_pylist()]
    vectors = vectors_of(queries, np.array([split == TRAIN for split in splits], bool), params)
    features, known = means_of(queries["words"].to_pylist(), vectors)
    table = pl.DataFrame({"query": queries["query"].to_pylist(), "split": splits, "words": known})
    table = table.with_columns(feature=pl.Series(list(features), dtype=pl.List(pl.Float32)))
    table = table.filter(pl.col("words") > 0)
    if table.is_empty():
        raise UserError(f"none of {len(queries)} queries has a word with a vector")
    return table


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=Path, required=True, help="segmented queries")
    parser.add_argument("--counts", type=Path, required=True, help="JSON file to write, with numbers of queries")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage("features of queries") as closing:
        params = load_section(QueriesParams, "dckt.clicks.queries", arguments.params)
        queries = read_tables(arguments.queries)
        table = features_of(queries, params)
        counts = {"queries": len(queries), "without a known word": len(queries) - len(table)}
        counts |= {split: len(table.filter(split=split)) for split in (TRAIN, VALIDATION, TEST)}
        write_json(counts, arguments.counts)
        write_table(table.to_arrow().cast(QUERY_FEATURES), arguments.output)
        closing.counts |= counts
        closing.wrote[str(arguments.counts)] = "numbers of queries"
        closing.wrote[str(arguments.output)] = f"{len(table['feature'][0])} features each"
        closing.next_command = "python -m systems.dckt.clicks.train (see stages/dckt/dvc.yaml)"


if __name__ == "__main__":
    main()
