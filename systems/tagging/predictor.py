"""Applies a trained run to pictures: tags for a user with a history, or for a user without one (cold start)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from base.console import UserError
from model.data.histories import relative
from model.prediction import Context, Prediction, largest, refuse_calibration
from systems.tagging.recommend import Recommender


class TagPredictor:
    """A trained run that recommends tags; the attributes are those of `model.prediction.Predictor`."""

    system = "tagging"
    categories: Sequence[str] = ()
    words: Sequence[str] = ()

    def __init__(self, recommender: Recommender, resize: int) -> None:
        self.recommender, self.resize = recommender, resize
        self.run, self.seed = recommender.recipe.run, recommender.seed
        self.image_size = recommender.recipe.network.image_size

    @torch.no_grad()
    def predict(self, pixels: Tensor, contexts: Sequence[Context] = (), top: int | None = None) -> list[Prediction]:
        """Return tags, as likely as they are for the contexts' histories."""
        histories = [tuple(context.history) for context in contexts] or [()] * len(pixels)
        counts = {history: self.recommender.counts(history) for history in dict.fromkeys(histories)}
        rows = torch.from_numpy(relative(np.stack([counts[history] for history in histories])))
        seen = self.recommender.see_squares(pixels)
        logits = self.recommender.network.recommend_from(seen, rows.to(self.recommender.device))
        found = logits.float().sigmoid()
        return [Prediction(tags=largest(probabilities, self.recommender.tags, top)) for probabilities in found]

    def click_features(self, pixels: Tensor) -> Tensor:
        """Raise an error; tagging predicts no clicks."""
        raise UserError(f"tagging {self.run} predicts no clicks; use a model of mtmdd")


def load(folder: Path, evaluation: Path | None = None) -> TagPredictor:
    """Load a model folder.

    Raises:
        UserError: it is not a model folder of this system, or its network sees frozen features instead of pictures.
    """
    refuse_calibration(folder, evaluation)
    recommender = Recommender.load(folder)
    pixels = recommender.recipe.network.pixels
    if pixels is None:
        raise UserError(
            f"{folder}: this model sees frozen features, not pictures; train it with `input: images`, or use "
            "python -m systems.tagging.recommend with --features"
        )
    return TagPredictor(recommender, pixels)
