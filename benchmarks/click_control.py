"""Measure the gain from clicks: `python -m benchmarks.click_control --place FOLDER --preset presets/birds50.yaml`.

The benchmark trains on the same images, labels and splits, with the same seeds:

    clicks          the method as it is
    no_click_loss   the same network without click loss (lambda = 0): v^ exists, but is not trained to predict clicks
    shuffled        the method with a click log whose images were exchanged at random, so clicks don't fit the image
    target          VGGimg: the target alone, no source, no clicks

If the clicks help, `clicks` is above the two controls (claim 9: shuffled, the click branch's advantage must vanish).
The benchmark prints a Markdown table: Acc-S, Acc-T, RMSE-S with its lines of reference, and the paired differences in
Acc-T to `clicks`, with 95 % intervals over seeds and images (`report/intervals.py`), moderated by the noise of all four
arms (`report/training_noise.py`). It works in FOLDER on a clone of HEAD and continues where it was stopped. It is
slow: a training takes minutes.
"""

import argparse
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that the module also runs as a file

from base.artifacts import read_tables, whole_directory, whole_file, write_table  # noqa: E402
from base.schemas import CLICKS  # noqa: E402
from benchmarks.project import Project, differences, noise_of  # noqa: E402
from pipelines.beam.shards import shard_files  # noqa: E402
from pipelines.ingest.click_data import LATER_LOGS, is_click_log  # noqa: E402
from systems.mtmdd.report.references import reference_lines, references_table  # noqa: E402
from systems.mtmdd.report.runs import Runs, read_runs  # noqa: E402
from systems.mtmdd.runs import Point  # noqa: E402

TARGET_ONLY = "VGGimg"
ARMS = ("clicks", "no_click_loss", "shuffled", "target")


def exchange_images(ingested: Path, output: Path) -> None:
    """Write an ingested click log with its images exchanged at random (seed 0): `clicks/`, in the same shards.

    Only source images that have clicks are exchanged, one for one, so that the same images have clicks as before.
    Ids without an image keep their rows.

    Args:
        ingested: the output of `ingest`.
        output: the folder to write, whole or not at all.
    """
    log = ingested / "clicks"
    is_source = pl.col("domain") == "source"
    known = pl.DataFrame(read_tables(ingested / "images", columns=["image_id", "domain"])).filter(is_source)
    clicked = pl.DataFrame(read_tables(log, columns=["image_id"])).unique().join(known, on="image_id", how="semi")
    images = clicked["image_id"].sort()
    exchanged = images.gather(np.random.default_rng(0).permutation(len(images)))
    with whole_directory(output) as folder:
        (folder / "clicks").mkdir()
        for shard in shard_files(log):
            rows = pl.DataFrame(read_tables(shard)).with_columns(pl.col("image_id").replace(images, exchanged))
            write_table(rows.sort("query", "image_id").to_arrow().cast(CLICKS), folder / "clicks" / shard.name)


def link_with_log(raw: Path, log: Path, output: Path) -> None:
    """Make a raw data set of links: the same images and labels, and another click log as the only one."""
    (output / "source").mkdir(parents=True)
    (output / "target").symlink_to(raw / "target")
    for file in (raw / "source").iterdir():
        if file.name != LATER_LOGS.name and not is_click_log(file):
            (output / "source" / file.name).symlink_to(file)
    (output / "source/clicks.tsv").symlink_to(log.resolve())  # its format is detected from its content


def point_of(arm: str, method: str) -> Point:
    """Return the point of an arm."""
    return Point("methods", TARGET_ONLY if arm == "target" else method)


