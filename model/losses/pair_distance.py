"""The distance between the two views of a pair."""

from torch import Tensor


def pair_distance(one: Tensor, other: Tensor) -> Tensor:
    r"""Return 1 / (2 N) sum over pairs n of ||one_n - other_n||^2, a scalar.

    Shape:
        one, other: (N, D)

    Reference: Caffe's contrastive loss layer with similar pairs only; DCKT, section 3.2, eq. 5 and 6.
    """
    return (one.float() - other.float()).square().sum(dim=1).mean() / 2
