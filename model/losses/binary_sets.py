"""Binary cross-entropy of label sets: every label is a decision of its own."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class BinarySetLoss:
    r"""Each image's sum over labels j of -y_j log p_j - (1 - y_j) log(1 - p_j), with p_j = sigmoid(z_j).

    It is a sum and not a mean over labels, as in the paper's L_cls, so a learning rate belongs to a number of labels.

    Reference: Niu et al., "Multi-modal multi-scale deep learning for large-scale image annotation" (TIP 2019), eq. 4.
    """

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return each image's loss.

        Args:
            logits: z.
            labels: y, 0 or 1.

        Shape:
            logits, labels: (B, C); result: (B,)
        """
        return functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").sum(dim=1)