def table(place: Path, method: str, seeds: Sequence[int], arms: Sequence[str] = ARMS) -> Iterator[str]:
    """Yield the results for the seeds that every one of these arms has, as lines of Markdown."""
    points = {arm: point_of(arm, method) for arm in arms}
    done = [
        seed for seed in seeds
        if all((place / arm / "evaluations" / point.name / f"seed-{seed}").exists() for arm, point in points.items())
    ]  # fmt: skip
    if not done:
        yield "no seed is trained on all arms yet"
        return
    runs = {arm: read_runs(place / arm / "evaluations", [point], done) for arm, point in points.items()}
    noise = noise_of((runs[arm], point) for arm, point in points.items())
    yield f"| {method}, seeds {', '.join(map(str, done))} | Acc-S, % | Acc-T, % | by seed | RMSE-S | clicks − it, points (95 %) | by seed |"  # noqa: E501
    yield "|---|---:|---:|---|---:|---:|---|"
    for arm, point in points.items():
        metrics = {
            name: metric(runs[arm], point, done, name) for name in ("accuracy_source", "accuracy_target", "rmse_source")
        }
        row = [arm, mean(metrics["accuracy_source"], 1), mean(metrics["accuracy_target"], 1)]
        row += [
            ", ".join(f"{value:.1f}" for value in metrics["accuracy_target"] if value is not None),
            mean(metrics["rmse_source"], 3),
        ]
        if arm == "clicks":
            row += ["–", "–"]
        else:
            interval, each = differences(runs["clicks"], runs[arm], points["clicks"], point, noise)
            row += [f"{interval.mean:+.1f} ({interval.low:+.1f} to {interval.high:+.1f})"]
            row += [", ".join(f"{value:+.1f}" for value in each)]
        yield f"| {' | '.join(row)} |"
    logs = {"clicks": "true log", "shuffled": "shuffled log"}
    for arm, log in ((arm, logs[arm]) for arm in arms if arm in logs):
        for name, rmse in reference_lines(references_table(runs[arm])).items():
            yield f"| reference, {log}: {name} | – | – | – | {rmse:.3f} | – | – |"


def metric(runs: Runs, point: Point, seeds: Sequence[int], name: str) -> list[float | None]:
    """Return a metric by seed."""
    return [runs.metrics[point, seed][name] for seed in seeds]


def mean(values: Sequence[float | None], digits: int) -> str:
    """Return the mean and standard deviation over seeds, or a dash where a value is missing."""
    present = [value for value in values if value is not None]
    if len(present) < len(values):
        return "–"
    deviation = f" ± {statistics.stdev(present):.{digits}f}" if len(present) > 1 else ""
    return f"{statistics.mean(present):.{digits}f}{deviation}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--place", type=Path, required=True, help="folder for all outputs; existing ones are used")
    parser.add_argument("--preset", default="params.yaml", help="parameter file, relative to the repository")
    parser.add_argument(
        "--shuffled",
        type=Path,
        help="a raw shuffled click log (default: the checked rows of the true log, exchanged)",
    )
    parser.add_argument("--method", default="MTMDD-VM-star")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS, help="some of them (default: all)")
    parser.add_argument("--table", action="store_true", help="train nothing, print the existing results")
    options = parser.parse_args()
    if "clicks" not in options.arms:
        parser.error("--arms: clicks is missing, with which the others are compared")
    project = Project(options.place.resolve(), options.preset, options.seeds, [TARGET_ONLY, options.method])
    if not options.table:
        train_all(project, options.method, options.seeds, options.arms, options.shuffled)
    lines = list(table(project.place, options.method, options.seeds, options.arms))
    with whole_file(project.place / "tables.md") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def train_all(project: Project, method: str, seeds: Sequence[int], arms: Sequence[str], shuffled: Path | None) -> None:
    """Train and evaluate these arms with every seed; seeds are the outer loop."""
    place = project.place
    project.prepare()
    project.select(place / "splits", place / "cleaned/images.parquet")
    params = project.read_params()
    params["mtmdd"]["objective"]["lambda"] = 0.0
    project.run(
        place / "recipes_no_click_loss",
        "systems.mtmdd.recipes",
        "--params",
        project.write_params("params_no_click_loss", params),
    )
    if shuffled is not None:
        raw = place / "shuffled_raw"
        if not raw.exists():
            link_with_log(project.raw, shuffled, place / f"making.{os.getpid()}")
            (place / f"making.{os.getpid()}").rename(raw)
        project.run(
            place / "shuffled_ingested", "pipelines.ingest.click_data", "--raw", raw, "--params", project.params
        )
    elif not (place / "shuffled_ingested").exists():
        exchange_images(place / "ingested", place / "shuffled_ingested")
    project.run(
        place / "shuffled_queries", "pipelines.words.segment", "--clicks", place / "shuffled_ingested/clicks",
        "--params", project.params,
    )  # fmt: skip
    splits = place / "splits"
    project.make_features(place / "features", splits, place / "ingested/clicks", place / "queries")
    project.make_features(
        place / "shuffled_features", splits, place / "shuffled_ingested/clicks", place / "shuffled_queries"
    )
    for seed in seeds:
        for arm in arms:
            (place / arm).mkdir(exist_ok=True)
            features = place / ("shuffled_features" if arm == "shuffled" else "features")
            recipes = "recipes_no_click_loss" if arm == "no_click_loss" else "recipes"
            project.train(arm, point_of(arm, method).method, seed, splits, features, recipes)


if __name__ == "__main__":
    main()
