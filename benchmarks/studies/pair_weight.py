"""How rate, weight and margin of the siamese fine-tuning are chosen, and what pairs do at each of them.

    python -m benchmarks.studies.pair_weight --recipe data/siamese/recipes/given.json --seeds 0 1 2 \\
        --images data/sets/birds50/ingested/images --work .state/pair-weight

The benchmark needs a recipe of `siamese:recipes`. One softmax training a seed, and from its weights one fine-tuning for
each rate, pair weight and margin; the weight 0 is the control with as many steps. It prints a Markdown table: the
accuracy on the source's validation images under the run's own labels, by which a setting is to be chosen; and on the
target's test images, which no choice may read, accuracy, pair AUC, and the differences to softmax and to the control of
the same rate in points, with 95 % intervals over seeds and images (`report/intervals.py`). The last columns are mean
distances d of two images of one category (d+) and of different ones (d-), by the training's labels and of test images.
A repeated call continues, and trains no seed again whose evaluation has all settings.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # so that the module also runs as a file

from base.artifacts import read_tables, whole_directory, write_json, write_table  # noqa: E402
from base.console import stage  # noqa: E402
from model.classification import LabelledImages  # noqa: E402
from model.data.images import ImageStore  # noqa: E402
from model.measures.units import reduce_units  # noqa: E402
from model.training.trainer import train  # noqa: E402
from report.intervals import paired  # noqa: E402
from systems.siamese.config import SOFTMAX, Recipe, read_recipe  # noqa: E402
from systems.siamese.evaluate import evaluate, outputs_by_phase, read_model  # noqa: E402
from systems.siamese.task import PairTask, training_run  # noqa: E402

COLUMNS = ["domain", "image_id", "category", "split"]
BATCH = 128


class Setting(NamedTuple):
    """A fine-tuning."""

    rate: float
    pair_weight: float
    margin: float

    @property
    def phase(self) -> str:
        """Its name in the model folder."""
        return f"rate-{self.rate:g}-weight-{self.pair_weight:g}-margin-{self.margin:g}"


def settings_of(rates: Sequence[float], weights: Sequence[float], margins: Sequence[float]) -> list[Setting]:
    """Return all settings; without pairs there is one for all margins."""
    of_pairs = [(weight, margin) for weight in weights for margin in margins if weight or margin == margins[0]]
    return [Setting(rate, *of_pair) for rate in rates for of_pair in of_pairs]


def mean_distances(g: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return the mean distance of two images with the same label, and of two with different ones.

    Shape:
        g: (N, D), rows of length 1; labels: (N,)
    """
    distances = np.sqrt(np.maximum(0, 2 - 2 * g @ g.T))
    once = np.triu(np.ones(distances.shape, bool), 1)
    same = labels[:, None] == labels[None]
    return float(distances[same & once].mean()), float(distances[~same & once].mean())


def distances_of(model: Path, images: Path, split: Path) -> dict[str, dict[str, tuple[float, float]]]:
    """Return d+ and d- of every phase, of training images and of test images.

    Args:
        model: the model folder.
        images: the ingested images.
        split: the run's images of the seed.
    """
    recipe, categories, _ = read_model(model)
    rows = pl.DataFrame(read_tables(split, COLUMNS)).filter(pl.col("category").is_in(categories))
    used = rows.filter((pl.col("split") == "train") | ((pl.col("domain") == "target") & (pl.col("split") == "test")))
    store = ImageStore(images, used, recipe.network.resize, recipe.train.cache_images)
    labels, parts = used["category"].to_numpy(), used["split"].to_numpy()
    return {
        phase: {part: mean_distances(found.g[parts == part], labels[parts == part]) for part in ("train", "test")}
        for phase, found in outputs_by_phase(model, store, BATCH)
    }


