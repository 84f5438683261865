import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score

from model.losses.position import position_loss
from systems.mtmdd.config import LossTerm, PositionParams
from systems.mtmdd.measures import Outcome, mean_loss, num_correct, percent, probabilities, rmse
from systems.mtmdd.network import Prediction


def outcome(clicks: list[list[float]], predicted: list[list[float]]) -> Outcome:
    labels = torch.zeros(len(clicks), dtype=torch.int64)
    return Outcome(Prediction(None, torch.tensor(predicted)), labels, torch.tensor(clicks))


def test_rmse_by_hand():
    # || . ||^2: orthogonal 2, equal 0, image without clicks 1
    found = rmse(outcome([[1.0, 0], [0, 2], [0, 0]], [[0.0, 3], [0, 1], [1, 1]]))
    assert found == round(math.sqrt((2 + 0 + 1) / 3), 6)


def test_predicting_zero_has_rmse_one():
    assert rmse(outcome([[1.0, 4], [0, 2], [3, 0]], [[0.0, 0]] * 3)) == 1.0


def test_position_is_standardised_over_all_images_at_once():
    generator = torch.Generator().manual_seed(0)
    clicks, predicted = torch.rand(2, 9, 4, generator=generator)
    term = LossTerm(domain="source", kind="position", weight=0.04)
    found = mean_loss(outcome(clicks.tolist(), predicted.tolist()), term, PositionParams(bandwidth=0.1, threshold=0.16))
    assert found == pytest.approx(position_loss(clicks, predicted, 0.1, 0.16).mean().item(), rel=1e-6)


def test_accuracy_against_scikit_learn():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(37, 4)).astype(np.float32), rng.integers(4, size=37)
    found = Outcome(Prediction(torch.from_numpy(logits), None), torch.from_numpy(labels), None)
    expected = accuracy_score(labels, logits.argmax(axis=1))
    assert percent(num_correct(found), found.num_images) == round(100 * expected, 4)


def test_probabilities():
    found = probabilities(torch.tensor([[math.log(1.0), math.log(3.0)], [0.0, 1000.0]]))
    np.testing.assert_allclose(found, [[0.25, 0.75], [0, 1]], atol=1e-7)
    assert found.dtype == np.float32
