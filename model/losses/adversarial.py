"""The losses of a discriminator and of the network that deceives it, and jittered labels.

Quintanilla et al., TMM 2020, eq. 3, 6 and 7; Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014.
"""

import torch
from torch import Tensor
from torch.nn import functional


def jitter(labels: Tensor, kept: float, spread: float) -> Tensor:
    """Return labels of 0 or 1 as kept * label + U(0, spread) (eq. 7), by torch's generator.

    Otherwise a discriminator knows people's labels from predicted probabilities by their being exactly 0 or 1. With the
    paper's 0.7 and 0.3 a label of 0 is in [0, 0.3), one of 1 in [0.7, 1).

    Args:
        labels: 0 or 1.
        kept: eta.
        spread: iota; 0 adds nothing.
    """
    noise = torch.rand(labels.shape, dtype=labels.dtype).to(labels.device)  # drawn on the CPU: equal on every device
    return labels * kept + noise * spread


def discrimination_loss(real: Tensor, generated: Tensor) -> Tensor:
    """Return the mean of -log D(real) - log(1 - D(generated)) (eq. 6 with its sign changed).

    Shape:
        real, generated: logits (B, 1)
    """
    return functional.softplus(-real).mean() + functional.softplus(generated).mean()


def deceiving_loss(generated: Tensor, saturates: bool) -> Tensor:
    """Return the loss of the network whose output D judges.

    Args:
        generated: D's logits.
        saturates: True: mean log(1 - D), eq. 3, whose gradient vanishes where D is sure; False: mean -log D, which has
            the same fixed point and no such gap, and which the paper's released code uses.

    Shape:
        generated: (B, 1)
    """
    return -functional.softplus(generated).mean() if saturates else functional.softplus(-generated).mean()
