"""The report's section about confused categories of the target: which, how often, and pictures of the most frequent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from base import schemas
from base.artifacts import read_tables
from base.console import UserError
from report.intervals import estimate
from report.pages import NOTHING, Column, Table, interval, number
from report.thumbnails import Example, Thumbnail
from systems.mtmdd.published import label
from systems.mtmdd.report.pictures import read_pictures
from systems.mtmdd.report.runs import Runs
from systems.mtmdd.report.tables import DIGITS, accuracy
from systems.mtmdd.runs import Point

OURS = ("MTMDD-VM-star", "MTMDD-VM")  # the paper's methods, its best one first
PAIRS = 10  # in the table
PICTURED = 5  # of them with pictures
IMAGES = 3  # of each kind that a pair shows
SIDE = 104  # of a picture, pixels, the longer one: three are beside each other on a phone


class Compared(NamedTuple):
    """The methods of the section.

    Attributes:
        methods: the one that the section is about, and the one that it is compared with, if there is one.
        reason: a sentence about the choice of the second one; empty without it.
    """

    methods: list[str]
    reason: str


def compared(runs: Runs) -> Compared | None:
    """Choose the methods that the section compares.

    The first is MTMDD-VM* or else MTMDD-VM; the other has the best target accuracy of the methods of Table VIII that
    predict no clicks. Without such methods they are the best ones of all.

    Returns:
        None if no method recognises the target.
    """
    accuracies: dict[str, float] = {}
    for point in runs.points:
        if point.study == "methods" and (found := accuracy(runs, point, "target")["accuracy_target"]) is not None:
            accuracies[point.method] = found
    best = sorted(accuracies, key=lambda name: (-accuracies[name], name))
    if not best:
        return None
    ours = next((name for name in OURS if name in accuracies), best[0])
    others = [name for name in best if name != ours]
    blind = [name for name in others if runs.metrics[Point("methods", name), runs.seeds[0]]["rmse_source"] is None]
    if blind:
        note = f"{label(blind[0])} is the best of the other methods here that predict no clicks."
        return Compared([ours, blind[0]], note)
    if others:
        return Compared([ours, others[0]], f"{label(others[0])} is the best of the other methods here.")
    return Compared([ours], "")


def read_tests(evaluations: Path, methods: Sequence[str], seeds: Sequence[int]) -> pl.DataFrame:
    """Return each test of a target image: `method`, `seed`, `image_id`, `category`, `predicted`, `probability`.

    Raises:
        UserError: two methods were tested on different images.
    """
    frames = []
    for method in methods:
        for seed in seeds:
            path = evaluations / Point("methods", method).name / f"seed-{seed}" / "predictions.parquet"
            rows = pl.DataFrame(read_tables(path).cast(schemas.PREDICTIONS)).filter(pl.col("domain") == "target")
            named = {"method": pl.lit(method), "seed": pl.lit(seed, pl.Int64)}
            frames.append(rows.select("image_id", "category", "predicted", "probability").with_columns(**named))
    tests = pl.concat(frames)
    keys = ["seed", "image_id", "category"]
    one, *others = (tests.filter(method=method).select(keys).sort(keys) for method in methods)
    if any(not one.equals(other) for other in others):
        raise UserError(
            f"{' and '.join(methods)} were tested on different target images; evaluate both again on the same splits"
        )
    return tests


def confusions_table(tests: pl.DataFrame) -> pl.DataFrame:
    """Return how often each category was named as each other one, by method.

    Args:
        tests: from :func:`read_tests`.

    Returns:
        `method`, `category`, `predicted` (another category), `confused` (tests of the category in which it was named
        so), `tested` (all tests of the category) and `percent`; methods in the order of `tests`, of each the largest
        share first.
    """
    methods = tests["method"].unique(maintain_order=True).to_list()
    tested = tests.group_by("method", "category").agg(pl.len().cast(pl.Int64).alias("tested"))
    return (
        tests.filter(pl.col("category") != pl.col("predicted"))
        .group_by("method", "category", "predicted")
        .agg(pl.len().cast(pl.Int64).alias("confused"))
        .join(tested, on=["method", "category"])
        .with_columns((100 * pl.col("confused") / pl.col("tested")).round(DIGITS).alias("percent"))
        .sort(
            pl.col("method").replace_strict({name: place for place, name in enumerate(methods)}, return_dtype=pl.Int32),
            -pl.col("percent"),
            -pl.col("confused"),
            "category",
            "predicted",
        )
        .select("method", "category", "predicted", "confused", "tested", "percent")
    )


def most_confused(confusions: pl.DataFrame, most: int) -> list[tuple[str, str]]:
    """Return the pairs (category, predicted) with the largest shares of the category's tests.

    A pair is ranked by the sum of its methods' shares, so that the choice favours none of them; ties by the number of
    tests, then by name.

    Args:
        confusions: from :func:`confusions_table`.
        most: largest number of pairs.
    """
    pairs = confusions.group_by("category", "predicted").agg(pl.col("percent", "confused").sum())
    ranked = pairs.sort(-pl.col("percent").round(DIGITS), -pl.col("confused"), "category", "predicted")
    return ranked.select("category", "predicted").head(most).rows()


def confusions_texts(tests: pl.DataFrame, pairs: Sequence[tuple[str, str]]) -> Table:
    """Return a row per pair: the tests of the category and, of each method, how often it named the other one.

    With two methods, also the first one's share minus the other's with its 95 % interval over seeds and images.
    """
    methods = tests["method"].unique(maintain_order=True).to_list()
    columns = [Column("category", number=False), Column("named", number=False), Column("tests")]
    for method in methods:
        columns += [Column("so named", group=label(method)), Column("%", group=label(method))]
    if len(methods) == 2:
        against = f"{label(methods[0])} − {label(methods[1])}"
        columns += [Column("points", group=against), Column("95 %", group=against)]
    rows = []
    for category, predicted in pairs:
        named = tests.filter(category=category).select(
            "method", "seed", pl.col("image_id").alias("unit"), pl.col("predicted").eq(predicted).alias("value")
        )
        of_methods = [named.filter(method=method).drop("method") for method in methods]
        cells = [category, predicted, number(len(of_methods[0]), 0)]
        for one in of_methods:
            cells += [number(int(one["value"].sum()), 0), number(_percent(one))]
        if len(methods) == 2:
            cells += _difference(*of_methods)
        rows.append(cells)
    return Table(columns, rows)


def _percent(named: pl.DataFrame) -> float:
    return 100 * int(named["value"].sum()) / len(named)


def _difference(one: pl.DataFrame, other: pl.DataFrame) -> list[str]:
    """Return the difference of two shares and its interval, as texts.

    There is no interval of a single image, and none if the methods agree on every image: it would have no width.
    """
    differences = one.join(other, on=["seed", "unit"], validate="1:1", maintain_order="left").select(
        "seed", "unit", pl.col("value").cast(pl.Int8) - pl.col("value_right").cast(pl.Int8)
    )
    mean = _percent(one) - _percent(other)
    if differences["unit"].n_unique() < 2 or (differences["value"] == 0).all():
        return [number(mean, sign=True), NOTHING]
    _, low, high = estimate(differences, num_runs=2).scaled(100).interval()
    return [number(mean, sign=True), interval(low, high, sign=True)]


def sentence(tests: pl.DataFrame, pairs: Sequence[tuple[str, str]]) -> str:
    """Return how many tests each method gets wrong, and how many of them the pairs explain."""
    listed = pl.DataFrame(pairs, schema={"category": pl.String, "predicted": pl.String}, orient="row")
    parts = []
    for method in tests["method"].unique(maintain_order=True):
        mine = tests.filter(method=method)
        wrong = mine.filter(pl.col("category") != pl.col("predicted"))
        inside = len(wrong.join(listed, on=["category", "predicted"], how="semi"))
        parts.append(f"{label(method)} gets {len(wrong):,} of {len(mine):,} wrong, {inside:,} of them as in the table")
    return "; ".join(parts) + "."


@dataclass(frozen=True, kw_only=True)
class Pair:
    """What the page shows of a pair: test images that were named wrongly, and typical ones of both categories.

    Attributes:
        category: the true category.
        predicted: the other category, which was named.
        groups: title and images of each kind.
    """

    category: str
    predicted: str
    groups: Sequence[tuple[str, Sequence[Example]]]


def pairs_shown(
    tests: pl.DataFrame, pairs: Sequence[tuple[str, str]], training: pl.DataFrame, images: Path
) -> list[Pair]:
    """Return the pictures of pairs.

    Args:
        tests: from :func:`read_tests`.
        pairs: the pairs to show.
        training: `image_id` and `category` of target training images.
        images: the folder of ingested images.
    """
    kinds = []  # of each pair: title, what the images show, the images
    for category, predicted in pairs:
        wrong = wrong_images(tests, category, predicted, IMAGES)
        used = set(wrong["image_id"])
        typical = [typical_images(tests, training, name, used, IMAGES) for name in (category, predicted)]
        kinds.append(
            [
                ("wrongly named", f"{category}, named {predicted}", wrong),
                (category, category, typical[0]),
                (predicted, predicted, typical[1]),
            ]
        )
    image_ids = dict.fromkeys(image_id for of_pair in kinds for *_, rows in of_pair for image_id in rows["image_id"])
    found = read_pictures(images, "target", list(image_ids), SIDE)
    shown = []
    for (category, predicted), of_pair in zip(pairs, kinds, strict=True):
        groups = [(title, _examples(rows, shows, found)) for title, shows, rows in of_pair]
        shown.append(Pair(category=category, predicted=predicted, groups=groups))
    return shown


def _examples(rows: pl.DataFrame, shows: str, pictures: Mapping[str, Thumbnail]) -> list[Example]:
    return [
        Example(
            image_id=row["image_id"],
            picture=pictures[row["image_id"]],
            alt=f"{shows}: image {row['image_id']}",
            title=row["caption"],
            lines=row["lines"],
        )
        for row in rows.iter_rows(named=True)
    ]


def wrong_images(tests: pl.DataFrame, category: str, predicted: str, most: int) -> pl.DataFrame:
    """Return images of a category that were named as another one: the most often named ones first.

    Ties are ordered by the mean probability of the wrong name, the largest first, then by image id.

    Returns:
        `image_id`, `caption`, and `lines`: how often each method named it so.
    """
    methods = tests["method"].unique(maintain_order=True).to_list()
    of_category = tests.filter(category=category).with_columns(wrong=pl.col("predicted") == predicted)
    counts = (
        of_category.sort("image_id", "method", "seed")
        .group_by("image_id", maintain_order=True)
        .agg(
            pl.col("wrong").sum().alias("times"),
            pl.col("probability").filter(pl.col("wrong")).cast(pl.Float64).mean().round(6).alias("probability"),
            *(pl.col("wrong").filter(pl.col("method") == name).sum().alias(f"wrong {name}") for name in methods),
            pl.col("seed").n_unique().alias("seeds"),
        )
        .filter(pl.col("times") > 0)
        .sort("times", "probability", "image_id", descending=[True, True, False])
        .head(most)
    )
    lines = [
        [f"{label(name)} {row[f'wrong {name}']}/{row['seeds']}" for name in methods]
        for row in counts.iter_rows(named=True)
    ]
    captions = [f"p {row['probability']:.2f}" for row in counts.iter_rows(named=True)]
    return _captioned(counts["image_id"].to_list(), captions, lines)


def typical_images(
    tests: pl.DataFrame, training: pl.DataFrame, category: str, used: set[str], most: int
) -> pl.DataFrame:
    """Return test images of a category that the first method names rightly, the surest ones first.

    They are ordered by the mean probability of the right name over the seeds, where another name counts as 0, then by
    image id. If there are too few, training images follow, by image id.

    Args:
        tests: from :func:`read_tests`.
        training: `image_id` and `category` of training images.
        category: the category.
        used: images that are shown already.
        most: largest number of images.

    Returns:
        As :func:`wrong_images`.
    """
    of_first = tests.filter(method=tests["method"][0], category=category).sort("image_id", "seed")
    right = pl.col("category") == pl.col("predicted")
    sure = (
        of_first.with_columns(pl.when(right).then(pl.col("probability").cast(pl.Float64)).otherwise(0.0))
        .group_by("image_id", maintain_order=True)
        .agg(pl.col("probability").mean().round(6))
        .filter(pl.col("probability") > 0, ~pl.col("image_id").is_in(list(used)))
        .sort("probability", "image_id", descending=[True, False])
        .head(most)
    )
    captions = {row["image_id"]: f"p {row['probability']:.2f}" for row in sure.iter_rows(named=True)}
    for image_id in training.filter(category=category)["image_id"].sort():
        if len(captions) < most and image_id not in used:
            captions.setdefault(image_id, "training image")
    return _captioned(list(captions), list(captions.values()), [[] for _ in captions])


def _captioned(image_ids: list[str], captions: list[str], lines: list[list[str]]) -> pl.DataFrame:
    columns = [
        pl.Series("image_id", image_ids, pl.String),
        pl.Series("caption", captions, pl.String),
        pl.Series("lines", lines, pl.List(pl.String)),
    ]
    return pl.DataFrame(columns)


def section(runs: Runs, evaluations: Path, training: pl.DataFrame, images: Path) -> dict[str, Any] | None:
    """Return what the page's section shows; None if no method recognises the target.

    Args:
        runs: the evaluated runs.
        evaluations: the folder of all evaluations.
        training: `image_id` and `category` of target training images.
        images: the folder of ingested images.

    Returns:
        `confusions` (:func:`confusions_table`), `first` (the method that the section is about), `methods` (labels),
        `texts` (:func:`confusions_texts`), `sentence`, `pairs` (:func:`pairs_shown`) and `side` (the longest of their
        pictures, pixels).
    """
    chosen = compared(runs)
    if chosen is None:
        return None
    methods = chosen.methods
    tests = read_tests(evaluations, methods, runs.seeds)
    confusions = confusions_table(tests)
    pairs = most_confused(confusions, PAIRS)
    shown = pairs_shown(tests, pairs[:PICTURED], training, images)
    pictures = [one.picture for pair in shown for _, examples in pair.groups for one in examples]
    return {
        "confusions": confusions,
        "first": methods[0],
        "methods": [label(method) for method in methods],
        "texts": confusions_texts(tests, pairs),
        "sentence": f"{sentence(tests, pairs)} {chosen.reason}",
        "pairs": shown,
        "side": max((max(one.width, one.height) for one in pictures), default=SIDE),
    }
