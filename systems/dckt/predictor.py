"""Applies a trained run to pictures: categories of the target, and the texts that are most similar."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from base.artifacts import read_tables
from base.console import UserError
from model.folder import TEXTS
from model.frozen_features import FrozenNet, frozen_net_of
from model.graph import Graph
from model.measures.retrieval import unit_rows
from model.prediction import Context, Prediction, largest, refuse_calibration
from systems.dckt.network import DomainNetwork
from systems.dckt.trained import TargetModel

MOST_TEXTS = 100  # that a prediction has if it isn't limited: the training's texts may be very many


class CrossMediaPredictor:
    """A trained run that finds texts; the other attributes are those of `model.prediction.Predictor`.

    The code of a picture is the probability of each category, so the nearest texts are those of its kind.

    Args:
        model: the target's network.
        frozen: the ConvNet whose features it reads.
        items: the texts with their codes, schemas.INDEXED; without rows it predicts categories alone.

    Attributes:
        texts: of the items, in their order.
    """

    system = "dckt"
    finely = True
    words: Sequence[str] = ()
    reads: Sequence[str] = ()

    def __init__(self, model: TargetModel, frozen: FrozenNet, items: pl.DataFrame) -> None:
        self.run, self.seed = model.recipe.run, int(model.run["seed"])
        self.resize, self.image_size = frozen.params.resize, frozen.params.image_size
        self.categories, self.device = model.categories, model.device
        self.network = _ImageCodes(frozen, model.network).to(model.device).eval()
        self.texts: Sequence[str] = items["text"].to_list()
        codes = np.stack(list(items["code"].to_numpy())) if len(items) else np.empty((0, len(self.categories)))
        self._codes = torch.from_numpy(unit_rows(codes))
        self._row = {text: row for row, text in enumerate(self.texts)}

    def predict(self, pixels: Tensor, contexts: Sequence[Context] = (), top: int | None = None) -> list[Prediction]:
        """Return categories and texts, at most 100 texts; contexts change nothing."""
        codes = self._codes_of(pixels)
        cosines = _unit(codes) @ self._codes.T
        return [
            Prediction(
                categories=largest(probabilities, self.categories, top),
                texts=largest(similar, self.texts, MOST_TEXTS if top is None else top),
            )
            for probabilities, similar in zip(codes, cosines, strict=True)
        ]

    def cosines(self, pixels: Tensor, text: str) -> Tensor:
        """Return the similarity of pictures to a text; :class:`model.prediction.KnowsTexts` describes it."""
        return _unit(self._codes_of(pixels)) @ self._codes[self._row[text]]

    def click_features(self, pixels: Tensor) -> Tensor:
        """Raise an error; cross-media retrieval predicts no clicks."""
        raise UserError(f"dckt {self.run} predicts no clicks; use a model of mtmdd")

    def graph(self) -> Graph:
        """Return the network from pictures to the categories' probabilities; texts are not part of it."""
        return Graph(self.network, {"probabilities": self.categories})

    @torch.no_grad()
    def _codes_of(self, pixels: Tensor) -> Tensor:
        codes: Tensor = self.network(pixels.to(self.device)).cpu()
        return codes


def _unit(codes: Tensor) -> Tensor:
    return torch.from_numpy(unit_rows(codes.numpy()))


class _ImageCodes(nn.Module):
    """From uint8 (B, 3, S, S) to the common representation, (B, C)."""

    def __init__(self, frozen: FrozenNet, network: DomainNetwork) -> None:
        super().__init__()
        self.frozen, self.network = frozen, network

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the probability of each category."""
        return self.network.image_codes(self.frozen(pixels))


def load(folder: Path, evaluation: Path | None = None) -> CrossMediaPredictor:
    """Load a model folder.

    Raises:
        UserError: it is not a model folder of this system; its texts have other codes; or the ConvNet that made its
            frozen features is unknown or not there.
    """
    refuse_calibration(folder, evaluation)
    model = TargetModel(folder)
    frozen = frozen_net_of(folder, model.run, model.images)
    if not (folder / TEXTS).is_file():
        return CrossMediaPredictor(model, frozen, pl.DataFrame({"text": [], "code": []}))
    items = pl.DataFrame(read_tables(folder / TEXTS, ["text", "code"]))
    if len(items) and set(items["code"].list.len()) != {len(model.categories)}:
        raise UserError(f"{folder / TEXTS}: not of this model, which has {len(model.categories)} categories")
    return CrossMediaPredictor(model, frozen, items)
