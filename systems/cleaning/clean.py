"""Drop the source images whose label the classifier doubts (Table II); rarely clicked images need a higher probability.

    python -m systems.cleaning.clean --scores data/sets/toy/scores --clicks data/sets/toy/ingested/clicks \\
        --output data/sets/toy/cleaned

In: p(own category) of each source image (`schemas.SCORES`) and the click log (`schemas.CLICKS`).
Out: `images.parquet` (`schemas.CLEANED`: every scored image, whether it is kept, and which cell of the table decided)
and `summary.json` (the number of images and of kept images in each cell).

With `cleaning.clean.method: mixture` the thresholds are not Table II's, but found from scores and clicks
(`systems.cleaning.mixture`); `summary.json` then also has what the filter expects of itself (`expected`).

Beam options may follow, for example ``--direct_num_workers 2 --direct_running_mode multi_processing``; they don't
change the bytes of the output.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import apache_beam as beam
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from base import schemas
from base.artifacts import read_tables, whole_directory, write_json, write_table
from base.console import UserError, as_counts, rows_add_up, stage
from base.params import DEFAULT_PATH, Params, load_section
from pipelines.beam import runner
from pipelines.beam.concurrency import concurrently
from pipelines.beam.shards import read_shard, shard_files, sort_rows
from pipelines.beam.shuffle import GroupIntoShards, Packer, merge, packing
from systems.cleaning.mixture import UNSCORED, apply_mixture

# The rows of both inputs inside the job: a score with 0 clicks, or an image's clicks in one shard with a null category.
SCORE_OR_CLICKS = pa.schema(
    [
        pa.field("image_id", pa.string()),
        pa.field("category", pa.string()),
        pa.field("probability", pa.float32()),
        pa.field("clicks", pa.int64()),
    ]
)
CLICKED_SCORES = pa.schema([*schemas.SCORES, pa.field("clicks", pa.int64(), nullable=False)])


class CleanParams(Params):
    """The filter; Table II as parameters: size classes, and one threshold per class and half."""

    method: Literal["table", "mixture"] = Field(
        "table",
        description="table: Table II, which the other parameters define; mixture: thresholds that are found from scores"
        " and clicks (systems/cleaning/mixture.py)",
    )
    size_borders: list[int] = Field(
        description="category sizes n (images) at which a size class begins; below the first there is no threshold",
        min_length=1,
    )
    first_half: list[float] = Field(
        description="thresholds in [0, 1] for the half with the most clicks, one per border; a lower p drops the image"
    )
    second_half: list[float] = Field(description="the same for the half with the fewest clicks")
    below_first_border: Literal["keep", "drop"] = Field(
        "keep",
        description='the cell that Table II prints as "All": keep or drop all images of a category below the first '
        "border",
    )

    @model_validator(mode="after")
    def _is_a_table(self) -> "CleanParams":
        if self.size_borders[0] < 1 or sorted(set(self.size_borders)) != self.size_borders:
            raise ValueError(f"size_borders must be positive and ascending, found {self.size_borders}")
        for name in ("first_half", "second_half"):
            thresholds = getattr(self, name)
            if len(thresholds) != len(self.size_borders):
                raise ValueError(
                    f"{name} needs one threshold per border: {len(self.size_borders)} borders, "
                    f"{len(thresholds)} thresholds"
                )
            if not all(0 <= threshold <= 1 for threshold in thresholds):
                raise ValueError(f"{name} must lie in [0, 1], found {thresholds}")
        return self


def table_of_cells(params: CleanParams) -> pl.DataFrame:
    """Return Table II with one row per size class and half.

    The columns are `size_class` (0 is the class below the first border), `half`, `threshold` (null in class 0) and
    `rule`, the cell in words.
    """
    rows: list[tuple[int, str, float | None, str]] = []
    borders = params.size_borders
    for half, thresholds in (("first", params.first_half), ("second", params.second_half)):
        rows.append((0, half, None, f"n < {borders[0]}, {params.below_first_border} all"))
        for size_class, threshold in enumerate(thresholds, start=1):
            low = borders[size_class - 1]
            sizes = f"{low} <= n < {borders[size_class]}" if size_class < len(borders) else f"n >= {low}"
            rows.append((size_class, half, threshold, f"{sizes}, {half}, p < {threshold}"))
    return pl.DataFrame(
        rows,
        schema={"size_class": pl.Int32, "half": pl.String, "threshold": pl.Float32, "rule": pl.String},
        orient="row",
    )


def apply_table_ii(images: pl.DataFrame, params: CleanParams) -> pl.DataFrame:
    """Decide for each image whether it is kept, and name the cell of Table II that decides.

    Within a category of n images, ordered by descending clicks and then by image id, the first ceil(n / 2) images are
    the *first* half. An image is dropped if p < t, where t is its cell's threshold; p = t keeps it. Both are compared
    as float32, the type in which they are stored, so that the decision can be checked from the file. An image without
    a probability is dropped: its category was too small to train the cleaner on.

    Args:
        images: `image_id`, `category`, `clicks` (total, >= 0) and `probability` in [0, 1] or null.
        params: the table.

    Returns:
        The columns of `schemas.CLEANED`, rows by image id.

    Reference:
        The paper's section IV-A and Table II. The paper does not define the order of ties in clicks, nor the half of
        the middle image of an odd n.
    """
    borders = pl.lit(0, pl.Int32)
    for border in params.size_borders:
        borders = borders + (pl.col("category_size") >= border).cast(pl.Int32)
    rank = pl.int_range(pl.len()).over("category", order_by=[-pl.col("clicks"), "image_id"])
    in_first_half = 2 * rank < pl.col("category_size")
    unscored = pl.col("probability").is_null()
    below_first_border = pl.lit(params.below_first_border == "keep")
    return (
        images.with_columns(
            pl.col("probability").cast(pl.Float32), pl.len().over("category").cast(pl.Int32).alias("category_size")
        )
        .with_columns(
            borders.alias("size_class"),
            pl.when(in_first_half).then(pl.lit("first")).otherwise(pl.lit("second")).alias("half"),
        )
        .join(table_of_cells(params), on=["size_class", "half"], how="left", validate="m:1")
        .with_columns(
            pl.when(unscored)
            .then(pl.lit(False))
            .otherwise((pl.col("probability") >= pl.col("threshold")).fill_null(below_first_border))
            .alias("kept"),
            pl.when(unscored).then(pl.lit(UNSCORED)).otherwise(pl.col("rule")).alias("rule"),
            pl.when(unscored).then(None).otherwise(pl.col("threshold")).alias("threshold"),
        )
        .select(schemas.CLEANED.names)
        .sort("image_id")
    )


def with_total_clicks(scores: pl.DataFrame, clicks: pl.DataFrame) -> pl.DataFrame:
    """Add up each scored image's clicks over all its queries; an image that nobody clicked has 0.

    Args:
        scores: the columns of `schemas.SCORES`.
        clicks: `image_id`, `clicks`, any number of rows per image; images without a score are ignored.

    Raises:
        UserError: an image is scored twice.
    """
    twice = scores.filter(pl.col("image_id").is_duplicated()).sort("image_id")
    if len(twice):
        name = twice["image_id"][0]
        times = (twice["image_id"] == name).sum()
        raise UserError(f"image {name!r} has {times} scores, expected one; run the stage `cleaning:score` again")
    totals = clicks.group_by("image_id").agg(pl.col("clicks").sum())
    return scores.join(totals, on="image_id", how="left", validate="1:1").with_columns(pl.col("clicks").fill_null(0))


@dataclass(eq=False)
class CleanedImages(beam.PTransform):
    """A transform from scores and click log to one file; returns its (file name, number of rows).

    The file has `schemas.CLEANED`, or with the method mixture, which needs all images at once, `CLICKED_SCORES`.

    | step | in | out |
    |---|---|---|
    | `TotalClicks` | scores and clicks by image | scored images with their total clicks |
    | `TableII` | the same, by category | verdicts |
    | `OneFile` | verdicts | the file, rows by image id |

    Attributes:
        scores: shards of `schemas.SCORES`; the rows are grouped into as many groups.
        clicks: shards of `schemas.CLICKS`.
        params: the table.
        path: the file to write.
        packer: how the shuffles pass batches on.
    """

    scores: Sequence[Path]
    clicks: Sequence[Path]
    params: CleanParams
    path: Path
    packer: Packer

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Connect the steps: read, add up clicks by image, apply Table II by category, write."""
        scores = (
            pipeline
            | "ScoreShards" >> beam.Create(self.scores)
            | "Scores" >> concurrently("read", read_scores).with_output_types(pa.RecordBatch)
        )
        clicks = (
            pipeline
            | "ClickShards" >> beam.Create(self.clicks)
            | "Clicks" >> concurrently("read", read_clicks).with_output_types(pa.RecordBatch)
        )
        groups = len(self.scores)
        write = partial(write_rows, path=self.path)
        clicked = (
            (scores, clicks)
            | "ScoresAndClicks" >> beam.Flatten()
            | "TotalClicks"
            >> GroupIntoShards(SCORE_OR_CLICKS, "image_id", groups, add_up_clicks, self.packer, "total_clicks")
        )
        if self.params.method == "mixture":
            return clicked | "OneFile" >> GroupIntoShards(CLICKED_SCORES, "image_id", 1, write, self.packer, "write")
        return (
            clicked
            | "TableII"
            >> GroupIntoShards(
                CLICKED_SCORES, "category", groups, partial(judge, params=self.params), self.packer, "table_ii"
            )
            | "OneFile" >> GroupIntoShards(schemas.CLEANED, "image_id", 1, write, self.packer, "write")
        )


