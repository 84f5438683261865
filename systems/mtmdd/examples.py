"""What a training or an evaluation learns from or is measured on: images, labels, splits, click features."""

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from base.artifacts import read_tables
from base.console import UserError
from base.seeding import derive_seed
from model.data.images import ImageStore, folders_of
from systems.mtmdd.config import DOMAINS, Domain, Fewer, NetworkParams, Recipe

LEFT_OUT = "left out"  # the split of rows that a study takes away; they still count for the length of an epoch


class ClickFeatures:
    """The true click features v of all source images that have one, sparse; an image without one has v = 0.

    Args:
        image_ids: of the source domain.
        word_ids: per image, ascending.
        tfidf: per image, as many as word_ids.
        num_words: K.
    """

    def __init__(
        self, image_ids: Sequence[str], word_ids: Sequence[np.ndarray], tfidf: Sequence[np.ndarray], num_words: int
    ) -> None:
        self.num_words = num_words
        self._word_ids = dict(zip(image_ids, word_ids, strict=True))
        self._tfidf = dict(zip(image_ids, tfidf, strict=True))

    @classmethod
    def read(cls, features: Path) -> "ClickFeatures":
        """Read ``vocabulary.parquet`` and ``click_features/`` of a features folder."""
        num_words = read_tables(Path(features) / "vocabulary.parquet", ["word_id"]).num_rows
        if not num_words:
            raise UserError(f"{features}/vocabulary.parquet: the vocabulary is empty, no click can be predicted")
        table = read_tables(Path(features) / "click_features", ["image_id", "word_ids", "tfidf"]).combine_chunks()
        columns = [[row.values.to_numpy() for row in table[name]] for name in ("word_ids", "tfidf")]
        return cls(table["image_id"].to_pylist(), columns[0], columns[1], num_words)

    def vectors(self, image_ids: Sequence[str]) -> np.ndarray:
        """Return v of some images.

        Shape:
            result: float32 (n, K)
        """
        result = np.zeros((len(image_ids), self.num_words), np.float32)
        for row, image_id in enumerate(image_ids):
            if image_id in self._word_ids:
                result[row, self._word_ids[image_id]] = self._tfidf[image_id]
        return result


class OtherSource(NamedTuple):
    """Another data set's source, which takes the place of the own one in the cross-object study (Table IX)."""

    images: Path  # the folder of its ingested images
    split: Path  # its split file


def other_source(recipe: Recipe, images: Path | None, split: Path | None) -> OtherSource | None:
    """Return the other source that a recipe is to have; None where it has the data set's own.

    Args:
        recipe: says by `source` whether there is one.
        images, split: as given (--source-images, --source-split).

    Raises:
        UserError: the recipe asks for another source and either is missing, or it doesn't, and either is given.
    """
    if recipe.source is None and (images is not None or split is not None):
        raise UserError(
            f"--source-images {images}, --source-split {split}: this recipe of {recipe.method} has the data set's own"
            " source; take both out, or give a recipe of the cross-object study"
        )
    if recipe.source is None:
        return None
    if images is None or split is None:
        raise UserError(
            f"this recipe of {recipe.method} has the source of {recipe.source}: give --source-images and --source-split"
            " of that data set, and its --features"
        )
    return OtherSource(images, split)


def add_other_source(parser: argparse.ArgumentParser) -> None:
    """Add the options that `other_source` is made of to a command."""
    other = "of the other data set in the cross-object study"
    parser.add_argument("--source-images", type=Path, help=f"folder of ingested images {other}; its --features, too")
    parser.add_argument("--source-split", type=Path, help=f"split file {other}")


def read_rows(split: Path, recipe: Recipe, seed: int, other: OtherSource | None = None) -> pl.DataFrame:
    """Read a split file and make of it what a recipe leaves: fewer source categories, fewer training images.

    Args:
        split: the split file.
        recipe: what is left out.
        seed: of what is left out.
        other: whose source rows take the place of the split file's.

    Returns:
        Columns image_id, domain, category, split; rows by domain, then image_id. What the recipe takes away has the
        split ``left out``.

    Raises:
        UserError: the split file has fewer source categories than the recipe asks for.
    """
    rows = _read_split(split)
    if other is not None:
        of_other = _read_split(other.split).filter(pl.col("domain") == "source")
        rows = pl.concat([of_other, rows.filter(pl.col("domain") == "target")])
    if recipe.source_categories is not None:
        rows = keep_source_categories(rows, recipe.source_categories, seed)
    if recipe.fewer is not None:
        rows = keep_fewer(rows, recipe.fewer, seed)
    return rows.sort("domain", "image_id")


def _read_split(split: Path) -> pl.DataFrame:
    rows = pl.from_arrow(read_tables(split, ["image_id", "domain", "category", "split"]))
    assert isinstance(rows, pl.DataFrame)
    return rows


