"""A trained model folder as something to use: recipe, categories, and the networks of its phases."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from base.console import UserError
from model.folder import device_at_hand, load_weights, read_run
from systems.mtmdd.config import Domain, Phase, Recipe
from systems.mtmdd.network import MultidomainNetwork, build_network


@dataclass(frozen=True)
class Model:
    """A model folder: recipe, categories, chosen epochs; networks are loaded by phase."""

    folder: Path
    recipe: Recipe
    seed: int
    categories: dict[Domain, list[str]]
    num_words: int
    chosen: list[dict[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> "Model":
        """Read a folder that `systems.mtmdd.train` wrote.

        Raises:
            UserError: there is no run.json, or it is not as `systems.mtmdd.train` writes it.
        """
        run = read_run(folder)
        try:
            recipe = Recipe.model_validate_json(json.dumps(run["recipe"]))
            return cls(Path(folder), recipe, run["seed"], run["categories"], run["num_words"], run["chosen"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{folder}/run.json: not as a train stage writes it: {error}; train the model again"
            ) from None

    def phase_that_recognises(self, domain: Domain) -> Phase | None:
        """Return the last phase that trained the domain's recognition; None if there is none."""
        phases = [phase for phase in self.recipe.phases if domain in phase.recognised]
        return phases[-1] if phases else None

    def phase_that_predicts_clicks(self) -> Phase | None:
        """Return the last phase with a click loss, else (lambda = 0) the last with a word embedding, else None."""
        trained = [phase for phase in self.recipe.phases if phase.predicts_clicks]
        phases = trained or [phase for phase in self.recipe.phases if phase.has_embedding]
        return phases[-1] if phases else None

    def network(self, phase: Phase) -> MultidomainNetwork:
        """Return a phase's network with its weights, in evaluation mode, on the device at hand."""
        network = build_network(self.recipe.network, phase, self.categories, self.num_words, load_weights=False)
        load_weights(network, self.folder, phase.name)
        return network.to(device_at_hand()).eval()
