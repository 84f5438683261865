"""Split the selected images into training, validation and test, per category of each domain and for one seed.

Inside a category, images are ranked by a hash of the seed and the image, so a new image can only move images beside the
borders between the splits. Groups of copies are placed first (`pipelines.splits.copies`).
"""

import hashlib
import math
from collections.abc import Mapping
from fractions import Fraction

import polars as pl

from base import schemas
from pipelines.splits.copies import DOMAINS, NO_GROUPS, SPLITS, assign_groups


def hash_rank(seed: int, purpose: str, domain: str, image_id: str) -> int:
    """Return a 64-bit number that orders images at random: the same on every machine, for every set of images."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{domain}/{image_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def hash_ranks(seed: int, purpose: str) -> pl.Expr:
    """Return the hash ranks of a table's images, as its column `rank`."""

    def rank(row: Mapping[str, str]) -> int:
        return hash_rank(seed, purpose, row["domain"], row["image_id"])

    return pl.struct("domain", "image_id").map_elements(rank, return_dtype=pl.UInt64).alias("rank")


def split_sizes(n: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Divide n images among the splits by largest remainder, at least one each.

    Each split gets floor(share * n); the remaining images go to the largest fractions (ties: train before validation
    before test). An empty split then takes one image from the largest.

    Args:
        n: images of a category in a domain, >= 3.
        shares: the shares of train, validation and test, each in (0, 1).

    Raises:
        ValueError: fewer images than splits.
    """
    if n < len(SPLITS):
        raise ValueError(f"{n} images cannot fill {len(SPLITS)} splits")
    quotas = {split: Fraction(str(shares[split])) * n for split in SPLITS}
    sizes = {split: math.floor(quota) for split, quota in quotas.items()}
    by_fraction = sorted(SPLITS, key=lambda split: sizes[split] - quotas[split])
    for split in by_fraction[: n - sum(sizes.values())]:
        sizes[split] += 1
    for split in SPLITS:
        if sizes[split] == 0:
            sizes[max(SPLITS, key=lambda other: sizes[other])] -= 1
            sizes[split] = 1
    return sizes


def split_images(
    selected: pl.DataFrame,
    seed: int,
    shares: Mapping[str, float],
    groups: pl.DataFrame = NO_GROUPS,
    plain: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Split each category of each domain, for one seed.

    Args:
        selected: the columns of `schemas.SELECTED`.
        seed: of this split; other splits have their own.
        shares: see :func:`split_sizes`.
        groups: the images whose copies must be in one split (:func:`groups_of_copies`).
        plain: the result without groups, if it is known; it is computed otherwise.

    Returns:
        The columns of `schemas.SPLITS`, rows by domain and image id.
    """
    rows = selected.join(groups, on=["domain", "image_id"], how="left", validate="1:1").with_columns(
        pl.when(pl.len().over("domain", "group") > 1).then("group").alias("group")  # its copies may not be selected
    )
    if not rows["group"].is_not_null().any():
        plain = rows.with_columns(split=pl.lit(None, pl.String))  # groups alone need it
    elif plain is None:
        plain = split_images(selected, seed, shares)
    of_groups, borders = _assign(
        rows.join(plain.select("domain", "image_id", "split"), on=["domain", "image_id"]), seed, shares
    )
    key = ["domain", "category"]
    position = pl.int_range(pl.len(), dtype=pl.Int64).over(*key, "single", order_by=["rank", "image_id"])
    split = (
        pl.when(~pl.col("single"))
        .then(pl.col("split_of_group"))
        .when(pl.col("position") < pl.col("train"))
        .then(pl.lit("train"))
        .when(pl.col("position") < pl.col("not_test"))
        .then(pl.lit("validation"))
        .otherwise(pl.lit("test"))
    )
    return (
        rows.with_columns(hash_ranks(seed, "split"), pl.col("group").is_null().alias("single"))
        .with_columns(position.alias("position"))
        .join(of_groups, on=["domain", "group"], how="left", validate="m:1")
        .join(borders, on=key, how="left", validate="m:1")
        .with_columns(split.alias("split"))
        .select(schemas.SPLITS.names)
        .sort("domain", "image_id")
    )


def _assign(rows: pl.DataFrame, seed: int, shares: Mapping[str, float]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Assign groups of copies, and divide the other images of each category among the splits.

    Args:
        rows: `domain`, `image_id`, `category`, `group` (null: no copies) and `split` (without groups) of all images.
        seed: of this split.
        shares: of the splits.

    Returns:
        `domain`, `group`, `split_of_group`; and for each category, of its images without copies, ordered by rank, the
        numbers `train` and `not_test` at which the splits end: `domain`, `category`, `train`, `not_test`.
    """
    assigned, borders = [], []
    for domain in DOMAINS:
        mine = rows.filter(pl.col("domain") == domain)
        numbers = dict(mine.group_by("category").len().sort("category").iter_rows())
        of_n = {n: split_sizes(n, shares) for n in set(numbers.values())}
        in_groups = mine.drop_nulls("group").group_by("group", "category").len().sort("group", "category")
        groups: dict[str, dict[str, int]] = {}
        for group, category, number in in_groups.iter_rows():
            groups.setdefault(group, {})[category] = number
        first = mine.drop_nulls("group").sort("image_id").group_by("group").agg(pl.col("split").first())
        preferred = dict(first.select("group", "split").iter_rows())
        ranks = {group: hash_rank(seed, "copies", domain, group) for group in groups}
        names = sorted(groups, key=lambda group: (-sum(groups[group].values()), ranks[group], group))
        splits, left = assign_groups(
            [groups[name] for name in names],
            [preferred[name] for name in names],
            dict(mine.filter(pl.col("group").is_null()).group_by("category").len().iter_rows()),
            {category: of_n[n] for category, n in numbers.items()},
        )
        assigned += [(domain, name, split) for name, split in zip(names, splits, strict=True)]
        borders += [
            (domain, category, sizes["train"], sizes["train"] + sizes["validation"]) for category, sizes in left.items()
        ]
    text, number = pl.String, pl.Int64
    return (
        pl.DataFrame(assigned, {"domain": text, "group": text, "split_of_group": text}, orient="row"),
        pl.DataFrame(borders, {"domain": text, "category": text, "train": number, "not_test": number}, orient="row"),
    )
