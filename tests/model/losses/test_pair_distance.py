"""Test of the distance between the views of a pair."""

import torch

from model.losses.pair_distance import pair_distance


def test_it_is_half_the_mean_squared_distance() -> None:
    one = torch.tensor([[1.0, 2.0], [0.0, 0.0], [3.0, 1.0]])
    other = torch.tensor([[1.0, 0.0], [3.0, 4.0], [3.0, 0.0]])
    assert pair_distance(one, other).item() == (4 + 25 + 1) / (2 * 3)
