"""Report tables and plots of the data that all systems share: ingested rows, splits, noise filter, vocabulary."""

import math
from collections.abc import Sequence
from typing import Any

import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from report import pages
from report.pages import Table
from report.plots import INK, LINES, METHODS, TARGET, picture

COPIES = ("groups", "images", "largest", "several_categories")  # of a domain, in the summary of `select`


def ingested_tables(summary: dict[str, Any]) -> tuple[Table, Table]:
    """Return two tables: the rows that `ingest` read and kept per table, and the quarantined rows by reason."""
    tables = pl.DataFrame(
        [
            (name, rows["rows_read"], rows["rows_kept"], sum(rows["quarantined"].values()))
            for name, rows in summary["tables"].items()
        ],
        schema=["table", "read", "kept", "quarantined"],
        orient="row",
    )
    reasons = [
        (name, reason, count)
        for name, rows in summary["tables"].items()
        for reason, count in sorted(rows["quarantined"].items())
    ]
    quarantined = pl.DataFrame(
        reasons, schema={"table": pl.String, "reason": pl.String, "rows": pl.Int64}, orient="row"
    )
    return (
        pages.plain_table(tables, {"table": "rows of", "read": "read", "kept": "kept", "quarantined": "quarantined"}),
        pages.plain_table(quarantined, {"table": "rows of", "reason": "quarantined because", "rows": "rows"}),
    )


def noise_filter_table(summary: dict[str, Any]) -> pl.DataFrame:
    """Return the images that each cell of Table II kept, and a row for all cells, from the summary of `clean`."""
    rules = pl.DataFrame(summary["rules"]).select("rule", "categories", "images", "kept")
    total = pl.DataFrame(
        {
            "rule": ["all"],
            "categories": [summary["categories"]],
            "images": [summary["images"]],
            "kept": [summary["kept"]],
        }
    )
    return pl.concat([rules, total]).with_columns(
        (100 * pl.col("kept") / pl.col("images")).round(1).alias("kept_percent")
    )


def split_table(splits: Sequence[tuple[int, pl.DataFrame]]) -> pl.DataFrame:
    """Return the numbers of categories and of images, in all and per split, for each seed and domain.

    Args:
        splits: for each seed, the seed and its rows of `schemas.SPLITS`.
    """
    frames = [
        rows.group_by("domain")
        .agg(
            pl.col("category").n_unique().alias("categories"),
            pl.len().alias("images"),
            *((pl.col("split") == split).sum().alias(split) for split in ("train", "validation", "test")),
        )
        .select(pl.lit(seed).alias("seed"), pl.all())
        for seed, rows in splits
    ]
    return pl.concat(frames).sort("seed", "domain")


def copies_table(summary: dict[str, Any]) -> pl.DataFrame:
    """Return the groups of copies within each domain, and what keeping them together changes, for each seed.

    Args:
        summary: of `select`.
    """
    rows = [
        {"seed": int(seed), "domain": domain, **{name: of_domain[name] for name in COPIES}, **of_seed}
        for domain, of_domain in summary["copies"].items()
        if domain != "kept"
        for seed, of_seed in of_domain["seeds"].items()
    ]
    return pl.DataFrame(rows).sort("seed", "domain")


def noise_filter_plot(table: pl.DataFrame) -> bytes:
    """Draw the share of images that each cell of Table II keeps."""
    rows = table.reverse().to_dicts()

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        shares = [row["kept_percent"] for row in rows]
        axes.barh(range(len(rows)), [100.0] * len(rows), color=LINES, height=0.62)
        axes.barh(
            range(len(rows)), shares, color=[TARGET if row["rule"] != "all" else INK for row in rows], height=0.62
        )
        for height, row in enumerate(rows):
            text = f"{row['kept']:,} of {row['images']:,}  ({row['kept_percent']:.1f} %)"
            axes.annotate(text, (101.5, height), va="center", fontsize=9, annotation_clip=False)
        axes.set_yticks(range(len(rows)), [row["rule"].replace("<=", "≤").replace(">=", "≥") for row in rows])
        axes.set_xlim(0, 100)
        axes.grid(visible=False)
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.tick_params(length=0)
        axes.set_xlabel("images kept, %")

    return picture(draw, 8.5, 0.9 + 0.42 * len(rows))


def vocabulary_sentence(vocabulary: pl.DataFrame, splits: Sequence[tuple[int, pl.DataFrame]]) -> str:
    """Return on which images the vocabulary was counted, and what this means for the other seeds' test images.

    The number of images n follows from a word's idf = ln(n / document frequency).

    Args:
        vocabulary: the rows of `schemas.VOCABULARY`.
        splits: for each seed, the seed and its rows of `schemas.SPLITS`; the first is the vocabulary's.
    """
    if vocabulary.is_empty():
        return "There is no word."
    idf, document_frequency = vocabulary.row(0, named=True)["idf"], vocabulary.row(0, named=True)["document_frequency"]
    counted = round(document_frequency * math.exp(idf))
    (first, rows), *others = [(seed, rows.filter(pl.col("domain") == "source")) for seed, rows in splits]
    trained = rows.filter(pl.col("split") == "train").select("image_id")
    if counted == len(rows):
        return f"Clicks, document frequencies and idf are counted on all {counted:,} selected source images."
    if counted != len(trained):
        return f"Clicks, document frequencies and idf are counted on {counted:,} images."
    text = f"Clicks, document frequencies and idf are counted on the {counted:,} training images of seed {first}."
    if not others:
        return text
    shares = []
    for seed, of_seed in others:
        test = of_seed.filter(pl.col("split") == "test").select("image_id")
        shares.append(f"{len(test.join(trained, on='image_id')):,} of {len(test):,} (seed {seed})")
    return (
        f"{text} All seeds share this vocabulary. So test images of the other seeds take part in choosing its words"
        f" and in their idf, though not with their categories: {', '.join(shares)}. Only seed {first} is free of this."
    )


def vocabulary_plot(vocabulary: pl.DataFrame) -> bytes:
    """Draw the vocabulary words' clicks and images by rank, both axes logarithmic."""
    ranks = vocabulary["word_id"] + 1

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.loglog(ranks, vocabulary["clicks"], color=TARGET, linewidth=2, label="clicks of queries with the word")
        axes.loglog(
            ranks, vocabulary["document_frequency"], ".", color=METHODS[1], markersize=4, label="images with the word"
        )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            axis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("rank of the word in the vocabulary")
        axes.set_ylabel("number")
        axes.legend(loc="lower left")

    return picture(draw, 5.2, 3.4)
