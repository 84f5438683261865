"""What the noise filter is worth: `python -m benchmarks.cleaned_or_noisy --truth TRUTH.tsv --place FOLDER`.

On a data set whose wrong labels are known, a sample of the source enters training in up to four ways (arms):

    noisy     all of it, wrong labels too
    cleaned   what the stage `clean` keeps
    smaller   as many of each category as `cleaned`, drawn blindly: what having fewer images costs
    right     exactly the images whose label is right: the best that any filter of whole images could do

Everything else is the same: ingested images, target images and their splits, recipes, seeds. Prints as Markdown tables
how the filter compares with the truth, and each method's Acc-T by arm, with the differences to `noisy` paired by seed
and image (`pipelines/intervals.py`). Works in FOLDER on a clone of the repository's HEAD with parameters of its own;
what is there already is not made again, so a run that was stopped goes on when started again. Long: a training takes
minutes. Nothing but `--truth` looks at the truth, and no stage reads it.

TRUTH.tsv: image id and true category, as the toy's truth/labels.tsv; or `image_id` and `is_wrong` (0, 1), so headed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that it runs as a file, too

from pipelines.artifacts import shard_of, whole_file, write_table  # noqa: E402
from pipelines.categories import normalise_category  # noqa: E402
from pipelines.intervals import Interval, paired_interval, wilson  # noqa: E402
from pipelines.report_runs import Point, Runs, read_runs  # noqa: E402

ARMS = ("noisy", "cleaned", "smaller", "right")


class Project:
    """A clone of HEAD in a folder, with parameters of its own; each of its steps runs once.

    Args:
        place: the folder; what earlier runs made there is used.
        preset: a parameter file of the repository.
        seeds: of splits and trainings.
        methods: names of recipes.

    Raises:
        SystemExit: the folder was made with other parameters.
    """

    def __init__(self, place: Path, preset: str, seeds: Sequence[int], methods: Sequence[str]) -> None:
        self.place, self.code, self.log = place, place / "code", place / "said.txt"
        place.mkdir(parents=True, exist_ok=True)
        if not self.code.exists():
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(place / "cloning")], check=True)
            (place / "cloning").rename(self.code)
        params = YAML(typ="safe", pure=True).load(self.code / preset)
        # the arms run in folders of their own: paths that are relative to the repository must not be
        params["raw"] = str((ROOT / params["raw"]).resolve() if not params["toys"] else self.place / "toy")
        if params["network"]["weights"].endswith(".safetensors"):
            params["network"]["weights"] = str((ROOT / params["network"]["weights"]).resolve())
        params |= {"seeds": list(seeds)}
        params["methods"]["names"] = list(methods)
        for study in ("out_of_class", "one_shot"):
            params[study] = {name: [] for name in params[study]}
        self.params = place / "params.json"  # JSON is YAML
        wanted = json.dumps(params, indent=1)
        if self.params.exists() and self.params.read_text() != wanted:
            sys.exit(f"{place} was made with other parameters; name an empty folder, or delete this one")
        self.params.write_text(wanted)
        self.raw, self.is_toy = Path(params["raw"]), bool(params["toys"])

    def run(self, output: Path, module: str, *arguments: str | Path) -> None:
        """Run a stage in the folder that its output belongs to, unless the output is there; a failure ends it all."""
        if output.exists():
            return
        started = time.perf_counter()
        command = [sys.executable, "-m", module, *map(str, arguments), "--output", str(output)]
        environment = os.environ | {"PYTHONPATH": str(self.code), "OMP_NUM_THREADS": "1"}
        # resume checkpoints lie under .state in the working folder: one per arm
        folder = next((parent for parent in output.parents if parent.name in ARMS), self.place)
        with self.log.open("a") as said:
            said.write(f"$ {' '.join(command)}\n")
            said.flush()
            done = subprocess.run(command, cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT)
        if done.returncode:
            sys.exit(f"{' '.join(command)} left with {done.returncode}; see {self.log}")
        seconds = time.perf_counter() - started
        print(f"{output.relative_to(self.place)}: {seconds:.0f} s", file=sys.stderr, flush=True)

    def prepare(self) -> None:
        """Make what all arms share: the ingested data set, its scores, and Table II on them."""
        place, params = self.place, ("--params", self.params)
        if self.is_toy:
            self.run(self.raw, "pipelines.synthesize", *params)
        images, clicks = place / "ingested/images", place / "ingested/clicks"
        self.run(place / "ingested", "pipelines.ingest", "--raw", self.raw, *params)
        self.run(place / "cleaner", "model.train_cleaner", "--images", images, *params)
        self.run(place / "scores", "pipelines.score", "--images", images, "--model", place / "cleaner", *params)
        self.run(place / "cleaned", "pipelines.clean", "--scores", place / "scores", "--clicks", clicks, *params)
        self.run(place / "queries", "pipelines.segment", "--clicks", clicks, *params)
        self.run(place / "recipes", "model.recipes", *params)

    def select(self, arm: str) -> None:
        """Select and split an arm's images."""
        self.run(
            self.place / arm / "splits", "pipelines.select", "--images", self.place / "ingested/images",
            "--cleaned", self.place / arm / "cleaned.parquet", "--params", self.params,
        )  # fmt: skip

    def tested(self, arm: str, seed: int) -> list[str]:
        """Return the target test images of an arm."""
        split = pl.read_parquet(self.place / arm / f"splits/seed-{seed}.parquet")
        return split.filter(domain="target", split="test")["image_id"].to_list()

    def train(self, arm: str, method: str, seed: int) -> None:
        """Train and evaluate one method on one arm with one seed."""
        folder, images = self.place / arm, self.place / "ingested/images"
        clicks, queries = self.place / "ingested/clicks", self.place / "queries"
        features, split = folder / "features", folder / f"splits/seed-{seed}.parquet"
        selected = folder / "splits/images.parquet"
        self.run(
            features / "vocabulary.parquet", "pipelines.vocabulary", "--clicks", clicks, "--queries", queries,
            "--images", selected, "--split", split, "--params", self.params,
        )  # fmt: skip
        self.run(
            features / "click_matrix", "pipelines.click_matrix", "--clicks", clicks, "--queries", queries,
            "--vocabulary", features / "vocabulary.parquet", "--images", selected,
        )  # fmt: skip
        self.run(
            features / "click_features", "pipelines.click_features", "--click-matrix", features / "click_matrix",
            "--vocabulary", features / "vocabulary.parquet",
        )  # fmt: skip
        run = Path("methods") / method / f"seed-{seed}"
        data = ("--images", images, "--split", split, "--features", features)
        recipe = self.place / "recipes/methods" / f"{method}.json"
        self.run(folder / "models" / run, "model.train", "--recipe", recipe, "--seed", str(seed), *data)
        self.run(
            folder / "evaluations" / run, "model.evaluate", "--model", folder / "models" / run, *data,
            "--params", self.params,
        )  # fmt: skip


