"""Applies a trained run to pictures: labels with probabilities, and how many.

A run that predicts no number gives as many labels as its recipe's `top`. With the run's evaluation the probabilities
are calibrated; the labels stay the same.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from base.artifacts import read_json
from base.console import UserError
from model.graph import Graph, SecondInput
from model.measures.calibration import Platt
from model.measures.label_sets import nearest_counts
from model.prediction import Context, Prediction, largest
from pipelines.annotations.tag_words import tag_word
from systems.annotation.config import BASE, CHAIN, RECURRENT, TAGS
from systems.annotation.measures import PREDICTED_BY, main_phase, probabilities_of
from systems.annotation.model import AnnotationModel, load_model
from systems.annotation.rules import most_probable


def read_calibration(folder: Path | None, phase: str) -> Platt | None:
    """Return the calibration of a phase in an evaluation.

    Raises:
        UserError: the folder is no evaluation of such a run.
    """
    if folder is None:
        return None
    try:
        known = read_json(folder / "metrics.json")["calibration"][phase]
        return Platt(float(known["a"]), float(known["b"]))
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{folder}: no calibration of {phase!r}; give the folder of this run's evaluation") from None


class AnnotationPredictor:
    """A trained run that annotates pictures; the attributes are those of `model.prediction.Predictor`.

    Args:
        model: the trained run.
        scaling: calibrates the probabilities; None: they stay.
    """

    system = "annotation"
    finely = False
    categories: Sequence[str] = ()
    words: Sequence[str] = ()

    def __init__(self, model: AnnotationModel, scaling: Platt | None) -> None:
        self.model, self.scaling = model, scaling
        self.run, self.seed = model.recipe.run, int(model.run["seed"])
        self.resize, self.image_size = model.recipe.network.resize, model.recipe.network.image_size
        self.reads: Sequence[str] = ("tags",) if TAGS in model.phases else ()
        self._place = {tag: j for j, tag in enumerate(model.tags)}

    def predict(self, pixels: Tensor, contexts: Sequence[Context] = (), top: int | None = None) -> list[Prediction]:
        """Return labels and their number; tags of the contexts that the model doesn't know change nothing."""
        tagged = torch.zeros(len(pixels), len(self.model.tags))
        for row, context in zip(tagged, contexts, strict=False):
            row[[place for tag in context.tags if (place := self._place.get(tag_word(tag))) is not None]] = 1
        said = self.model.say(iter([(pixels, tagged)]))
        phase = main_phase(list(said.logits))
        logits = said.logits[phase]
        scaling = self.scaling
        found = probabilities_of(logits, self.model.recipe.loss) if scaling is None else scaling.probabilities(logits)
        quantity = said.quantities.get(PREDICTED_BY[phase])
        counts = None if quantity is None else nearest_counts(quantity, len(self.model.labels))
        given = most_probable(found, self.model.recipe.top if counts is None else counts)
        predictions = []
        for row, (probabilities, mine) in enumerate(zip(found, given, strict=True)):
            labels = largest(torch.from_numpy(probabilities), self.model.labels, int(mine.sum()))[:top]
            predictions.append(Prediction(labels=labels, number=None if counts is None else int(counts[row])))
        return predictions

    def click_features(self, pixels: Tensor) -> Tensor:
        """Raise an error; annotation predicts no clicks."""
        raise UserError(f"annotation {self.run} predicts no clicks; use a model of mtmdd")

    def graph(self) -> Graph:
        """Return the network from pictures, and tags if it reads them, to probabilities and the number of labels."""
        network = _Labels(self.model, self.scaling).eval()
        outputs: dict[str, Sequence[str]] = {"probabilities": self.model.labels}
        if PREDICTED_BY.get(network.phase) in self.model.phases:
            outputs["number"] = ()
        second = SecondInput("tags", "1 if users gave the tag to the picture, else 0", self.model.tags)
        return Graph(network, outputs, second if self.reads else None)


class _Labels(nn.Module):
    """From uint8 (B, 3, S, S) and tags, float32 (B, T), to probabilities (B, C) and the estimated number (B,)."""

    def __init__(self, model: AnnotationModel, scaling: Platt | None) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(model.phases)  # so that their weights are found
        self.model, self.scaling, self.phase = model, scaling, main_phase(list(model.phases))

    def forward(self, pixels: Tensor, tags: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return the probabilities, calibrated if the model is, and the number if the run estimates it."""
        if tags is None:  # of networks that read none
            tags = torch.zeros(1, 1, device=pixels.device)
        found = self.model.of_batch(pixels, tags)
        logits = found["logits"][self.phase].float()
        if self.scaling is not None:
            probabilities = (self.scaling.a * logits + self.scaling.b).sigmoid()
        else:
            probabilities = logits.softmax(dim=1) if self.model.recipe.loss == "softmax" else logits.sigmoid()
        quantity = found["quantities"].get(PREDICTED_BY.get(self.phase, ""))
        return (probabilities,) if quantity is None else (probabilities, quantity)


def load(folder: Path, evaluation: Path | None = None) -> AnnotationPredictor:
    """Load a model folder.

    Raises:
        UserError: it is not a model folder of this system, or its labels have no probabilities; or the evaluation is
            not this run's.
    """
    model = load_model(folder)
    if CHAIN in model.phases:
        raise UserError(f"{folder}: {RECURRENT} gives labels without probabilities; use a run of {BASE}")
    return AnnotationPredictor(model, read_calibration(evaluation, main_phase(list(model.phases))))
