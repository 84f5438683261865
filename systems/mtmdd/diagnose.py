"""Look into a method's click predictor: its errors, its gradients while it is trained, its click features.

    python -m systems.mtmdd.diagnose --model data/mtmdd/models/TDL/seed-0 --images data/sets/toy/ingested/images \\
        --split data/sets/toy/splits/seed-0.parquet --features data/sets/toy/features \\
        --output data/mtmdd/evaluations/TDL/diagnostics

In: a model folder, the ingested images, the split file it was trained with, vocabulary and click features. Validation
images are looked at, never test images: what is seen here may lead to other parameters.

The model's click predictor is trained again, by its recipe and seed, up to the phase that predicts clicks, with an
observer that reads gradients; and once more without the position loss, if it has one. `systems.mtmdd.click_ratios`
measures two of these figures alone, for the tables of component studies, and trains only as far as that needs.

Out:
- ``diagnostics.json``: RMSE-S of the model, of the same without the position loss, and of predictors that see no pixel;
  gradient ratios at the steps asked for
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
from systems.mtmdd.click_diagnostics import choose_samples, reference_rmse, sample_table, sigmoid_inputs
from systems.mtmdd.config import Phase, Recipe
from systems.mtmdd.diagnostic_plots import Sample, click_features_plot, gradients_plot
from systems.mtmdd.evaluate import check_same_data
from systems.mtmdd.examples import Examples, read_rows
from systems.mtmdd.gradients import GradientRecorder, Reading, drawn_layers
from systems.mtmdd.measures import Outcome, predict, rmse
from systems.mtmdd.methods import check_names
from systems.mtmdd.predict import Model
from systems.mtmdd.studies import check_points

log = logging.getLogger("clicksight")

BATCH_SIZE = 128  # images at once; no result depends on it
WITHOUT = "predicted_without_position"


class DiagnoseParams(Params):
    """Which methods and component points are looked into, and how closely."""

    methods: list[str] = Field(description="each with a click loss; its predictor is trained again, twice at most")
    points: list[str] = Field(
        description="of components.points: those whose ratios Tables IV and V show; each is trained again for 15 % of"
        " its steps"
    )
    every: int = Field(ge=1, description="steps between two readings of the gradients")
    shares: list[float] = Field(description="shares of the steps at which ratios are reported; the paper's is 0.15")
    samples: int = Field(ge=1, le=24, description="images whose click features are shown")
    words: int = Field(ge=1, le=40, description="words shown of each")

    _known = field_validator("methods")(check_names)
    _points = field_validator("points")(check_points)

    @field_validator("shares")
    @classmethod
    def _shares(cls, shares: list[float]) -> list[float]:
        if any(not 0 <= share <= 1 for share in shares):
            raise ValueError(f"shares in [0, 1] expected, found {shares}")
        return shares


def click_phase(model: Model, parameter: str = "diagnose.methods") -> Phase:
    """Return the phase that trains the click predictor.

    Args:
        model: the trained model.
        parameter: what lists it, for the message.

    Raises:
        UserError: no phase has a click loss.
    """
    phase = model.phase_that_predicts_clicks()
    if phase is None or not phase.predicts_clicks:
        raise UserError(
            f"{model.folder}: {model.recipe.method} trains no click loss, there is nothing to look into; take it out of"
            f" {parameter}"
        )
    return phase


def up_to(recipe: Recipe, phase: Phase) -> Recipe:
    """Return a recipe that ends with a phase."""
    phases = recipe.phases[: [one.name for one in recipe.phases].index(phase.name) + 1]
    return recipe.model_copy(update={"phases": phases})


def without_position(recipe: Recipe) -> Recipe | None:
    """Return a recipe whose click loss is the count loss alone (tau = 0), with the same weight in all.

    None if it has no position loss, or nothing else in its place.
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
    """Return a recipe none of whose phases is compiled.

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
    """Train a recipe whose last phase is observed.

    An observed training that was interrupted, or ended by its observer, leaves no checkpoint and begins anew: it would
    lack the readings from before.
    """
    recipe = never_compiled(recipe)
    # here, not above: --help and a wrong model need not wait for torch's optimiser
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
        UserError: they are not those of its training, or the source has no validation images.
    """
    recipe = model.recipe
    rows = read_rows(split, recipe, model.seed)
    examples = Examples.read(images, rows, features, recipe.network, recipe.train.cache_images)
    check_same_data(model, examples, ["source"], split, features)
    if not len(examples.places("source", "validation")):
        raise UserError(f"{split}: the source domain has no validation images to look at")
    return examples


