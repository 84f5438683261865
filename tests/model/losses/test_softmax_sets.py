"""Softmax cross-entropy of label sets against torch's own for shares, and by hand."""

import math

import pytest
import torch
from torch.nn import functional

from model.losses.softmax_sets import SoftmaxSetLoss


def test_by_hand() -> None:
    # softmax: 1/6, 2/6, 3/6; the image's two labels have the share 1/2 each
    logits = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64).log()
    found = SoftmaxSetLoss()(logits, torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64))
    assert found.item() == pytest.approx((math.log(6) + math.log(2)) / 2)


def test_one_label_each_is_the_usual_cross_entropy_and_none_is_zero() -> None:
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(3))
    labels = functional.one_hot(torch.tensor([3, 0, 4, 3]), 5).float()
    wanted = functional.cross_entropy(logits, labels.argmax(dim=1), reduction="none")
    torch.testing.assert_close(SoftmaxSetLoss()(logits, labels), wanted)
    assert SoftmaxSetLoss()(logits, torch.zeros(4, 5)).tolist() == [0] * 4
