"""The data of a training or an evaluation: images, labels, splits and click features."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from base.artifacts import read_tables
from base.console import UserError
from base.seeding import derive_seed
from model.data.images import ImageStore, digest_of_rows, folders_of
from systems.mtmdd.config import DOMAINS, Domain, Fewer, NetworkParams, Recipe

LEFT_OUT = "left out"  # `split` of rows that a study removes; they still count for the length of an epoch


class ClickFeatures:
    """The true click features v of the source images, sparse; an image that is not listed has v = 0.

    Args:
        image_ids: of the source domain.
        starts: where each image's values begin, and where the last one's end.
        word_ids: word ids of all images one after another, of each ascending.
        tfidf: the values that belong to `word_ids`.
        words: of the vocabulary, K, by word id.

    Shape:
        image_ids: (n,); starts: (n + 1,); word_ids, tfidf: (values,)
    """

    def __init__(
        self, image_ids: pl.Series, starts: np.ndarray, word_ids: np.ndarray, tfidf: np.ndarray, words: Sequence[str]
    ) -> None:
        self.words = list(words)
        self._image_ids = image_ids.alias("image_id")
        self._matrix = sparse.csr_array((tfidf, word_ids, starts), shape=(len(image_ids), len(words)))

    @classmethod
    def read(cls, features: Path) -> "ClickFeatures":
        """Read ``vocabulary.parquet`` and ``click_features/`` of a features folder."""
        words = read_tables(Path(features) / "vocabulary.parquet", ["word"])["word"].to_pylist()
        if not words:
            raise UserError(
                f"{features}/vocabulary.parquet: the vocabulary is empty, so no click can be predicted; check the"
                " closing lines of `vocabulary`"
            )
        table = read_tables(Path(features) / "click_features", ["image_id", "word_ids", "tfidf"])
        image_ids = pl.Series("image_id", pl.from_arrow(table["image_id"]))
        starts = np.zeros(len(table) + 1, np.int64)
        np.cumsum(pc.list_value_length(table["word_ids"]).to_numpy(), out=starts[1:])
        word_ids, tfidf = (pc.list_flatten(table[name]).to_numpy() for name in ("word_ids", "tfidf"))
        del table
        pa.default_memory_pool().release_unused()
        return cls(image_ids, starts, word_ids, tfidf, words)

    @property
    def num_words(self) -> int:
        """K."""
        return len(self.words)

    def places(self, image_ids: pl.Series) -> np.ndarray:
        """Return the number of each image in the features; -1: it is not listed.

        Shape:
            image_ids: (n,); result: int32 (n,)
        """
        listed = pl.DataFrame({"image_id": self._image_ids}).with_row_index("place")
        wanted = pl.DataFrame({"image_id": image_ids.cast(pl.String)})
        found = wanted.join(listed, on="image_id", how="left", maintain_order="left")["place"]
        return found.cast(pl.Int32).fill_null(-1).to_numpy()

    def at(self, places: np.ndarray) -> np.ndarray:
        """Return v of images by their numbers.

        Shape:
            places: (n,); result: float32 (n, K)
        """
        result = np.zeros((len(places), self.num_words), np.float32)
        listed = places >= 0
        result[listed] = self._matrix[places[listed]].toarray()
        return result

    def vectors(self, image_ids: Sequence[str]) -> np.ndarray:
        """Return v of the given images.

        Shape:
            result: float32 (n, K)
        """
        return self.at(self.places(pl.Series(image_ids, dtype=pl.String)))


class OtherSource(NamedTuple):
    """Another data set's source, which replaces the own one in the cross-object study (Table IX)."""

    images: Path  # the folder of its ingested images
    split: Path  # its split file


def other_source(recipe: Recipe, images: Path | None, split: Path | None) -> OtherSource | None:
    """Return the other source that a recipe asks for; None if the recipe uses the data set's own source.

    Args:
        recipe: asks for another source if its `source` is set.
        images, split: the values of --source-images and --source-split.

    Raises:
        UserError: the recipe asks for another source, and an option is missing; or it doesn't, and an option is given.
    """
    if recipe.source is None and (images is not None or split is not None):
        raise UserError(
            f"--source-images {images}, --source-split {split}: this recipe of {recipe.method} uses the data set's own"
            " source; remove both options, or give a recipe of the cross-object study"
        )
    if recipe.source is None:
        return None
    if images is None or split is None:
        raise UserError(
            f"this recipe of {recipe.method} uses the source of {recipe.source}; give --source-images, --source-split"
            " and --features of that data set"
        )
    return OtherSource(images, split)


def add_data(parser: argparse.ArgumentParser, split: str) -> None:
    """Add the options for a data set's files to a command.

    Args:
        parser: of the command.
        split: the help text of --split.
    """
    parser.add_argument("--images", type=Path, required=True, help="folder of ingested images")
    parser.add_argument("--split", type=Path, required=True, help=split)
    parser.add_argument("--features", type=Path, required=True, help="folder with vocabulary and click features")


def add_other_source(parser: argparse.ArgumentParser) -> None:
    """Add the options for an other source (`other_source`) to a command."""
    other = "of the other data set in the cross-object study"
    parser.add_argument(
        "--source-images", type=Path, help=f"folder of ingested images {other}; give its --features, too"
    )
    parser.add_argument("--source-split", type=Path, help=f"split file {other}")


