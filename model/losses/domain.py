"""The domain classifier's loss of DANN, and the schedule of its gradient reversal."""

import math

from torch import Tensor
from torch.nn import functional

GAMMA = 10.0  # of the schedule


def reversal_factor(progress: float) -> float:
    r"""Return lambda_p = 2 / (1 + exp(-10 p)) - 1, which rises from 0 to almost 1.

    Args:
        progress: p, the share of the training that is done, in [0, 1].

    Reference: Ganin et al., "Domain-adversarial training of neural networks" (JMLR 2016), section 5.2.2.
    """
    return 2 / (1 + math.exp(-GAMMA * progress)) - 1


def domain_loss(source: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross-entropy of the domain classifier; both domains count the same, whatever their sizes.

    Args:
        source, target: logits of "this image is of the target".

    Shape:
        source: (n,); target: (m,); result: ()

    Reference: as :func:`reversal_factor`, eq. 6 and 7.
    """
    return (functional.softplus(source).mean() + functional.softplus(-target).mean()) / 2
