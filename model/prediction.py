"""What a trained model says of pictures: the contract between a system and all that shows predictions.

A system whose models can be applied to pictures has a module ``systems/NAME/predictor.py`` with a function
``load(folder) -> Predictor``; the ``system`` of a model folder's run.json is NAME. Nothing else is registered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor, nn


class Scored(NamedTuple):
    """A category, word, label or tag with its value."""

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
    """

    categories: Sequence[Scored] = ()
    words: Sequence[Scored] = ()
    labels: Sequence[Scored] = ()
    number: int | None = None
    tags: Sequence[Scored] = ()


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
        categories: names of all categories; empty: it recognises none.
        words: names of the click feature's K words; empty: it predicts no clicks.
        network: from pixels, uint8 or float (B, 3, S, S) of 0 to 255, to its outputs; for explanations and exports.
    """

    system: str
    run: str
    seed: int
    resize: int
    image_size: int
    categories: Sequence[str]
    words: Sequence[str]
    network: nn.Module

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
