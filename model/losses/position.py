"""The click position loss, which compares which words are clicked, independent of their counts."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from model.losses.count import l2_normalise

Scale = Literal["l2", "1/sqrt(K)"]
EPSILON = 1e-5  # added to the variance, as in batch normalisation


def slope(bandwidth: float, threshold: float) -> float:
    r"""Return a = (2 / B) ln((1 - T) / T), of eq. 11."""
    return 2 / bandwidth * math.log((1 - threshold) / threshold)


def position_function(features: Tensor, bandwidth: float, threshold: float, scale: Scale = "l2") -> Tensor:
    r"""Return S(x) = N'(sigmoid(a (x - B/2))), the smooth form of "is x > 0".

    Before N', 0 maps to T and B to 1 - T.

    Args:
        features: x, click features.
        bandwidth: B > 0.
        threshold: T in (0, 0.5).
        scale: l2 for N'; 1/sqrt(K) for that factor instead of N', as in the released definition.

    Shape:
        input and output: (B, K)

    Reference: eq. 11.
    """
    indicator = torch.sigmoid(slope(bandwidth, threshold) * (features - bandwidth / 2))
    return l2_normalise(indicator) if scale == "l2" else indicator / math.sqrt(features.shape[1])


def standardise(features: Tensor) -> Tensor:
    r"""Return (x - mean) / sqrt(variance + 1e-5) of each word over the images: batch normalisation without affine part.

    There is no running mean: the images are those of a step in training, and all evaluated images in evaluation.

    Shape:
        input and output: (B, K)
    """
    centred = features - features.mean(dim=0)
    return centred * torch.rsqrt(centred.square().mean(dim=0) + EPSILON)


@dataclass(frozen=True, kw_only=True)
class PositionLoss:
    r"""Each image's click position loss, || S(v) - S(v^) ||^2, in [0, 2]; with 1/sqrt(K), in [0, 1].

    Both arguments of S are standardised per word first, as in the paper, against vanishing gradients (end of section
    III-C, 1). So a word counts as clicked for the images in which it is clearly above its mean over the images: a rare
    word in every image with a click on it, a frequent word only in images with many clicks on it.

    Attributes:
        bandwidth: B, in standard deviations; without standardisation, in the unit of the features.
        threshold: T.
        batch_normalised: False uses v and v^ without standardisation.
        scale: of S, see :func:`position_function`.

    Reference: eq. 10 and 11, second term of eq. 12 of the MTMDD-VM paper. The released code leaves out the
    standardisation and uses 1 / sqrt(K) instead of N'.
    """

    bandwidth: float
    threshold: float
    batch_normalised: bool = True
    scale: Scale = "l2"

    def __call__(self, true: Tensor, predicted: Tensor) -> Tensor:
        """Return each image's loss.

        Args:
            true: v.
            predicted: v^.

        Shape:
            inputs: (B, K); output: (B,)
        """
        if self.batch_normalised:
            true, predicted = standardise(true), standardise(predicted)
        true_positions, predicted_positions = (
            position_function(features, self.bandwidth, self.threshold, self.scale) for features in (true, predicted)
        )
        return (true_positions - predicted_positions).square().sum(dim=1)
