"""Measure the ratios of Tables IV and V of one model: its position loss's inputs in [0, B], and its gradient's norm.

    python -m systems.mtmdd.click_ratios --model data/mtmdd/models/tau=0.4/seed-0 \\
        --images data/sets/toy/ingested/images --split data/sets/toy/splits/seed-0.parquet \\
        --features data/sets/toy/features \\
        --output data/mtmdd/evaluations/tau=0.4/ratios.json

In: a model folder, the ingested images, the split file it was trained with, vocabulary and click features.
Out: a JSON file:
- ``sigmoid_inputs``: share of the position function's inputs in [0, B], percent, for v and for the model's v^ on the
  source's validation images (Table IV's "Ratio")
- ``gradient_ratios``: by step, gradient norm of the weighted position loss over that of the weighted count loss (Table
  V's "gd-ratio"); the last step is at 15 % of the steps, as the paper's iteration 1,500 of 10,000; empty without a
  count loss

The model's training is repeated with an observer, as in `systems.mtmdd.diagnose`, but it ends after the step at 15 %.
"""

import argparse
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from base.artifacts import write_json
from base.console import UserError, stage
from base.params import DEFAULT_PATH, load_section
from model.training.curves import run_name
from systems.mtmdd.click_diagnostics import percent_within
from systems.mtmdd.config import Phase
from systems.mtmdd.diagnose import (
    DiagnoseParams,
    click_phase,
    observe,
    predicted_clicks,
    read_examples,
    significant,
    up_to,
)
from systems.mtmdd.examples import Examples, add_data
from systems.mtmdd.gradients import GradientRecorder
from systems.mtmdd.network import MultidomainNetwork
from systems.mtmdd.predictor import Model

TABLE_V_SHARE = 0.15  # share of the steps: iteration 1,500 of 10,000


class StepReached(Exception):
    """Raised to end a training after the last reading."""


class RecordUntil(GradientRecorder):
    """A gradient recorder that ends the training after the reading at its last share.

    Raises:
        StepReached: by the call that makes the last reading.
    """

    def __call__(
        self,
        step: int,
        num_steps: int,
        network: MultidomainNetwork,
        loss_of: Callable[[str], Tensor],
    ) -> None:
        """Record the gradients if this step is due; raise `StepReached` at the last share."""
        super().__call__(step, num_steps, network, loss_of)
        if step >= max(self.marked.values()):
            raise StepReached


def position_phase(model: Model) -> Phase:
    """Return the phase that trains the click predictor with a position loss.

    Raises:
        UserError: no phase has a click loss, or the click loss is the count loss alone.
    """
    phase = click_phase(model, "diagnose.points")
    if all(term.kind != "position" for term in phase.losses):
        raise UserError(
            f"{model.folder}: the model's click loss is the count loss alone, so there is no ratio to measure; remove"
            " it from mtmdd.diagnose.points"
        )
    return phase


def gradient_ratios(model: Model, phase: Phase, examples: Examples, every: int, run: str) -> list[dict[str, Any]]:
    """Repeat a model's training up to 15 % of a phase's steps and return position over count at each recorded step.

    Args:
        model: the model whose training is repeated.
        phase: the phase with the position loss; without a count loss there is no ratio, and nothing is trained.
        examples: training and validation rows.
        every: steps between two readings.
        run: a name for logs and checkpoints.
    """
    if all(term.kind != "count" for term in phase.losses):
        return []
    recorder = RecordUntil(phase, every, [TABLE_V_SHARE], model.share_trained(phase))
    with TemporaryDirectory() as folder, suppress(StepReached):  # raised before a model is written
        observe(up_to(model.recipe, phase), recorder, examples, model.seed, Path(folder) / "observed", run)
    return [
        {"step": reading.step, "position_over_count": significant(reading.position_over_count)}
        for reading in recorder.readings
    ]


def measure(model: Model, examples: Examples, every: int, run: str) -> dict[str, Any]:
    """Return the content of the JSON file; the arguments are those of :func:`gradient_ratios`."""
    phase, position = position_phase(model), model.recipe.position
    assert position is not None
    outcome = predicted_clicks(model, phase, examples)
    features = {"true_percent": outcome.clicks, "predicted_percent": outcome.prediction.clicks}
    batch_normalised = position.position_input == "batch-normalised"
    return {
        "method": model.recipe.method,
        "seed": model.seed,
        "phase": phase.name,
        "sigmoid_inputs": {
            "images": outcome.num_images,
            "bandwidth": position.bandwidth,
            **{
                name: percent_within(values, position.bandwidth, batch_normalised)
                for name, values in features.items()
                if values is not None
            },
        },
        "gradient_ratios": gradient_ratios(model, phase, examples, every, run),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    add_data(parser, split="the split file of the training")
    parser.add_argument("--output", type=Path, required=True, help="the file to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage(f"click_ratios {arguments.model}") as closing:
        params = load_section(DiagnoseParams, "mtmdd.diagnose", arguments.params)
        model = Model.read(arguments.model)
        position_phase(model)  # report a model without position loss before images are read
        if model.recipe.train.threads is not None:
            torch.set_num_threads(model.recipe.train.threads)
        examples = read_examples(model, arguments.images, arguments.split, arguments.features)
        content = measure(model, examples, params.every, f"click_ratios/{run_name(arguments.model)}")
        write_json(content, arguments.output)
        inputs, ratios = content["sigmoid_inputs"], content["gradient_ratios"]
        closing.counts[f"inputs of v^ in [0, {inputs['bandwidth']:g}], %"] = inputs["predicted_percent"]
        if ratios:
            closing.counts[f"position over count at step {ratios[-1]['step']}"] = ratios[-1]["position_over_count"]
        closing.wrote[str(arguments.output)] = f"phase {content['phase']}"
        closing.next_command = "python -m systems.mtmdd.report.write (see stages/mtmdd/dvc.yaml)"


if __name__ == "__main__":
    main()
