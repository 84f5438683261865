"""Split ingested pairs into training, validation and test, once per seed: drawn by category, or as given.

    python -m pipelines.pairs.split --ingested data/dckt/source/ingested --seeds 0 1 2 --output data/dckt/source/splits

Output: seed-N.parquet for every seed (schemas.PAIR_SPLIT), images.parquet (schemas.PAIR_IMAGES: the same pairs for the
jobs on words, with the split of the first seed) and summary.json (categories left out, groups of copies).

- Drawn: each category is divided by the shares, and copies of one picture are in one split, unless `copies` is anywhere
  (:mod:`pipelines.splits.split`). A category with fewer than `least_pairs` pairs is left out.
- As given: the set's own splits. If it gives no validation pairs, they are cut by category from the part that
  `validation_from` names, a share of that part; copies stay together within it. (The released code of DCKT cuts the
  validation pairs of Wikipedia from the official test pairs.) A category without a training pair is left out.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import Field

from base import console
from base.artifacts import read_tables, whole_directory, write_json, write_table
from base.console import UserError
from base.params import Params, validate_section
from base.schemas import PAIR_IMAGES, PAIR_SPLIT
from pipelines.splits.copies import SPLITS
from pipelines.splits.select import Shares
from pipelines.splits.split import hash_rank, split_images

LEAST = len(SPLITS)  # pairs of a category that are divided
ONLY = "source"  # the domain that the functions on images ask for: here all pairs are of one
NO_GROUPS = pl.DataFrame(schema={"pair_id": pl.String, "group": pl.String})


class PairSplitParams(Params):
    """How pairs are divided among training, validation and test."""

    splits: Literal["drawn", "given"] = Field(description="drawn: for each seed, by category; given: the set's own")
    shares: Shares
    least_pairs: int = Field(description="drawn: a category with fewer pairs is left out", ge=LEAST)
    copies: Literal["together", "anywhere"] = Field(
        description="copies of a picture: together: in one split, where it is drawn or cut; anywhere: like other pairs"
    )
    validation_from: Literal["train", "test"] = Field(
        description="given, without validation: the part from which its validation share is cut"
    )
    validation_share: float = Field(description="of each category's pairs in that part", gt=0, lt=1)


def draw_split(
    pairs: pl.DataFrame, seed: int, params: PairSplitParams, groups: pl.DataFrame = NO_GROUPS
) -> pl.DataFrame:
    """Return the pairs of all categories that are large enough, with a drawn split; columns of `schemas.PAIR_SPLIT`.

    Args:
        pairs: `pair_id` and `category`.
        seed: of this split.
        params: shares, and the size of a category.
        groups: `pair_id` and `group` of pairs that are copies of each other.
    """
    large = pairs.filter(pl.len().over("category") >= params.least_pairs)
    images = large.select(
        pl.col("pair_id").alias("image_id"), pl.lit(ONLY).alias("domain"), "category", pl.lit(False).alias("shared")
    )
    copies = groups.select(pl.lit(ONLY).alias("domain"), pl.col("pair_id").alias("image_id"), "group")
    split = split_images(images, seed, params.shares.model_dump(), copies)
    return split.select(pl.col("image_id").alias("pair_id"), "category", "split").sort("pair_id")


def given_split(
    pairs: pl.DataFrame, seed: int, params: PairSplitParams, groups: pl.DataFrame = NO_GROUPS
) -> pl.DataFrame:
    """Return the pairs with their given split, of which validation is cut if none is given.

    Args:
        pairs: `pair_id`, `category` and the given `split`.
        seed: of the cut.
        params: from where how much is cut.
        groups: `pair_id` and `group` of pairs that are copies of each other.

    Raises:
        UserError: a pair has no split, or there is no training or test pair.
    """
    without = pairs.filter(pl.col("split").is_null())
    if len(without):
        raise UserError(
            f"splits: given, but {len(without)} of {len(pairs)} pairs have no split, as {without['pair_id'].min()!r}; "
            "use splits: drawn, or name the column with the splits"
        )
    for split in ("train", "test"):
        if not (pairs["split"] == split).any():
            raise UserError(f"splits: given, but no pair is in {split}; use splits: drawn")
    rows = pairs.sort("pair_id")
    if not (rows["split"] == "validation").any():
        cut = cut_validation(rows.filter(pl.col("split") == params.validation_from), seed, params, groups)
        is_cut = pl.col("pair_id").is_in(cut)
        rows = rows.with_columns(split=pl.when(is_cut).then(pl.lit("validation")).otherwise("split"))
    trained = rows.filter(pl.col("split") == "train")["category"].unique()
    return rows.filter(pl.col("category").is_in(trained.implode())).select(PAIR_SPLIT.names)


def cut_validation(part: pl.DataFrame, seed: int, params: PairSplitParams, groups: pl.DataFrame) -> list[str]:
    """Return the ids of the pairs that become validation pairs: whole groups of copies, in the order of a hash.

    In each category groups are taken until its number is reached, which is the share of its pairs, rounded, at least 1
    and at most all but one; a group that would exceed it stays. A group with several categories counts for the one of
    its first pair.
    """
    rows = (
        part.join(groups, on="pair_id", how="left").with_columns(unit=pl.coalesce("group", "pair_id")).sort("pair_id")
    )
    units: dict[str, list[str]] = {}
    categories: dict[str, str] = {}
    for pair_id, category, unit in rows.select("pair_id", "category", "unit").iter_rows():
        units.setdefault(unit, []).append(pair_id)
        categories.setdefault(unit, category)
    sizes = dict(rows.group_by("category").len().iter_rows())
    left = {
        category: min(max(1, round(params.validation_share * number)), number - 1) for category, number in sizes.items()
    }
    cut = []
    for unit in sorted(units, key=lambda unit: (hash_rank(seed, "validation", ONLY, unit), unit)):
        if len(units[unit]) <= left[categories[unit]]:
            left[categories[unit]] -= len(units[unit])
            cut += units[unit]
    return cut


def run(ingested: Path, output: Path, params: PairSplitParams, seeds: Sequence[int]) -> dict[str, Any]:
    """Split an ingested set for all seeds; return the contents of summary.json.

    Raises:
        UserError: fewer than two categories are left, or given splits cannot be used.
    """
    pairs = pl.DataFrame(read_tables(ingested / "fingerprints.parquet", ["pair_id", "category", "split"]))
    duplicates = pl.DataFrame(read_tables(ingested / "duplicates.parquet", ["pair_id", "group"]))
    groups = duplicates.filter(pl.col("group").is_not_null())
    kept_together = groups if params.copies == "together" else NO_GROUPS
    divide = draw_split if params.splits == "drawn" else given_split
    splits = {seed: divide(pairs, seed, params, kept_together) for seed in seeds}
    first = splits[seeds[0]]
    sizes = dict(pairs.group_by("category").len().sort("category").iter_rows())
    used = set(first["category"].unique())
    if len(used) < 2:
        listed = ", ".join(f"{category} {number}" for category, number in sizes.items())
        raise UserError(
            f"{ingested}: {len(used)} categories are left, retrieval by category needs two or more; pairs by category: "
            f"{listed}; lower least_pairs, or bring more pairs"
        )
    spread = groups.join(first, on="pair_id").group_by("group").agg(pl.col("split").n_unique())
    summary = {
        "pairs": len(pairs),
        "categories": len(used),
        "left_out": {category: number for category, number in sizes.items() if category not in used},
        "sizes": {
            str(seed): {name: int((split["split"] == name).sum()) for name in SPLITS} for seed, split in splits.items()
        },
        "groups_of_copies": len(spread),
        "groups_in_several_splits": int((spread["split"] > 1).sum()),
    }
    with whole_directory(output, holds=("seed-*.parquet", "images.parquet", "summary.json")) as folder:
        for seed, split in splits.items():
            write_table(split.to_arrow().cast(PAIR_SPLIT), folder / f"seed-{seed}.parquet")
        images = first.select(pl.col("pair_id").alias("image_id"), "split")
        write_table(images.to_arrow().cast(PAIR_IMAGES), folder / "images.parquet")
        write_json(summary, folder / "summary.json")
    return summary


def closing_counts(summary: dict[str, Any]) -> dict[str, int]:
    """Return the counts of a summary with labels, for the closing lines."""
    sizes = next(iter(summary["sizes"].values()))
    return {
        "pairs": summary["pairs"],
        "categories": summary["categories"],
        **{f"categories left out: {name}, pairs": number for name, number in summary["left_out"].items()},
        **{f"{name} pairs, first seed": number for name, number in sizes.items()},
        "groups of copies": summary["groups_of_copies"],
        "groups of copies in several splits, first seed": summary["groups_in_several_splits"],
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ingested", type=Path, required=True, help="an ingested set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one split for each (default: 0)")
    parser.add_argument("--splits", default="drawn", help="drawn (default) or given")
    parser.add_argument("--shares", type=float, nargs=3, default=[0.5, 0.25, 0.25], metavar=tuple(SPLITS))
    parser.add_argument("--least-pairs", type=int, default=LEAST, help="of a category (default: %(default)s)")
    parser.add_argument("--copies", default="together", help="together (default) or anywhere")
    parser.add_argument("--validation-from", default="train", help="train (default) or test")
    parser.add_argument("--validation-share", type=float, default=0.2, help="of that part (default: %(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args(argv)
    with console.stage("split") as closing:
        options = {name: value for name, value in vars(arguments).items() if name in PairSplitParams.model_fields}
        options["shares"] = dict(zip(SPLITS, arguments.shares, strict=True))
        params = validate_section(PairSplitParams, "options", options, "command line")
        summary = run(arguments.ingested, arguments.output, params, arguments.seeds)
        closing.counts.update(closing_counts(summary))
        closing.wrote[str(arguments.output)] = f"{len(arguments.seeds)} splits"
        closing.next_command = "python -m pipelines.words.segment"


if __name__ == "__main__":
    main()
