"""The asymmetric loss against a loop, its limit, the binary cross-entropy, and gradients."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.losses.asymmetric import AsymmetricLoss
from model.losses.binary_sets import BinarySetLoss


def by_loop(logits: list[float], labels: list[int], positive: float, negative: float, shift: float) -> float:
    total = 0.0
    for logit, label in zip(logits, labels, strict=True):
        p = 1 / (1 + math.exp(-logit))
        q = max(p - shift, 0.0)
        total -= (1 - p) ** positive * math.log(p) if label else q**negative * math.log(1 - q)
    return total


@given(
    st.lists(st.tuples(st.floats(-8, 8), st.integers(0, 1)), min_size=1, max_size=6),
    st.sampled_from([0.0, 1.0, 2.5]),
    st.sampled_from([0.0, 2.0, 4.0]),
    st.sampled_from([0.0, 0.05, 0.3]),
)
def test_against_a_loop(drawn: list[tuple[float, int]], positive: float, negative: float, shift: float) -> None:
    logits, labels = zip(*drawn, strict=True)
    found = AsymmetricLoss(positive, negative, shift)(
        torch.tensor([logits], dtype=torch.float64), torch.tensor([labels], dtype=torch.float64)
    )
    assert found.item() == pytest.approx(by_loop(logits, labels, positive, negative, shift), rel=1e-9, abs=1e-9)


def test_without_focusing_and_shift_it_is_the_binary_cross_entropy() -> None:
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(2)) * 20
    labels = (torch.arange(24).view(6, 4) % 3 == 0).float()
    torch.testing.assert_close(AsymmetricLoss(0, 0, 0)(logits, labels), BinarySetLoss()(logits, labels))


def test_a_sure_lack_costs_nothing_and_gradients_are_those_of_finite_differences() -> None:
    sure = torch.tensor([[math.log(0.04 / 0.96)]], dtype=torch.float64)  # p = 0.04 < m
    assert AsymmetricLoss()(sure, torch.zeros(1, 1, dtype=torch.float64)).item() == 0
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[1, 0, 0, 1], [0, 0, 1, 0], [0, 1, 1, 1]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: AsymmetricLoss(1.0, 4.0, 0.05)(z, labels), (logits,))


def test_large_logits_stay_finite() -> None:
    logits = torch.tensor([[90.0, -90.0]], requires_grad=True)
    AsymmetricLoss(1.0)(logits, torch.tensor([[0.0, 1.0]])).sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