def read_wrong(truth: Path, labelled: pl.DataFrame) -> pl.DataFrame:
    """Return `image_id` and `is_wrong` of every labelled image.

    Args:
        truth: see the module.
        labelled: `image_id`, `category` (normalised) of all source images.
    """
    lines = [line.split("\t") for line in truth.read_text(encoding="utf-8").splitlines()]
    headed = lines[0][:2] == ["image_id", "is_wrong"]
    known = pl.DataFrame([line[:2] for line in lines[headed:]], schema=["image_id", "says"], orient="row")
    joined = labelled.select("image_id", "category").join(known, on="image_id", how="left", validate="1:1")
    names = pl.col("says").map_elements(normalise_category, return_dtype=pl.String)
    joined = joined.with_columns((pl.col("says") == "1" if headed else names != pl.col("category")).alias("is_wrong"))
    unknown = joined.filter(pl.col("is_wrong").is_null())
    if len(unknown):
        sys.exit(f"{truth}: {len(unknown)} source images are not in it, as {unknown['image_id'][0]!r}")
    return joined.select("image_id", "is_wrong")


def kept_in(arm: str, cleaned: pl.DataFrame) -> pl.DataFrame:
    """Return the images with `kept` as the arm wants it.

    Args:
        arm: one of `ARMS`.
        cleaned: the stage's output, with `is_wrong`.
    """
    blind = pl.col("image_id").map_elements(lambda name: shard_of(f"blind {name}", 2**32), return_dtype=pl.UInt64)
    drawn = blind.rank("ordinal").over("category") <= pl.col("kept").sum().over("category")
    kept = {"noisy": pl.lit(True), "cleaned": pl.col("kept"), "smaller": drawn, "right": ~pl.col("is_wrong")}
    return cleaned.sort("image_id").with_columns(kept[arm].alias("kept"))


def share(part: int, whole: int) -> str:
    """Return a share in percent with Wilson's 95 % interval and what it was counted of."""
    if not whole:
        return "– (0 of 0)"
    low, high = wilson(part / whole, whole)[1:]
    return f"{100 * part / whole:.1f} % ({100 * low:.1f} to {100 * high:.1f}; {part:,} of {whole:,})"


