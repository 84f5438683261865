"""Applies a trained run to pictures: the target's categories, and the words that people would click for.

The last phase that recognises the target gives the categories (without one: the source's), and the last phase with a
click loss the words, as in the evaluation.
"""

import pkgutil
from pathlib import Path

from torch import Tensor, nn

from model.folder import device_at_hand
from model.prediction import RecogniserPredictor, refuse_calibration
from systems.mtmdd.config import Domain, Phase
from systems.mtmdd.predict import Model


class _Of(nn.Module):
    """One output of a phase's network for one domain: (B, 3, S, S) uint8 to logits (B, C) or v^ (B, K)."""

    def __init__(self, network: nn.Module, domain: Domain, output: str) -> None:
        super().__init__()
        self.network, self.domain, self.output = network, domain, output

    def forward(self, images: Tensor) -> Tensor:
        """Return the output."""
        found: Tensor = getattr(self.network({self.domain: images})[self.domain], self.output)
        return found


def load(folder: Path, evaluation: Path | None = None) -> RecogniserPredictor:
    """Load a model folder.

    Raises:
        UserError: it is not a model folder of this system.
    """
    refuse_calibration(folder, evaluation)
    model = Model.read(folder)
    if command := model.recipe.evaluate_command:  # of a method with its own network, below systems.mtmdd.baselines
        model = Model.read(folder, pkgutil.resolve_name(f"{command}:network_of"))
    domain: Domain = "target" if model.phase_that_recognises("target") else "source"
    recognising, predicting = model.phase_that_recognises(domain), model.phase_that_predicts_clicks()
    networks = {phase.name: model.network(phase) for phase in (recognising, predicting) if phase is not None}

    def part(phase: Phase, of: Domain, output: str) -> nn.Module:
        return _Of(networks[phase.name], of, output).eval()

    size = model.recipe.network
    return RecogniserPredictor(
        "mtmdd",
        model.recipe.method,
        model.seed,
        (size.resize, size.image_size),
        None if recognising is None else (part(recognising, domain, "logits"), model.categories[domain]),
        None if predicting is None else (part(predicting, predicting.domains[0], "clicks"), model.words),
        device_at_hand(),
    )
