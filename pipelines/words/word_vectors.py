"""Vectors of the words of a log or of texts: read from a file, or trained on them.

    python -m pipelines.words.word_vectors --queries data/dckt/source/words/queries --vectors glove.6B.300d.txt \
        --output data/dckt/source/word_vectors.parquet
    python -m pipelines.words.word_vectors --queries data/dckt/source/words/queries \
        --output data/dckt/source/word_vectors.parquet

Input: segmented queries or texts (schemas.QUERIES). Output: a vector for each of their words that has one
(schemas.WORD_VECTORS, rows by word), and in the closing lines how many words, and occurrences of words, have one.

Read: word2vec's text (first line: number of words and dimensions), GloVe's text (no such line), both also gzipped, or
Parquet with columns `word` and `vector`. Only the texts' words are kept. A word is looked up as it was segmented, which
is in lower case; of several spellings in the file (`Paris`, `paris`) the first that becomes the word counts. If too few
occurrences of words have a vector, the file is probably of another language, and the command fails.

Trained: positive pointwise mutual information of words that stand within `window` of each other, contexts smoothed by
the exponent 0.75, and a truncated SVD of that matrix, whose singular values enter by their square roots (Levy, Goldberg
and Dagan 2015, "Improving Distributional Similarity with Lessons Learned from Word Embeddings", sections 2.2 and 3). It
has no learning rate or epochs, runs in seconds on a few thousand texts, and gives the same bytes each time; the paper
finds no general advantage of skip-gram over it. A segmented text has each word once.
"""

import argparse
import gzip
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from base.artifacts import read_tables, reading, write_table
from base.console import UserError, log, named, progress, stage
from base.inputs import check_file
from base.params import Params, validate_section
from base.schemas import WORD_VECTORS
from pipelines.words.normal_form import normalise_text

SMOOTHING = 0.75  # exponent of the contexts' counts
HEADER = re.compile(rb"\d+ \d+\s*")  # of word2vec's text


class TrainedVectorParams(Params):
    """Vectors that are trained on the texts, and the check of those that are read."""

    dimensions: int = Field(description="of trained vectors; fewer, if the texts have fewer words", ge=1, le=1024)
    window: int = Field(description="words to each side of a word that are its contexts", ge=1)
    least_texts: int = Field(description="texts that a word must be in to get a trained vector", ge=1)
    least_coverage: float = Field(
        description="share of all occurrences of words that must have a vector in the given file", ge=0, le=1
    )


def occurrences_of(texts: pa.Table) -> dict[str, int]:
    """Return the number of texts that contain each word, by word in code-point order.

    Args:
        texts: schemas.QUERIES.
    """
    words = texts["words"].combine_chunks().flatten().value_counts()
    counts = dict(zip(words.field("values").to_pylist(), words.field("counts").to_pylist(), strict=True))
    return dict(sorted(counts.items()))


