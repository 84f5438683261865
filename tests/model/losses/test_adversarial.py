"""The discriminator's and the deceiver's losses, and labels that can't be told by being 0 or 1."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.losses.adversarial import deceiving_loss, discrimination_loss, jitter

LOGITS = [-2.0, 0.5, 3.0]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_losses_are_the_papers() -> None:
    real, generated = torch.tensor([[1.5], [-0.3]]), torch.tensor([[x] for x in LOGITS])
    expected = -sum(math.log(sigmoid(x)) for x in (1.5, -0.3)) / 2
    expected -= sum(math.log(1 - sigmoid(x)) for x in LOGITS) / 3
    assert discrimination_loss(real, generated).item() == pytest.approx(expected)
    saturating = sum(math.log(1 - sigmoid(x)) for x in LOGITS) / 3
    assert deceiving_loss(generated, saturates=True).item() == pytest.approx(saturating)
    assert deceiving_loss(generated, saturates=False).item() == pytest.approx(
        -sum(math.log(sigmoid(x)) for x in LOGITS) / 3
    )


def test_eq_3_saturates_where_the_discriminator_is_sure() -> None:
    slopes = {}
    for saturates in (True, False):
        logit = torch.tensor([[-12.0]], requires_grad=True)
        deceiving_loss(logit, saturates).backward()
        assert logit.grad is not None
        slopes[saturates] = logit.grad.item()
    assert slopes[True] < 0
    assert slopes[False] < 0
    assert abs(slopes[True]) < 1e-4
    assert slopes[False] == pytest.approx(-1, abs=1e-4)


@given(st.integers(0, 2**31))
def test_jittered_labels_are_neither_0_nor_1_and_keep_their_order(seed) -> None:
    torch.manual_seed(seed)
    labels = (torch.rand(20, 30) < 0.2).float()
    found = jitter(labels, 0.7, 0.3)
    off, on = found[labels == 0], found[labels == 1]
    assert (off >= 0).all()
    assert (off < 0.3).all()
    assert (on >= 0.7).all()
    assert (on <= 1).all()
    # no value occurs often: exact zeros, by which a discriminator could know people's tags, are gone
    assert (off == 0).float().mean() < 0.02
    assert off.unique().numel() > 0.9 * off.numel()


def test_without_jitter_labels_stay() -> None:
    labels = torch.tensor([[0.0, 1.0]])
    assert torch.equal(jitter(labels, 1.0, 0.0), labels)
