"""The auto-encoder of a user's tag history, with skips, and the discriminator of tag vectors.

Quintanilla et al., "Adversarial Learning for Personalized Tag Recommendation", TMM 2020, sections IV-a and IV-A:
U_E and U_D are `PreferenceAutoencoder`, D is `discriminator`.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

CODES: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


class Preference(NamedTuple):
    """What the auto-encoder makes of B users' histories over N tags."""

    code: Tensor  # u_p (B, D)
    logits: Tensor  # of the reconstruction (B, N); their sigmoid is u^_h


class PreferenceAutoencoder(nn.Module):
    """Encodes a history of N tags into a code, and reconstructs the history from it.

    A skip concatenates an encoder layer's output to that of the decoder layer of the same width.

    Args:
        num_tags: N.
        encoder: widths of the encoder's layers with ReLU; the last is the code's.
        decoder: widths of the decoder's layers with ReLU; a layer of N logits follows.
        skips: widths at which encoder and decoder are joined; each must be in both. None: no skips.
        code: activation of the code. The paper's text has ReLU in section IV, tanh in section IV-B.

    Shape:
        history: (B, N), in [0, 1]; result: `Preference`

    Raises:
        ValueError: a skip's width is not a width of both.
    """

    def __init__(
        self,
        num_tags: int,
        encoder: Sequence[int],
        decoder: Sequence[int],
        skips: Sequence[int],
        code: Literal["relu", "tanh"],
    ) -> None:
        super().__init__()
        if not set(skips) <= set(encoder) & set(decoder):
            raise ValueError(f"skips {list(skips)}: each must be a width of encoder {encoder} and decoder {decoder}")
        self.skips = frozenset(skips)
        inputs = [num_tags, *encoder[:-1]]
        activations = [*(nn.ReLU() for _ in encoder[:-1]), CODES[code]()]
        self.encoder = nn.ModuleList(
            nn.Sequential(nn.Linear(below, width), activation)
            for below, width, activation in zip(inputs, encoder, activations, strict=True)
        )
        layers, below = [], encoder[-1]
        for width in decoder:
            layers.append(nn.Sequential(nn.Linear(below, width), nn.ReLU()))
            below = 2 * width if width in self.skips else width
        self.decoder = nn.ModuleList(layers)
        self.last = nn.Linear(below, num_tags)
        self.widths = tuple(encoder)

    def encode(self, history: Tensor) -> list[Tensor]:
        """Return the outputs of all encoder layers; the last is the code."""
        outputs = [history]
        for layer in self.encoder:
            outputs.append(layer(outputs[-1]))
        return outputs[1:]

    def forward(self, history: Tensor) -> Preference:
        """Return code and reconstruction."""
        encoded = self.encode(history)
        of_width = dict(zip(self.widths, encoded, strict=True))
        x = encoded[-1]
        for layer in self.decoder:
            x = layer(x)
            if x.shape[1] in self.skips:
                x = torch.cat([x, of_width[x.shape[1]]], dim=1)
        return Preference(encoded[-1], self.last(x))


def discriminator(num_tags: int, widths: Sequence[int], slope: float) -> nn.Sequential:
    """Return D, fully connected layers and one logit; its sigmoid is the probability that people gave the tags.

    Args:
        num_tags: N.
        widths: of the layers with (leaky) ReLU.
        slope: of the activation below 0; 0: ReLU, as in the paper.

    Shape:
        tags: (B, N); result: (B, 1)
    """
    layers: list[nn.Module] = []
    below = num_tags
    for width in widths:
        layers += [nn.Linear(below, width), nn.LeakyReLU(slope)]
        below = width
    return nn.Sequential(*layers, nn.Linear(below, 1))