def read_rows(split: Path, recipe: Recipe, seed: int, other: OtherSource | None = None) -> pl.DataFrame:
    """Read a split file and reduce it as a recipe asks: fewer source categories, fewer training images.

    Args:
        split: the split file.
        recipe: defines what is left out.
        seed: of the choice of what is left out.
        other: the other source, whose rows replace the source rows of the split file.

    Returns:
        Columns image_id, domain, category, split; rows by domain, then image_id. Training rows that are left out have
        the split ``left out``.

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
    """Keep only the given number of source categories; with the same seed, a smaller choice is part of a larger one.

    The training images of the other categories are marked as left out, their validation and test images are removed.
    """
    names = rows.filter(pl.col("domain") == "source")["category"].unique().to_list()
    if number > len(names):
        raise UserError(
            f"out_of_class: {number} source categories requested, but the split file has {len(names)}; list a smaller"
            " number in mtmdd.runs"
        )
    kept = sorted(names, key=lambda name: (derive_seed(seed, "source categories", name), name))[:number]
    stays = (pl.col("domain") != "source") | pl.col("category").is_in(kept)
    return rows.filter(stays | (pl.col("split") == "train")).with_columns(
        pl.when(stays).then("split").otherwise(pl.lit(LEFT_OUT)).alias("split")
    )


def keep_fewer(rows: pl.DataFrame, fewer: Fewer, seed: int) -> pl.DataFrame:
    """Keep only ceil(share * n_k) training images of each category k of a domain (Fig. 14).

    With the same seed, a smaller share is part of a larger one. Validation and test images stay.
    """
    ranks = [derive_seed(seed, "fewer images", image_id) for image_id in rows["image_id"]]
    reduced = (pl.col("domain") == fewer.domain) & (pl.col("split") == "train")
    group = ["domain", "category", "split"]
    rows = rows.with_columns(rank=pl.Series(ranks, dtype=pl.UInt64)).with_columns(
        place=pl.struct("rank", "image_id").rank("ordinal").over(group), images=pl.len().over(group)
    )
    # rounded first, because rounding errors can lift a whole product slightly, and its ceiling by one
    most = (pl.col("images") * fewer.share).round(9).ceil()
    stays = ~reduced | (pl.col("place") <= most)
    split = pl.when(stays).then("split").otherwise(pl.lit(LEFT_OUT)).alias("split")
    return rows.with_columns(split).drop("rank", "place", "images")


@dataclass(frozen=True)
class Examples:
    """Images with label, split and, in the source, click feature. A row number is valid in `rows` and in `images`.

    Attributes:
        rows: columns image_id, domain, category, split.
        categories: names per domain, sorted; a label is an index into this list.
        images: in the order of the rows.
        clicks: None if no clicks are predicted.
        epoch_images: training images per domain before a study left any out. This number defines an epoch, so that the
            compared runs differ in their images and not in their number of steps (the paper's number is fixed).
        fingerprint: changes with all data that are read; names resume checkpoints.
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
        read: bool = True,
    ) -> "Examples":
        """Read the images of some rows, and the click features.

        Args:
            shards: the folder of ingested images, or one for each domain.
            rows: columns image_id, domain, category, split; the rows that are not left out define the categories.
            features: the folder with vocabulary and click features; None if they are not needed.
            network: defines the size of the images.
            cache: keep the images decoded.
            splits: the splits whose images are loaded.
            read: see `ImageStore`; a training reads what its process needs.
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
        digest = digest_of_rows(rows)
        rows = rows.filter(pl.col("split").is_in(splits))
        for file in files:
            digest.update(f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}".encode())
        images = ImageStore(shards, rows, network.resize, cache, read)
        return cls(rows, categories, images, clicks, epoch_images, digest.hexdigest())

    def row_numbers(self, domain: Domain, split: str) -> np.ndarray:
        """Return the row numbers of a domain's split, ascending."""
        chosen = (self.rows["domain"] == domain) & (self.rows["split"] == split)
        return chosen.arg_true().to_numpy()

    def labels(self) -> np.ndarray:
        """Return every row's label.

        Shape:
            result: int64 (rows,)
        """
        labels = np.zeros(len(self.rows), np.int64)
        for domain in DOMAINS:
            inside = self.rows["domain"] == domain
            of_domain = self.rows["category"].filter(inside).cast(pl.Enum(self.categories[domain]))
            labels[inside.to_numpy()] = of_domain.to_physical().to_numpy()
        return labels

    def click_places(self) -> np.ndarray:
        """Return the number of every row's image in the click features (`ClickFeatures.places`).

        Shape:
            result: int32 (rows,)
        """
        assert self.clicks is not None
        return self.clicks.places(self.rows["image_id"])


def categories_of(rows: pl.DataFrame, domain: Domain) -> list[str]:
    """Return the names of a domain's categories that are not left out, sorted by code point."""
    kept = (pl.col("domain") == domain) & (pl.col("split") != LEFT_OUT)
    return sorted(rows.filter(kept)["category"].unique())


def num_epoch_images(rows: pl.DataFrame, domain: Domain) -> int:
    """Return the number of a domain's training images, including those left out."""
    return rows.filter((pl.col("domain") == domain) & pl.col("split").is_in(["train", LEFT_OUT])).height
