"""The annotated images of a run: pictures, label sets, tags and splits. N images, C labels, T tags."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from scipy import sparse

from base.artifacts import read_tables
from base.console import UserError
from base.seeding import derive_seed
from model.data.images import ImageStore
from pipelines.annotations.split import SELECTED, label_matrix


@dataclass(frozen=True)
class AnnotatedImages:
    """Images with label sets and tags; a row number is an index into all of them.

    Attributes:
        names: image ids.
        split: of each image: train, validation or test.
        labels: names, ascending.
        has: whether an image has a label, bool (N, C).
        tags: words, the most used first.
        tagged: whether an image has a tag, 0 or 1, float32 (N, T).
        images: the pictures; None if they were not asked for.
        fingerprint: changes if any data that was read changes.
    """

    names: list[str]
    split: np.ndarray
    labels: list[str]
    has: np.ndarray
    tags: list[str]
    tagged: sparse.csr_array
    images: ImageStore | None
    fingerprint: str

    @classmethod
    def read(
        cls,
        data: Path,
        seed: int,
        resize: int | None,
        cache: bool,
        splits: tuple[str, ...],
        shuffled: bool = False,
        read: bool = True,
    ) -> "AnnotatedImages":
        """Read images of some splits.

        Args:
            data: the data set's folder: ingested/, splits/ and tags/.
            seed: of the split, and of the shuffling.
            resize: shorter side of the images, pixels; None: pictures are not read.
            cache: keep the pictures decoded.
            splits: their names.
            shuffled: every image gets the tags of another one of its split, as a control.
            read: see `ImageStore`; a training reads what its process needs.

        Raises:
            UserError: an image has no row of tags, or the seed has no split.
        """
        path = data / f"splits/seed-{seed}.parquet"
        if not path.is_file():
            raise UserError(f"{path}: no such split; add the seed to `seeds` and run the stage annotation:split")
        rows = pl.DataFrame(read_tables(path)).filter(pl.col("split").is_in(splits)).sort("image_id")
        chosen = pl.DataFrame(read_tables(data / "splits/labels.parquet")).filter(status=SELECTED)
        labels = chosen["label"].sort().to_list()
        names = rows["image_id"].to_list()
        tags = pl.DataFrame(read_tables(data / "tags/vocabulary.parquet")).sort("word_id")["word"].to_list()
        tagged = binary_tags(data / "tags/click_matrix", names, len(tags))
        split = rows["split"].to_numpy()
        if shuffled:
            tagged = tagged[shuffled_rows(split, seed)]
        digest = hashlib.blake2b(rows.write_json().encode(), digest_size=8)
        for part in (tagged.indptr, tagged.indices):
            digest.update(np.ascontiguousarray(part, np.int64).tobytes())
        digest.update("\n".join(tags).encode())
        images = None
        if resize is not None:
            shards = data / "ingested/images"
            for file in sorted(shards.glob("*.parquet")):
                digest.update(f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}".encode())
            images = ImageStore(shards, rows, resize, cache, read)
        has = label_matrix(rows["labels"], labels)
        return cls(names, split, labels, has, tags, tagged, images, digest.hexdigest())

    def row_numbers(self, split: str) -> np.ndarray:
        """Return the row numbers of a split, ascending."""
        return np.flatnonzero(self.split == split)


def binary_tags(matrix: Path, names: list[str], num_tags: int) -> sparse.csr_array:
    """Return the binary tags of images in their order, float32 (N, num_tags).

    Args:
        matrix: shards of `schemas.CLICK_MATRIX`.
        names: of the images.
        num_tags: T.

    Raises:
        UserError: an image has no row.
    """
    rows = pl.DataFrame(read_tables(matrix, ["image_id", "word_ids"]))
    joined = pl.DataFrame({"image_id": names}).join(rows, on="image_id", how="left", maintain_order="left")
    missing = joined.filter(pl.col("word_ids").is_null())
    if len(missing):
        raise UserError(
            f"{matrix}: image {missing['image_id'][0]!r} has no row; run the stage annotation:tag_matrix again"
        )
    ids = joined["word_ids"].explode(empty_as_null=False).to_numpy()
    starts = np.r_[0, np.cumsum(joined["word_ids"].list.len().to_numpy())]
    return sparse.csr_array((np.ones(len(ids), np.float32), ids, starts), shape=(len(names), num_tags))


def shuffled_rows(split: np.ndarray, seed: int) -> np.ndarray:
    """Return for each image another image of its split, whose tags it gets: a random cycle through each split."""
    other = np.arange(len(split))
    for name in np.unique(split):
        rows = np.flatnonzero(split == name)
        order = np.random.default_rng(derive_seed(seed, "shuffled tags", str(name))).permutation(rows)
        other[order] = np.roll(order, 1)
    return other


def read_word_vectors(path: Path, tags: list[str]) -> np.ndarray:
    """Return the vector of each tag, float32 (T, V): the mean of its words' vectors, or zeros if none has one.

    Args:
        path: a Parquet table with the columns `word` and `vector`, lists of numbers of one length.
        tags: words.

    Raises:
        UserError: the file doesn't exist, or is no such table.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file of word vectors (annotation.network.word_vectors)")
    table = pl.DataFrame(read_tables(path))
    if not {"word", "vector"} <= set(table.columns) or table.is_empty():
        raise UserError(f"{path}: expected rows with the columns word and vector; it has {', '.join(table.columns)}")
    wanted = {part for tag in tags for part in tag.split()}
    known = table.filter(pl.col("word").is_in(list(wanted)))
    vectors = {word: np.array(vector, np.float32) for word, vector in known.select("word", "vector").iter_rows()}
    found = np.zeros((len(tags), len(table["vector"][0])), np.float32)
    for row, tag in zip(found, tags, strict=True):
        mine = [vectors[part] for part in tag.split() if part in vectors]
        if mine:
            row[:] = np.mean(mine, axis=0)
    return found
