"""Click features: the word click matrix with TF-IDF weights.

    python -m pipelines.words.click_features --click-matrix data/sets/toy/features/click_matrix \
        --vocabulary data/sets/toy/features/vocabulary.parquet --output data/sets/toy/features/click_features

Input: shards of the word click matrix, the vocabulary. Output: as many shards with the same names and rows
(schemas.CLICK_FEATURES).

    v_ij = (c'_ij / sum_j c'_ij) idf_j,   idf_j = ln(1 / rho_j)

The sum runs over the vocabulary. An image without a vocabulary word has v = 0, which is an empty list. Weights are
computed in double and stored in single precision. Unlike in scikit-learn's TfidfTransformer, there is no smoothing, no
1 is added to the idf, and the term frequency is a share, not a count; after an l2 normalisation, both would agree.

Reference: Tan et al. 2019, section III-A, step 4, eq. 1.
"""

import argparse
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from base.artifacts import SHARDS, whole_directory
from base.console import UserError, stage
from base.schemas import CLICK_FEATURES, CLICK_MATRIX, VOCABULARY
from base.stores import Location
from pipelines.beam.concurrency import concurrently
from pipelines.beam.runner import pipeline
from pipelines.beam.shards import WriteCounts, read_counts, read_shard, shard_files, write_shard
from pipelines.beam.shuffle import unpack
from pipelines.ingest.sums import check_sums
from pipelines.words.about import PREFIX, as_metadata, check_version, from_metadata, read_about


def with_weights(matrix: pa.RecordBatch, vocabulary: pa.RecordBatch) -> pa.RecordBatch:
    """Return some rows of the click matrix with their TF-IDF weights; schemas.CLICK_FEATURES.

    Args:
        matrix: schemas.CLICK_MATRIX.
        vocabulary: schemas.VOCABULARY; only idf is used, and what the metadata say of the features.

    Raises:
        UserError: an image's clicks on all words do not fit into 64 bits together.
    """
    clicks = matrix.column("clicks").flatten().to_numpy()
    word_ids = matrix.column("word_ids").flatten().to_numpy()
    lengths = pc.list_value_length(matrix.column("word_ids")).to_numpy()
    starts = np.r_[0, np.cumsum(lengths)]
    check_sums(clicks, partial(_row_sums, starts=starts))
    sums = _row_sums(clicks, starts)
    shares = clicks / np.repeat(sums, lengths)
    weights = shares * vocabulary.column("idf").to_numpy()[word_ids]
    tfidf = pa.ListArray.from_arrays(pa.array(starts, pa.int32()), pa.array(weights.astype(np.float32)))
    about = from_metadata(vocabulary.schema.metadata)
    metadata = as_metadata(about, "pipelines.words.click_features") if about else None
    return pa.record_batch([*matrix.columns, tfidf], schema=CLICK_FEATURES.with_metadata(metadata))


def _row_sums(numbers: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the sums of the pieces of an array; the running sum may wrap, its differences are right all the same."""
    return np.diff(np.r_[0, np.cumsum(numbers)][starts])


def write_features(
    shard: int, matrix: pa.RecordBatch, vocabulary: pa.RecordBatch, directory: Location
) -> tuple[str, int]:
    """Weight a shard of the click matrix and write it; return the number of its images, for the counts."""
    _, num_images = write_shard((shard, with_weights(matrix, vocabulary)), directory)
    return "images", num_images


def write_packed(
    shard: tuple[int, bytes], directory: Location, vocabulary: pa.RecordBatch
) -> Iterable[tuple[str, int]]:
    """Weight and write a packed shard of the click matrix."""
    return [write_features(shard[0], unpack(shard[1]), vocabulary, directory)]


def write_file(shard: tuple[int, str], directory: Location, vocabulary: pa.RecordBatch) -> Iterable[tuple[str, int]]:
    """Weight and write a shard of the click matrix from a stage's output."""
    return [write_features(shard[0], read_matrix(Path(shard[1]), vocabulary.num_rows), vocabulary, directory)]


def read_vocabulary(path: Path) -> pa.RecordBatch:
    """Read a vocabulary with its metadata.

    Raises:
        UserError: it is damaged, no vocabulary, or of another version.
    """
    vocabulary = read_shard(path, VOCABULARY)
    about = read_about(path)
    check_version(about, path)
    return vocabulary.replace_schema_metadata({f"{PREFIX}{name}": value for name, value in about.items()})


def read_matrix(file: Path, num_words: int) -> pa.RecordBatch:
    """Read a shard of the click matrix.

    Raises:
        UserError: the shard has a word that the vocabulary lacks.
    """
    matrix = read_shard(file, CLICK_MATRIX)
    largest = pc.max(matrix.column("word_ids").flatten()).as_py()
    if largest is not None and largest >= num_words:
        raise UserError(
            f"{file}: word_id {largest}, but the vocabulary has {num_words} words; run "
            "`pipelines.words.click_matrix` again"
        )
    return matrix


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--click-matrix", type=Path, required=True, help="folder of the click matrix's shards")
    parser.add_argument("--vocabulary", type=Path, required=True, help="the vocabulary file")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    arguments, beam_arguments = parser.parse_known_args(argv)
    with stage("click_features") as closing:
        vocabulary = read_vocabulary(arguments.vocabulary)
        files = list(enumerate(map(str, shard_files(arguments.click_matrix))))
        with whole_directory(arguments.output, holds=SHARDS) as folder:
            counts_file = folder / "counts"
            with pipeline(beam_arguments) as job:
                (
                    job
                    | "MatrixShards" >> beam.Create(files)
                    | "ClickFeatures"
                    >> concurrently("click_features", write_file, folder, vocabulary).with_output_types(tuple[str, int])
                    | "Counts" >> WriteCounts(counts_file)
                )
            closing.counts.update(read_counts(counts_file))
        closing.wrote[str(arguments.output)] = f"{len(files)} shards"
        closing.next_command = "python -m systems.mtmdd.train (see stages/mtmdd/dvc.yaml)"


if __name__ == "__main__":
    main()
