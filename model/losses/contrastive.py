"""The contrastive loss: images of one category come together, those of different categories at least a margin apart."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class ContrastiveLoss:
    r"""The loss of all pairs of distinct images of a batch, with positive and negative pairs averaged apart.

    L_c = 1/4 (mean over s = 1 of d^2 + mean over s = 0 of max(0, m - d)^2)

    with d = ||g_a - g_b||, g = phi / ||phi||, and s = 1 if both images have the same label, else 0. Where as many pairs
    are positive as negative, this is 1/(2N) sum [s d^2 + (1 - s) max(0, m - d)^2], the usual form. A batch without
    pairs of a kind has the mean 0 for that kind.

    Attributes:
        margin: m; d is 2 at most, and sqrt(2) where phi has no negative value.

    Reference: Hadsell, Chopra, LeCun, "Dimensionality reduction by learning an invariant mapping" (2006), eq. 4.
    """

    margin: float = 1.0

    def __call__(self, phi: Tensor, labels: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Shape:
            phi: (n, D); labels: (n,)
        """
        distances = pair_distances(phi)
        once = torch.ones_like(distances, dtype=torch.bool).triu(diagonal=1)
        same = labels[:, None] == labels[None, :]
        hinges = (self.margin - distances).clamp(min=0)
        return (_mean(distances.square(), same & once) + _mean(hinges.square(), ~same & once)) / 4


def pair_distances(phi: Tensor) -> Tensor:
    """Return the distance of each pair of rows after scaling each to length 1; a gradient is 0 where a distance is 0.

    Shape:
        phi: (n, D); result: (n, n)
    """
    g = functional.normalize(phi if phi.dtype == torch.float64 else phi.float(), dim=1)
    # the products of the faster mode would lose the last digits of small distances
    return torch.cdist(g, g, compute_mode="donot_use_mm_for_euclid_dist")


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    return (values * chosen).sum() / chosen.sum().clamp(min=1)
