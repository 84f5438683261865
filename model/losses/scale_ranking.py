"""RACNN's inter-scale ranking loss: a finer scale must be surer of the true category than the coarser one."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True)
class ScaleRankingLoss:
    r"""Each image's sum over scales s of max(0, p^(s) - p^(s+1) + margin), p^(s) the true category's probability.

    The coarser scale is the reference: no gradient flows through p^(s).

    Attributes:
        margin: of the probabilities.

    Reference: Fu et al., "Look closer to see better: recurrent attention convolutional neural network for fine-grained
    image recognition" (CVPR 2017), eq. 9; margin 0.05 as in section 4.1.
    """

    margin: float = 0.05

    def __call__(self, logits: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Return each image's loss.

        Args:
            logits: of each scale, from coarse to fine.
            labels: the true categories.

        Shape:
            logits: (B, C) each; labels: (B,); result: (B,)
        """
        of_true = [scores.float().softmax(dim=1).gather(1, labels[:, None])[:, 0] for scores in logits]
        losses = [(coarse.detach() - fine + self.margin).clamp(min=0) for coarse, fine in pairwise(of_true)]
        return torch.stack(losses).sum(dim=0)
