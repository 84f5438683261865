"""The asymmetric loss of label sets: the many labels that an image lacks weigh less, the sure ones nothing."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class AsymmetricLoss:
    r"""Each image's sum over labels j of L+ where y_j = 1, and L- where y_j = 0:

    L+ = -(1 - p)^g+ log p,   L- = -q^g- log(1 - q),   p = sigmoid(z),   q = max(p - m, 0)

    With g+ = g- = m = 0 it is the binary cross-entropy. Gradients flow through the factors (1 - p)^g+ and q^g-, as in
    the paper's figures; its authors' code stops them by default, to save time.

    Attributes:
        positive: g+, the focusing of labels that the image has.
        negative: g-, the focusing of labels that it lacks.
        shift: m; a label that the image lacks costs nothing if its probability is at most m.

    Reference: Ridnik et al., "Asymmetric loss for multi-label classification" (ICCV 2021), eqs. 2, 5 and 6; g+ = 0,
    g- = 4, m = 0.05 as in section 4.1.
    """

    positive: float = 0.0
    negative: float = 4.0
    shift: float = 0.05

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return each image's loss.

        Args:
            logits: z.
            labels: y, 0 or 1.

        Shape:
            logits, labels: (B, C); result: (B,)
        """
        log_p, log_not_p = functional.logsigmoid(logits), functional.logsigmoid(-logits)
        having = -((1 - log_p.exp()) ** self.positive) * log_p
        if self.shift > 0:
            shifted = (log_p.exp() - self.shift).clamp(min=0)
            log_not_p = (1 - shifted).log()
        else:
            shifted = log_p.exp()
        lacking = -(shifted**self.negative) * log_not_p
        return (labels * having + (1 - labels) * lacking).sum(dim=1)
