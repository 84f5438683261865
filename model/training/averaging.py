"""The moving average of a network's weights over the steps of a phase (EMA)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class MovingAverage:
    r"""Averages a network's state: m <- d m + (1 - d) w after every step, beginning with the start weights.

    d = min(decay, (1 + t) / (10 + t)) at step t = 0, 1, ..: d is small at first, so the start weights soon lose their
    influence. Running statistics of batch normalisation are averaged like weights; integers are copied.

    Args:
        network: the network whose state is averaged.
        decay: in (0, 1).

    Reference: TensorFlow's `ExponentialMovingAverage` with the number of updates has this form of d.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = network
        self.decay = decay
        self.values = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Add the weights after a step to the average; steps count from 0."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.values[name].lerp_(value, weight)
            else:
                self.values[name].copy_(value)

    @contextmanager
    def applied_to_network(self) -> Iterator[None]:
        """Put the average into the network during the block; restore the network's weights afterwards."""
        own = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.values)
        try:
            yield
        finally:
            self.network.load_state_dict(own)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the average."""
        return self.values

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the saved average."""
        for name, value in state.items():
            self.values[name].copy_(value)
