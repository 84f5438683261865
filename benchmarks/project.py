"""A clone of the repository in which a benchmark runs stages; a stopped benchmark continues where it stopped."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from ruamel.yaml import YAML

from report.intervals import Interval, estimate, subtracted
from report.training_noise import TrainingNoise, moderated, training_noise
from systems.mtmdd.report.runs import Runs
from systems.mtmdd.runs import Point

ROOT = Path(__file__).resolve().parents[1]


class Project:
    """A clone of HEAD in a folder, with its own parameters; a step runs only if its output does not exist.

    An *arm* is a subfolder with the files that differ between the arms; files that all arms share are beside the arms.

    Args:
        place: the folder; outputs of earlier runs in it are used.
        preset: a parameter file of the repository.
        seeds: the seeds of splits and trainings.
        methods: names of methods.

    Attributes:
        params: the parameter file.
        data_set: the name of the data set that MTMDD-VM learns from; other data sets of the preset are left out.
        raw: the data set's raw folder.
        is_toy: whether the benchmark draws the data set.

    Raises:
        SystemExit: the folder was made with other parameters.
    """

    def __init__(self, place: Path, preset: str, seeds: Sequence[int], methods: Sequence[str]) -> None:
        self.place, self.code, self.log = place, place / "code", place / "output.txt"
        place.mkdir(parents=True, exist_ok=True)
        if not self.code.exists():
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(place / "cloning")], check=True)
            (place / "cloning").rename(self.code)
        params = YAML(typ="safe", pure=True).load(self.code / preset)
        self.data_set = params["mtmdd"]["data_set"]
        self.is_toy = self.data_set in params["toys"]
        # each arm runs in its own folder, so paths relative to the repository are made absolute
        self.raw = place / "toy" if self.is_toy else (ROOT / params["data_sets"][self.data_set]).resolve()
        params["data_sets"] = {self.data_set: str(self.raw)}
        params["toys"] = {name: animals for name, animals in params["toys"].items() if name == self.data_set}
        for network in (params["cleaning"]["network"], params["mtmdd"]["network"]):
            if network["weights"].endswith(".safetensors"):
                network["weights"] = str((ROOT / network["weights"]).resolve())
        params["seeds"] = list(seeds)
        params["mtmdd"] |= {"runs": list(methods), "cross_object": {"methods": [], "sources": []}}
        self.params = self.write_params("params", params)

    def write_params(self, name: str, params: dict[str, Any]) -> Path:
        """Write a parameter file, as JSON, which is YAML.

        Raises:
            SystemExit: the file exists with other content.
        """
        file, wanted = self.place / f"{name}.json", json.dumps(params, indent=1)
        if file.exists() and file.read_text() != wanted:
            sys.exit(f"{self.place} was made with other parameters; name another folder, or delete this one")
        file.write_text(wanted)
        return file

    def read_params(self) -> dict[str, Any]:
        """Return the parameters."""
        params: dict[str, Any] = json.loads(self.params.read_text())
        return params

    def run(self, output: Path, module: str, *arguments: str | Path) -> None:
        """Run a stage in its arm's folder, unless the output exists; a failure ends the benchmark."""
        if output.exists():
            return
        started = time.perf_counter()
        command = [sys.executable, "-m", module, *map(str, arguments), "--output", str(output)]
        environment = os.environ | {"PYTHONPATH": str(self.code), "OMP_NUM_THREADS": "1"}
        # resume checkpoints are under .state in the working folder, so each arm has its own
        folder = self.place / output.relative_to(self.place).parts[0]
        folder = folder if folder.is_dir() else self.place
        with self.log.open("a") as output_file:
            output_file.write(f"$ {' '.join(command)}\n")
            output_file.flush()
            done = subprocess.run(command, cwd=folder, env=environment, stdout=output_file, stderr=subprocess.STDOUT)
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed with exit code {done.returncode}; see {self.log}")
        seconds = time.perf_counter() - started
        print(f"{output.relative_to(self.place)}: {seconds:.0f} s", file=sys.stderr, flush=True)

    def prepare(self) -> None:
        """Make the files that all arms share: the ingested data set, scores, the result of Table II, words, recipes."""
        place, params = self.place, ("--params", self.params)
        if self.is_toy:
            animals = self.read_params()["toys"][self.data_set]
            self.run(self.raw, "pipelines.toy.synthesize", "--animals", animals, *params)
        images, clicks = place / "ingested/images", place / "ingested/clicks"
        self.run(place / "ingested", "pipelines.ingest.click_data", "--raw", self.raw, *params)
        self.run(place / "cleaner", "systems.cleaning.train", "--images", images, *params)
        self.run(place / "scores", "systems.cleaning.score", "--images", images, "--model", place / "cleaner", *params)
        self.run(place / "cleaned", "systems.cleaning.clean", "--scores", place / "scores", "--clicks", clicks, *params)
        self.run(place / "queries", "pipelines.words.segment", "--clicks", clicks, *params)
        self.run(place / "recipes", "systems.mtmdd.recipes", *params)

    def select(self, output: Path, cleaned: Path) -> None:
        """Select and split the images that a cleaned table keeps."""
        self.run(
            output, "pipelines.splits.select", "--images", self.place / "ingested/images", "--cleaned", cleaned,
            "--params", self.params,
        )  # fmt: skip

    def make_features(self, features: Path, splits: Path, clicks: Path, queries: Path) -> None:
        """Make vocabulary and click features of selected images from a log and its words."""
        split = next(iter(sorted(splits.glob("seed-*.parquet"))))
        selected = splits / "images.parquet"
        self.run(
            features / "vocabulary.parquet", "pipelines.words.vocabulary", "--clicks", clicks, "--queries", queries,
            "--images", selected, "--split", split, "--params", self.params,
        )  # fmt: skip
        self.run(
            features / "click_matrix", "pipelines.words.click_matrix", "--clicks", clicks, "--queries", queries,
            "--vocabulary", features / "vocabulary.parquet", "--images", selected,
        )  # fmt: skip
        self.run(
            features / "click_features", "pipelines.words.click_features", "--click-matrix", features / "click_matrix",
            "--vocabulary", features / "vocabulary.parquet",
        )  # fmt: skip

    def train(
        self,
        arm: str,
        method: str,
        seed: int,
        splits: Path,
        features: Path,
        recipes: str = "recipes",
        split_seed: int | None = None,
    ) -> None:
        """Train and evaluate one method on one arm with one seed; the split is the seed's, or that of `split_seed`."""
        folder, run = self.place / arm, Path(method) / f"seed-{seed}"
        split = splits / f"seed-{seed if split_seed is None else split_seed}.parquet"
        data = ("--images", self.place / "ingested/images", "--split", split, "--features", features)
        recipe = self.place / recipes / f"{method}.json"
        self.run(folder / "models" / run, "systems.mtmdd.train", "--recipe", recipe, "--seed", str(seed), *data)
        self.run(
            folder / "evaluations" / run, "systems.mtmdd.evaluate", "--model", folder / "models" / run, *data,
            "--params", self.params,
        )  # fmt: skip


