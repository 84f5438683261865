"""Write a page to inspect before training: images after each step, and images that the noise filter drops and keeps.

    python -m systems.cleaning.preparation --data data/sets/toy --output data/cleaning/preparation/toy

In: `ingested/images`, `cleaned` and `splits/categories.parquet` of the data set's folder.
Out: `index.html`, which needs no other file; `steps.csv` and `steps.png` (images of each category after each step);
`examples.csv` (the images that the page shows). The parameters bound the page's size, whatever the size of the data.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image
from pydantic import Field

from base.artifacts import read_tables, whole_directory, whole_file
from base.console import stage
from base.params import DEFAULT_PATH, Params, load_section
from model.data.images import ImageStore
from report import pages
from report.data_sets import noise_filter_plot, noise_filter_table
from report.pages import NOTHING, Column, Table, number
from report.spreadsheets import write_csv
from report.thumbnails import Example, thumbnail
from systems.cleaning.preparation_plots import steps_plot

TEMPLATE = Path(__file__).with_name("preparation.html.jinja")
DOMAINS = ("source", "target")
SELECTED = "selected"


class PreparationParams(Params):
    """How much the page shows."""

    examples: int = Field(
        description="dropped images to show per cell of Table II, and as many kept ones", ge=1, le=100
    )
    thumbnail: int = Field(description="longer side of an example, pixels", ge=16, le=512)


def steps_table(categories: pl.DataFrame, cleaned: pl.DataFrame) -> pl.DataFrame:
    """Count the images of each category that each step left or took out.

    Args:
        categories: `schemas.CATEGORIES`.
        cleaned: `schemas.CLEANED`.

    Returns:
        `domain`, `category`, `images_ingested`, `images_cleaned`, `images_selected`, `kept_percent` (share of the
        ingested images that the noise filter keeps), `dropped` (by the noise filter), `duplicates` (dropped as
        duplicates of target images), `left_out` (in a category that is left out), `over_the_cap`, `status`; ingested
        is the sum of selected, dropped, duplicates, left_out and over_the_cap. Rows by domain and category.
    """
    dropped = cleaned.group_by("category").agg((~pl.col("kept")).sum().cast(pl.Int32).alias("dropped"))
    after = pl.col("images_cleaned") - pl.col("images_selected")
    selected = pl.col("status") == SELECTED
    return (
        categories.join(dropped.with_columns(domain=pl.lit("source")), on=["domain", "category"], how="left")
        .with_columns(pl.col("dropped").fill_null(0))
        .select(
            "domain",
            "category",
            "images_ingested",
            "images_cleaned",
            "images_selected",
            (100 * (1 - pl.col("dropped") / pl.col("images_ingested"))).round(1).alias("kept_percent"),
            "dropped",
            (pl.col("images_ingested") - pl.col("dropped") - pl.col("images_cleaned")).alias("duplicates"),
            pl.when(selected).then(0).otherwise(after).alias("left_out"),
            pl.when(selected).then(after).otherwise(0).alias("over_the_cap"),
            "status",
        )
        .sort("domain", "category")
    )


def totals_texts(steps: pl.DataFrame) -> Table:
    """Return the sums of the steps by domain, as texts."""
    totals = steps.group_by("domain").agg(
        pl.len().alias("categories"),
        (pl.col("status") == SELECTED).sum().alias("selected_categories"),
        pl.col("images_ingested", "dropped", "duplicates", "left_out", "over_the_cap", "images_selected").sum(),
    )
    groups = {
        "": {"domain": "domain"},
        "images": {"images_ingested": "ingested"},
        "of them taken out by": {
            "dropped": "noise filter", "duplicates": "duplicates", "left_out": "category left out",
            "over_the_cap": "cap",
        },
        "images left": {"images_selected": "selected"},
        "categories": {"categories": "ingested", "selected_categories": "selected"},
    }  # fmt: skip
    flat = {name: heading for headings in groups.values() for name, heading in headings.items()}
    columns = [
        Column(heading, bool(group), group) for group, headings in groups.items() for heading in headings.values()
    ]
    return Table(columns, pages.plain_table(totals.sort("domain"), flat).rows)


def categories_texts(steps: pl.DataFrame) -> Table:
    """Return a row per category with both domains' steps, the lowest `kept_percent` first, and a last row of sums."""
    columns = [
        Column("category", number=False),
        *(Column(heading, group="source") for heading in ("ingested", "cleaned", "kept, %", "selected")),
        *(Column(heading, group="target") for heading in ("ingested", "selected")),
        Column("what became of it", number=False),
    ]
    source, target = (steps.filter(domain=domain).drop("domain") for domain in DOMAINS)
    both = source.join(target, on="category", how="full", coalesce=True, suffix="_target")
    rows = [
        [row["category"], *_counts(row), _status(row["status"], row["status_target"])]
        for row in both.sort("kept_percent", "category", nulls_last=True).iter_rows(named=True)
    ]
    sums: dict[str, Any] = both.select(pl.selectors.starts_with("images_", "dropped").sum()).row(0, named=True)
    sums["kept_percent"] = 100 * (1 - sums["dropped"] / sums["images_ingested"]) if sums["images_ingested"] else None
    return Table(columns, [*rows, ["all", *_counts(sums), ""]])


