"""The click count loss."""

from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST_NORM = 1e-6  # a vector shorter than this counts as zero


def l2_normalise(vectors: Tensor) -> Tensor:
    r"""Return N'(x) = x / ||x|| of each row; a zero row stays zero and has a zero gradient.

    A small constant in the denominator would also keep the value finite, but the gradient would grow to its inverse.

    Shape:
        input and output: (B, K)
    """
    norms = torch.linalg.vector_norm(vectors.detach(), dim=1, keepdim=True)
    is_zero = norms < SMALLEST_NORM
    safe = torch.where(is_zero, torch.ones_like(vectors), vectors)
    unit = safe / torch.linalg.vector_norm(safe, dim=1, keepdim=True)
    return torch.where(is_zero, torch.zeros_like(unit), unit)


@dataclass(frozen=True)
class CountLoss:
    r"""Each image's click count loss, || N'(v) - N'(v^) ||^2, in [0, 4].

    An image without clicks (v = 0) has the loss 1 whatever is predicted (0 for v^ = 0), and no gradient.

    Reference: eq. 2, first term of eq. 12 of the MTMDD-VM paper.
    """

    def __call__(self, true: Tensor, predicted: Tensor) -> Tensor:
        """Return each image's loss.

        Args:
            true: v.
            predicted: v^.

        Shape:
            inputs: (B, K); output: (B,)
        """
        return (l2_normalise(true) - l2_normalise(predicted)).square().sum(dim=1)
