"""A recommender's measures by unit, from scores of N tags for P test posts; `systems.tagging.evaluate` lists them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from base.params import Params
from model.measures.accuracy import accuracy_at_k, best_columns, coverage_at_k, precision_at_k, recall_at_k
from model.measures.f1 import overall, per_category
from model.measures.units import reduce_units

AT_K = {"precision": precision_at_k, "recall": recall_at_k, "accuracy": accuracy_at_k}


class MeasureParams(Params):
    """How many tags are recommended, and how test posts are grouped."""

    at: list[int] = Field(description="k: numbers of recommended tags", min_length=1)
    category_at: int = Field(description="k of C-P to O-F1 and of the coverage", ge=1)
    lengths_at: int = Field(description="k of the precision by length of the history", ge=1)
    lengths: list[int] = Field(
        description="least numbers of tags of a history in each group after the first, ascending"
    )
    least_tags: int = Field(description="test posts with fewer tags of the vocabulary are left out; 0: none", ge=0)

    @model_validator(mode="after")
    def _is_measured(self) -> "MeasureParams":
        if self.lengths_at not in self.at:
            raise ValueError(f"lengths_at = {self.lengths_at} must be one of at = {self.at}")
        if self.lengths != sorted({length for length in self.lengths if length > 0}):
            raise ValueError(f"lengths = {self.lengths}: expected different numbers from 1, ascending")
        return self


@dataclass(frozen=True)
class Targets:
    """What test posts should get. P posts, N tags.

    Attributes:
        names: of the posts.
        tags: the vocabulary.
        labels: bool (P, N), whether a post has a tag.
        lengths: int64 (P,), numbers of tags of the users' histories.
    """

    names: list[str]
    tags: list[str]
    labels: np.ndarray
    lengths: np.ndarray

    def of(self, rows: np.ndarray) -> "Targets":
        """Return some of the posts."""
        return Targets([self.names[row] for row in rows], self.tags, self.labels[rows], self.lengths[rows])


def units_at_k(prefix: str, tested: Targets, scores: np.ndarray, at: Sequence[int]) -> pl.DataFrame:
    """Return units of precision, recall and accuracy at each k, as in ``precision5``, with a prefix."""
    return pl.concat(
        [
            measure(f"{prefix}{name}{k}", tested.names, scores, tested.labels, k)
            for name, measure in AT_K.items()
            for k in at
        ]
    )


def set_units(prefix: str, tested: Targets, scores: np.ndarray, k: int) -> pl.DataFrame:
    """Return units of C-P to O-F1 (`per_category`, `overall`) and of coverage, for the k best tags of each post."""
    predicted = np.zeros(tested.labels.shape, bool)
    np.put_along_axis(predicted, best_columns(scores, k), values=True, axis=1)
    return pl.concat(
        [
            per_category(f"{prefix}per_category", tested.tags, predicted, tested.labels),
            overall(f"{prefix}overall", tested.names, predicted, tested.labels),
            coverage_at_k(f"{prefix}coverage", tested.tags, scores, k),
        ]
    )


def length_groups(lengths: np.ndarray, borders: Sequence[int]) -> dict[str, np.ndarray]:
    """Return the rows of each group of history lengths that has a post, by the group's text.

    Args:
        lengths: of the histories.
        borders: the least length of each group after the first, ascending.
    """
    ends = [0, *borders]
    groups = {}
    for number, least in enumerate(ends):
        most = ends[number + 1] - 1 if number + 1 < len(ends) else None
        text = f"{least}+" if most is None else (f"{least}" if most == least else f"{least}-{most}")
        rows = np.flatnonzero((lengths >= least) & (True if most is None else lengths <= most))
        if len(rows):
            groups[text] = rows
    return groups


def all_units(tested: Targets, scores: np.ndarray, params: MeasureParams) -> pl.DataFrame:
    """Return every measure of a recommender."""
    k = params.lengths_at
    by_length = [
        precision_at_k(f"precision{k}_history_{text}", part.names, scores[rows], part.labels, k)
        for text, rows in length_groups(tested.lengths, params.lengths).items()
        for part in [tested.of(rows)]
    ]
    return pl.concat(
        [units_at_k("", tested, scores, params.at), set_units("", tested, scores, params.category_at), *by_length]
    )


def metrics_of(units: pl.DataFrame, posts: Mapping[str, int]) -> dict[str, Any]:
    """Return the content of metrics.json: each metric in percent, and numbers of posts.

    Args:
        units: of all measures.
        posts: numbers of posts, by their names.
    """
    metrics: dict[str, Any] = {
        metric: None if value is None else round(100 * value, 4) for metric, value in reduce_units(units).items()
    }
    return metrics | {"posts": dict(posts)}
