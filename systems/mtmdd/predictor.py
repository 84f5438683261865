"""A trained run, read from its folder: recipe, categories, the networks of its phases; and its use on pictures.

The last phase that recognises the target gives the categories (without one: the source's), and the last phase with a
click loss the words, as in the evaluation.
"""

import json
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from base.console import UserError
from model.folder import device_at_hand, load_weights, read_run
from model.prediction import RecogniserPredictor, refuse_calibration
from systems.mtmdd.budgets import phases_behind
from systems.mtmdd.config import DOMAINS, Domain, Phase, Recipe
from systems.mtmdd.network import build_network


@dataclass(frozen=True)
class Model:
    """The content of a model folder: recipe, categories, chosen epochs; a phase's network is loaded on request.

    Attributes:
        build: returns the untrained network of a phase, from the phase and the model; None: `build_network`. Only a
            method with a network of its own has it.
    """

    folder: Path
    recipe: Recipe
    seed: int
    categories: dict[Domain, list[str]]
    words: list[str]
    chosen: list[dict[str, Any]]
    build: "Callable[[Phase, Model], nn.Module] | None" = None

    @classmethod
    def read(cls, folder: Path, build: "Callable[[Phase, Model], nn.Module] | None" = None) -> "Model":
        """Read a folder that `systems.mtmdd.train` wrote.

        Raises:
            UserError: there is no run.json, or it doesn't have the content that `systems.mtmdd.train` writes.
        """
        run = read_run(folder)
        try:
            recipe = Recipe.model_validate_json(json.dumps(run["recipe"]))
            return cls(Path(folder), recipe, run["seed"], run["categories"], run["words"], run["chosen"], build)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{folder}/run.json: not as a train stage writes it: {error}; train the model again"
            ) from None

    @property
    def num_words(self) -> int:
        """K."""
        return len(self.words)

    def phase_that_recognises(self, domain: Domain) -> Phase | None:
        """Return the last phase with a recogniser of the domain; None if there is none."""
        phases = [phase for phase in self.recipe.phases if domain in phase.recognised]
        return phases[-1] if phases else None

    def recogniser_of(self, domain: Domain) -> tuple[Phase, Domain] | None:
        """Return the phase whose network recognises a domain's images, and the domain as whose images it sees them.

        In the study of a target without labels that is the source's recogniser for both, if no phase sees the target.
        None if there is none.
        """
        as_domain: Domain = domain
        phase = self.phase_that_recognises(domain)
        if phase is None and self.recipe.unlabelled_target:
            as_domain, phase = "source", self.phase_that_recognises("source")
        return None if phase is None else (phase, as_domain)

    def phase_that_predicts_clicks(self) -> Phase | None:
        """Return the last phase with a click loss, or (lambda = 0) with predicted clicks; None if there is none.

        So RMSE-S of a method of two steps is the first step's.
        """
        trained = [phase for phase in self.recipe.phases if phase.predicts_clicks]
        phases = trained or [phase for phase in self.recipe.phases if phase.uses_clicks]
        return phases[-1] if phases else None

    def images_seen(self, phase: Phase) -> dict[str, int]:
        """Return the number of images of each domain (draws) in a phase's training and in all that it starts from."""
        behind = phases_behind(self.recipe, phase)
        seen = [epoch["seen"] for epoch in self.chosen if epoch["phase"] in behind]
        return {domain: sum(images.get(domain, 0) for images in seen) for domain in DOMAINS}

    def share_trained(self, phase: Phase) -> float:
        """Return the share of a phase's epochs that were trained before its validation ended it."""
        (trained,) = (epoch["of"] for epoch in self.chosen if epoch["phase"] == phase.name)
        return trained / (phase.train or self.recipe.train).epochs

    def network(self, phase: Phase) -> nn.Module:
        """Return a phase's network with its weights, in evaluation mode, on the available device."""
        network = (
            build_network(self.recipe.network, phase, self.categories, self.num_words, load_weights=False)
            if self.build is None
            else self.build(phase, self)
        )
        load_weights(network, self.folder, phase.name)
        return network.to(device_at_hand()).eval()


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
