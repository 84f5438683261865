"""WARP against a written-out sum with counted ranks; the estimated ranks against real drawing."""

import itertools
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.losses.warp import WarpLoss


def by_loop(logits: list[float], labels: list[int]) -> float:
    """Sum over labels and other labels, with the counted rank."""
    having = [j for j, label in enumerate(labels) if label]
    lacking = [k for k, label in enumerate(labels) if not label]
    total = 0.0
    for j in having:
        rank = sum(logits[k] > logits[j] - 1 for k in lacking)
        weight = sum(1 / i for i in range(1, rank + 1))
        total += weight * sum(max(0.0, 1 - logits[j] + logits[k]) for k in lacking)
    return total


def test_by_hand() -> None:
    # label 0 with 1.0: one of the others (0.5) is within the margin; label 3 with -1: all three are above it
    logits = torch.tensor([[1.0, 0.5, -0.5, -1.0, -1.5]], dtype=torch.float64)
    labels = torch.tensor([[1.0, 0, 0, 1, 0]], dtype=torch.float64)
    assert WarpLoss(sampled=False)(logits, labels).item() == pytest.approx(
        0.5 + (1 + 1 / 2 + 1 / 3) * (2.5 + 1.5 + 0.5)
    )


@given(st.lists(st.tuples(st.floats(-3, 3), st.integers(0, 1)), min_size=1, max_size=7))
def test_counted_ranks_against_a_loop(drawn: list[tuple[float, int]]) -> None:
    logits, labels = zip(*drawn, strict=True)
    found = WarpLoss(sampled=False)(
        torch.tensor([logits], dtype=torch.float64), torch.tensor([labels], dtype=torch.float64)
    )
    assert found.item() == pytest.approx(by_loop(logits, labels), abs=1e-9)


def test_estimated_ranks_have_the_distribution_of_drawing() -> None:
    num_lacking, num_violators, number = 9, 2, 20_000
    stream, drawn = random.Random(4), []
    for _ in range(number):
        trial = next(trial for trial in itertools.count(1) if stream.randrange(num_lacking) < num_violators)
        drawn.append(num_lacking // trial)
    torch.manual_seed(6)
    violators = torch.full((number, 1), num_violators)
    estimated = WarpLoss()._estimated(violators, torch.full((number, 1), num_lacking)).flatten()
    for rank in sorted(set(drawn)):
        share = drawn.count(rank) / number
        assert (estimated == rank).double().mean().item() == pytest.approx(share, abs=0.015)  # some 4 standard errors
    assert set(estimated.tolist()) <= {num_lacking // trial for trial in range(1, num_lacking + 2)}


def test_all_violate_none_violate_and_one_sided_images() -> None:
    torch.manual_seed(1)
    loss = WarpLoss()
    labels = torch.tensor([[0.0, 1, 0]])
    # all violate: the first draw succeeds, so the rank is the number of the others
    assert loss(torch.tensor([[2.0, 0, 2]]), labels).item() == pytest.approx((1 + 1 / 2) * 6)
    assert loss(torch.tensor([[0.0, 5, 0]]), labels).item() == 0
    for one_sided in (torch.zeros(1, 3), torch.ones(1, 3)):
        logits = torch.randn(1, 3, requires_grad=True)
        found = loss(logits, one_sided)
        found.sum().backward()
        assert found.item() == 0
        assert logits.grad is not None
        assert logits.grad.abs().sum() == 0


def test_no_gradient_through_ranks() -> None:
    logits = torch.tensor([[0.3, 0.1, -0.4, 0.2]], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[0.0, 1, 0, 1]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: WarpLoss(sampled=False)(z, labels), (logits,))