def read_vectors(path: Path, words: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Return the vectors of some words from a file, by word.

    Args:
        path: word2vec's or GloVe's text, also gzipped, or Parquet.
        words: the words; their values have no meaning here.

    Raises:
        UserError: the file is missing, damaged, has no vectors, or vectors of different lengths.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file of word vectors; name one (word2vec, GloVe or Parquet), or null")
    check_file(path)
    rows = _parquet_rows(path) if path.suffix == ".parquet" else _text_rows(path)
    found: dict[str, np.ndarray] = {}
    dimensions = 0
    for place, word, vector in rows:
        if dimensions and len(vector) != dimensions:
            raise UserError(f"{path}: {place}: {len(vector)} numbers, but {dimensions} before; fetch the file again")
        dimensions = len(vector)
        key = normalise_text(word)
        if key in words and key not in found:
            if not np.isfinite(vector).all():
                raise UserError(f"{path}: {place}: the vector of {word!r} has numbers that are not finite")
            found[key] = vector
    if not dimensions:
        raise UserError(f"{path}: holds no word vectors")
    return found


def _parquet_rows(path: Path) -> Iterator[tuple[str, str, np.ndarray]]:
    with reading(path), pq.ParquetFile(path) as file:
        if missing := {"word", "vector"} - set(file.schema_arrow.names):
            raise UserError(f"{path}: lacks the column {min(missing)}; expected word and vector")
        number = 0
        for batch in file.iter_batches(columns=["word", "vector"]):
            for word, vector in zip(batch["word"].to_pylist(), batch["vector"].to_pylist(), strict=True):
                number += 1
                if word is None or not vector or None in vector:
                    raise UserError(f"{path}: row {number}: no word, or no whole vector")
                yield f"row {number}", word, np.array(vector, np.float32)


def _text_rows(path: Path) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield the rows of a text; a word may contain spaces, as some of GloVe's do, so numbers are taken from the end."""
    with _opened(path) as stream:
        first = stream.readline()
        lines = enumerate(stream, start=2)
        dimensions = int(first.split()[1]) if HEADER.fullmatch(first) else 0
        rows = lines if dimensions else _with_first(first, lines)
        for number, line in progress(rows, "word vectors", "words"):
            fields = line.decode("utf-8", "replace").rstrip().split(" ")
            dimensions = dimensions or len(fields) - 1
            try:
                if dimensions < 1 or len(fields) <= dimensions:
                    raise ValueError("too few fields")
                vector = np.array(fields[-dimensions:], np.float32)
            except ValueError:
                raise UserError(
                    f"{path}: line {number}: not a word and {dimensions} numbers: {line[:60]!r}; expected the text "
                    "form of word2vec or GloVe (a binary file has to be converted)"
                ) from None
            yield f"line {number}", " ".join(fields[:-dimensions]), vector


def _with_first(first: bytes, lines: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    if first:
        yield 1, first
    yield from lines


def _opened(path: Path) -> BinaryIO:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def train_vectors(texts: pa.Table, params: TrainedVectorParams) -> dict[str, np.ndarray]:
    """Return vectors that are trained on texts, by word.

    Args:
        texts: schemas.QUERIES; each row counts once.
        params: see there.

    Raises:
        UserError: fewer than two words are in enough texts.
    """
    counts = occurrences_of(texts)
    known = {word: number for number, word in enumerate(word for word, n in counts.items() if n >= params.least_texts)}
    if len(known) < 2:
        raise UserError(
            f"{len(known)} of {len(counts)} words are in {params.least_texts} or more texts: too few to train word "
            "vectors; name a file of vectors, or lower least_texts"
        )
    matrix = positive_pmi(neighbours(texts, known, params.window))
    dimensions = min(params.dimensions, len(known) - 1)
    left, values, _ = randomized_svd(matrix, dimensions, n_iter=7, random_state=0)
    vectors = (left * np.sqrt(values)).astype(np.float32)
    return {word: vectors[row] for word, row in known.items()}


def neighbours(texts: pa.Table, known: Mapping[str, int], window: int) -> sparse.csr_array:
    """Return how often two known words stand within a window of each other; words that are not known leave no gap.

    Args:
        texts: schemas.QUERIES.
        known: number of each word, 0 .. W - 1.
        window: the largest distance, in words.

    Shape:
        result: int64 (W, W), symmetric
    """
    column = texts["words"].combine_chunks()
    lengths = pc.list_value_length(column).to_numpy()
    names = pl.Series(list(known), dtype=pl.String)
    numbers = pl.DataFrame({"word": names, "number": np.arange(len(known))})
    rows = pl.DataFrame(
        {"text": np.repeat(np.arange(len(column)), lengths), "word": column.flatten().to_pylist()}
    ).join(numbers, on="word", how="inner", maintain_order="left")
    text, number = rows["text"].to_numpy(), rows["number"].to_numpy()
    one, other = [], []
    for distance in range(1, window + 1):
        together = text[distance:] == text[:-distance]
        one.append(number[:-distance][together])
        other.append(number[distance:][together])
    ends = np.concatenate([*one, *other]), np.concatenate([*other, *one])
    return sparse.coo_array((np.ones(len(ends[0]), np.int64), ends), shape=(len(known), len(known))).tocsr()


def positive_pmi(counts: sparse.csr_array) -> sparse.csr_array:
    """Return max(0, ln(p(w, c) / (p(w) p(c)^0.75 / Z))) of counts, where Z makes the smoothed contexts add up to 1.

    Shape:
        counts, result: (W, W)
    """
    word = np.asarray(counts.sum(axis=1)).ravel()
    context = np.asarray(counts.sum(axis=0)).ravel() ** SMOOTHING
    context /= context.sum() or 1
    entries = counts.tocoo()
    pmi = np.log(entries.data / (word[entries.row] * context[entries.col]))
    positive = sparse.coo_array((np.maximum(pmi, 0), (entries.row, entries.col)), shape=counts.shape).tocsr()
    positive.eliminate_zeros()
    return positive


def check_coverage(path: Path, vectors: Mapping[str, np.ndarray], words: Mapping[str, int], least: float) -> None:
    """Check that a file has vectors for enough of the texts' words.

    Raises:
        UserError: the occurrences of words that have one are fewer than the share `least`.
    """
    share = coverage(vectors, words)
    if share < least or not vectors:
        missing = sorted((word for word in words if word not in vectors), key=lambda word: (-words[word], word))
        raise UserError(
            f"{path}: has vectors for {len(vectors):,} of the texts' {len(words):,} words, which are {100 * share:.1f} "
            f"% of their occurrences; expected at least {100 * least:.1f} % (least_coverage). Without a vector: "
            f"{named(missing)}. Is the file of another language than the texts?"
        )


def coverage(vectors: Mapping[str, np.ndarray], words: Mapping[str, int]) -> float:
    """Return the share of the occurrences of words that have a vector; 0 without words."""
    return sum(n for word, n in words.items() if word in vectors) / max(sum(words.values()), 1)


def run(queries: Path, vectors: Path | None, output: Path, params: TrainedVectorParams) -> dict[str, int | float]:
    """Read or train the vectors of the words of segmented texts, and write them; return counts.

    Raises:
        UserError: see :func:`read_vectors`, :func:`train_vectors` and :func:`check_coverage`.
    """
    texts = read_tables(queries)
    words = occurrences_of(texts)
    if vectors is None:
        found = train_vectors(texts, params)
    else:
        found = read_vectors(vectors, words)
        check_coverage(vectors, found, words, params.least_coverage)
    missing = sorted((word for word in words if word not in found), key=lambda word: (-words[word], word))
    if missing:
        log.info("words without a vector, most frequent first: %s", named(missing))
    listed = sorted(found)
    table = pa.table([pa.array(listed, pa.string()), pa.array([found[word] for word in listed])], schema=WORD_VECTORS)
    write_table(table, output)
    return {
        "words": len(words),
        "words with a vector": len(found),
        "dimensions": len(found[listed[0]]),
        "percent of the occurrences of words that have a vector": 100 * coverage(found, words),
    }


def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=Path, required=True, help="folder of segmented texts")
    parser.add_argument("--vectors", type=Path, help="file of word vectors; without it they are trained on the texts")
    parser.add_argument("--dimensions", type=int, default=100, help="of trained vectors (default: %(default)s)")
    parser.add_argument("--window", type=int, default=5, help="words to each side (default: %(default)s)")
    parser.add_argument("--least-texts", type=int, default=2, help="of a trained word (default: %(default)s)")
    parser.add_argument("--least-coverage", type=float, default=0.3, help="share of the file (default: %(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")
    arguments = parser.parse_args(argv)
    with stage("word_vectors") as closing:
        options = {name: value for name, value in vars(arguments).items() if name in TrainedVectorParams.model_fields}
        params = validate_section(TrainedVectorParams, "options", options, "command line")
        closing.counts.update(run(arguments.queries, arguments.vectors, arguments.output, params))
        closing.wrote[str(arguments.output)] = "trained" if arguments.vectors is None else f"from {arguments.vectors}"


if __name__ == "__main__":
    main()
