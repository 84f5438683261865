"""The labels that are denoised: from clicks, or given ones."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from base.artifacts import read_tables
from base.console import UserError, log
from pipelines.beam.shards import shard_files
from systems.cleaning.given import Given
from systems.cleaning.votes import Votes

OF_SETS = {"given": "ingested/images", "clicks": "click_labels/labels"}  # the labels in a data set's folder
BOTH = "both"  # labels from clicks, with the given ones beside them
SHARES = 0.01  # by which an image's shares may differ from a sum of 1


class Labels(NamedTuple):
    """Images in the order of their ids, categories by name, votes, and given labels beside these (None: none)."""

    image_ids: list[str]
    categories: list[str]
    votes: Votes
    given: Given | None = None

    def names(self) -> np.ndarray:
        """Return each image's name, as a number: its given label, else the most clicked one; -1 without any."""
        majority = self.votes.majority()
        return majority if self.given is None else np.where(self.given.label >= 0, self.given.label, majority)

    def shares(self) -> np.ndarray:
        """Return each image's shares of clicks, and with a given label half of it: float32 (N, C).

        An image without any name has equal shares.
        """
        result = np.zeros((len(self.image_ids), len(self.categories)), np.float32)
        image = self.votes.images()
        result[image, self.votes.category] = self.votes.clicks / self.votes.totals()[image]
        has_votes = self.votes.counts > 0
        if self.given is not None:
            labelled = np.flatnonzero(self.given.label >= 0)
            result[labelled, self.given.label[labelled]] += 1
            result[labelled[has_votes[labelled]]] /= 2
        result[self.names() < 0] = 1 / len(self.categories)
        return result


def labels_of(data: Path | None, labels: Path, given: Path | None = None) -> tuple[Path, Path | None]:
    """Return the paths of labels, and of given labels beside them (None: none).

    Args:
        data: a data set's folder; `labels` is then a name: given, clicks or both.
        labels: the labels, or their name.
        given: given labels beside labels from clicks, without a data set.

    Raises:
        UserError: a data set has no labels of this name.
    """
    if data is None:
        return labels, given
    if given is not None:
        raise UserError(f"--given {given}: with --data, --labels {BOTH} names both kinds of labels")
    if str(labels) == BOTH:
        return data / OF_SETS["clicks"], data / OF_SETS["given"]
    if str(labels) not in OF_SETS:
        raise UserError(f"--labels {labels}: with --data, one of {', '.join(OF_SETS)}, {BOTH} expected")
    return data / OF_SETS[str(labels)], None


def read_labels(path: Path, known: pl.Series | None = None) -> Labels:
    """Read labels from clicks, or given ones as one vote each (of the source domain, where there is a domain).

    Args:
        path: the labels; the output of `pipelines.label_from_clicks` stands for the labels in it.
        known: image ids; labels of other images of the log are left out. None: all are known.

    Raises:
        UserError: an image occurs twice, shares or clicks are impossible, or fewer than two categories are named.
    """
    path = path / "labels" if (path / "labels").is_dir() else path
    names = pq.read_schema(shard_files(path)[0]).names
    if {"categories", "shares", "clicks"} <= set(names):
        rows = pl.DataFrame(read_tables(path, ["image_id", "clicks", "categories", "shares"]))
        rows = rows.with_columns(pl.col("shares").cast(pl.List(pl.Float64)))
    elif "category" in names:
        columns = ["image_id", "category", *(["domain"] if "domain" in names else [])]
        rows = pl.DataFrame(read_tables(path, columns))
        if "domain" in names:
            rows = rows.filter(pl.col("domain") == "source")
        rows = rows.select(
            "image_id",
            clicks=pl.lit(1, pl.Int64),
            categories=pl.concat_list("category"),
            shares=pl.concat_list(pl.lit(1.0)),
        ).filter(pl.col("categories").list.first().is_not_null())
    else:
        raise UserError(f"{path}: no labels: expected the columns image_id and category, or those of label_from_clicks")
    if known is not None:
        of_others = len(rows.filter(~pl.col("image_id").is_in(known.implode())))
        rows = rows.filter(pl.col("image_id").is_in(known.implode()))
        log.info("denoise: %d images of the log are not in the data set", of_others)
    rows = rows.sort("image_id")
    twice = rows.filter(pl.col("image_id").is_duplicated())
    if len(twice):
        raise UserError(f"{path}: image {twice['image_id'][0]!r} has {len(twice)} rows in all, expected one per image")
    lengths = (rows["categories"].list.len() != rows["shares"].list.len()) | (rows["clicks"] < 0)
    sums = rows["shares"].list.sum()
    bad = lengths | ((rows["categories"].list.len() > 0) & ~((sums - 1).abs() <= SHARES))
    bad |= rows["shares"].list.eval(~(pl.element() > 0)).list.any().fill_null(value=False)
    bad |= (rows["clicks"] == 0) & (rows["categories"].list.len() > 0)
    if bad.any():
        name = rows["image_id"][int(bad.arg_max() or 0)]
        raise UserError(f"{path}: image {name!r}: shares must be positive, sum to 1 and be as many as the categories")
    flat = rows.with_row_index("image").explode("categories", "shares").drop_nulls("categories")
    categories = sorted(flat["categories"].unique())
    if len(categories) < 2:
        raise UserError(f"{path}: {len(categories)} categories are named, but a classifier needs two")
    number = {name: i for i, name in enumerate(categories)}
    flat = flat.with_columns(
        number=pl.col("categories").replace_strict(number, return_dtype=pl.Int32),
        votes=pl.col("shares") * pl.col("clicks"),
    ).sort("image", "number")
    counts = np.bincount(flat["image"].to_numpy(), minlength=len(rows))
    votes = Votes(np.concatenate([[0], np.cumsum(counts)]), flat["number"].to_numpy(), flat["votes"].to_numpy())
    return Labels(rows["image_id"].to_list(), categories, votes)


def with_given(labels: Labels, given: Labels) -> Labels:
    """Return labels from clicks with given ones beside them, of the images and categories that either has."""
    image_ids = sorted({*labels.image_ids, *given.image_ids})
    categories = sorted({*labels.categories, *given.categories})
    place = {name: i for i, name in enumerate(image_ids)}
    number = {name: i for i, name in enumerate(categories)}
    counts = np.zeros(len(image_ids), np.int64)
    counts[[place[name] for name in labels.image_ids]] = labels.votes.counts
    # the images' order stays as it was, so the votes do
    of_clicks = np.array([number[name] for name in labels.categories], np.int32)[labels.votes.category]
    votes = Votes(np.concatenate([[0], np.cumsum(counts)]), of_clicks, labels.votes.clicks)
    label = np.full(len(image_ids), -1, np.int32)
    of_given = np.array([number[name] for name in given.categories], np.int32)[given.votes.majority()]
    label[[place[name] for name in given.image_ids]] = np.where(given.votes.counts > 0, of_given, -1)
    return Labels(image_ids, categories, votes, Given(label, votes.majority()))
