"""A factor on the gradient at one place of a network, without any effect on the values there."""

from typing import Any

from torch import Tensor
from torch.autograd import Function


class _ScaledGradient(Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None


def scale_gradient(values: Tensor, factor: float) -> Tensor:
    """Return the same values, through which a gradient goes back multiplied by a factor.

    With the factor 1 the argument itself is returned, so nothing is added to the graph. A factor of -1 is the gradient
    reversal of DANN.

    Args:
        values: at one place of a network, of any shape.
        factor: any finite number; 0 gives zero gradients, not missing ones.

    Example:
        >>> import torch
        >>> values = torch.tensor([2.0, 3.0], requires_grad=True)
        >>> scale_gradient(values, 0.5).square().sum().backward()
        >>> values.grad
        tensor([2., 3.])
    """
    return values if factor == 1 else _ScaledGradient.apply(values, factor)
