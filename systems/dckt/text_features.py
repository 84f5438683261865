"""Compute the frozen features of one domain's texts, for the split of every seed.

    python -m systems.dckt.text_features --domain data/dckt/source --output data/dckt/source/text_features

In, below --domain: ingested/texts, words/queries, word_vectors.parquet and splits/seed-N.parquet; for TF-IDF
words/click_features and words/vocabulary.parquet. Out: seed-N.parquet (`schemas.TEXT_FEATURES`), and for the word CNN
seed-N.safetensors, which encodes other texts (`model.text_encoders`). The word CNN of a seed learns from the training
texts of its split and stops by the validation texts; TF-IDF and word vectors are the same for all seeds.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from base.artifacts import read_tables, whole_directory, write_table
from base.console import UserError, stage
from base.params import DEFAULT_PATH, load_section, read_seeds
from base.schemas import TEXT_FEATURES
from model.frozen_features import as_lists
from model.text_encoders import VectorEncoder, WordCNNEncoder
from model.text_features import Texts, tfidf_features, train_word_cnn
from systems.dckt.feature_params import FeatureParams


def read_words(domain: Path, pairs: pl.DataFrame) -> list[list[str]]:
    """Return the words of the pairs' texts, in the order of the pairs.

    Raises:
        UserError: a pair has no segmented text (named).
    """
    texts = pl.DataFrame(read_tables(domain / "ingested" / "texts", ["image_id", "query"]))
    words = pl.DataFrame(read_tables(domain / "words" / "queries"))
    texts = texts.rename({"image_id": "pair_id"}).join(words, on="query", how="left")
    rows = pairs.select("pair_id").join(texts, on="pair_id", how="left", maintain_order="left")
    if len(without := rows.filter(pl.col("words").is_null())):
        raise UserError(
            f"{domain}: {without['pair_id'][0]!r} has no segmented text; run the stages before this one again"
        )
    return rows["words"].to_list()


def read_word_vectors(path: Path) -> dict[str, np.ndarray]:
    """Return vectors by word.

    Raises:
        UserError: there are none.
    """
    table = read_tables(path)
    if not len(table):
        raise UserError(f"{path}: holds no word vectors; run the stage that writes it again")
    vectors = table["vector"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    return dict(zip(table["word"].to_pylist(), vectors, strict=True))


def vector_encoder(vectors: Mapping[str, np.ndarray]) -> VectorEncoder:
    """Return the text features `word vectors` of vectors by word, each (D,)."""
    return VectorEncoder(list(vectors), np.stack(list(vectors.values())))


def read_tfidf(domain: Path, pairs: pl.DataFrame) -> np.ndarray:
    """Return the TF-IDF weights of the pairs' texts, in the order of the pairs: float32 (N, words)."""
    number = len(read_tables(domain / "words" / "vocabulary.parquet", ["word_id"]))
    weights = pl.DataFrame(read_tables(domain / "words" / "click_features", ["image_id", "word_ids", "tfidf"]))
    weights = weights.rename({"image_id": "pair_id"})
    rows = pairs.select("pair_id").join(weights, on="pair_id", how="left", maintain_order="left")
    return tfidf_features(rows["word_ids"].fill_null([]).to_list(), rows["tfidf"].fill_null([]).to_list(), number)


def run(domain: Path, output: Path, params: FeatureParams, seeds: Sequence[int]) -> dict[str, int | float]:
    """Compute and write the features of all seeds; return counts.

    Raises:
        UserError: see :func:`read_words` and :func:`model.text_features.train_word_cnn`.
    """
    counts: dict[str, int | float] = {}
    with whole_directory(output, holds=("seed-*.parquet", "seed-*.safetensors")) as folder:
        vectors = read_word_vectors(domain / "word_vectors.parquet") if params.texts != "TF-IDF" else {}
        for seed in seeds:
            pairs = pl.DataFrame(read_tables(domain / "splits" / f"seed-{seed}.parquet")).sort("pair_id")
            if params.texts == "TF-IDF":
                features = read_tfidf(domain, pairs)
            elif params.texts == "word vectors":
                features = vector_encoder(vectors)(read_words(domain, pairs))
            else:
                categories = pairs["category"].rank("dense").cast(pl.Int64).to_numpy() - 1
                texts = Texts(read_words(domain, pairs), categories, pairs["split"].to_numpy())
                net, known, found = train_word_cnn(texts, vectors, params.word_cnn, seed)
                encoder = WordCNNEncoder(net, known, params.word_cnn.longest)
                features = encoder(texts.words)
                encoder.save(folder / f"seed-{seed}.safetensors")
                counts.update({f"seed {seed}: {name}": value for name, value in found.items()})
            ids = pa.array(pairs["pair_id"].to_list(), pa.string())
            write_table(
                pa.Table.from_arrays([ids, as_lists(features)], schema=TEXT_FEATURES), folder / f"seed-{seed}.parquet"
            )
            empty = int((~features.any(axis=1)).sum())
            counts |= {
                "texts": len(features),
                "features": features.shape[1],
                f"seed {seed}: texts without words": empty,
            }
    return counts


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", type=Path, required=True, help="the domain's folder")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH)
    arguments = parser.parse_args(argv)
    with stage("text_features", describe=arguments.domain.name) as closing:
        params = load_section(FeatureParams, "dckt.features", arguments.params)
        seeds = read_seeds(arguments.params)
        closing.counts.update(run(arguments.domain, arguments.output, params, seeds))
        closing.wrote[str(arguments.output)] = f"{params.texts}, {len(seeds)} seeds"


if __name__ == "__main__":
    main()
