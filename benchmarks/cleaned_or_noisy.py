"""Measure the gain of the noise filter: `python -m benchmarks.cleaned_or_noisy --truth TRUTH.tsv --place FOLDER`.

On a data set with known wrong labels, the source images are used for training in up to four ways (arms):

    noisy     all images, also those with wrong labels
    cleaned   the images that the stage `clean` keeps
    smaller   as many of each category as `cleaned`, drawn at random: shows the cost of having fewer images
    right     exactly the images whose label is right: the best that any filter of whole images could do

Everything else is the same: ingested images, target images and their splits, recipes, seeds. The benchmark prints as
Markdown tables how the filter compares with the truth, and each method's Acc-T by arm, with the differences to `noisy`
paired by seed and image, with 95 % intervals over both (`report/intervals.py`), moderated by the noise of all arms
(`report/training_noise.py`). It works in FOLDER on a clone of the repository's HEAD with its own
parameters. It does not make existing outputs again, so a stopped run continues when it is started again. It is slow: a
training takes minutes. Only `--truth` reads the truth, no stage does.

TRUTH.tsv has image id and true category, as the toy's truth/labels.tsv, or `image_id` and `is_wrong` (0, 1) with a
header of these names.
"""

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that the module also runs as a file

from base.artifacts import shard_of, whole_file, write_table  # noqa: E402
from benchmarks.project import Project, differences, noise_of, tested_images  # noqa: E402
from pipelines.ingest.categories import normalise_category  # noqa: E402
from report.intervals import wilson  # noqa: E402
from systems.mtmdd.report.runs import read_runs  # noqa: E402
from systems.mtmdd.runs import Point  # noqa: E402

ARMS = ("noisy", "cleaned", "smaller", "right")


def read_wrong(truth: Path, labelled: pl.DataFrame) -> pl.DataFrame:
    """Return `image_id` and `is_wrong` of every labelled image.

    Args:
        truth: TRUTH.tsv, described in the module.
        labelled: `image_id`, `category` (normalised) of all source images.
    """
    lines = [line.split("\t") for line in truth.read_text(encoding="utf-8").splitlines()]
    has_header = lines[0][:2] == ["image_id", "is_wrong"]
    known = pl.DataFrame([line[:2] for line in lines[has_header:]], schema=["image_id", "truth"], orient="row")
    joined = labelled.select("image_id", "category").join(known, on="image_id", how="left", validate="1:1")
    names = pl.col("truth").map_elements(normalise_category, return_dtype=pl.String)
    joined = joined.with_columns(
        (pl.col("truth") == "1" if has_header else names != pl.col("category")).alias("is_wrong")
    )
    unknown = joined.filter(pl.col("is_wrong").is_null())
    if len(unknown):
        sys.exit(f"{truth}: {len(unknown)} source images are missing, for example {unknown['image_id'][0]!r}")
    return joined.select("image_id", "is_wrong")


def kept_in(arm: str, cleaned: pl.DataFrame) -> pl.DataFrame:
    """Return the images with the arm's column `kept`.

    Args:
        arm: one of `ARMS`.
        cleaned: the output of the stage `clean`, with `is_wrong`.
    """
    order = pl.col("image_id").map_elements(lambda name: shard_of(f"blind {name}", 2**32), return_dtype=pl.UInt64)
    sampled = order.rank("ordinal").over("category") <= pl.col("kept").sum().over("category")
    kept = {"noisy": pl.lit(True), "cleaned": pl.col("kept"), "smaller": sampled, "right": ~pl.col("is_wrong")}
    return cleaned.sort("image_id").with_columns(kept[arm].alias("kept"))


def share(part: int, whole: int) -> str:
    """Return a share in percent with Wilson's 95 % interval and both counts."""
    if not whole:
        return "– (0 of 0)"
    low, high = wilson(part / whole, whole)[1:]
    return f"{100 * part / whole:.1f} % ({100 * low:.1f} to {100 * high:.1f}; {part:,} of {whole:,})"


def filter_table(cleaned: pl.DataFrame) -> Iterator[str]:
    """Yield the comparison of the filter with the truth, as lines of Markdown."""
    wrong, kept = cleaned["is_wrong"], cleaned["kept"]
    dropped = ~kept
    found = int((dropped & wrong).sum())
    yield "| Table II against the truth | share (95 %; of) |"
    yield "|---|---|"
    yield f"| wrong labels before | {share(int(wrong.sum()), len(cleaned))} |"
    yield f"| wrong labels after | {share(int((kept & wrong).sum()), int(kept.sum()))} |"
    yield f"| images kept | {share(int(kept.sum()), len(cleaned))} |"
    yield f"| precision: wrong among the dropped | {share(found, int(dropped.sum()))} |"
    yield f"| recall: dropped among the wrong | {share(found, int(wrong.sum()))} |"
    yield f"| dropped among the right | {share(int((dropped & ~wrong).sum()), int((~wrong).sum()))} |"
    yield ""
    yield "| cell | images | wrong | dropped | wrong among the dropped |"
    yield "|---|---:|---:|---:|---:|"
    cells = cleaned.group_by("rule").agg(
        pl.len(),
        pl.col("is_wrong").sum(),
        (~pl.col("kept")).sum(),
        (pl.col("is_wrong") & ~pl.col("kept")).sum().alias("found"),
    )
    for row in cells.sort("rule").iter_rows():
        yield f"| {' | '.join(f'{cell:,}' if isinstance(cell, int) else cell for cell in row)} |"


