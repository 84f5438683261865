"""The contrastive loss of two-tower networks: each image is to find its text among the texts of the batch, and back."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class InfoNCE:
    r"""Symmetric InfoNCE over the pairs of a batch, weighted, without known positives among the negatives.

    L = sum_i w_i (CE_i(s) + CE_i(s^T)) / (2 sum_i w_i),   s_ij = exp(t) cos(image_i, text_j)

    with CE_i(s) = -s_ii + log sum_j exp(s_ij), the cross-entropy of row i whose right answer is column i. The
    temperature is exp(-t); t is learned, so it is an argument. A column j != i that is a known positive of row i is
    left out of the sum: a click log has several queries of an image in one batch, and without this the loss would
    separate what clicks join.

    Attributes:
        most: exp(t) at most; a larger value has no effect, and t no gradient.

    Reference: Radford et al., "Learning transferable visual models from natural language supervision" (2021), section
    2.3, figure 3, and section 2.5 for the cap of 100; van den Oord et al., "Representation learning with contrastive
    predictive coding" (2018), eq. 4. Weights and known positives are ours.
    """

    most: float = 100.0

    def __call__(
        self, images: Tensor, texts: Tensor, t: Tensor, weights: Tensor | None = None, positives: Tensor | None = None
    ) -> Tensor:
        """Return the loss, a scalar.

        Args:
            images, texts: the codes of each pair; they are scaled to length 1 here.
            t: the logarithm of the factor on the cosines.
            weights: of the pairs, not negative; None: equal ones. If all are 0, so is the loss.
            positives: whether an image and a text belong together; None: those of one pair only.

        Shape:
            images, texts: (n, D); t: (); weights: (n,); positives: bool (n, n), rows images
        """
        scores = t.exp().clamp(max=self.most) * (
            functional.normalize(images, dim=1) @ functional.normalize(texts, dim=1).T
        )
        if positives is not None:
            own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
            scores = scores.masked_fill(positives & ~own, -torch.inf)
        right = torch.arange(len(scores), device=scores.device)
        losses = (
            functional.cross_entropy(scores, right, reduction="none")
            + functional.cross_entropy(scores.T, right, reduction="none")
        ) / 2
        if weights is None:
            return losses.mean()
        total = weights.sum()
        return (weights * losses).sum() / torch.where(total > 0, total, torch.ones_like(total))