def read_scores(shard: Path) -> Iterable[pa.RecordBatch]:
    """Read a shard of scores as rows with 0 clicks.

    Raises:
        UserError: a probability is NaN. No threshold would drop it, because Polars orders NaN above every number.
    """
    scores = pl.DataFrame(pa.Table.from_batches([read_shard(shard, schemas.SCORES)]))
    nan = scores.filter(pl.col("probability").is_nan())
    if len(nan):
        raise UserError(
            f"{shard}: image {nan['image_id'][0]!r} has the probability NaN; run the stage `cleaning:score` again"
        )
    yield as_batch(scores.with_columns(clicks=pl.lit(0, pl.Int64)), SCORE_OR_CLICKS)


def read_clicks(shard: Path) -> Iterable[pa.RecordBatch]:
    """Read a shard of the click log as one row per image, without category and probability."""
    clicks = pl.scan_parquet(shard).group_by("image_id").agg(pl.col("clicks").sum()).collect(engine="streaming")
    nothing = {"category": pl.lit(None, pl.String), "probability": pl.lit(None, pl.Float32)}
    yield as_batch(clicks.with_columns(**nothing), SCORE_OR_CLICKS)


def add_up_clicks(shard: int, rows: pa.RecordBatch) -> Iterable[pa.RecordBatch]:
    """Join a group's scores and clicks to scored images with their total clicks."""
    frame = pl.DataFrame(pa.Table.from_batches([rows]))
    is_score = pl.col("category").is_not_null()
    scores = frame.filter(is_score).select(schemas.SCORES.names)
    clicks = frame.filter(~is_score).select("image_id", "clicks")
    yield as_batch(with_total_clicks(scores, clicks), CLICKED_SCORES)


