"""The lines of reference of RMSE-S by hand, and what they are among all predictors."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.losses.count import CountLoss
from systems.mtmdd.click_references import reference_rmse
from systems.mtmdd.measures import Outcome, rmse
from systems.mtmdd.network import Prediction


def outcome(clicks: list[list[float]], labels: list[int]) -> Outcome:
    true = torch.tensor(clicks)
    return Outcome(Prediction(None, torch.zeros_like(true)), torch.tensor(labels), true)


def test_references_by_hand():
    # directions (1, 0), (0, 1), (0, 1): their mean points to (1, 2); that of category 0 to (1, 1), of 1 to (0, 1)
    train_clicks, train_labels = torch.tensor([[2.0, 0], [0, 1], [0, 3]]), torch.tensor([0, 0, 1])
    measured = outcome([[4.0, 0], [0, 0], [0, 5], [6, 0]], [0, 1, 1, 2])
    # squared distances 2 - 2 cos, 2 at right angles; 1 for an image without clicks (0 if zero is predicted), and 1 for
    # category 2, which
    # has no training image, so zero is predicted
    constant = [2 - 2 / math.sqrt(5), 1, 2 - 4 / math.sqrt(5), 2 - 2 / math.sqrt(5)]
    by_category = [2 - math.sqrt(2), 1, 0, 1]
    assert reference_rmse(measured, train_clicks, train_labels) == {
        "zero": round(math.sqrt(3 / 4), 6),
        "untrained": round(math.sqrt(7 / 4), 6),
        "constant": round(math.sqrt(sum(constant) / 4), 6),
        "category_means": round(math.sqrt(sum(by_category) / 4), 6),
    }


@given(st.integers(0, 2**32 - 1))
def test_no_other_constant_is_better_on_its_images(seed):
    draw = np.random.default_rng(seed)
    clicks = torch.from_numpy(draw.exponential(size=(6, 3)).astype(np.float32))
    labels = torch.zeros(6, dtype=torch.int64)
    best = reference_rmse(Outcome(Prediction(None, clicks), labels, clicks), clicks, labels)
    other = torch.from_numpy(draw.normal(size=3).astype(np.float32)).expand_as(clicks)
    # reference_rmse rounds to six decimals
    assert best["constant"] <= math.sqrt(CountLoss()(clicks, other).mean().item()) + 1e-6
    # with one category both are the same predictor; the sixth decimal may be rounded differently
    assert best["category_means"] == pytest.approx(best["constant"], abs=1.5e-6)


def test_a_random_direction_has_the_error_of_an_untrained_prediction():
    draw = torch.Generator().manual_seed(0)
    clicks = torch.rand((400, 1000), generator=draw) * (torch.rand((400, 1), generator=draw) < 0.8)
    measured = Outcome(
        Prediction(None, torch.randn((400, 1000), generator=draw)), torch.zeros(400, dtype=torch.int64), clicks
    )
    lines = reference_rmse(measured, clicks, measured.labels)
    assert lines["untrained"] != math.sqrt(2)  # a fifth of the images have no clicks
    # the mean of 400 cosines of deviation 1 / sqrt(1000) deviates by 0.0016
    assert rmse(measured) == pytest.approx(lines["untrained"], abs=0.005)
