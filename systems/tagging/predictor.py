"""Applies a trained run to pictures: tags for a user with a history, or for a user without one (cold start)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from base.console import UserError
from model.data.histories import relative
from model.folder import read_run
from model.frozen_features import FrozenNet, frozen_net_of
from model.graph import Graph, SecondInput
from model.prediction import Context, Prediction, largest, refuse_calibration
from systems.tagging.network import TagNetwork
from systems.tagging.recommend import Recommender, known_history


class TagPredictor:
    """A trained run that recommends tags; the other attributes are those of `model.prediction.Predictor`.

    Args:
        recommender: the trained network.
        frozen: the ConvNet whose features it reads; None: it reads pictures.

    Attributes:
        recommender, frozen: the same.
    """

    system = "tagging"
    categories: Sequence[str] = ()
    words: Sequence[str] = ()

    def __init__(self, recommender: Recommender, frozen: FrozenNet | None = None) -> None:
        self.recommender, self.frozen = recommender, frozen
        self.run, self.seed = recommender.recipe.run, recommender.seed
        self.reads: Sequence[str] = () if recommender.network.preference is None else ("history",)
        size = recommender.recipe.network if frozen is None else frozen.params
        self.resize, self.image_size, self.finely = size.resize, size.image_size, frozen is not None

    @torch.no_grad()
    def predict(self, pixels: Tensor, contexts: Sequence[Context] = (), top: int | None = None) -> list[Prediction]:
        """Return tags, as likely as they are for the contexts' histories."""
        histories = [tuple(context.history) for context in contexts] or [()] * len(pixels)
        counts = {history: self.recommender.counts(history) for history in dict.fromkeys(histories)}
        rows = torch.from_numpy(relative(np.stack([counts[history] for history in histories])))
        images = pixels.to(self.recommender.device)
        seen = self.recommender.see_inputs(images if self.frozen is None else self.frozen(images))
        logits = self.recommender.network.recommend_from(seen, rows.to(self.recommender.device))
        found = logits.float().sigmoid()
        return [Prediction(tags=largest(probabilities, self.recommender.tags, top)) for probabilities in found]

    def history_of(self, tags: Path, splits: Path, user: str) -> list[str]:
        """Return the tags of a user of the log; :class:`model.prediction.KnowsUsers` describes it."""
        counts = known_history(tags, splits, self.recommender, user)
        return [tag for tag, count in zip(self.recommender.tags, counts, strict=True) for _ in range(count)]

    def click_features(self, pixels: Tensor) -> Tensor:
        """Raise an error; tagging predicts no clicks."""
        raise UserError(f"tagging {self.run} predicts no clicks; use a model of mtmdd")

    def graph(self) -> Graph:
        """Return the network from pictures and counts of a history to the tags' probabilities."""
        network, tags = self.recommender.network, self.recommender.tags
        second = None
        if self.reads:
            second = SecondInput("history", "how often the user gave each tag; zeros: nothing is known", tags)
        return Graph(_Tags(network, self.frozen).eval(), {"probabilities": tags}, second)


class _Tags(nn.Module):
    """From uint8 (B, 3, S, S) and a history's counts, float32 (B, N), to probabilities (B, N)."""

    def __init__(self, network: TagNetwork, frozen: FrozenNet | None) -> None:
        super().__init__()
        self.network, self.frozen = network, frozen

    def forward(self, pixels: Tensor, history: Tensor | None = None) -> Tensor:
        """Return the probabilities."""
        if history is None:  # of a network that reads none
            history = torch.zeros(1, 1, device=pixels.device)
        counts = history / history.amax(dim=1, keepdim=True).clamp(min=1)  # as `relative`
        return self.network.recommend(pixels if self.frozen is None else self.frozen(pixels), counts).float().sigmoid()


def load(folder: Path, evaluation: Path | None = None) -> TagPredictor:
    """Load a model folder.

    Raises:
        UserError: it is not a model folder of this system; or its network reads frozen features, and the ConvNet that
            made them is unknown or not there.
    """
    refuse_calibration(folder, evaluation)
    recommender = Recommender.load(folder)
    if recommender.recipe.network.pixels is not None:
        return TagPredictor(recommender)
    run = read_run(folder)
    return TagPredictor(recommender, frozen_net_of(folder, run, run["features"]).to(recommender.device))