def fine_tuned(recipe: Recipe, settings: Sequence[Setting], seed: int, images: Path, split: Path, work: Path) -> Path:
    """Train one seed with all settings, evaluate it, and return the evaluation's folder.

    Args:
        recipe: its own rate and pair weight are not used.
        settings: of the fine-tunings.
        seed: of the training.
        images: the ingested images.
        split: the run's images of the seed.
        work: the folder to write to.
    """
    output, of_recipe = work / f"seed-{seed}" / "evaluation", recipe.model_dump(mode="json")
    if (output / "metrics.json").exists():
        done = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
        if done["recipe"] == of_recipe and {setting.phase for setting in settings} <= set(done["chosen"]):
            return output
    rows = pl.DataFrame(read_tables(split, COLUMNS)).filter(pl.col("split").is_in(["train", "validation"]))
    data = LabelledImages.read(images, rows.sort("domain", "image_id"), recipe.network.resize, True, read=False)
    run = training_run(recipe, data, seed, f"pair-weight/seed-{seed}")
    tasks = [task for task in run.tasks if task.name == SOFTMAX]
    for setting in settings:
        tuned = recipe.fine_tuning.model_copy(update=setting._asdict())
        tasks.append(PairTask(setting.phase, recipe.network, recipe.train, tuned, data, seed))
    named = " ".join(f"{setting.phase} {recipe.fine_tuning.epochs}" for setting in settings)
    run = replace(run, tasks=tasks, fingerprint=f"{run.fingerprint} {named}")
    train(run, work / f"seed-{seed}" / "model")
    metrics, units = evaluate(work / f"seed-{seed}" / "model", images, split, BATCH)
    metrics["distances"] = distances_of(work / f"seed-{seed}" / "model", images, split)
    with whole_directory(output) as folder:
        write_json(metrics | {"recipe": of_recipe}, folder / "metrics.json")
        write_table(units.to_arrow(), folder / "units.parquet")
    return output


def table(folders: Sequence[Path], settings: Sequence[Setting]) -> list[str]:
    """Return the lines of the Markdown table of the seeds' evaluations."""
    read = [pl.read_parquet(folder / "units.parquet").with_columns(seed=i) for i, folder in enumerate(folders)]
    units = pl.concat(frame.with_columns(pl.col("seed").cast(pl.Int64)) for frame in read)
    metrics = [json.loads((folder / "metrics.json").read_text(encoding="utf-8")) for folder in folders]

    def of(metric: str) -> pl.DataFrame:
        return units.filter(metric=metric)

    def mean(metric: str) -> float:
        per_seed = [reduce_units(frame)[metric] or 0.0 for frame in of(metric).partition_by("seed")]
        return 100 * fmean(per_seed)

    def difference(one: str, other: str) -> str:
        if len(folders) < 2:
            return "–"
        found = paired(of(f"accuracy_{one}"), of(f"accuracy_{other}")).scaled(100).interval()
        return f"{found.mean:+.1f} ({found.low:+.1f} to {found.high:+.1f})"

    lines = [
        "| rate | pair weight | margin | validation | test | pair AUC | test − softmax | test − control "
        "| d+, d- of training | of test |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, setting in [(SOFTMAX, None), *((setting.phase, setting) for setting in settings)]:
        validation = fmean(one["chosen"][name]["value"] for one in metrics)
        values = f"{validation:.1f} | {mean(f'accuracy_{name}'):.1f} | {mean(f'pair_auc_{name}'):.1f}"
        distances = " | ".join(
            ", ".join(f"{fmean(one['distances'][name][part][i] for one in metrics):.2f}" for i in range(2))
            for part in ("train", "test")
        )
        if setting is None:
            lines.append(f"| softmax | – | – | {values} | – | – | {distances} |")
            continue
        control = next(one for one in settings if one.rate == setting.rate and not one.pair_weight)
        against = "–" if setting == control else difference(name, control.phase)
        shown = f"{setting.rate:g} | {setting.pair_weight:g} | " + (
            f"{setting.margin:g}" if setting.pair_weight else "–"
        )
        lines.append(f"| {shown} | {values} | {difference(name, SOFTMAX)} | {against} | {distances} |")
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, required=True, help="the recipe, from systems.siamese.recipes")
    parser.add_argument("--images", type=Path, required=True, help="folder of the ingested images")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 1.0, 3.0], help="times train.learning_rate")
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.5, 2.0], help="lambda; 0 is the control")
    parser.add_argument("--margins", type=float, nargs="+", help="m (default: the recipe's)")
    parser.add_argument("--epochs", type=int, help="of a fine-tuning (default: the recipe's)")
    parser.add_argument("--work", type=Path, required=True, help="folder for models and evaluations")
    arguments = parser.parse_args(argv)
    if 0.0 not in arguments.weights:
        parser.error("--weights needs 0, the control")
    with stage("pair weight"):
        recipe = read_recipe(arguments.recipe)
        if arguments.epochs is not None:
            tuned = recipe.fine_tuning.model_copy(update={"epochs": arguments.epochs})
            recipe = recipe.model_copy(update={"fine_tuning": tuned})
        margins = arguments.margins or [recipe.fine_tuning.margin]
        settings = settings_of(arguments.rates, arguments.weights, margins)
        folders = []
        for seed in arguments.seeds:
            split = arguments.recipe.with_suffix("") / f"seed-{seed}.parquet"
            folders.append(fine_tuned(recipe, settings, seed, arguments.images, split, arguments.work))
        print(*table(folders, settings), sep="\n")


if __name__ == "__main__":
    main()
