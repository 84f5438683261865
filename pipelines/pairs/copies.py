"""Pairs with the same picture, nearly the same picture, or the same text, within a set and across two sets.

Pictures are compared as those of click data sets (:mod:`pipelines.ingest.duplicates`), texts in the form in which words
are compared, with single spaces. Each pair has at most one row for its picture and one for its text: the nearest other
pair, of equal ones the first by id.
"""

import numpy as np
import polars as pl

from base.schemas import PAIR_DUPLICATES, PAIR_OVERLAP
from pipelines.ingest.duplicates import NOWHERE, find_duplicates, first_others

SOURCE, TARGET = "source", "target"
TEXT = "text"  # the kind of two pairs with the same text
OTHER = {SOURCE: TARGET, TARGET: SOURCE}


def duplicates_within(fingerprints: pl.DataFrame, distance: int) -> pl.DataFrame:
    """Return the duplicates of one set: the columns of `schemas.PAIR_DUPLICATES`, rows by pair id, then kind.

    Args:
        fingerprints: the columns of `schemas.FINGERPRINTS`.
        distance: the most bits in which the fine hashes of near duplicates differ.
    """
    pictures = find_duplicates(_as_images(fingerprints, SOURCE), distance).select(
        pl.col("image_id").alias("pair_id"), "duplicate_id", "kind", "distance", "group"
    )
    texts = _same_texts(fingerprints, fingerprints).with_columns(group=pl.lit(None, pl.String))
    return _with_columns_of_both(pl.concat([pictures, texts]), fingerprints, fingerprints).select(PAIR_DUPLICATES.names)


def duplicates_across(source: pl.DataFrame, target: pl.DataFrame, distance: int) -> pl.DataFrame:
    """Return the duplicates across two sets: the columns of `schemas.PAIR_OVERLAP`, rows by domain, pair id, kind.

    Args:
        source: the columns of `schemas.FINGERPRINTS`.
        target: the same, of the other set.
        distance: the most bits in which the fine hashes of near duplicates differ.
    """
    sets = {SOURCE: source, TARGET: target}
    every = pl.concat([_as_images(rows, domain) for domain, rows in sets.items()])
    found = find_duplicates(every, distance).filter(pl.col("domain") != pl.col("duplicate_domain"))
    parts = []
    for domain, rows in sets.items():
        others = sets[OTHER[domain]]
        pictures = found.filter(pl.col("domain") == domain).select(
            pl.col("image_id").alias("pair_id"), "duplicate_id", "kind", "distance"
        )
        rows_here = _with_columns_of_both(pl.concat([pictures, _same_texts(rows, others)]), rows, others)
        parts.append(rows_here.with_columns(domain=pl.lit(domain)).select(PAIR_OVERLAP.names))
    return pl.concat(parts)


def _as_images(fingerprints: pl.DataFrame, domain: str) -> pl.DataFrame:
    """Return the columns that :func:`find_duplicates` takes."""
    return fingerprints.select(
        pl.col("pair_id").alias("image_id"), pl.lit(domain).alias("domain"), "category", "digest",
        pl.col("coarse").reinterpret(signed=False), "fine",
    )  # fmt: skip


def _same_texts(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """Return, for each pair, the first other pair with the same text, if there is one."""
    here = rows.sort("pair_id")
    there = here if others is rows else others.sort("pair_id")
    texts = pl.concat([here["text"], there["text"]]).rank("dense").to_numpy().astype(np.int64) - 1
    ids = pl.concat([here["pair_id"], there["pair_id"]])
    number = len(here)
    if others is rows:
        texts, ids = texts[:number], ids[:number]
        places = np.arange(number)
    else:
        places = np.arange(number, number + len(there))
    other = first_others(texts, places)[0][:number]
    found = np.flatnonzero(other != NOWHERE)
    return pl.DataFrame(
        {"pair_id": here["pair_id"].gather(found), "duplicate_id": ids.gather(other[found])},
        schema={"pair_id": pl.String, "duplicate_id": pl.String},
    ).with_columns(kind=pl.lit(TEXT), distance=pl.lit(0, pl.Int32))


def _with_columns_of_both(found: pl.DataFrame, rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """Add category and split of both pairs; sort by pair id, then kind."""
    here = rows.select("pair_id", "category", "split")
    there = others.select(
        pl.col("pair_id").alias("duplicate_id"), pl.col("category", "split").name.prefix("duplicate_")
    )
    return (
        found.join(here, on="pair_id", how="left", validate="m:1")
        .join(there, on="duplicate_id", how="left", validate="m:1")
        .sort("pair_id", "kind")
    )


def count_duplicates(duplicates: pl.DataFrame) -> dict[str, int]:
    """Count the pairs of a set that have a duplicate, by kind, and those with one in another category or split.

    Args:
        duplicates: the columns of `schemas.PAIR_DUPLICATES`, or of `schemas.PAIR_OVERLAP`, which have no split.
    """
    of_kind = {kind: int((duplicates["kind"] == kind).sum()) for kind in ("exact", "near", TEXT)}
    other = duplicates.filter(pl.col("category") != pl.col("duplicate_category"))
    counts = {
        "an exact copy of the picture": of_kind["exact"],
        "a near copy of the picture": of_kind["near"],
        "the same text": of_kind[TEXT],
        "a duplicate in another category": other["pair_id"].n_unique(),
    }
    if "split" in duplicates.columns:
        # Where no split is given, the comparison is null, and `filter` leaves the row out.
        leaks = duplicates.filter(pl.col("split") != pl.col("duplicate_split"))
        counts["a duplicate in another given split"] = leaks["pair_id"].n_unique()
    return counts
