"""How the rate and the weight of the siamese fine-tuning are chosen, and what pairs add at each of them.

    python -m benchmarks.studies.pair_weight --recipe data/siamese/recipes/given.json --seeds 0 1 2 \\
        --images data/sets/birds50/ingested/images --work .state/pair-weight

The benchmark needs a recipe of `siamese:recipes`. One softmax training a seed, and from its weights one fine-tuning for
each rate and pair weight; the weight 0 is the control with as many steps. It prints a Markdown table: the accuracy on
the source's validation images under the run's own labels, by which a setting is to be chosen; and on the target's test
images, which no choice may read, accuracy, pair AUC, and the differences to softmax and to the control of the same rate
in points, with 95 % intervals over seeds and images (`report/intervals.py`). A repeated call
continues, and trains no seed again whose evaluation has all settings.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import polars as pl

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # so that the module also runs as a file

from base.artifacts import read_tables, whole_directory, write_json, write_table  # noqa: E402
from base.console import stage  # noqa: E402
from model.classification import LabelledImages  # noqa: E402
from model.measures.units import reduce_units  # noqa: E402
from model.training.trainer import train  # noqa: E402
from report.intervals import paired  # noqa: E402
from systems.siamese.config import SOFTMAX, Recipe, read_recipe  # noqa: E402
from systems.siamese.evaluate import evaluate  # noqa: E402
from systems.siamese.task import PairTask, training_run  # noqa: E402

COLUMNS = ["domain", "image_id", "category", "split"]


class Setting(NamedTuple):
    """A fine-tuning."""

    rate: float
    pair_weight: float

    @property
    def phase(self) -> str:
        """Its name in the model folder."""
        return f"rate-{self.rate:g}-weight-{self.pair_weight:g}"


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
    metrics, units = evaluate(work / f"seed-{seed}" / "model", images, split, batch_size=128)
    with whole_directory(output) as folder:
        write_json(metrics | {"recipe": of_recipe}, folder / "metrics.json")
        write_table(units.to_arrow(), folder / "units.parquet")
    return output


def table(folders: Sequence[Path], settings: Sequence[Setting]) -> list[str]:
    """Return the lines of the Markdown table of the seeds' evaluations."""
    read = [pl.read_parquet(folder / "units.parquet").with_columns(seed=i) for i, folder in enumerate(folders)]
    units = pl.concat(frame.with_columns(pl.col("seed").cast(pl.Int64)) for frame in read)
    chosen = [json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["chosen"] for folder in folders]

    def of(metric: str) -> pl.DataFrame:
        return units.filter(metric=metric)

    def mean(metric: str) -> float:
        per_seed = [reduce_units(frame)[metric] or 0.0 for frame in of(metric).partition_by("seed")]
        return 100 * sum(per_seed) / len(per_seed)

    def difference(one: str, other: str) -> str:
        if len(folders) < 2:
            return "–"
        found = paired(of(f"accuracy_{one}"), of(f"accuracy_{other}")).scaled(100).interval()
        return f"{found.mean:+.1f} ({found.low:+.1f} to {found.high:+.1f})"

    lines = [
        "| rate | pair weight | epochs chosen | validation | test | pair AUC | test − softmax | test − control |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, setting in [(SOFTMAX, None), *((setting.phase, setting) for setting in settings)]:
        validation = sum(one[name]["value"] for one in chosen) / len(chosen)
        epochs = ", ".join(str(one[name]["epoch"]) for one in chosen)
        values = f"{epochs} | {validation:.1f} | {mean(f'accuracy_{name}'):.1f} | {mean(f'pair_auc_{name}'):.1f}"
        if setting is None:
            lines.append(f"| softmax | – | {values} | – | – |")
            continue
        control = Setting(setting.rate, 0.0).phase
        against = "–" if name == control else difference(name, control)
        lines.append(
            f"| {setting.rate:g} | {setting.pair_weight:g} | {values} | {difference(name, SOFTMAX)} | {against} |"
        )
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, required=True, help="the recipe, from systems.siamese.recipes")
    parser.add_argument("--images", type=Path, required=True, help="folder of the ingested images")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 1.0, 3.0], help="times train.learning_rate")
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.5, 2.0], help="lambda; 0 is the control")
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
        settings = [Setting(rate, weight) for rate in arguments.rates for weight in arguments.weights]
        folders = []
        for seed in arguments.seeds:
            split = arguments.recipe.with_suffix("") / f"seed-{seed}.parquet"
            folders.append(fine_tuned(recipe, settings, seed, arguments.images, split, arguments.work))
        print(*table(folders, settings), sep="\n")


if __name__ == "__main__":
    main()