def _counts(row: dict[str, Any]) -> list[str]:
    return [
        number(row["images_ingested"], 0), number(row["images_cleaned"], 0), number(row["kept_percent"], 1),
        number(row["images_selected"], 0), number(row["images_ingested_target"], 0),
        number(row["images_selected_target"], 0),
    ]  # fmt: skip


def _status(source: str | None, target: str | None) -> str:
    status_of = {"source": source, "target": target}
    if len(set(status_of.values()) - {None}) == 1:
        return source or target or NOTHING
    return "; ".join(f"{domain}: {status}" for domain, status in status_of.items())


def choose_examples(cleaned: pl.DataFrame, most: int) -> pl.DataFrame:
    """Return the images to inspect: in each cell, the dropped and the kept images nearest the threshold.

    In a cell without a threshold the least probable images come first. Ties are ordered by image id.

    Args:
        cleaned: `schemas.CLEANED`.
        most: largest number of dropped images per cell, and of kept ones.

    Returns:
        `rule`, `kept`, `place` (from 0), `count` (of the cell's dropped or kept images), `image_id`, `category`,
        `clicks`, `probability`, `threshold`; rows by rule, dropped before kept, then by place.
    """
    distance = (pl.col("probability") - pl.col("threshold").fill_null(0.0)).abs()
    cell = ["rule", "kept"]
    return (
        cleaned.with_columns(distance.alias("distance"))
        .sort(*cell, "distance", "image_id", nulls_last=True)
        .with_columns(pl.int_range(pl.len()).over(cell).alias("place"), pl.len().over(cell).alias("count"))
        .filter(pl.col("place") < most)
        .select(*cell, "place", "count", "image_id", "category", "clicks", "probability", "threshold")
    )


def cells_of(examples: pl.DataFrame, rules: Sequence[str], images: Path, longest: int) -> list[dict[str, Any]]:
    """Return what the template shows for each cell: its dropped and kept examples with their pictures.

    Args:
        examples: from `choose_examples`.
        rules: the cells in their order.
        images: folder of the ingested images.
        longest: longer side of a thumbnail, pixels.

    Raises:
        UserError: an image is not among the ingested ones.
    """
    store = ImageStore(images, examples.with_columns(pl.lit("source").alias("domain")), longest, cache=False)
    shown: dict[tuple[str, bool], list[Example]] = {}
    counts: dict[tuple[str, bool], int] = {}
    for row_number, row in enumerate(examples.iter_rows(named=True)):
        cell = row["rule"], row["kept"]
        counts[cell] = row["count"]
        probability = "not scored" if row["probability"] is None else f"p {row['probability']:.4f}"
        example = Example(
            image_id=row["image_id"],
            picture=thumbnail(Image.fromarray(store[row_number]), longest),
            alt=row["image_id"],
            title=row["category"],
            lines=[probability, f"{row['clicks']:,} click{'' if row['clicks'] == 1 else 's'}"],
        )
        shown.setdefault(cell, []).append(example)
    return [
        {
            "rule": rule.replace("<=", "≤").replace(">=", "≥"),
            **{name: shown.get((rule, kept), []) for name, kept in (("dropped", False), ("kept", True))},
            **{f"{name}_count": counts.get((rule, kept), 0) for name, kept in (("dropped", False), ("kept", True))},
        }
        for rule in rules
    ]


def write_preparation(data: Path, folder: Path, params: PreparationParams) -> pl.DataFrame:
    """Write the page with its tables and plot into a folder; return the examples that the page shows."""
    cleaned = pl.DataFrame(read_tables(data / "cleaned" / "images.parquet"))
    steps = steps_table(pl.DataFrame(read_tables(data / "splits" / "categories.parquet")), cleaned)
    examples = choose_examples(cleaned, params.examples)
    noise_filter = noise_filter_table(json.loads((data / "cleaned" / "summary.json").read_text(encoding="utf-8")))
    rules = [rule for rule in noise_filter["rule"] if rule != "all"]
    pictures = {"steps": steps_plot(steps), "noise_filter": noise_filter_plot(noise_filter)}
    page = pages.render(
        pictures,
        TEMPLATE,
        title="Preparation of the images",
        thumbnail=params.thumbnail,
        totals=totals_texts(steps),
        noise_filter=pages.plain_table(
            noise_filter,
            {"rule": "cell", "categories": "categories", "images": "images", "kept": "kept", "kept_percent": "kept, %"},
        ),
        cells=cells_of(examples, rules, data / "ingested" / "images", params.thumbnail),
        categories=categories_texts(steps),
    )
    write_csv(steps, folder / "steps.csv")
    write_csv(examples, folder / "examples.csv")
    (folder / "steps.png").write_bytes(pictures["steps"])
    with whole_file(folder / "index.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    return examples


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the data set's folder")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH)
    arguments = parser.parse_args(argv)
    with stage("preparation") as closing:
        params = load_section(PreparationParams, "cleaning.preparation", arguments.params)
        with whole_directory(arguments.output) as folder:
            examples = write_preparation(arguments.data, folder, params)
            size = (folder / "index.html").stat().st_size
        closing.counts = {
            "examples of dropped images": int((~examples["kept"]).sum()),
            "examples of kept images": int(examples["kept"].sum()),
        }
        closing.wrote[str(arguments.output)] = f"a page of {size / 1e6:.1f} MB"
        closing.next_command = f"open {arguments.output}/index.html"


if __name__ == "__main__":
    main()