def judge(shard: int, images: pa.RecordBatch, params: CleanParams) -> Iterable[pa.RecordBatch]:
    """Apply Table II to a group; a category's images are all in one group."""
    yield as_batch(apply_table_ii(pl.DataFrame(pa.Table.from_batches([images])), params), schemas.CLEANED)


def write_rows(shard: int, images: pa.RecordBatch, path: Path) -> Iterable[tuple[str, int]]:
    """Write all rows, by image id."""
    rows = sort_rows(images, ("image_id",))
    write_table(pa.Table.from_batches([rows]), path)
    yield path.name, rows.num_rows


def as_batch(frame: pl.DataFrame, schema: pa.Schema) -> pa.RecordBatch:
    """Return a frame's columns as one batch of the schema."""
    return merge(frame.select(schema.names).to_arrow().to_batches(), schema)


def run(
    scores: Path, clicks: Path, output: Path, params: CleanParams, beam_arguments: Sequence[str] = ()
) -> dict[str, Any]:
    """Apply the filter to all scored images and write the folder; return the content of summary.json.

    Raises:
        UserError: there are no scores or no click log, an image is scored twice, or a probability is NaN.
    """
    score_shards, click_shards = shard_files(scores), shard_files(clicks)
    if not sum(pq.read_metadata(shard).num_rows for shard in score_shards):
        raise UserError(
            f"{scores}: no scores; check in the closing lines of `ingest` that the data set has source images"
        )
    with whole_directory(output) as folder:
        path = folder / "images.parquet"
        with packing(beam_arguments, output) as packer, runner.pipeline(beam_arguments) as pipeline:
            _ = pipeline | "CleanedImages" >> CleanedImages(score_shards, click_shards, params, path, packer)
        expected = None
        if params.method == "mixture":
            cleaned, expected = apply_mixture(pl.DataFrame(read_tables(path)))
            write_table(cleaned.to_arrow().cast(schemas.CLEANED), path)
        summary = summarise(pl.DataFrame(read_tables(path)))
        if expected is not None:
            summary["expected"] = expected
        write_json(summary, folder / "summary.json")
    return summary