def tested_images(split: Path) -> list[str]:
    """Return the target test images of a split."""
    return pl.read_parquet(split).filter(domain="target", split="test")["image_id"].to_list()


def noise_of(arms: Iterable[tuple[Runs, Point]]) -> TrainingNoise | None:
    """Return the noise of training in Acc-T, in percentage points, from several arms with the same seeds."""
    rows = [[runs.metrics[point, seed]["accuracy_target"] for seed in runs.seeds] for runs, point in arms]
    return training_noise(np.array(rows, np.float64))


def differences(
    better: Runs, worse: Runs, point: Point, other: Point, noise: TrainingNoise | None
) -> tuple[Interval, list[float]]:
    """Return the difference in Acc-T, in percentage points: its 95 % interval, and the difference of each seed.

    For one seed the interval covers the choice of images alone (`report.intervals`).

    Args:
        better, worse: runs on the same test images.
        point: the point of `better`.
        other: the point of `worse`.
        noise: from :func:`noise_of`.
    """
    one, of_other = (
        runs.of(its_point, "target").cast({"value": pl.Int8}) for runs, its_point in ((better, point), (worse, other))
    )
    rows = subtracted(one, of_other)
    per_seed = rows.group_by("seed").agg(pl.col("value").mean() * 100).sort("seed")
    found = moderated(estimate(rows, num_runs=2).scaled(100), noise)
    return found.interval(), per_seed["value"].to_list()
