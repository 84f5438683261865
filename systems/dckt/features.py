"""The frozen features of a domain's image-text pairs, with their categories and splits.

Shapes: N pairs, C categories, D image features, T text features.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from base.artifacts import read_tables
from base.console import UserError
from base.seeding import derive_seed
from model.frozen_features import Frozen, read_frozen

TRAIN, VALIDATION, TEST = "train", "validation", "test"


@dataclass(frozen=True)
class Views:
    """The two views of some pairs, with labels; all that a baseline is trained on.

    Attributes:
        images: float32 (N, D).
        texts: float32 (N, T).
        category: int64 (N,), from 0.
    """

    images: np.ndarray
    texts: np.ndarray
    category: np.ndarray


@dataclass(frozen=True)
class PairFeatures:
    """A domain's pairs, ordered by id.

    Attributes:
        ids: the pairs' ids.
        categories: the domain's categories, sorted.
        category: int64 (N,), the number of each pair's category.
        split: (N,), train, validation or test.
        images: float32 (N, D).
        texts: float32 (N, T).
        frozen: what made the features of the images; None: they don't say.
    """

    ids: list[str]
    categories: tuple[str, ...]
    category: np.ndarray
    split: np.ndarray
    images: np.ndarray
    texts: np.ndarray
    frozen: Frozen | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def views(self) -> Views:
        """The pairs without ids and splits."""
        return Views(self.images, self.texts, self.category)

    def rows(self, split: str) -> np.ndarray:
        """Return the row numbers of a split's pairs, ascending."""
        return np.flatnonzero(self.split == split)

    def take(self, rows: np.ndarray) -> "PairFeatures":
        """Return some of the pairs; the categories stay those of the domain."""
        return replace(
            self,
            ids=[self.ids[row] for row in rows],
            category=self.category[rows],
            split=self.split[rows],
            images=self.images[rows],
            texts=self.texts[rows],
        )

    def subset(self, split: str) -> "PairFeatures":
        """Return the pairs of a split."""
        return self.take(self.rows(split))

    def limited(self, pairs_a_category: int, seed: int) -> "PairFeatures":
        """Return all pairs but the training pairs beyond a number in each category; those that stay are drawn.

        With the same seed, the pairs of a smaller number are among those of a larger one.

        Args:
            pairs_a_category: training pairs of each category at most.
            seed: the run's seed.
        """
        is_kept = self.split != TRAIN
        for number, name in enumerate(self.categories):
            rows = np.flatnonzero((self.category == number) & (self.split == TRAIN))
            order = np.random.default_rng(derive_seed(seed, "pairs a category", name)).permutation(rows)
            is_kept[order[:pairs_a_category]] = True
        return self.take(np.flatnonzero(is_kept))

    def without(self, categories: tuple[str, ...]) -> "PairFeatures":
        """Return the pairs of all other categories, which are numbered anew.

        Raises:
            ValueError: no category is left.
        """
        left = tuple(name for name in self.categories if name not in categories)
        if not left:
            raise ValueError("no category is left")
        names = np.array(self.categories)
        is_kept = np.isin(names, left)[self.category]
        kept = self.take(np.flatnonzero(is_kept))
        return replace(kept, categories=left, category=np.searchsorted(np.array(left), names[kept.category]))

    def texts_shuffled(self, seed: int) -> "PairFeatures":
        """Return the pairs with their texts permuted within each split; a control: no text belongs to its image."""
        order = np.arange(len(self))
        for split in (TRAIN, VALIDATION, TEST):
            rows = self.rows(split)
            order[rows] = np.random.default_rng(derive_seed(seed, "shuffle texts", split)).permutation(rows)
        return replace(self, texts=self.texts[order])


def read_features(domain: Path, seed: int) -> PairFeatures:
    """Read the features of a domain's pairs, as the stages before this one write them.

    Args:
        domain: the domain's folder; of its files, ``splits/seed-N.parquet``, ``text_features/seed-N.parquet`` and
            ``embedded/`` are read.
        seed: N.

    Raises:
        FileNotFoundError: a file is missing.
        UserError: a part lacks a pair, lists one twice or has values that are not finite, the domain has fewer than two
            categories, or no training pair.
    """
    rows = pl.DataFrame(read_tables(domain / "splits" / f"seed-{seed}.parquet", ["pair_id", "category", "split"]))
    rows = rows.sort("pair_id")
    ids, categories = rows["pair_id"].to_list(), tuple(sorted(rows["category"].unique()))
    if len(categories) < 2:
        raise UserError(
            f"{domain}: {len(ids)} pairs of {len(categories)} categories ({', '.join(categories)}); retrieval by "
            "category needs two or more"
        )
    found = PairFeatures(
        ids,
        categories,
        rows["category"].replace_strict(categories, range(len(categories)), return_dtype=pl.Int64).to_numpy(),
        rows["split"].to_numpy().astype(str),
        feature_rows(domain / "embedded", "image_id", ids),
        feature_rows(domain / "text_features" / f"seed-{seed}.parquet", "pair_id", ids),
        read_frozen(domain / "embedded"),
    )
    for split in (TRAIN, VALIDATION):
        if not (found.split == split).any():
            raise UserError(f"{domain}: no {split} pair in the split of seed {seed}; raise its share")
    return found


def feature_rows(path: Path, key: str, ids: list[str]) -> np.ndarray:
    """Return the features of given ids, in their order: float32 (N, D).

    Args:
        path: a Parquet file or a folder of shards, with the columns `key` and `feature`.
        key: the column of ids.
        ids: the ids; the file may have others.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: an id is missing or listed twice, the features differ in length or are not finite.
    """
    table = read_tables(path, [key, "feature"])
    if table[key].combine_chunks().value_counts().field("counts").to_numpy().max(initial=0) > 1:
        listed = pl.Series(table[key].to_pylist())
        raise UserError(f"{path}: {listed.filter(listed.is_duplicated())[0]!r} is listed twice; run its stage again")
    places = pc.index_in(pa.array(ids, pa.string()), value_set=table[key].combine_chunks())
    if places.null_count:
        missing = ids[int(np.flatnonzero(places.is_null().to_numpy(zero_copy_only=False))[0])]
        raise UserError(f"{path}: no features of {missing!r}, which the split lists; run its stage again")
    lists = table["feature"].combine_chunks()
    widths = set(pc.unique(pc.list_value_length(lists)).to_pylist())
    if len(widths) != 1 or None in widths:
        raise UserError(f"{path}: features of different lengths ({sorted(map(str, widths))}); run its stage again")
    every = lists.flatten().to_numpy().reshape(len(table), -1)
    features = np.asarray(every[places.to_numpy()], np.float32)
    if not np.isfinite(features).all():
        worst = ids[int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])]
        raise UserError(f"{path}: a feature of {worst!r} is NaN or infinite; run its stage again")
    return features