def summarise(cleaned: pl.DataFrame) -> dict[str, Any]:
    """Count images and kept images, overall and by cell, and list the categories that lost all their images."""
    by_rule = (
        cleaned.group_by("rule", "half")
        .agg(
            pl.len().alias("images"),
            pl.col("kept").sum(),
            pl.col("category").n_unique().alias("categories"),
            pl.col("category_size").min().alias("smallest"),
        )
        .sort("smallest", "half", "rule")
        .group_by("rule", maintain_order=True)
        .agg(pl.col("images", "kept").sum(), pl.col("categories").max())
    )
    left = cleaned.group_by("category").agg(pl.col("kept").sum()).filter(pl.col("kept") == 0)
    return {
        "images": len(cleaned),
        "kept": int(cleaned["kept"].sum()),
        "categories": cleaned["category"].n_unique(),
        "categories_without_images_left": sorted(left["category"]),
        "rules": by_rule.to_dicts(),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=Path, required=True, help="folder of p(own category), from `score`")
    parser.add_argument("--clicks", type=Path, required=True, help="folder of the ingested click log")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH)
    arguments, beam_arguments = parser.parse_known_args(argv)
    with stage("clean") as closing:
        params = load_section(CleanParams, "cleaning.clean", arguments.params)
        summary = run(arguments.scores, arguments.clicks, arguments.output, params, beam_arguments)
        dropped = {rule["rule"]: rule["images"] - rule["kept"] for rule in summary["rules"]}
        rows_add_up(summary["images"], summary["kept"], dropped, "images")
        closing.counts = {
            "images scored": summary["images"],
            "images kept": summary["kept"],
            **as_counts("dropped", {rule: count for rule, count in dropped.items() if count}),
            "categories without an image left": len(summary["categories_without_images_left"]),
            **{f"expected: {name}": value for name, value in summary.get("expected", {}).items() if value is not None},
        }
        share = summary["kept"] / summary["images"]
        closing.wrote[str(arguments.output)] = f"{share:.1%} of the images kept"
        closing.next_command = "python -m pipelines.splits.select (see dvc.yaml)"


if __name__ == "__main__":
    main()
