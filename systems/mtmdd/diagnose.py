"""Diagnose a method's click predictor: its errors, its gradients during training, its click features.

    python -m systems.mtmdd.diagnose --model data/mtmdd/models/TDL/seed-0 --images data/sets/toy/ingested/images \\
        --split data/sets/toy/splits/seed-0.parquet --features data/sets/toy/features \\
        --output data/mtmdd/evaluations/TDL/diagnostics

In: a model folder, the ingested images, the split file it was trained with, vocabulary and click features. Only
validation images are used, never test images, because the results may lead to other parameters.

The model's training is repeated by its recipe and seed up to the phase that predicts clicks, with an observer that
records gradients; a second training leaves out the position loss, if there is one. `systems.mtmdd.click_ratios`
measures only two of these figures, for the tables of component studies, and trains only as long as they need.

Out:
- ``diagnostics.json``: RMSE-S of the model, of the same without the position loss, and of predictors that use no pixel;
  gradient ratios at the requested steps
- ``gradients.csv``, ``gradients.png``: gradient norm per layer and loss over the steps (Fig. 11)
- ``gradient_ratios.csv``: position over count (Table V), recognition over click at the word embedding
- ``sigmoid_inputs.csv``: share of the position function's inputs in [0, B] (Table IV)
- ``click_features.csv``, ``click_features.png``: true and predicted click features of sample images (Fig. 10)
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch
from pydantic import Field, field_validator
from torch import Tensor

from base.artifacts import read_tables, scratch_directory, whole_directory, write_json
from base.console import UserError, stage
from base.params import DEFAULT_PATH, Params, load_section
from model.data.batches import evaluation_batches
from model.folder import device_at_hand
from model.training.checkpoints import Checkpoints
from model.training.curves import run_name
from report.spreadsheets import write_csv
from systems.mtmdd.batches import ImageLoader
from systems.mtmdd.click_diagnostics import choose_samples, sample_table, sigmoid_inputs
from systems.mtmdd.click_references import reference_rmse
from systems.mtmdd.config import Phase, Recipe
from systems.mtmdd.diagnostic_plots import Sample, click_features_plot, gradients_plot
from systems.mtmdd.evaluate import check_same_data
from systems.mtmdd.examples import Examples, add_data, read_rows
from systems.mtmdd.gradients import GradientRecorder, Reading, plotted_layers
from systems.mtmdd.measures import Outcome, predict, rmse
from systems.mtmdd.methods import check_names
from systems.mtmdd.predictor import Model
from systems.mtmdd.studies import check_points

log = logging.getLogger("clicksight")

BATCH_SIZE = 128  # images per batch; no result depends on it
WITHOUT = "predicted_without_position"


class DiagnoseParams(Params):
    """The methods and component points to diagnose, and the amount of detail."""

    methods: list[str] = Field(description="methods with a click loss; each predictor is trained again, at most twice")
    points: list[str] = Field(
        description="component points whose ratios Tables IV and V show; each is trained again for 15 % of its steps"
    )
    every: int = Field(ge=1, description="steps between two readings of the gradients")
    shares: list[float] = Field(description="shares of the steps at which ratios are reported; the paper's is 0.15")
    samples: int = Field(ge=1, le=24, description="number of images whose click features are shown")
    words: int = Field(ge=1, le=40, description="number of words shown for each of these images")

    _known = field_validator("methods")(check_names)
    _points = field_validator("points")(check_points)

    @field_validator("shares")
    @classmethod
    def _shares(cls, shares: list[float]) -> list[float]:
        if any(not 0 <= share <= 1 for share in shares):
            raise ValueError(f"shares must lie in [0, 1], found {shares}")
        return shares


def click_phase(model: Model, parameter: str = "diagnose.methods") -> Phase:
    """Return the phase that trains the click predictor.

    Args:
        model: the trained model.
        parameter: the parameter that lists the model, for the message.

    Raises:
        UserError: no phase has a click loss.
    """
    phase = model.phase_that_predicts_clicks()
    if phase is None or not phase.predicts_clicks:
        raise UserError(
            f"{model.folder}: {model.recipe.method} trains no click loss, so there is nothing to diagnose; remove it"
            f" from mtmdd.{parameter}"
        )
    return phase


def up_to(recipe: Recipe, phase: Phase) -> Recipe:
    """Return the recipe without the phases after the given one."""
    phases = recipe.phases[: [one.name for one in recipe.phases].index(phase.name) + 1]
    return recipe.model_copy(update={"phases": phases})


def without_position(recipe: Recipe) -> Recipe | None:
    """Return the recipe with the count loss alone as click loss (tau = 0), at the same total weight.

    Returns:
        None if the recipe has no position loss, or if the position loss is its only click loss.
    """
    phases = []
    for phase in recipe.phases:
        clicks = [term for term in phase.losses if term.kind != "recognition"]
        if any(term.kind == "position" for term in clicks):
            if len(clicks) < 2:
                return None
            weight = round(sum(term.weight for term in clicks), 12)
            losses = [
                term.model_copy(update={"weight": weight}) if term.kind == "count" else term
                for term in phase.losses
                if term.kind != "position"
            ]
            phase = phase.model_copy(update={"losses": losses})
        phases.append(phase)
    if phases == recipe.phases:
        return None
    return recipe.model_copy(update={"phases": phases, "position": None})


def never_compiled(recipe: Recipe) -> Recipe:
    """Return the recipe with `compile` off in every phase.

    A recorder differentiates a step's graph several times, which compiled code doesn't allow.
    """
    off = {"compile": False}
    phases = [
        phase if phase.train is None else phase.model_copy(update={"train": phase.train.model_copy(update=off)})
        for phase in recipe.phases
    ]
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=off), "phases": phases})


def observe(
    recipe: Recipe, observer: GradientRecorder | None, examples: Examples, seed: int, output: Path, run: str
) -> Model:
    """Train a recipe and call the observer in its last phase.

    An observed training that was interrupted, or ended by its observer, leaves no checkpoint: a continued one would
    lack the earlier readings, so it begins anew.
    """
    recipe = never_compiled(recipe)
    # imported here, so that --help and a wrong model don't wait for torch's optimiser
    from model.training.trainer import train
    from systems.mtmdd.task import training_run

    observers = {} if observer is None else {recipe.phases[-1].name: observer}
    training = training_run(recipe, examples, seed, run, observers)
    checkpoints = Checkpoints(run, training.fingerprint)
    if observers:
        checkpoints.remove()
    try:
        train(training, output)
    finally:
        if observers:
            checkpoints.remove()
    return Model.read(output)


def read_examples(model: Model, images: Path, split: Path, features: Path) -> Examples:
    """Read the rows that a model was trained and validated on, with their click features.

    Raises:
        UserError: the data are not those of the model's training, or the source has no validation images.
    """
    recipe = model.recipe
    rows = read_rows(split, recipe, model.seed)
    examples = Examples.read(images, rows, features, recipe.network, recipe.train.cache_images)
    check_same_data(model, examples, ["source"], split, features)
    if not len(examples.row_numbers("source", "validation")):
        raise UserError(f"{split}: the source domain has no validation images to diagnose the model on")
    return examples


def predicted_clicks(model: Model, phase: Phase, examples: Examples) -> Outcome:
    """Run the source's validation images through a phase's network."""
    loader = ImageLoader(examples, model.recipe.network.image_size, model.seed, with_clicks=True)
    row_numbers = examples.row_numbers("source", "validation")
    batches = evaluation_batches(loader, "source", row_numbers, BATCH_SIZE, workers=0)
    return predict(model.network(phase), batches, "source", device_at_hand())


def gradients_table(readings: Sequence[Reading]) -> pl.DataFrame:
    """Return the readings as columns step, loss, layer, norm; steps ascending, layers in the network's order."""
    return pl.DataFrame(
        [
            (reading.step, loss, layer, significant(norm))
            for reading in readings
            for loss, of_loss in reading.norms.items()
            for layer, norm in of_loss.items()
        ],
        schema={"step": pl.Int64, "loss": pl.String, "layer": pl.String, "norm": pl.Float64},
        orient="row",
    )


