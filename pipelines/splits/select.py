"""Choose the categories and images of both domains, and split them 50/25/25, once per seed.

    python -m pipelines.splits.select --images data/sets/toy/ingested/images \
        --duplicates data/sets/toy/ingested/duplicates.parquet \
        --cleaned data/sets/toy/cleaned/images.parquet --output data/sets/toy/splits

Input: the ingested images of both domains (`schemas.IMAGES`), their duplicates (`schemas.DUPLICATES`), and the source
images that Table II keeps (`schemas.CLEANED`).
Output: `images.parquet` (`schemas.SELECTED`), `seed-N.parquet` for every seed (`schemas.SPLITS`: the same rows with
their split), `categories.parquet` (`schemas.CATEGORIES`: the status of every category, selected or left out) and
`summary.json` (groups of copies within a domain, and what they change).

A split depends on its own seed alone (`pipelines.splits.split`).

Copies of one image within a domain would show the network in training what it will be tested on. With ``copies:
together`` each group of them is in one split (`pipelines.splits.copies`), and a category needs three different images.

A source image that is a duplicate of a target image can show the network, in training, a picture that it will be tested
on. With ``duplicates: drop_leaks``, every source image that is an exact or near duplicate of *any* target image is left
out. This does not depend on the split: the tested target images differ from seed to seed, but the selected source
images must not, or results of several seeds would be of several data sets. The cleaner still sees the dropped images;
it only decides which source images stay.
"""

import argparse
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

import polars as pl
from pydantic import Field, model_validator

from base import schemas
from base.artifacts import read_tables, whole_directory, write_json, write_table
from base.console import UserError, stage
from base.params import DEFAULT_PATH, Params, load_section, read_seeds
from pipelines.splits.copies import DOMAINS, NO_GROUPS, SPLITS, describe_copies, groups_of_copies
from pipelines.splits.split import hash_ranks, split_images

SELECTED = "selected"
NAMED = 20  # left-out categories that the closing lines list; categories.parquet lists all


class Shares(Params):
    """Shares of a category's images in the splits; they add up to 1."""

    train: float = Field(gt=0, lt=1, description="images that networks learn from")
    validation: float = Field(gt=0, lt=1, description="images that choose an epoch")
    test: float = Field(gt=0, lt=1, description="images that an evaluation reads, once")

    @model_validator(mode="after")
    def _add_up(self) -> "Shares":
        if sum(Fraction(str(getattr(self, split))) for split in SPLITS) != 1:
            raise ValueError(f"train, validation and test must add up to 1, found {self.model_dump()}")
        return self


class SelectParams(Params):
    """Section `select`: which categories and images take part, and the size of the splits."""

    categories: Literal["shared", "all"] = Field(
        description="shared: only categories that both domains have (the paper); all: each domain also keeps its own",
    )
    minimum_images: int = Field(
        description="a category with fewer (cleaned) images in a domain is left out of this domain", ge=3
    )
    most_images: int = Field(description="source domain: a larger category is cut to this many, at random", ge=3)
    duplicates: Literal["keep", "drop_leaks"] = Field(
        description="keep: duplicates are reported only (the paper); drop_leaks: source images that are exact or near "
        "duplicates of target images are left out",
    )
    copies: Literal["together", "anywhere"] = Field(
        description="exact and near duplicates within a domain: together: in one split, linked ones too; anywhere: "
        "like other images (the paper)",
    )
    shares: Shares
    seed: int = Field(description="seed of the random choice under most_images; the same for all splits", ge=0)


def usable_images(images: pl.DataFrame, cleaned: pl.DataFrame) -> pl.DataFrame:
    """Return the images of both domains without the source images that Table II drops.

    Args:
        images: `image_id`, `domain`, `category` of all ingested images.
        cleaned: `image_id`, `kept` of all source images.

    Raises:
        UserError: the cleaned images differ from the ingested source images.
    """
    source = images.filter(pl.col("domain") == "source")
    unknown = source.join(cleaned, on="image_id", how="anti")
    gone = cleaned.join(source, on="image_id", how="anti")
    if len(unknown) or len(gone):
        example = [*unknown["image_id"], *gone["image_id"]][0]
        raise UserError(
            f"cleaned and ingested images differ: {len(unknown)} source images were never cleaned, {len(gone)} cleaned "
            f"ones are not in the images (one of them: {example!r}); run the stages `score` and `clean` again"
        )
    dropped = cleaned.filter(~pl.col("kept")).select("image_id", pl.lit("source").alias("domain"))
    return images.join(dropped, on=["domain", "image_id"], how="anti")


