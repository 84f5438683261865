import math

import pytest
import torch

from model.batches import DomainBatch
from model.config import LossTerm, PositionParams
from model.losses.count import count_loss
from model.losses.objective import objective
from model.losses.position import position_loss
from model.network import Prediction

POSITION = PositionParams(bandwidth=0.01, threshold=0.16)


def domain_batch(labels: list[int], clicks: torch.Tensor | None = None) -> DomainBatch:
    number = len(labels)
    return DomainBatch(torch.zeros(number, 3, 4, 4), torch.tensor(labels), clicks, torch.arange(number))


@pytest.fixture
def step() -> tuple[dict, dict]:
    generator = torch.Generator().manual_seed(2)
    clicks = torch.rand(3, 5, generator=generator)
    batch = {"source": domain_batch([0, 1, 1], clicks), "target": domain_batch([1, 0])}
    predictions = {
        "source": Prediction(torch.zeros(3, 2), torch.randn(3, 5, generator=generator)),
        "target": Prediction(torch.tensor([[0.0, math.log(3)], [0.0, 0.0]]), None),
    }
    return predictions, batch


def test_mean_over_all_images_of_both_domains(step):
    predictions, batch = step
    terms = [
        LossTerm(domain="source", kind="recognition", weight=0.6),
        LossTerm(domain="source", kind="count", weight=0.36),
        LossTerm(domain="source", kind="position", weight=0.04),
        LossTerm(domain="target", kind="recognition", weight=0.9),
    ]
    total, means = objective(terms, predictions, batch, POSITION)
    # two categories: chance costs ln 2; odds of 3 to 1 for the right one cost ln(4/3)
    target = math.log(4 / 3) + math.log(2)
    count = count_loss(batch["source"].clicks, predictions["source"].clicks).sum().item()
    position = position_loss(batch["source"].clicks, predictions["source"].clicks, 0.01, 0.16).sum().item()
    expected = (0.6 * 3 * math.log(2) + 0.36 * count + 0.04 * position + 0.9 * target) / 5
    assert total.item() == pytest.approx(expected, rel=1e-6)
    assert list(means) == ["source recognition", "source count", "source position", "target recognition"]
    assert means["target recognition"].item() == pytest.approx(target / 2, rel=1e-6)
    assert means["source count"].item() == pytest.approx(count / 3, rel=1e-6)


def test_what_has_no_term_gets_no_gradient(step):
    predictions, batch = step
    source = predictions["source"].clicks.requires_grad_()
    logits = predictions["source"].logits.requires_grad_()
    total, _ = objective([LossTerm(domain="source", kind="count", weight=1)], predictions, batch, None)
    total.backward()
    assert logits.grad is None
    assert source.grad.abs().sum() > 0


def test_half_precision_predictions_are_summed_in_single(step):
    predictions, batch = step
    half = {domain: Prediction(p.logits.bfloat16(), None) for domain, p in predictions.items()}
    total, _ = objective([LossTerm(domain="target", kind="recognition", weight=1)], half, batch, None)
    assert total.dtype == torch.float32