def ratios_table(readings: Sequence[Reading]) -> pl.DataFrame:
    """Return the readings' ratios, a row per step."""
    names = ("position_over_count", "recognition_over_click", "recognition_click_cosine")
    return pl.DataFrame(
        [(reading.step, *(significant(getattr(reading, name)) for name in names)) for reading in readings],
        schema={"step": pl.Int64, **dict.fromkeys(names, pl.Float64)},
        orient="row",
    )


def significant(value: float | None) -> float | None:
    """Round to six significant digits, because a norm in single precision has no more."""
    return None if value is None else float(f"{value:.6g}")


def diagnose(
    model: Model, examples: Examples, words: Sequence[str], params: DiagnoseParams, output: Path, run: str
) -> dict[str, Any]:
    """Write all diagnostics of a model into an empty folder.

    Args:
        model: the model whose predictor is diagnosed.
        examples: training and validation rows.
        words: the vocabulary, by word id.
        params: the amount of detail.
        output: the folder; it also holds the repeated trainings until they are measured.
        run: a name for logs and checkpoints.

    Returns:
        The content of diagnostics.json.
    """
    phase = click_phase(model)
    recipe = up_to(model.recipe, phase)
    plain = without_position(recipe)
    recorder = GradientRecorder(phase, params.every, params.shares, model.share_trained(phase))
    outcomes: dict[str, Outcome] = {}
    with scratch_directory(output / "trained") as scratch:
        again = observe(recipe, recorder, examples, model.seed, scratch / "observed", f"diagnose/{run}")
        log_whether_same(model, again, phase)
        layers = plotted_layers(again.network(phase))
        outcomes["predicted"] = predicted_clicks(model, phase, examples)
        if plain is not None:
            other = observe(plain, None, examples, model.seed, scratch / "plain", f"diagnose/{run} without position")
            outcomes[WITHOUT] = predicted_clicks(other, plain.phases[-1], examples)
    true = outcomes["predicted"].clicks
    assert true is not None
    predicted = {name: _clicks(outcome) for name, outcome in outcomes.items()}

    gradients = gradients_table(recorder.readings)
    write_csv(gradients, output / "gradients.csv")
    (output / "gradients.png").write_bytes(gradients_plot(gradients, layers))
    ratios = ratios_table(recorder.readings)
    write_csv(ratios, output / "gradient_ratios.csv")
    position = model.recipe.position
    bandwidths = [] if position is None else [position.bandwidth]
    batch_normalised = position is None or position.position_input == "batch-normalised"
    inputs = sigmoid_inputs(true, predicted, bandwidths, batch_normalised)
    write_csv(inputs, output / "sigmoid_inputs.csv")

    row_numbers = examples.row_numbers("source", "validation")
    rows = examples.rows[row_numbers]
    chosen = choose_samples(rows, true.any(dim=1).tolist(), params.samples, model.seed)
    samples = sample_table(
        rows[chosen], words, true[chosen], {name: of[chosen] for name, of in predicted.items()}, params.words
    )
    write_csv(samples, output / "click_features.csv")
    pictures = [
        Sample(examples.images[int(row_numbers[row])], samples.filter(image_id=rows["image_id"][row])) for row in chosen
    ]
    (output / "click_features.png").write_bytes(click_features_plot(pictures))

    train_rows = examples.row_numbers("source", "train")
    assert examples.clicks is not None
    train_clicks = examples.clicks.vectors(examples.rows["image_id"][train_rows].to_list())
    content = {
        "method": model.recipe.method,
        "seed": model.seed,
        "phase": phase.name,
        "images": {"train": len(train_rows), "validation": len(rows), "without_clicks": int((~true.any(1)).sum())},
        "words": {"all": true.shape[1], "without_variation": int((true == true[0]).all(dim=0).sum())},
        "rmse_source": {
            "model": rmse(outcomes["predicted"]),
            "without_position": rmse(outcomes[WITHOUT]) if WITHOUT in outcomes else None,
            **reference_rmse(
                outcomes["predicted"], torch.from_numpy(train_clicks), torch.from_numpy(examples.labels()[train_rows])
            ),
        },
        "gradient_ratios": [
            {"share": share, **ratios.row(by_predicate=pl.col("step") == step, named=True)}
            for share, step in recorder.marked.items()
            if step in set(ratios["step"])  # early stopping may end a training before this step
        ],
    }
    write_json(content, output / "diagnostics.json")
    return content