def accuracy_table(place: Path, arms: Sequence[str], methods: Sequence[str], seeds: Sequence[int]) -> Iterator[str]:
    """Yield each method's Acc-T by arm, over the seeds that every arm has, as lines of Markdown."""
    yield "| method | arm | images S | Acc-T, %, by seed | mean ± deviation | − noisy, points (95 %) | by seed |"
    yield "|---|---|---:|---|---:|---:|---|"
    for method in methods:
        point = Point("methods", method)
        done = [
            seed for seed in seeds
            if all((place / arm / "evaluations" / point.name / f"seed-{seed}").exists() for arm in arms)
        ]  # fmt: skip
        if not done:
            yield f"| {method} | no seed is trained on all arms yet | | | | | |"
            continue
        runs = {arm: read_runs(place / arm / "evaluations", [point], done) for arm in arms}
        noise = noise_of((of_arm, point) for of_arm in runs.values())
        for arm in arms:
            accuracies = [runs[arm].metrics[point, seed]["accuracy_target"] for seed in done]
            deviation = f" ± {statistics.stdev(accuracies):.1f}" if len(done) > 1 else ""
            row = [
                method, arm, f"{training_images(place / arm, done[0]):,}", ", ".join(f"{a:.1f}" for a in accuracies),
                f"{statistics.mean(accuracies):.1f}{deviation}",
            ]  # fmt: skip
            if arm == "noisy":
                row += ["–", "–"]
            else:
                interval, each = differences(runs[arm], runs["noisy"], point, point, noise)
                row += [
                    f"{interval.mean:+.1f} ({interval.low:+.1f} to {interval.high:+.1f})",
                    ", ".join(f"{d:+.1f}" for d in each),
                ]
            yield f"| {' | '.join(row)} |"


def training_images(arm: Path, seed: int) -> int:
    """Return the number of source images that an arm trains on."""
    split = pl.read_parquet(arm / f"splits/seed-{seed}.parquet")
    return len(split.filter(pl.col("domain") == "source", pl.col("split") == "train"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=Path, help="TRUTH.tsv (default, for the toy: the toy's own)")
    parser.add_argument("--place", type=Path, required=True, help="folder for all outputs; existing ones are used")
    parser.add_argument("--preset", default="params.yaml", help="parameter file, relative to the repository")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=["VGGsrc", "MTMDD-VM-star"])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), help="noisy is always included")
    parser.add_argument("--table", action="store_true", help="train nothing, print the existing results")
    options = parser.parse_args()
    arms = [arm for arm in ARMS if arm in options.arms or arm == "noisy"]
    project = Project(options.place.resolve(), options.preset, options.seeds, options.methods)
    project.prepare()
    truth = options.truth or project.raw / "truth/labels.tsv"
    cleaned = pl.read_parquet(project.place / "cleaned/images.parquet")
    cleaned = cleaned.join(read_wrong(truth, cleaned), on="image_id", validate="1:1")
    for arm in arms:
        folder = project.place / arm
        folder.mkdir(exist_ok=True)
        if not (folder / "cleaned.parquet").exists():
            write_table(kept_in(arm, cleaned).drop("is_wrong").to_arrow(), folder / "cleaned.parquet")
        project.select(folder / "splits", folder / "cleaned.parquet")
        first = f"splits/seed-{options.seeds[0]}.parquet"
        if tested_images(folder / first) != tested_images(project.place / "noisy" / first):
            sys.exit(f"the arms noisy and {arm} test different target images: {arm} has lost a category")
    if not options.table:
        for seed in options.seeds:  # seeds are outermost, so a stopped run has all arms of the finished seeds
            for method in options.methods:
                for arm in arms:
                    splits, features = project.place / arm / "splits", project.place / arm / "features"
                    project.make_features(
                        features, splits, project.place / "ingested/clicks", project.place / "queries"
                    )
                    project.train(arm, method, seed, splits, features)
    lines = [*filter_table(cleaned), "", *accuracy_table(project.place, arms, options.methods, options.seeds)]
    with whole_file(project.place / "tables.md") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