def leaking_images(duplicates: pl.DataFrame) -> pl.DataFrame:
    """Return the source images that are duplicates of target images, by `image_id`, each once.

    Args:
        duplicates: the columns of `schemas.DUPLICATES`.
    """
    leaks = duplicates.filter(pl.col("domain") == "source", pl.col("duplicate_domain") == "target")
    return leaks.select("image_id", "domain").unique().sort("image_id")


def judge_categories(
    images: pl.DataFrame, usable: pl.DataFrame, params: SelectParams, groups: pl.DataFrame = NO_GROUPS
) -> pl.DataFrame:
    """Return for every category of both domains whether it is selected, and if not, why.

    Args:
        images: all ingested images.
        usable: the images that may be selected.
        params: the parameters.
        groups: the images whose copies must be in one split (:func:`groups_of_copies`).

    Returns:
        The columns of `schemas.CATEGORIES`, rows by domain and category.
    """
    key = ["domain", "category"]
    in_groups = usable.join(groups, on=["domain", "image_id"], how="left", validate="1:1")
    counted = in_groups.group_by(key).agg(
        pl.len().alias("images_cleaned"), pl.coalesce("group", "image_id").n_unique().alias("different")
    )
    too_few = (
        pl.when(pl.col("images_cleaned") < params.minimum_images)
        .then(pl.format("fewer than {} images", pl.lit(params.minimum_images)))
        .when(pl.col("different") < len(SPLITS))
        .then(pl.lit(f"fewer than {len(SPLITS)} different images"))
    )
    counts = (
        images.group_by(key)
        .agg(pl.len().alias("images_ingested"))
        .join(counted, on=key, how="left")
        .with_columns(pl.col("images_cleaned", "different").fill_null(0))
        .with_columns(too_few.alias("too_few"))
    )
    other = counts.select(
        pl.col("domain").replace_strict({"source": "target", "target": "source"}),
        "category",
        pl.col("too_few").alias("too_few_there"),
        pl.lit(True).alias("there"),
    )
    large = pl.col("too_few").is_null()
    judged = counts.join(other, on=key, how="left").with_columns(
        (large & pl.col("there").fill_null(False) & pl.col("too_few_there").is_null()).alias("shared"),
        pl.col("domain").replace_strict({"source": "target", "target": "source"}).alias("other"),
    )
    selected = pl.col("shared") if params.categories == "shared" else large
    status = (
        pl.when(~large)
        .then(pl.col("too_few"))
        .when(selected)
        .then(pl.lit(SELECTED))
        .when(pl.col("there").is_null())
        .then(pl.format("not in the {}", "other"))
        .otherwise(pl.format("{} in the {}", "too_few_there", "other"))
    )
    most = pl.when(pl.col("domain") == "source").then(params.most_images).otherwise(pl.col("images_cleaned"))
    return (
        judged.with_columns(status.alias("status"))
        .with_columns(
            pl.when(pl.col("status") == SELECTED)
            .then(pl.min_horizontal("images_cleaned", most))
            .otherwise(0)
            .alias("images_selected")
        )
        .select(schemas.CATEGORIES.names)
        .sort(key)
    )