def keep_source_categories(rows: pl.DataFrame, number: int, seed: int) -> pl.DataFrame:
    """Leave out all but so many source categories; of one seed, a smaller choice is part of a larger.

    The others' training images are marked as left out, their validation and test images are gone.
    """
    names = rows.filter(pl.col("domain") == "source")["category"].unique().to_list()
    if number > len(names):
        raise UserError(f"out_of_class: {number} source categories asked for, the split file has {len(names)}")
    kept = sorted(names, key=lambda name: (derive_seed(seed, "source categories", name), name))[:number]
    stays = (pl.col("domain") != "source") | pl.col("category").is_in(kept)
    return rows.filter(stays | (pl.col("split") == "train")).with_columns(
        pl.when(stays).then("split").otherwise(pl.lit(LEFT_OUT)).alias("split")
    )


def keep_fewer(rows: pl.DataFrame, fewer: Fewer, seed: int) -> pl.DataFrame:
    """Leave out all but ceil(share * n_k) training images of each category k of a domain (Fig. 14).

    Of one seed, a smaller share is part of a larger; validation and test images stay.
    """
    ranks = [derive_seed(seed, "fewer images", image_id) for image_id in rows["image_id"]]
    reduced = (pl.col("domain") == fewer.domain) & (pl.col("split") == "train")
    group = ["domain", "category", "split"]
    rows = rows.with_columns(rank=pl.Series(ranks, dtype=pl.UInt64)).with_columns(
        place=pl.struct("rank", "image_id").rank("ordinal").over(group), images=pl.len().over(group)
    )
    # rounded first: a product that should be whole may lie a trifle above it, and its ceiling one too high
    most = (pl.col("images") * fewer.share).round(9).ceil()
    stays = ~reduced | (pl.col("place") <= most)
    split = pl.when(stays).then("split").otherwise(pl.lit(LEFT_OUT)).alias("split")
    return rows.with_columns(split).drop("rank", "place", "images")


@dataclass(frozen=True)
class Examples:
    """Images with label, split and, in the source, click feature. A row's number is its place in every part.

    Attributes:
        rows: columns image_id, domain, category, split.
        categories: names per domain, sorted; a label is a place in this list.
        images: in the order of the rows.
        clicks: None where no click is predicted.
        epoch_images: training images per domain before a study left any out. An epoch is that long, so that what is
            compared differs in its images and not in its number of steps (the paper trains for a fixed number).
        fingerprint: changes with anything that is read; names resume checkpoints.
    """

    rows: pl.DataFrame
    categories: dict[Domain, list[str]]
    images: ImageStore
    clicks: ClickFeatures | None
    epoch_images: dict[Domain, int]
    fingerprint: str

    @classmethod
    def read(
        cls,
        shards: Path | Mapping[str, Path],
        rows: pl.DataFrame,
        features: Path | None,
        network: NetworkParams,
        cache: bool,
        splits: Sequence[str] = ("train", "validation"),
    ) -> "Examples":
        """Read the images of some rows, and the click features.

        Args:
            shards: the folder of ingested images, or one for each domain.
            rows: columns image_id, domain, category, split; all that are not left out make the categories.
            features: the folder with vocabulary and click features; None: none are needed.
            network: says how large the images shall be.
            cache: keep the images decoded.
            splits: whose images are wanted: of other splits not a byte is kept.
        """
        clicks = None if features is None else ClickFeatures.read(features)
        files = [file for folder in folders_of(shards, DOMAINS) for file in sorted(folder.glob("*.parquet"))]
        if features is not None:
            files += [
                Path(features) / "vocabulary.parquet",
                *sorted((Path(features) / "click_features").glob("*.parquet")),
            ]
        categories = {domain: categories_of(rows, domain) for domain in DOMAINS}
        epoch_images = {domain: num_epoch_images(rows, domain) for domain in DOMAINS}
        digest = hashlib.blake2b(rows.write_csv().encode(), digest_size=8)
        rows = rows.filter(pl.col("split").is_in(splits))
        for file in files:
            digest.update(f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}".encode())
        images = ImageStore(shards, rows, network.resize, cache)
        return cls(rows, categories, images, clicks, epoch_images, digest.hexdigest())

    def places(self, domain: Domain, split: str) -> np.ndarray:
        """Return the rows of a domain's split, ascending."""
        chosen = (self.rows["domain"] == domain) & (self.rows["split"] == split)
        return chosen.arg_true().to_numpy()

    def labels(self) -> np.ndarray:
        """Return every row's label.

        Shape:
            result: int64 (rows,)
        """
        labels = np.zeros(len(self.rows), np.int64)
        for domain in DOMAINS:
            inside = (self.rows["domain"] == domain).to_numpy()
            labels[inside] = np.searchsorted(self.categories[domain], self.rows["category"].to_numpy()[inside])
        return labels


def categories_of(rows: pl.DataFrame, domain: Domain) -> list[str]:
    """Return the names of a domain's categories that are not left out, sorted by code point."""
    there = (pl.col("domain") == domain) & (pl.col("split") != LEFT_OUT)
    return sorted(rows.filter(there)["category"].unique())


def num_epoch_images(rows: pl.DataFrame, domain: Domain) -> int:
    """Return how many training images a domain has, those left out included."""
    return rows.filter((pl.col("domain") == domain) & pl.col("split").is_in(["train", LEFT_OUT])).height