def predicted_clicks(model: Model, phase: Phase, examples: Examples) -> Outcome:
    """Run the source's validation images through a phase's network."""
    loader = ImageLoader(examples, model.recipe.network.image_size, model.seed, with_clicks=True)
    places = examples.places("source", "validation")
    batches = evaluation_batches(loader, "source", places, BATCH_SIZE, workers=0)
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
    """Round to six significant digits: more than that a norm in single precision does not have."""
    return None if value is None else float(f"{value:.6g}")


def diagnose(
    model: Model, examples: Examples, words: Sequence[str], params: DiagnoseParams, output: Path, run: str
) -> dict[str, Any]:
    """Write all diagnostics of a model into an empty folder.

    Args:
        model: its predictor is looked into.
        examples: training and validation rows.
        words: the vocabulary, by word id.
        params: how closely.
        output: the folder; what is trained again lies there meanwhile.
        run: a name for logs and checkpoints.

    Returns:
        The content of diagnostics.json.
    """
    phase = click_phase(model)
    recipe = up_to(model.recipe, phase)
    plain = without_position(recipe)
    recorder = GradientRecorder(phase, params.every, params.shares)
    outcomes: dict[str, Outcome] = {}
    with scratch_directory(output / "trained") as scratch:
        again = observe(recipe, recorder, examples, model.seed, scratch / "observed", f"diagnose/{run}")
        say_whether_same(model, again, phase)
        layers = drawn_layers(again.network(phase))
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

    places = examples.places("source", "validation")
    rows = examples.rows[places]
    chosen = choose_samples(rows, true.any(dim=1).tolist(), params.samples, model.seed)
    samples = sample_table(
        rows[chosen], words, true[chosen], {name: of[chosen] for name, of in predicted.items()}, params.words
    )
    write_csv(samples, output / "click_features.csv")
    pictures = [
        Sample(examples.images[int(places[place])], samples.filter(image_id=rows["image_id"][place]))
        for place in chosen
    ]
    (output / "click_features.png").write_bytes(click_features_plot(pictures))

    train_places = examples.places("source", "train")
    assert examples.clicks is not None
    train_clicks = examples.clicks.vectors(examples.rows["image_id"][train_places].to_list())
    content = {
        "method": model.recipe.method,
        "seed": model.seed,
        "phase": phase.name,
        "images": {"train": len(train_places), "validation": len(places), "without_clicks": int((~true.any(1)).sum())},
        "words": {"all": true.shape[1], "without_variation": int((true == true[0]).all(dim=0).sum())},
        "rmse_source": {
            "model": rmse(outcomes["predicted"]),
            "without_position": rmse(outcomes[WITHOUT]) if WITHOUT in outcomes else None,
            **reference_rmse(
                outcomes["predicted"], torch.from_numpy(train_clicks), torch.from_numpy(examples.labels()[train_places])
            ),
        },
        "gradient_ratios": [
            {"share": share, **ratios.row(by_predicate=pl.col("step") == step, named=True)}
            for share, step in recorder.marked.items()
            if step in set(ratios["step"])  # early stopping may end a training before
        ],
    }
    write_json(content, output / "diagnostics.json")
    return content


def _clicks(outcome: Outcome) -> Tensor:
    assert outcome.prediction.clicks is not None
    return outcome.prediction.clicks


def say_whether_same(model: Model, again: Model, phase: Phase) -> None:
    """Log whether the training that was observed came to the model's own weights."""
    one, other = (folder / f"{phase.name}.safetensors" for folder in (model.folder, again.folder))
    if one.read_bytes() == other.read_bytes():
        log.info("diagnose: the observed training has come to the bytes of %s", one)
    else:
        log.warning("diagnose: the observed training has come to other weights than %s: another machine, or a GPU", one)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--images", type=Path, required=True, help="folder of ingested images")
    parser.add_argument("--split", type=Path, required=True, help="the split file of the training")
    parser.add_argument("--features", type=Path, required=True, help="folder with vocabulary and click features")
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
        closing.next_command = f"look at {arguments.output}/gradients.png and click_features.png"


if __name__ == "__main__":
    main()