def select_images(usable: pl.DataFrame, categories: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Return the images of the selected categories; a category is cut to its `images_selected` by hash rank.

    Returns:
        The columns of `schemas.SELECTED`, rows by domain and image id.
    """
    chosen = categories.filter(pl.col("status") == SELECTED)
    images = usable.join(chosen, on=["domain", "category"]).with_columns(hash_ranks(seed, "cap"))
    position = pl.int_range(pl.len()).over("domain", "category", order_by=["rank", "image_id"])
    kept = images.filter(position < pl.col("images_selected"))
    return kept.select(schemas.SELECTED.names).sort("domain", "image_id")


def check_something_selected(categories: pl.DataFrame) -> None:
    """Raise an error if nothing is selected in a domain; it lists names of both domains to compare.

    Raises:
        UserError: a domain has no selected category.
    """
    empty = [d for d in DOMAINS if categories.filter(pl.col("domain") == d, pl.col("status") == SELECTED).is_empty()]
    if not empty:
        return
    names = {
        domain: ", ".join(repr(name) for name in categories.filter(pl.col("domain") == domain)["category"][:5])
        or "none"
        for domain in DOMAINS
    }
    raise UserError(
        f"no category of the {' and of the '.join(empty)} domain is left to select; "
        f"source categories begin with: {names['source']}; target: {names['target']}. "
        "Do both domains name categories alike, and do enough images survive the cleaning (select.minimum_images)?"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of the ingested images")
    parser.add_argument("--duplicates", type=Path, help="from `ingest`; default: duplicates.parquet beside --images")
    parser.add_argument("--cleaned", type=Path, required=True, help="from `clean`: the images that Table II keeps")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="the parameter file")
    arguments = parser.parse_args(argv)
    with stage("select") as closing:
        params = load_section(SelectParams, "select", arguments.params)
        seeds = read_seeds(arguments.params)
        images = pl.DataFrame(read_tables(arguments.images, columns=["image_id", "domain", "category"]))
        cleaned = pl.DataFrame(read_tables(arguments.cleaned, columns=["image_id", "kept"]))
        duplicates = arguments.duplicates or arguments.images.parent / "duplicates.parquet"
        clean = usable_images(images, cleaned)
        copies = pl.DataFrame(read_tables(duplicates))
        unleaked = clean.join(leaking_images(copies), on=["domain", "image_id"], how="anti")
        usable = unleaked if params.duplicates == "drop_leaks" else clean
        groups = groups_of_copies(copies)
        kept_together = groups if params.copies == "together" else NO_GROUPS
        categories = judge_categories(images, usable, params, kept_together)
        check_something_selected(categories)
        selected = select_images(usable, categories, params.seed)
        shares = params.shares.model_dump()
        plain = {seed: split_images(selected, seed, shares) for seed in seeds}
        splits = {seed: split_images(selected, seed, shares, kept_together, plain[seed]) for seed in seeds}
        described = describe_copies(selected, groups, {seed: (splits[seed], plain[seed]) for seed in seeds})
        owned = ("categories.parquet", "images.parquet", "seed-*.parquet", "summary.json")
        with whole_directory(arguments.output, owned) as folder:
            write_json({"copies": {"kept": params.copies, **described}}, folder / "summary.json")
            write_table(categories.to_arrow().cast(schemas.CATEGORIES), folder / "categories.parquet")
            write_table(selected.to_arrow().cast(schemas.SELECTED), folder / "images.parquet")
            for seed, rows in splits.items():
                write_table(rows.to_arrow().cast(schemas.SPLITS), folder / f"seed-{seed}.parquet")
        for domain in DOMAINS:
            mine = categories.filter(pl.col("domain") == domain)
            chosen = mine.filter(pl.col("status") == SELECTED)
            closing.counts |= {
                f"{domain} images ingested": int(mine["images_ingested"].sum()),
                f"{domain} images dropped by Table II": int((mine["images_ingested"] - mine["images_cleaned"]).sum())
                - (len(clean) - len(usable) if domain == "source" else 0),
                f"{domain} images in categories left out": int(
                    mine.filter(pl.col("status") != SELECTED)["images_cleaned"].sum()
                ),
                f"{domain} images over the cap": int((chosen["images_cleaned"] - chosen["images_selected"]).sum()),
                f"{domain} images selected": int(chosen["images_selected"].sum()),
                f"{domain} categories selected": len(chosen),
            }
            if domain == "source":
                done = "dropped" if params.duplicates == "drop_leaks" else "kept"
                closing.counts[f"source images that are duplicates of target images, {done}"] = len(clean) - len(
                    unleaked
                )
            of_domain = described[domain]
            closing.counts |= {
                f"{domain} groups of copies": of_domain["groups"],
                f"{domain} images in groups of copies": of_domain["images"],
                f"{domain} images in another split because copies are kept together (mean over seeds)": round(
                    sum(of_seed["moved"] for of_seed in of_domain["seeds"].values()) / len(seeds), 1
                ),
            }
            for (status,), left_out in mine.filter(pl.col("status") != SELECTED).group_by(
                "status", maintain_order=True
            ):
                names = ", ".join([*left_out["category"][:NAMED], *(["..."] if len(left_out) > NAMED else [])])
                closing.counts[f"{domain} categories left out, {status} ({names})"] = len(left_out)
        closing.wrote[str(arguments.output)] = f"{len(selected):,} images, splits of seeds {', '.join(map(str, seeds))}"
        closing.next_command = "python -m pipelines.words.segment (see dvc.yaml)"


if __name__ == "__main__":
    main()
