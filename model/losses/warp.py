"""WARP, the weighted approximate-rank pairwise loss: labels that an image has are ranked above those it lacks."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class WarpLoss:
    r"""Each image's sum over its labels j and the other labels k of L(r_j) max(0, 1 - z_j + z_k).

    L(r) = 1 + 1/2 + ... + 1/r, so the top of the ranking counts most. r_j is the rank of j: the number V of labels that
    the image lacks with z_k > z_j - 1. With `sampled`, r_j is estimated as in the references: with n labels that the
    image lacks, they are drawn with replacement until one of the V appears, at the s-th draw, and r_j = floor(n / s).
    The number s is drawn at once from its geometric distribution, which is the same and takes no loop. No gradient
    flows through r_j.

    Attributes:
        sampled: whether ranks are estimated by drawing, with torch's generator, or counted.

    Reference: Weston, Bengio, Usunier, "WSABIE" (IJCAI 2011), section 3; Gong et al., "Deep convolutional ranking for
    multilabel image annotation" (ICLR 2014), section 3.1.3.
    """

    sampled: bool = True

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return each image's loss; 0 for an image with no label or with all.

        Args:
            logits: z.
            labels: y, 0 or 1.

        Shape:
            logits, labels: (B, C); result: (B,). Takes memory for C numbers for each label that an image has.
        """
        has = labels > 0
        images, _ = has.nonzero(as_tuple=True)
        hinges = (1 - logits[has][:, None] + logits[images]).clamp(min=0) * ~has[images]  # (labels of all images, C)
        ranks = (hinges.detach() > 0).sum(dim=1)
        if self.sampled:
            violators = torch.zeros_like(has, dtype=torch.long).masked_scatter(has, ranks)
            ranks = self._estimated(violators, (~has).sum(dim=1, keepdim=True))[has]
        numbers = torch.arange(1, logits.shape[1] + 1, device=logits.device, dtype=logits.dtype)
        harmonic = torch.cat([numbers.new_zeros(1), (1 / numbers).cumsum(dim=0)])
        of_labels = harmonic[ranks] * hinges.sum(dim=1)
        return torch.zeros_like(logits).masked_scatter(has, of_labels).sum(dim=1)

    def _estimated(self, violators: Tensor, num_lacking: Tensor) -> Tensor:
        """Return floor(n / s) with s drawn; 0 where nothing violates the margin."""
        share = violators / num_lacking.clamp(min=1)
        uniform = torch.rand(violators.shape, device=violators.device, dtype=torch.float64).clamp(min=1e-12)
        # log1p(-1) is -inf, which gives s = 1: every draw is a violator
        draws = (uniform.log() / torch.log1p(-share.double())).ceil().clamp(min=1)
        return torch.where(violators > 0, (num_lacking / draws).floor(), 0).long()
