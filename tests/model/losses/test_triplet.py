"""The triplet loss against a loop over triplets, hand-worked numbers and gradients."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.losses.triplet import TripletLoss


def by_loop(phi: np.ndarray, labels: list[int], margin: float) -> float:
    unit = [row / math.sqrt(sum(value * value for value in row)) for row in phi]
    found = []
    for a, p, n in itertools.product(range(len(labels)), repeat=3):
        if a != p and labels[a] == labels[p] != labels[n]:
            ap, an = (sum((x - y) ** 2 for x, y in zip(unit[a], unit[b], strict=True)) for b in (p, n))
            found.append(max(0.0, ap - an + margin))
    return sum(found) / len(found) if found else 0.0


def test_by_hand() -> None:
    # directions of 0, 90 and 60 degrees: d^2 = 2 - 2 cos
    phi = torch.tensor([[3.0, 0.0], [0.0, 0.5], [1.0, math.sqrt(3)]], dtype=torch.float64)
    found = TripletLoss(margin=0.2)(phi, torch.tensor([4, 4, 1]))
    # anchors are the first two: 2 - 1 + 0.2, and 2 - (2 - sqrt(3)) + 0.2
    assert found.item() == pytest.approx((1.2 + math.sqrt(3) + 0.2) / 2, abs=1e-12)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 99))
def test_against_a_loop(labels: list[int], margin: float, seed: int) -> None:
    phi = np.random.default_rng(seed).normal(0.4, 1.0, (len(labels), 5))
    found = TripletLoss(margin)(torch.from_numpy(phi), torch.tensor(labels))
    assert found.item() == pytest.approx(by_loop(phi, labels, margin), abs=1e-12)


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]], ids=["no negative", "no positive"])
def test_without_a_triplet_the_loss_is_zero_with_gradients(labels: list[int]) -> None:
    phi = torch.tensor([[1.0, 2.0], [1.0, 2.0], [-2.0, 0.5]], requires_grad=True)
    loss = TripletLoss()(phi, torch.tensor(labels))
    loss.backward()
    assert loss.item() == 0
    assert phi.grad is not None
    assert phi.grad.abs().sum() == 0


def test_the_gradient_is_that_of_finite_differences() -> None:
    phi = torch.randn(5, 3, generator=torch.Generator().manual_seed(8), dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 0, 2, 1])
    assert torch.autograd.gradcheck(lambda x: TripletLoss(0.7)(x, labels), (phi,))
