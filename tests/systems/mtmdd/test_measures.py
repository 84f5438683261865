import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score
from torch import nn

from model.losses.position import PositionLoss
from systems.mtmdd.batches import DomainBatch
from systems.mtmdd.config import LossTerm, PositionParams
from systems.mtmdd.measures import Outcome, joined, mean_loss, num_correct, percent, predict, rmse
from systems.mtmdd.network import Prediction
from systems.mtmdd.objective import build_terms


def outcome(clicks: list[list[float]], predicted: list[list[float]]) -> Outcome:
    labels = torch.zeros(len(clicks), dtype=torch.int64)
    return Outcome(Prediction(None, torch.tensor(predicted)), labels, torch.tensor(clicks))


def test_rmse_by_hand():
    # || . ||^2: 2 for orthogonal features, 0 for equal ones, 1 for an image without clicks
    found = rmse(outcome([[1.0, 0], [0, 2], [0, 0]], [[0.0, 3], [0, 1], [1, 1]]))
    assert found == round(math.sqrt((2 + 0 + 1) / 3), 6)


def test_predicting_zero_has_rmse_one():
    assert rmse(outcome([[1.0, 4], [0, 2], [3, 0]], [[0.0, 0]] * 3)) == 1.0


def test_position_is_standardised_over_all_images_at_once():
    generator = torch.Generator().manual_seed(0)
    clicks, predicted = torch.rand(2, 9, 4, generator=generator)
    losses = [LossTerm(domain="source", kind="position", weight=0.04)]
    (term,) = build_terms(losses, PositionParams(bandwidth=0.1, threshold=0.16))
    found = mean_loss(outcome(clicks.tolist(), predicted.tolist()), term)
    expected = PositionLoss(bandwidth=0.1, threshold=0.16)(clicks, predicted).mean().item()
    assert found == pytest.approx(expected, rel=1e-6)


def test_accuracy_against_scikit_learn():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(37, 4)).astype(np.float32), rng.integers(4, size=37)
    found = Outcome(Prediction(torch.from_numpy(logits), None), torch.from_numpy(labels), None)
    expected = accuracy_score(labels, logits.argmax(axis=1))
    assert percent(num_correct(found), found.num_images) == round(100 * expected, 4)


class Noisy(nn.Module):
    """A network with batch normalisation and dropout; in evaluation, logits are the images and clicks twice them."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return {
            domain: Prediction(self.scale * self.inside(of_domain), 2 * self.inside(of_domain))
            for domain, of_domain in images.items()
        }


def batch(first: int, last: int) -> DomainBatch:
    numbers = torch.arange(first, last)
    return DomainBatch(torch.stack([numbers, -numbers], 1).float(), numbers % 3, numbers[:, None])


@pytest.mark.parametrize("training", [True, False])
def test_predictions_are_of_evaluation_mode_and_leave_the_network_as_it_was(training):
    network = Noisy().train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = predict(network, [batch(0, 4), batch(4, 8), batch(8, 9)], "target", torch.device("cpu"))
    expected = torch.stack([torch.arange(9), -torch.arange(9)], 1).float()
    torch.testing.assert_close(found.prediction.logits, expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(found.prediction.clicks, 2 * expected, rtol=1e-5, atol=0)
    assert found.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2]
    assert found.clicks[:, 0].tolist() == [*range(9)]
    assert not found.prediction.logits.requires_grad  # no graph is kept for gradients
    assert {module.training for module in network.modules()} == {training}
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_parts_of_unequal_size_count_by_their_images():
    parts = [predict(Noisy(), [batch(*of)], "target", torch.device("cpu")) for of in ((0, 7), (7, 9))]
    whole = joined(parts)
    assert whole.prediction.logits[:, 0].tolist() == pytest.approx([*range(9)], rel=1e-5)
    assert whole.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2]
    # from image 1 on, the first category's logit is the largest; image 0's logits are equal, so argmax takes the first
    assert (num_correct(parts[0]), num_correct(parts[1]), num_correct(whole)) == (3, 0, 3)
    (term,) = build_terms([LossTerm(domain="target", kind="recognition", weight=1.0)], None)
    two = [Outcome(Prediction(torch.zeros(n, 3 if n == 7 else 2), None), torch.zeros(n).long(), None) for n in (7, 2)]
    assert [mean_loss(one, term) for one in two] == pytest.approx([math.log(3), math.log(2)])
