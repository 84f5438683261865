"""Binary cross-entropy of label sets against numbers by hand and a loop."""

import math

import pytest
import torch

from model.losses.binary_sets import BinarySetLoss


def test_by_hand() -> None:
    # p = 1/2, 1/4, 4/5
    logits = torch.tensor([[0.0, -math.log(3), math.log(4)]], dtype=torch.float64)
    found = BinarySetLoss()(logits, torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64))
    assert found.tolist() == pytest.approx([math.log(2) + math.log(4 / 3) + math.log(5)])


def test_sums_over_labels_per_image_and_large_logits_stay_finite() -> None:
    logits = torch.tensor([[1.0, -2.0, 0.5], [300.0, -300.0, 300.0]], requires_grad=True)
    labels = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    found = BinarySetLoss()(logits, labels)
    by_loop = sum(math.log(1 + math.exp(z)) for z in (1.0, 2.0, -0.5))
    assert found.tolist() == pytest.approx([by_loop, 300.0])
    found.sum().backward()
    assert logits.grad is not None
    assert torch.allclose(logits.grad, logits.detach().sigmoid() - labels)