def filter_table(cleaned: pl.DataFrame) -> Iterator[str]:
    """Yield how the filter compares with the truth, as lines of Markdown."""
    wrong, kept = cleaned["is_wrong"], cleaned["kept"]
    dropped = ~kept
    found = int((dropped & wrong).sum())
    yield "| Table II against the truth | share (95 %; of) |"
    yield "|---|---|"
    yield f"| wrong labels before | {share(int(wrong.sum()), len(cleaned))} |"
    yield f"| wrong labels after | {share(int((kept & wrong).sum()), int(kept.sum()))} |"
    yield f"| images kept | {share(int(kept.sum()), len(cleaned))} |"
    yield f"| precision: of the dropped, wrong | {share(found, int(dropped.sum()))} |"
    yield f"| recall: of the wrong, dropped | {share(found, int(wrong.sum()))} |"
    yield f"| of the right, dropped | {share(int((dropped & ~wrong).sum()), int((~wrong).sum()))} |"
    yield ""
    yield "| cell | images | wrong | dropped | of them wrong |"
    yield "|---|---:|---:|---:|---:|"
    cells = cleaned.group_by("rule").agg(
        pl.len(),
        pl.col("is_wrong").sum(),
        (~pl.col("kept")).sum(),
        (pl.col("is_wrong") & ~pl.col("kept")).sum().alias("found"),
    )
    for row in cells.sort("rule").iter_rows():
        yield f"| {' | '.join(f'{cell:,}' if isinstance(cell, int) else cell for cell in row)} |"


def differences(better: Runs, worse: Runs, point: Point) -> tuple[Interval, list[float]]:
    """Return the difference in Acc-T, in percentage points: its interval over images, and each seed's own."""
    rows = better.of(point, "target").join(
        worse.of(point, "target"), on=["seed", "image_id"], suffix="_worse", how="inner", validate="1:1"
    )
    assert len(rows) == len(better.of(point, "target")) == len(worse.of(point, "target"))
    rows = rows.select(
        "seed", "image_id", difference=100 * (pl.col("correct").cast(pl.Int8) - pl.col("correct_worse").cast(pl.Int8))
    )
    per_seed = rows.group_by("seed", maintain_order=True).agg(pl.col("difference").mean()).sort("seed")
    return paired_interval(rows), per_seed["difference"].to_list()


def accuracy_table(place: Path, arms: Sequence[str], methods: Sequence[str], seeds: Sequence[int]) -> Iterator[str]:
    """Yield each method's Acc-T by arm, over the seeds that every arm has, as lines of Markdown."""
    yield "| method | arm | images S | Acc-T, %, by seed | mean ± deviation | − noisy, points (95 %) | by seed |"
    yield "|---|---|---:|---|---:|---:|---|"
    for method in methods:
        point = Point("methods", method)
        done = [
            seed for seed in seeds
            if all((place / arm / "evaluations" / point.folder / f"seed-{seed}").exists() for arm in arms)
        ]  # fmt: skip
        if not done:
            yield f"| {method} | no seed is trained on all arms yet | | | | | |"
            continue
        runs = {arm: read_runs(place / arm / "evaluations", [point], done) for arm in arms}
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
                interval, each = differences(runs[arm], runs["noisy"], point)
                row += [
                    f"{interval.mean:+.1f} ({interval.low:+.1f} to {interval.high:+.1f})",
                    ", ".join(f"{d:+.1f}" for d in each),
                ]
            yield f"| {' | '.join(row)} |"


def training_images(arm: Path, seed: int) -> int:
    """Return how many source images an arm trains on."""
    split = pl.read_parquet(arm / f"splits/seed-{seed}.parquet")
    return len(split.filter(pl.col("domain") == "source", pl.col("split") == "train"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=Path, help="which labels are wrong (default, for the toy: its own)")
    parser.add_argument("--place", type=Path, required=True, help="folder for everything; goes on with what is there")
    parser.add_argument("--preset", default="params.yaml", help="parameter file, relative to the repository")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=["VGGsrc", "MTMDD-VM-star"])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), help="noisy is always one of them")
    parser.add_argument("--table", action="store_true", help="train nothing, print what there is")
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
        project.select(arm)
        if project.tested(arm, options.seeds[0]) != project.tested("noisy", options.seeds[0]):
            sys.exit(f"the arms noisy and {arm} test different target images: {arm} has lost a category")
    if not options.table:
        for seed in options.seeds:  # seeds outermost: a stopped run has every arm of the seeds that it did
            for method in options.methods:
                for arm in arms:
                    project.train(arm, method, seed)
    lines = [*filter_table(cleaned), "", *accuracy_table(project.place, arms, options.methods, options.seeds)]
    with whole_file(project.place / "tables.md") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
