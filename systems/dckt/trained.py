"""The target's network of a trained run, read from its model folder."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from base.console import UserError
from model.folder import device_at_hand, load_weights, read_run
from systems.dckt.config import DOMAINS, SOURCE, TARGET, TRANSFER, Recipe
from systems.dckt.network import DomainNetwork, TwinNetworks

BATCH = 1024  # pairs that the network sees at once; no result depends on it, but for rounding


class TargetModel:
    """A trained target network in evaluation mode.

    Args:
        folder: the model folder of a run, from systems.dckt.train.

    Attributes:
        run: the content of ``run.json``.
        recipe: of the run.
        categories: of the target, in the order of the codes.
        images, texts: number of features of an image and of a text.

    Raises:
        UserError: the folder is not a model folder of this system.
    """

    def __init__(self, folder: Path) -> None:
        self.run: dict[str, Any] = read_run(folder)
        try:
            self.recipe = Recipe.model_validate(self.run["recipe"])
            domains = self.run["domains"]
            built = {
                name: DomainNetwork(one["images"], one["texts"], len(one["categories"]), self.recipe.network)
                for name, one in domains.items()
            }
            self.categories: list[str] = domains[TARGET]["categories"]
            self.images, self.texts = int(domains[TARGET]["images"]), int(domains[TARGET]["texts"])
        except (KeyError, TypeError, ValidationError) as error:
            raise UserError(f"{folder}/run.json: not of this system: {error}; train the model again") from None
        if self.recipe.transfer is None:
            load_weights(built[TARGET], folder, TARGET)
        else:
            assert set(built) == set(DOMAINS)
            load_weights(TwinNetworks(built[SOURCE], built[TARGET]), folder, TRANSFER)
        self.device = device_at_hand()
        self.network = built[TARGET].to(self.device).eval()

    def limit_threads(self) -> None:
        """Let this process use as many CPU threads as the training did."""
        if self.recipe.train.threads is not None:
            torch.set_num_threads(self.recipe.train.threads)

    @torch.no_grad()
    def image_codes(self, features: np.ndarray) -> np.ndarray:
        """Return the common representation of images: float32 (N, D) to (N, C)."""
        return self._codes(self.network.image_codes, features, self.images)

    @torch.no_grad()
    def text_codes(self, features: np.ndarray) -> np.ndarray:
        """Return the common representation of texts: float32 (N, T) to (N, C)."""
        return self._codes(self.network.text_codes, features, self.texts)

    def _codes(self, encode: Any, features: np.ndarray, expected: int) -> np.ndarray:
        if features.shape[1:] != (expected,):
            raise UserError(
                f"the model was trained on {expected} features, these are {features.shape[1]}; give its own"
            )
        parts = [
            encode(torch.from_numpy(features[start : start + BATCH]).to(self.device)).cpu().numpy()
            for start in range(0, len(features), BATCH)
        ]
        return np.concatenate(parts) if parts else np.empty((0, len(self.categories)), np.float32)
