"""The page of `clicksight.hello`: pictures with their queries, words and labels, and what the recogniser says."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from base.artifacts import whole_file
from report.pages import Column, Table, number, plain_table, render

TEMPLATE = Path(__file__).with_name("hello.html.jinja")
EXAMPLES, QUERIES, WORDS = 1, 4, 5  # pictures of each breed; of a picture
MOST_MISLABELLED, MOST_WRONG, MOST_RIGHT = 6, 12, 12
COMMON_WORDS = 12


@dataclass(frozen=True)
class Results:
    """What the page is made from.

    Attributes:
        pictures: image_id, category (the truth), held_out, image.
        rows: of the log: image_id, query, clicks.
        labels: `schemas.CLICK_LABELS`.
        features: `schemas.CLICK_FEATURES`.
        vocabulary: `schemas.VOCABULARY`.
        unseen: image_id, category (the truth), image, said, probability.
    """

    pictures: pl.DataFrame
    rows: pl.DataFrame
    labels: pl.DataFrame
    features: pl.DataFrame
    vocabulary: pl.DataFrame
    unseen: pl.DataFrame


def picture_text(image: bytes) -> str:
    """Return a JPEG for the page."""
    return base64.b64encode(image).decode("ascii")


def clicked_examples(results: Results) -> list[dict[str, Any]]:
    """Return the most clicked picture of each breed and some with a wrong label, with their evidence.

    Each has image_id, picture, truth, label, right, share (percent of the votes), queries and words (name, value, and
    the bar's length in percent of the picture's longest).
    """
    clicks = results.rows.group_by("image_id").agg(pl.col("clicks").sum().alias("all_clicks"))
    known = (
        results.pictures.filter(~pl.col("held_out"))
        .rename({"category": "truth"})
        .join(results.labels.select("image_id", "category", "share", "margin"), on="image_id")
        .join(clicks, on="image_id")
        .sort("truth", "all_clicks", "image_id", descending=[False, True, False])
    )
    used = known.filter(pl.col("margin") > 0)
    wrong = used.filter(pl.col("category") != pl.col("truth")).head(MOST_MISLABELLED)
    right = used.filter(pl.col("category") == pl.col("truth")).group_by("truth", maintain_order=True).head(EXAMPLES)
    words = dict(results.vocabulary.select("word_id", "word").iter_rows())
    features = {row["image_id"]: row for row in results.features.iter_rows(named=True)}
    examples = []
    for row in pl.concat([right.select(known.columns), wrong]).iter_rows(named=True):
        queries = results.rows.filter(pl.col("image_id") == row["image_id"]).sort(
            "clicks", "query", descending=[True, False]
        )
        feature = features[row["image_id"]]
        weights = sorted(zip(feature["tfidf"], feature["word_ids"], strict=True), key=lambda pair: (-pair[0], pair[1]))
        examples.append(
            {
                "image_id": row["image_id"],
                "picture": picture_text(row["image"]),
                "truth": row["truth"],
                "label": row["category"],
                "right": row["category"] == row["truth"],
                "share": number(100 * row["share"], 0),
                "queries": list(queries.select("query", "clicks").head(QUERIES).iter_rows()),
                "more": max(0, len(queries) - QUERIES),
                "words": [
                    (words[word], number(weight, 2), round(100 * weight / weights[0][0]))
                    for weight, word in weights[:WORDS]
                ],
            }
        )
    return examples


def breeds_table(unseen: pl.DataFrame) -> Table:
    """Return how many of the unseen pictures of each breed are recognised, and the most frequent mistake."""
    rows = []
    for (breed,), group in unseen.group_by("category", maintain_order=True):
        mistakes = group.filter(pl.col("said") != pl.col("category"))["said"].value_counts(sort=True)
        worst = mistakes.sort("count", "said", descending=[True, False]).row(0) if len(mistakes) else None
        right = int((group["said"] == group["category"]).sum())
        said = "" if worst is None else f"{worst[0]} ({worst[1]})"
        rows.append([str(breed), f"{right} of {len(group)}", said])
    columns = [
        Column("breed", False, name=True),
        Column("recognised"),
        Column("most often taken for", False, name=True),
    ]
    return Table(columns, rows)


def unseen_examples(unseen: pl.DataFrame, right: bool, most: int) -> list[dict[str, Any]]:
    """Return some unseen pictures, recognised or not, in turn by breed."""
    chosen = unseen.filter((pl.col("said") == pl.col("category")) == right)
    in_turn = chosen.with_columns(turn=pl.int_range(pl.len()).over("category")).sort("turn", "image_id").head(most)
    return [
        {**row, "picture": picture_text(row["image"]), "probability": number(100 * row["probability"], 0)}
        for row in in_turn.iter_rows(named=True)
    ]


def write_page(results: Results, figures: Mapping[str, Any], commands: Mapping[str, str], folder: Path) -> None:
    """Write ``index.html`` into the folder."""
    headings = {"word": "word", "clicks": "clicks", "document_frequency": "pictures", "idf": "idf"}
    page = render(
        {},
        TEMPLATE,
        title="Hello: from clicks to names",
        figures=figures,
        commands=commands,
        clicked=clicked_examples(results),
        vocabulary=plain_table(results.vocabulary.head(COMMON_WORDS), headings, decimals=2),
        breeds=breeds_table(results.unseen),
        right=unseen_examples(results.unseen, True, MOST_RIGHT),
        wrong=unseen_examples(results.unseen, False, MOST_WRONG),
    )
    with whole_file(folder / "index.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
