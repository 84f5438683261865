"""Measure every phase of a trained run on the target's test images, which the source's head reads.

    python -m systems.siamese.evaluate --model data/siamese/models/clicks/seed-0 \\
        --images data/sets/toy/ingested/images --split data/siamese/recipes/clicks/seed-0.parquet \\
        --output data/siamese/evaluations/clicks/seed-0

In: a model folder, the ingested images, and the run's images of the same seed.
Out: ``metrics.json`` and ``units.parquet`` (`schemas.UNITS`), for each PHASE, in percent:

- ``accuracy_PHASE``: share of test images recognised;
- ``category_accuracy_PHASE``: mean of the categories' accuracies;
- ``top5_PHASE``: share of images whose category is among the five best;
- ``nearest_mean_PHASE``: share recognised by the nearest mean of g of a category's training images;
- ``pair_auc_PHASE``: share of d(a, b) < d(a, c) (ties count half) among all triples of test images with b of a's
  category and c of another; null if no category has two test images.

Test images of categories that the source lacks are not tested; ``images`` has their number.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from pydantic import Field, ValidationError
from torch.nn import functional

from base import schemas
from base.artifacts import read_tables, whole_directory, write_json, write_table
from base.console import UserError, stage
from base.params import DEFAULT_PATH, Params, load_section
from model.classification import build_classifier
from model.data.batches import evaluation_batches
from model.data.images import ImageStore
from model.folder import device_at_hand, load_weights, read_run
from systems.siamese.config import Recipe
from systems.siamese.measures import Outputs, metrics_of, nearest_mean, phase_units
from systems.siamese.task import Branch, Seen


class EvaluateParams(Params):
    """The parameters of an evaluation."""

    batch_size: int = Field(ge=1, description="images per batch; no result depends on it")


@torch.no_grad()
def outputs_of(branch: Branch, images: ImageStore, rows: np.ndarray, size: int, batch_size: int) -> Outputs:
    """Run a branch over the middle squares of images.

    Args:
        branch: in evaluation mode.
        images: the images.
        rows: their row numbers.
        size: of the squares, pixels.
        batch_size: images per batch.
    """

    def load(stream: str, draws: Sequence[Any]) -> tuple[torch.Tensor]:
        return (images.crops(draws, size, seed=0),)

    device = device_at_hand()
    seen: list[Seen] = [
        branch(batch[0].to(device)) for batch in evaluation_batches(load, "images", rows, batch_size, workers=0)
    ]
    logits, phi = (torch.cat(part).float() for part in zip(*seen, strict=True))
    return Outputs(logits.cpu().numpy(), functional.normalize(phi, dim=1).cpu().numpy())


def read_model(folder: Path) -> tuple[Recipe, list[str], dict[str, Any]]:
    """Return recipe, categories and run.json of a model folder.

    Raises:
        UserError: the folder is not a model folder of this system.
    """
    run = read_run(folder)
    try:
        return Recipe.model_validate(run["recipe"]), list(run["categories"]), run
    except (KeyError, TypeError, ValidationError) as error:
        raise UserError(f"{folder}/run.json: not of this system: {error}; train the model again") from None


def outputs_by_phase(model: Path, images: ImageStore, batch_size: int) -> Iterator[tuple[str, Outputs]]:
    """Yield every phase of a model folder, in the order of training, and its outputs for all images of a store."""
    recipe, categories, run = read_model(model)
    rows = np.arange(len(images))
    for phase in (epoch["phase"] for epoch in run["chosen"]):
        classifier = build_classifier(recipe.network, len(categories), load=False)
        load_weights(classifier, model, phase)
        branch = Branch(classifier).to(device_at_hand()).eval()
        yield phase, outputs_of(branch, images, rows, recipe.network.image_size, batch_size)


def evaluate(model: Path, images: Path, split: Path, batch_size: int) -> tuple[dict[str, Any], pl.DataFrame]:
    """Return the content of metrics.json, and the units.

    Args:
        model: the model folder.
        images: the folder of ingested images.
        split: the run's images of the same seed.
        batch_size: images per batch.

    Raises:
        UserError: the split is not that of the training, or no test image is of a category that the model knows.
    """
    recipe, categories, run = read_model(model)
    if recipe.train.threads is not None:
        torch.set_num_threads(recipe.train.threads)
    rows = pl.DataFrame(read_tables(split, ["domain", "image_id", "category", "split"])).sort("domain", "image_id")
    trained = rows.filter(split="train")
    learned = rows.filter(pl.col("split").is_in(["train", "validation"]))
    if sorted(learned["category"].unique()) != categories:
        raise UserError(f"{split}: its categories are not those that {model} was trained for; give its own split")
    every = rows.filter(domain="target", split="test")
    tested = every.filter(pl.col("category").is_in(categories))
    if tested.is_empty():
        raise UserError(f"{split}: none of its {len(every)} target test images is of a category of {model}")
    used = pl.concat([tested, trained])
    store = ImageStore(images, used, recipe.network.resize, recipe.train.cache_images)
    labels = np.searchsorted(categories, used["category"].to_numpy())
    is_test = np.arange(len(used)) < len(tested)
    units = []
    for phase, all_of_it in outputs_by_phase(model, store, batch_size):
        of_tests = Outputs(all_of_it.logits[is_test], all_of_it.g[is_test])
        nearest = nearest_mean(of_tests.g, all_of_it.g[~is_test], labels[~is_test], len(categories))
        units.append(phase_units(phase, tested["image_id"].to_list(), labels[is_test], of_tests, nearest, categories))
    table = pl.concat(units).sort("metric", "unit")
    metrics = metrics_of(table, len(tested), len(every) - len(tested), run["images"])
    metrics["chosen"] = {epoch["phase"]: {**epoch} for epoch in run["chosen"]}
    return metrics, table


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="the model folder")
    parser.add_argument("--images", type=Path, required=True, help="folder of the ingested images")
    parser.add_argument("--split", type=Path, required=True, help="the run's images of the same seed")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage(f"evaluate {arguments.model}") as closing:
        params = load_section(EvaluateParams, "siamese.evaluate", arguments.params)
        metrics, units = evaluate(arguments.model, arguments.images, arguments.split, params.batch_size)
        with whole_directory(arguments.output) as folder:
            write_json(metrics, folder / "metrics.json")
            write_table(units.to_arrow().cast(schemas.UNITS), folder / "units.parquet")
        closing.counts = {name: value for name, value in metrics.items() if name.startswith("accuracy_")}
        closing.counts |= {f"test images: {name}": metrics["images"][name] for name in list(metrics["images"])[:2]}
        closing.wrote[str(arguments.output)] = "metrics.json, units.parquet"
        closing.next_command = "python -m systems.siamese.report (see stages/siamese/dvc.yaml)"


if __name__ == "__main__":
    main()
