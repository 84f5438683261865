import math

import pytest
import torch
from click_logs import sparse_clicks
from torch.nn import functional

from model.losses.count import CountLoss
from model.losses.position import PositionLoss
from systems.mtmdd.batches import DomainBatch
from systems.mtmdd.config import EmbeddingParams, LossTerm, PositionParams
from systems.mtmdd.embedding import WordEmbedding
from systems.mtmdd.network import Prediction
from systems.mtmdd.objective import build_terms, objective

POSITION = PositionParams(bandwidth=0.01, threshold=0.16)


def domain_batch(labels: list[int], clicks: torch.Tensor | None = None) -> DomainBatch:
    number = len(labels)
    return DomainBatch(torch.zeros(number, 3, 4, 4), torch.tensor(labels), clicks)


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
    total, means = objective(build_terms(terms, POSITION), predictions, batch)
    # with two categories, equal probabilities cost ln 2; odds of 3 to 1 for the right category cost ln(4/3)
    target = math.log(4 / 3) + math.log(2)
    count = CountLoss()(batch["source"].clicks, predictions["source"].clicks).sum().item()
    position = (
        PositionLoss(bandwidth=0.01, threshold=0.16)(batch["source"].clicks, predictions["source"].clicks).sum().item()
    )
    expected = (0.6 * 3 * math.log(2) + 0.36 * count + 0.04 * position + 0.9 * target) / 5
    assert total.item() == pytest.approx(expected, rel=1e-6)
    assert list(means) == ["source recognition", "source count", "source position", "target recognition"]
    assert means["target recognition"].item() == pytest.approx(target / 2, rel=1e-6)
    assert means["source count"].item() == pytest.approx(count / 3, rel=1e-6)


def test_what_has_no_term_gets_no_gradient(step):
    predictions, batch = step
    source = predictions["source"].clicks.requires_grad_()
    logits = predictions["source"].logits.requires_grad_()
    terms = build_terms([LossTerm(domain="source", kind="count", weight=1)], None)
    total, _ = objective(terms, predictions, batch)
    total.backward()
    assert logits.grad is None
    assert source.grad.abs().sum() > 0


def test_half_precision_predictions_are_summed_in_single(step):
    predictions, batch = step
    half = {domain: Prediction(p.logits.bfloat16(), None) for domain, p in predictions.items()}
    terms = build_terms([LossTerm(domain="target", kind="recognition", weight=1)], None)
    total, _ = objective(terms, half, batch)
    assert total.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_loses_no_gradient(dtype):
    """Check with K = 1000 and realistic click features: every word with a gradient in single precision keeps one."""
    clicks = torch.from_numpy(sparse_clicks(24, 1000, seed=5)).float()
    batch = {"source": domain_batch([0] * 24, clicks)}
    terms = [LossTerm(domain="source", kind=kind, weight=w) for kind, w in (("count", 0.36), ("position", 0.04))]
    torch.manual_seed(0)
    params = EmbeddingParams(kind="biFC", hidden=64, dropout=0.0)
    embedding = WordEmbedding(params, (8, 3, 3), 1000)
    omega = torch.rand(24, 8, 3, 3)
    gradients = {}
    for mixed in (False, True):
        embedding.zero_grad()
        with torch.autocast("cpu", dtype=dtype, enabled=mixed):
            predicted = embedding(omega)
            predicted.retain_grad()
            total, _ = objective(build_terms(terms, POSITION), {"source": Prediction(None, predicted)}, batch)
        total.backward()
        assert total.dtype == predicted.dtype == torch.float32
        gradients[mixed] = [predicted.grad, *(parameter.grad.clone() for parameter in embedding.parameters())]
    for single, half in zip(gradients[False], gradients[True], strict=True):
        assert torch.isfinite(half).all()
        assert half.norm().item() == pytest.approx(single.norm().item(), rel=0.1)
    single, half = gradients[False][0], gradients[True][0]
    felt = single.abs() > 1e-6 * single.abs().max()
    assert felt.float().mean() > 0.5
    assert (half[felt] != 0).all()
    # rounding of v^ turns a position gradient at B = 0.01; much in bfloat16, little in half precision
    cosine = functional.cosine_similarity(single.flatten(), half.flatten(), dim=0)
    assert cosine > (0.9 if dtype == torch.bfloat16 else 0.99)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_losses_are_the_same_inside_autocast(step, dtype):
    predictions, batch = step
    terms = [LossTerm(domain="source", kind=kind, weight=1) for kind in ("recognition", "count", "position")]
    expected, _ = objective(build_terms(terms, POSITION), predictions, batch)
    with torch.autocast("cpu", dtype=dtype):
        found, _ = objective(build_terms(terms, POSITION), predictions, batch)
    assert torch.equal(found, expected)


def test_the_form_of_the_position_loss_is_read(step):
    predictions, batch = step
    term = [LossTerm(domain="source", kind="position", weight=1)]
    for position_input in ("batch-normalised", "raw"):
        for scale in ("l2", "1/sqrt(K)"):
            form = PositionParams(bandwidth=0.5, threshold=0.2, position_input=position_input, position_scale=scale)
            batch_normalised = position_input == "batch-normalised"
            true, predicted = batch["source"].clicks, predictions["source"].clicks
            loss = PositionLoss(bandwidth=0.5, threshold=0.2, batch_normalised=batch_normalised, scale=scale)
            _, means = objective(build_terms(term, form), predictions, batch)
            assert means["source position"] == loss(true, predicted).mean()


def test_bandwidth_and_threshold_are_those_of_the_parameters(step):
    predictions, batch = step
    term = [LossTerm(domain="source", kind="position", weight=1)]
    true, predicted = batch["source"].clicks, predictions["source"].clicks
    found = []
    for bandwidth, threshold in ((1.0, 0.16), (1.0, 0.3), (2.0, 0.16)):
        form = PositionParams(bandwidth=bandwidth, threshold=threshold)
        _, means = objective(build_terms(term, form), predictions, batch)
        expected = PositionLoss(bandwidth=bandwidth, threshold=threshold)(true, predicted).mean()
        assert means["source position"] == expected
        found.append(means["source position"].item())
    assert len(set(found)) == 3
