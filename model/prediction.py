"""What a trained model says of pictures: the contract between a system and all that shows predictions.

A system whose models can be applied to pictures has a module ``systems/NAME/predictor.py`` with a function
``load(folder, evaluation=None) -> Predictor``; the ``system`` of a model folder's run.json is NAME. Nothing else is
registered. An evaluation of the run may calibrate its probabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from base.console import UserError
from model.graph import CategoriesAndWords, Graph


class Scored(NamedTuple):
    """A category, word, label, tag or text with its value."""

    name: str
    value: float


@dataclass(frozen=True)
class Prediction:
    """What a model says of one picture; what a model doesn't predict stays empty or None.

    Attributes:
        categories: with probabilities (sum 1 over all), the most probable first.
        words: for which people would click the picture, with their predicted weight (an entry of the click feature,
            a vector of length 1), the largest first.
        labels: of an annotation, with probabilities, the most probable first.
        number: the predicted number of labels.
        tags: recommended, with probabilities, the most probable first.
        texts: of those that the model has, the most similar ones, with the cosine of their code and the picture's.
        click_feature: the predicted click feature that the words are of, of length 1, on the CPU: (K,).
    """

    categories: Sequence[Scored] = ()
    words: Sequence[Scored] = ()
    labels: Sequence[Scored] = ()
    number: int | None = None
    tags: Sequence[Scored] = ()
    texts: Sequence[Scored] = ()
    click_feature: Tensor | None = field(default=None, repr=False, compare=False)


class Context(NamedTuple):
    """What is known of a picture beside its pixels.

    Attributes:
        tags: that users gave to the picture, for models that read them.
        history: tags that the user gave before, each as often as it was given, for models that recommend tags.
    """

    tags: Sequence[str] = ()
    history: Sequence[str] = ()


class Predictor(Protocol):
    """A trained model that can be applied to pictures, in evaluation mode, on the GPU if there is one.

    Attributes:
        system: the name of its folder in `systems`.
        run: the run's name, such as ``MTMDD-VM-star``.
        seed: of the training.
        resize: pixels of the shorter side of a decoded picture.
        image_size: side of the middle square that the model sees, pixels.
        finely: whether pictures are decoded at full scale and resized with cubic interpolation, as for frozen features
            (`model.data.images.decode`).
        categories: names of all categories; empty: it recognises none.
        words: names of the click feature's K words; empty: it predicts no clicks.
        reads: the fields of `Context` that change its predictions.
    """

    system: str
    run: str
    seed: int
    resize: int
    image_size: int
    finely: bool
    categories: Sequence[str]
    words: Sequence[str]
    reads: Sequence[str]

    def predict(self, pixels: Tensor, contexts: Sequence[Context] = (), top: int | None = None) -> list[Prediction]:
        """Return the predictions of some pictures.

        Args:
            pixels: the middle squares.
            contexts: of each picture; empty: nothing is known beside the pixels.
            top: entries of each list at most; None: all, or as many as the model says.

        Shape:
            pixels: uint8 (B, 3, S, S)
        """
        ...

    def click_features(self, pixels: Tensor) -> Tensor:
        """Return predicted click features, each of length 1.

        Shape:
            pixels: uint8 (B, 3, S, S); result: (B, K), on the CPU

        Raises:
            UserError: the model predicts no clicks.
        """
        ...

    def graph(self) -> Graph:
        """Return the network as one function of tensors, for exports."""
        ...


@runtime_checkable
class KnowsUsers(Protocol):
    """A predictor that finds the history of a user in the log that it was trained on."""

    def history_of(self, tags: Path, splits: Path, user: str) -> Sequence[str]:
        """Return the tags that a user gave, each as often as it was given: `Context.history`.

        Args:
            tags: the folder of the tag log.
            splits: the folder of its splits, with the histories.
            user: the user's id.

        Raises:
            UserError: the log is another one, or nobody of this id has a history.
        """
        ...


@runtime_checkable
class KnowsTexts(Protocol):
    """A predictor that finds texts.

    Attributes:
        texts: all that it can find.
    """

    texts: Sequence[str]

    def cosines(self, pixels: Tensor, text: str) -> Tensor:
        """Return the similarity of pictures to one of the texts.

        Shape:
            pixels: uint8 (B, 3, S, S); result: (B,), on the CPU
        """
        ...


def refuse_calibration(folder: Path, evaluation: Path | None) -> None:
    """Check that no evaluation was given.

    Raises:
        UserError: one was given, but the system's probabilities aren't calibrated.
    """
    if evaluation is not None:
        raise UserError(
            f"{evaluation}: the probabilities of {folder} are not calibrated by an evaluation; leave it out"
        )


def largest(values: Tensor, names: Sequence[str], top: int | None = None, above: float | None = None) -> list[Scored]:
    """Return the names with the largest values, the largest first; of equal values the earlier name first.

    Args:
        values: of the names.
        names: N of them.
        top: the number of names; None: all.
        above: names whose value is not above it are left out.

    Shape:
        values: (N,)
    """
    found = values.double().cpu()
    order = torch.argsort(found, descending=True, stable=True)[:top]
    return [Scored(names[int(row)], float(found[row])) for row in order if above is None or float(found[row]) > above]


class RecogniserPredictor:
    """A predictor of categories and, perhaps, of clicks; a system gives the two functions.

    Attributes:
        recogniser: returns logits of uint8 images; None: it recognises nothing.
        click_predictor: returns v^ of uint8 images; None: it predicts no clicks.
    """

    finely = False
    reads: Sequence[str] = ()

    def __init__(
        self,
        system: str,
        run: str,
        seed: int,
        sizes: tuple[int, int],
        recogniser: tuple[nn.Module, Sequence[str]] | None,
        click_predictor: tuple[nn.Module, Sequence[str]] | None,
        device: torch.device,
    ) -> None:
        self.system, self.run, self.seed = system, run, seed
        self.resize, self.image_size = sizes
        self.recogniser = recogniser and recogniser[0]
        self.categories: Sequence[str] = recogniser[1] if recogniser else ()
        self.click_predictor = click_predictor and click_predictor[0]
        self.words: Sequence[str] = click_predictor[1] if click_predictor else ()
        self.device = device

    @torch.no_grad()
    def predict(self, pixels: Tensor, contexts: Sequence[Context] = (), top: int | None = None) -> list[Prediction]:
        """Return categories and words; contexts change nothing. :meth:`Predictor.predict` describes the rest."""
        images = pixels.to(self.device)
        categories: list[list[Scored]] = [[] for _ in images]
        words: list[list[Scored]] = [[] for _ in images]
        clicks: Sequence[Tensor | None] = [None for _ in images]
        if self.recogniser is not None:
            probabilities = functional.softmax(self.recogniser(images).double(), dim=1)
            categories = [largest(row, self.categories, top) for row in probabilities]
        if self.click_predictor is not None:
            predicted = self.click_features(images)
            words = [largest(row, self.words, top, above=0.0) for row in predicted]
            clicks = list(predicted)
        said = zip(categories, words, clicks, strict=True)
        return [Prediction(categories=c, words=w, click_feature=row) for c, w, row in said]

    @torch.no_grad()
    def click_features(self, pixels: Tensor) -> Tensor:
        """Return predicted click features; :meth:`Predictor.click_features` describes them."""
        if self.click_predictor is None:
            raise UserError(f"{self.system} {self.run} predicts no clicks; use a run with a click branch")
        return functional.normalize(self.click_predictor(pixels.to(self.device)).float(), dim=1).cpu()

    def graph(self) -> Graph:
        """Return the network with probabilities and click features, those of them that it has."""
        outputs = {"probabilities": self.categories, "click_feature": self.words}
        network = CategoriesAndWords(self.recogniser, self.click_predictor).eval()
        return Graph(network, {name: names for name, names in outputs.items() if names})
