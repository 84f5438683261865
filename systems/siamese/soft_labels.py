"""Soft labels of a run's images: probabilities of several categories."""

import numpy as np
import polars as pl


def with_soft_labels(rows: pl.DataFrame, soft: pl.DataFrame | None) -> pl.DataFrame:
    """Return a run's images as `schemas.RUN_IMAGES`: with probabilities for the source's, or empty lists (None)."""
    if soft is None:
        empty = {"categories": pl.lit([], pl.List(pl.String)), "probabilities": pl.lit([], pl.List(pl.Float32))}
        return rows.with_columns(**empty)
    of_source = soft.with_columns(domain=pl.lit("source"))
    joined = rows.join(of_source, on=["domain", "image_id"], how="left", maintain_order="left")
    return joined.with_columns(pl.col("categories", "probabilities").fill_null([]))


def label_matrix(rows: pl.DataFrame, categories: list[str]) -> np.ndarray:
    """Return the probability of each category for each image: float32 (N, C), rows sum to 1.

    An image with soft labels has theirs, scaled to the sum 1 over `categories`; another one has its category alone.

    Args:
        rows: the columns of `schemas.RUN_IMAGES`.
        categories: names; each row's category is among them.
    """
    number = {name: i for i, name in enumerate(categories)}
    result = np.zeros((len(rows), len(categories)), np.float32)
    columns = rows.select("category", "categories", "probabilities").iter_rows()
    for row, (category, several, probabilities) in zip(result, columns, strict=True):
        for name, probability in zip(several, probabilities, strict=True):
            if name in number:
                row[number[name]] = probability
        if not row.any():
            row[number[category]] = 1
    return result / result.sum(axis=1, keepdims=True)
