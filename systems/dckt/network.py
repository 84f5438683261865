"""The network of one domain, and the two networks together (section 3 of the paper).

B pairs, D image features, T text features, H hidden units, C categories.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from systems.dckt.config import SOURCE, TARGET, NetworkParams

KEPT = 0.9  # share of the running statistics that a step keeps: the released code's moving fraction


class Seen(NamedTuple):
    """The outputs of a domain's network for B pairs; those of both media together have the images first."""

    image_fc6: Tensor  # (B, H)
    image_fc7: Tensor
    text_fc6: Tensor
    text_fc7: Tensor
    fc8: Tensor  # (2 B, H)
    fc9: Tensor
    logits: Tensor  # (2 B, C), of fc10


def hidden_layer(inputs: int, params: NetworkParams) -> nn.Sequential:
    """Return a fully connected layer with batch normalisation, which has no weights, and ReLU."""
    return nn.Sequential(
        nn.Linear(inputs, params.hidden),
        nn.BatchNorm1d(params.hidden, momentum=1 - KEPT, affine=False),
        nn.ReLU(),
        nn.Dropout(params.dropout),
    )


class DomainNetwork(nn.Module):
    """Two paths, fc6 and fc7 of each medium, and the layers fc8, fc9 and fc10, which both media share.

    Args:
        images: number of image features, D.
        texts: number of text features, T.
        categories: C.
        params: the sizes.
    """

    def __init__(self, images: int, texts: int, categories: int, params: NetworkParams) -> None:
        super().__init__()
        self.image_input = nn.BatchNorm1d(images, affine=False) if params.normalise == "both" else nn.Identity()
        self.text_input = nn.BatchNorm1d(texts, momentum=1 - KEPT)
        self.image_fc6, self.image_fc7 = hidden_layer(images, params), hidden_layer(params.hidden, params)
        self.text_fc6, self.text_fc7 = hidden_layer(texts, params), hidden_layer(params.hidden, params)
        self.fc8, self.fc9 = hidden_layer(params.hidden, params), hidden_layer(params.hidden, params)
        self.fc10 = nn.Linear(params.hidden, categories)

    def forward(self, images: Tensor, texts: Tensor) -> Seen:
        """Return the outputs of all layers for pairs: float32 (B, D) and (B, T)."""
        image_fc6, text_fc6 = self.image_fc6(self.image_input(images)), self.text_fc6(self.text_input(texts))
        image_fc7, text_fc7 = self.image_fc7(image_fc6), self.text_fc7(text_fc6)
        fc8 = self.fc8(torch.cat([image_fc7, text_fc7]))
        fc9 = self.fc9(fc8)
        return Seen(image_fc6, image_fc7, text_fc6, text_fc7, fc8, fc9, self.fc10(fc9))

    def image_codes(self, images: Tensor) -> Tensor:
        """Return the common representation c(I) of images alone, the probability of each category: (B, C)."""
        return self._codes(self.image_fc7(self.image_fc6(self.image_input(images))))

    def text_codes(self, texts: Tensor) -> Tensor:
        """Return the common representation c(T) of texts alone: (B, C)."""
        return self._codes(self.text_fc7(self.text_fc6(self.text_input(texts))))

    def _codes(self, fc7: Tensor) -> Tensor:
        return self.fc10(self.fc9(self.fc8(fc7))).float().softmax(dim=1)


class TwinNetworks(nn.Module):
    """The networks of both domains, which have the same layers and share no weight."""

    def __init__(self, source: DomainNetwork, target: DomainNetwork) -> None:
        super().__init__()
        self.domains = nn.ModuleDict({SOURCE: source, TARGET: target})

    def forward(self, source: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor]) -> tuple[Seen, Seen]:
        """Return the outputs of both networks for pairs of their domains."""
        return self.domains[SOURCE](*source), self.domains[TARGET](*target)

    def of(self, domain: str) -> DomainNetwork:
        """Return the network of a domain."""
        network = self.domains[domain]
        assert isinstance(network, DomainNetwork)
        return network
