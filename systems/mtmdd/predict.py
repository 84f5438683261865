"""A trained model folder as something to use: its categories, and their probabilities for images."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from base.console import UserError
from model.data.images import centre_crop, decode
from systems.mtmdd.config import Domain, Phase, Recipe
from systems.mtmdd.measures import probabilities
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
        path = Path(folder) / "run.json"
        if not path.is_file():
            raise UserError(f"{path}: no such file; is {folder} a model folder, written by a train stage?")
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
            recipe = Recipe.model_validate_json(json.dumps(run["recipe"]))
            return cls(Path(folder), recipe, run["seed"], run["categories"], run["num_words"], run["chosen"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}: not as a train stage writes it: {error}; train the model again") from None

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
        network.load_state_dict(load_file(self.folder / f"{phase.name}.safetensors"))
        return network.to(device_at_hand()).eval()


def device_at_hand() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class LoadedRecogniser:
    """Recognises images of one domain.

    Attributes:
        domain: whose recogniser it is.
        categories: names, in the order of the probabilities.
        network: in evaluation mode.
        image_size: side of the middle crop, pixels.
        resize: shorter side before, pixels.
    """

    domain: Domain
    categories: list[str]
    network: MultidomainNetwork
    image_size: int
    resize: int

    def preprocess(self, encoded: bytes) -> np.ndarray:
        """Return what the network sees of an encoded image: uint8 (size, size, 3).

        Raises:
            UserError: the bytes are no image.
        """
        return centre_crop(decode(encoded, self.resize), self.image_size)

    def probabilities(self, encoded: Sequence[bytes]) -> np.ndarray:
        """Return the probability of every category for some encoded images, run as one batch.

        Shape:
            result: float32 (images, categories)
        """
        if not encoded:
            return np.zeros((0, len(self.categories)), np.float32)
        pixels = np.stack([self.preprocess(image) for image in encoded])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(device_at_hand())
        with torch.no_grad():
            logits = self.network({self.domain: images})[self.domain].logits
        assert logits is not None
        return probabilities(logits.float().cpu())


def load_recogniser(folder: Path, domain: Domain) -> LoadedRecogniser:
    """Load the recogniser of a domain from a model folder.

    Example:
        >>> recogniser = load_recogniser(Path("data/cleaner"), "source")  # doctest: +SKIP
        >>> recogniser.probabilities([Path("bird.jpg").read_bytes()])  # doctest: +SKIP

    Raises:
        UserError: no model folder, or none of its phases recognises the domain.
    """
    model = Model.read(folder)
    phase = model.phase_that_recognises(domain)
    if phase is None:
        raise UserError(f"{folder}: {model.recipe.method} trains no recogniser of the {domain} domain")
    size, resize = model.recipe.network.image_size, model.recipe.network.resize
    return LoadedRecogniser(domain, model.categories[domain], model.network(phase), size, resize)
