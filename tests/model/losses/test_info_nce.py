"""Symmetric InfoNCE against a written-out loop, numbers by hand, torch's cross-entropy and gradients."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.losses.info_nce import InfoNCE


def by_loop(images: np.ndarray, texts: np.ndarray, factor: float, weights: np.ndarray, positives: np.ndarray) -> float:
    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / math.sqrt(float(a @ a)) / math.sqrt(float(b @ b)))

    total = 0.0
    for i in range(len(images)):
        own = factor * cosine(images[i], texts[i])
        of_texts = [factor * cosine(images[i], texts[j]) for j in range(len(texts)) if j == i or not positives[i, j]]
        of_images = [factor * cosine(images[j], texts[i]) for j in range(len(texts)) if j == i or not positives[j, i]]
        for others in (of_texts, of_images):
            total += weights[i] * (math.log(sum(math.exp(value) for value in others)) - own)
    return total / (2 * weights.sum())


def test_by_hand() -> None:
    # cosines: 1 and 0 of the first image, 0.6 and 0.8 of the second; t = ln 2
    images = torch.tensor([[2.0, 0.0], [3.0, 4.0]], dtype=torch.float64)
    texts = torch.tensor([[5.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    rows = [math.log(1 + math.exp(0 - 2)), math.log(1 + math.exp(1.2 - 1.6))]
    columns = [math.log(1 + math.exp(1.2 - 2)), math.log(1 + math.exp(0 - 1.6))]
    found = InfoNCE()(images, texts, torch.tensor(math.log(2)).double())
    assert found.item() == pytest.approx((sum(rows) + sum(columns)) / 4, abs=1e-9)


@given(st.integers(1, 7), st.floats(-1, 3), st.integers(0, 99))
def test_against_a_loop(n: int, t: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    images, texts = random.normal(0.3, 1, (n, 4)), random.normal(0.3, 1, (n, 4))
    weights, positives = random.uniform(0.1, 3, n), random.uniform(size=(n, n)) < 0.3
    tensors = (torch.from_numpy(part) for part in (images, texts, np.array(t), weights, positives))
    assert InfoNCE()(*tensors).item() == pytest.approx(
        by_loop(images, texts, math.exp(t), weights, positives), abs=1e-9
    )


def test_a_weight_of_two_is_a_pair_that_counts_twice_in_the_mean() -> None:
    torch.manual_seed(0)
    images, texts, t = torch.randn(3, 4), torch.randn(3, 4), torch.tensor(1.0)
    # alone, each pair's loss
    alone = [InfoNCE()(images, texts, t, torch.eye(3)[i]).item() for i in range(3)]
    found = InfoNCE()(images, texts, t, torch.tensor([2.0, 1.0, 0.0])).item()
    assert found == pytest.approx((2 * alone[0] + alone[1]) / 3, abs=1e-6)
    assert len({round(value, 4) for value in alone}) == 3


def test_without_any_weight_the_loss_is_zero_with_gradients() -> None:
    images = torch.randn(3, 4, requires_grad=True)
    loss = InfoNCE()(images, torch.randn(3, 4), torch.tensor(1.0), torch.zeros(3))
    loss.backward()
    assert loss.item() == 0
    assert images.grad is not None
    assert images.grad.abs().sum() == 0


def test_a_known_positive_has_no_gradient_from_a_row_that_it_is_not_the_answer_of() -> None:
    images = torch.tensor([[1.0, 0.2], [0.3, 1.0]])
    texts = torch.tensor([[0.9, 0.1], [0.8, 0.3]], requires_grad=True)
    every = torch.ones(2, 2, dtype=torch.bool)
    loss = InfoNCE()(images, texts, torch.tensor(1.0), positives=every)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)  # without negatives there is nothing to learn
    assert texts.grad is not None
    assert texts.grad.abs().max() < 1e-6


def test_the_factor_is_capped() -> None:
    torch.manual_seed(1)
    images, texts = torch.randn(4, 3), torch.randn(4, 3)
    t = torch.tensor(9.0, requires_grad=True)
    loss = InfoNCE(most=20.0)(images, texts, t)
    loss.backward()
    assert loss.item() == pytest.approx(InfoNCE()(images, texts, torch.tensor(20.0).log()).item(), abs=1e-5)
    assert t.grad is not None
    assert t.grad.item() == 0


def test_the_gradient_is_that_of_finite_differences() -> None:
    torch.manual_seed(2)
    positives = torch.tensor([[1, 0, 1], [0, 1, 0], [0, 0, 1]], dtype=torch.bool)
    parts = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    t = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([1.0, 0.3, 2.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda images, texts, t: InfoNCE()(images, texts, t, weights, positives), (*parts, t)
    )