def _clicks(outcome: Outcome) -> Tensor:
    assert outcome.prediction.clicks is not None
    return outcome.prediction.clicks


def log_whether_same(model: Model, again: Model, phase: Phase) -> None:
    """Log whether the observed training ended with the model's own weights."""
    one, other = (folder / f"{phase.name}.safetensors" for folder in (model.folder, again.folder))
    if one.read_bytes() == other.read_bytes():
        log.info("diagnose: the observed training gave the same bytes as %s", one)
    else:
        log.warning(
            "diagnose: the observed training gave other weights than %s; expected on another machine or a GPU", one
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    add_data(parser, split="the split file of the training")
    parser.add_argument("--output", type=Path, required=True, help="folder for tables and pictures")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage(f"diagnose {arguments.model}") as closing:
        params = load_section(DiagnoseParams, "mtmdd.diagnose", arguments.params)
        model = Model.read(arguments.model)
        phase = click_phase(model)
        examples = read_examples(model, arguments.images, arguments.split, arguments.features)
        words = read_tables(arguments.features / "vocabulary.parquet", ["word"])["word"].to_pylist()
        with whole_directory(arguments.output) as folder:
            content = diagnose(model, examples, words, params, folder, run_name(arguments.model))
        for name, value in content["rmse_source"].items():
            if value is not None:
                closing.counts[f"RMSE-S, {name.replace('_', ' ')}"] = value
        closing.wrote[str(arguments.output)] = f"phase {phase.name}"
        closing.next_command = f"open {arguments.output}/gradients.png and click_features.png"


if __name__ == "__main__":
    main()
