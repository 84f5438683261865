import math

import pytest
import torch
from torch.nn import functional

from model.losses.domain import domain_loss, reversal_factor


@pytest.mark.parametrize(
    ("progress", "factor"),
    [
        (0.0, 0.0),  # at first the domain classifier learns alone
        (0.1, math.tanh(0.5)),  # 2 / (1 + exp(-x)) - 1 = tanh(x / 2)
        (0.5, math.tanh(2.5)),
        (1.0, math.tanh(5.0)),  # 0.9999
    ],
)
def test_the_factor_rises_from_0_to_almost_1(progress: float, factor: float) -> None:
    assert reversal_factor(progress) == pytest.approx(factor, abs=1e-12)


def test_both_domains_count_the_same_whatever_their_sizes() -> None:
    source, target = torch.tensor([0.5, -1.0, 2.0]), torch.tensor([3.0])
    expected = [
        functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
        for logits, label in ((source, 0.0), (target, 1.0))
    ]
    assert domain_loss(source, target).item() == pytest.approx(sum(expected).item() / 2, rel=1e-6)


def test_an_undecided_classifier_has_the_loss_of_a_coin() -> None:
    assert domain_loss(torch.zeros(3), torch.zeros(2)).item() == pytest.approx(math.log(2))
