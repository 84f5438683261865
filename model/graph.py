"""The network of a trained run as one function of tensors, which other programs can run: for exports.

A predictor returns names and numbers of a picture; a graph returns the tensors that they are read from. The colours are
normalised inside of it, so its pictures are squares of uint8.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional


class SecondInput(NamedTuple):
    """What a graph reads beside the pixels: float32 (B, N), a number for each name.

    Attributes:
        name: of the input.
        meaning: of its numbers.
        names: N of them.
    """

    name: str
    meaning: str
    names: Sequence[str]


@dataclass(frozen=True)
class Graph:
    """A network that can be exported.

    Attributes:
        network: from pixels, uint8 (B, 3, S, S), and perhaps a second input, to one tensor or a tuple of them; in
            evaluation mode.
        outputs: the tensors' names in their order, each with the names of its columns; none: one number a picture.
        second: the second input, if there is one.
    """

    network: nn.Module
    outputs: Mapping[str, Sequence[str]]
    second: SecondInput | None = None


class CategoriesAndWords(nn.Module):
    """Categories' probabilities and the click feature, where the run has them.

    Args:
        recogniser: uint8 (B, 3, S, S) to logits (B, C); None: no categories.
        click_predictor: uint8 (B, 3, S, S) to v^ (B, K); None: no words.

    Shape:
        output: float32 (B, C) with rows of sum 1; float32 (B, K) with rows of length 1
    """

    def __init__(self, recogniser: nn.Module | None, click_predictor: nn.Module | None) -> None:
        super().__init__()
        self.recogniser, self.click_predictor = recogniser, click_predictor

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return what there is of both."""
        found = []
        if self.recogniser is not None:
            found.append(functional.softmax(self.recogniser(pixels).float(), dim=1))
        if self.click_predictor is not None:
            found.append(functional.normalize(self.click_predictor(pixels).float(), dim=1))
        return tuple(found)
