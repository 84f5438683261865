"""Softmax cross-entropy of label sets: an image's labels share the probability 1."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class SoftmaxSetLoss:
    r"""Each image's cross-entropy between softmax(z) and y / |y|; 0 for an image without labels.

    Reference: Gong et al., "Deep convolutional ranking for multilabel image annotation" (ICLR 2014), section 3.1.1.
    """

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return each image's loss.

        Args:
            logits: z.
            labels: y, 0 or 1.

        Shape:
            logits, labels: (B, C); result: (B,)
        """
        shares = labels / labels.sum(dim=1, keepdim=True).clamp(min=1)
        return -(shares * logits.log_softmax(dim=1)).sum(dim=1)
