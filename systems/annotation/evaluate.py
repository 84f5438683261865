"""Measure every phase of a trained run on the test images, with every rule that makes label sets of probabilities.

    python -m systems.annotation.evaluate --model data/annotation/models/MS-CNN/seed-0 --seed 0 \\
        --data data/annotation/sets/toy --output data/annotation/evaluations/MS-CNN/seed-0

In: a model folder, and the data set's folder with the split of the same seed.
Out: ``metrics.json`` (percent, squared errors apart) and ``units.parquet`` (`schemas.UNITS`), with the metrics

- ``MEASURE_PHASE_RULE``: c_p, c_r, c_f1, i_p, i_r, i_f1, h_f1 (`model.measures.label_sets`) by phase and rule
  (`systems.annotation.rules`); all rules for the phases `fused` and `labels`, k and the predicted number for others;
  of `chain`, the most probable path of k labels (``top``) and the one that ends by itself (``beam``);
- ``map_PHASE``: mean average precision over labels;
- ``quantity_accuracy_PHASE``, ``quantity_mse_PHASE``: of the predicted number of labels;
- ``ece_PHASE``, ``ece_calibrated_PHASE``: expected calibration error before and after Platt scaling, which is fitted on
  the validation images;

and ``predictions.parquet`` (`schemas.ANNOTATIONS`): each test image's labels, calibrated probabilities and predicted
number of labels, of the phase `labels`, `fused` or (CNN-RNN, whose paths have no probability of each label) `cnn`;
``samples.png``: some test images with these labels.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from base import schemas
from base.artifacts import whole_directory, write_json, write_table
from base.console import UserError, progress, stage
from base.params import DEFAULT_PATH, load_section
from model.data.batches import Draw
from model.measures.label_sets import nearest_counts
from systems.annotation.data import AnnotatedImages
from systems.annotation.measures import PREDICTED_BY, main_phase, probabilities_of, run_units, stated
from systems.annotation.model import Said, load_model
from systems.annotation.rules import RuleParams, most_probable
from systems.annotation.samples import Sample, draw_samples, sample_rows

SAMPLES = 8  # test images in the picture


def batches_of(data: AnnotatedImages, size: int, batch_size: int, label: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the middle crops and the tags of all images, in order."""
    assert data.images is not None
    starts = range(0, len(data.names), batch_size)
    for start in progress(starts, label, "batches", len(starts)):
        rows = range(start, min(start + batch_size, len(data.names)))
        pictures = data.images.crops([Draw(row, None) for row in rows], size, seed=0)
        yield pictures, torch.from_numpy(data.tagged[list(rows)].toarray())


def predictions(said: Said, probabilities: np.ndarray, data: AnnotatedImages, rows: np.ndarray) -> pl.DataFrame:
    """Return `schemas.ANNOTATIONS` of images.

    Args:
        said: the run's outputs.
        probabilities: calibrated, of the rows.
        data: the images.
        rows: their rows.
    """
    quantities = said.quantities.get(PREDICTED_BY.get(main_phase(list(said.logits)), ""))
    return pl.DataFrame(
        {
            "image_id": [data.names[row] for row in rows],
            "labels": [[data.labels[j] for j in np.flatnonzero(data.has[row])] for row in rows],
            "probabilities": probabilities.astype(np.float32).tolist(),
            "quantity": None if quantities is None else quantities[rows].tolist(),
        },
        schema=pl.Schema(schemas.ANNOTATIONS),
    )


def samples_of(annotated: pl.DataFrame, data: AnnotatedImages, rows: np.ndarray, size: int, top: int) -> bytes:
    """Return a picture of some images with true and given labels: the predicted number of them, or `top`."""
    assert data.images is not None
    samples = []
    for number in sample_rows(SAMPLES, len(annotated)):
        row = annotated.row(int(number), named=True)
        probabilities = np.array(row["probabilities"])
        count = top if row["quantity"] is None else nearest_counts(np.array([row["quantity"]]), len(data.labels))
        given = np.flatnonzero(most_probable(probabilities[None], count)[0])
        best_first = given[np.argsort(-probabilities[given], kind="stable")]
        pixels = data.images.crops([Draw(int(rows[number]), None)], size, seed=0)[0].permute(1, 2, 0).numpy()
        samples.append(Sample(pixels, row["labels"], [data.labels[j] for j in best_first]))
    return draw_samples(samples)


def evaluate(
    model: Path, data: Path, seed: int, params: RuleParams
) -> tuple[dict[str, Any], pl.DataFrame, pl.DataFrame, bytes]:
    """Return the content of metrics.json, the units, the predictions and the picture of samples.

    Args:
        model: the model folder.
        data: the data set's folder.
        seed: of the run.
        params: the rules.

    Raises:
        UserError: the data set is not the one of the training, or has no test image.
    """
    loaded = load_model(model)
    recipe = loaded.recipe
    if recipe.train.threads is not None:
        torch.set_num_threads(recipe.train.threads)
    images = AnnotatedImages.read(
        data,
        seed,
        recipe.network.resize,
        cache=False,
        splits=("validation", "test"),
        shuffled=recipe.tags == "shuffled",
    )
    if (images.labels, images.tags) != (loaded.labels, loaded.tags) or loaded.run["seed"] != seed:
        raise UserError(f"{data}: its labels, tags or seed are not those that {model} was trained for")
    is_test = images.split == "test"
    if not is_test.any():
        raise UserError(f"{data}: seed {seed} has no test image")
    said = loaded.say(batches_of(images, recipe.network.image_size, params.batch_size, "evaluate"))
    units, scalings = run_units(said, recipe.loss, images.names, images.labels, images.has, is_test, params)
    phase, rows = main_phase(list(said.logits)), np.flatnonzero(is_test)
    logits = said.logits[phase][rows]
    sure = scalings[phase].probabilities(logits) if phase in scalings else probabilities_of(logits, recipe.loss)
    metrics: dict[str, Any] = stated(units)
    metrics["calibration"] = {name: {"a": round(s.a, 4), "b": round(s.b, 4)} for name, s in scalings.items()}
    metrics["images"] = {
        "tested": len(rows),
        "labels per image": round(float(images.has[rows].sum(1).mean()), 4),
    }
    metrics["chosen"] = {epoch["phase"]: {**epoch} for epoch in loaded.run["chosen"]}
    metrics["labels"] = images.labels
    annotated = predictions(said, sure, images, rows)
    return metrics, units, annotated, samples_of(annotated, images, rows, recipe.network.image_size, params.top)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="the model folder")
    parser.add_argument("--seed", type=int, required=True, help="of the run")
    parser.add_argument("--data", type=Path, required=True, help="the data set's folder")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage(f"evaluate {arguments.model}") as closing:
        params = load_section(RuleParams, "annotation.evaluate", arguments.params)
        metrics, units, annotated, samples = evaluate(arguments.model, arguments.data, arguments.seed, params)
        with whole_directory(arguments.output) as folder:
            write_json(metrics, folder / "metrics.json")
            write_table(units.to_arrow().cast(schemas.UNITS), folder / "units.parquet")
            write_table(annotated.to_arrow().cast(schemas.ANNOTATIONS), folder / "predictions.parquet")
            (folder / "samples.png").write_bytes(samples)
        closing.counts = {"test images": metrics["images"]["tested"]}
        closing.counts |= {
            name: value for name, value in metrics.items() if name.startswith("h_f1_") and value is not None
        }
        closing.wrote[str(arguments.output)] = "metrics.json, units.parquet, predictions.parquet, samples.png"
        closing.next_command = "python -m systems.annotation.report (see stages/annotation/dvc.yaml)"


if __name__ == "__main__":
    main()
