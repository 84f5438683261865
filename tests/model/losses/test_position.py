import math

import numpy as np
import pytest
import torch

from model.losses.position import EPSILON, position_function, position_loss, slope, standardise

PAPER = {"bandwidth": 0.01, "threshold": 0.16}


def test_slope_of_the_paper():
    assert slope(**PAPER) == pytest.approx(200 * math.log(0.84 / 0.16))
    assert round(slope(**PAPER)) == 332


@pytest.mark.parametrize(("bandwidth", "threshold"), [(0.01, 0.16), (1.0, 0.1), (10.0, 0.3)])
def test_zero_maps_to_t_and_b_to_one_minus_t(bandwidth, threshold):
    features = torch.tensor([[0.0, bandwidth, bandwidth / 2]], dtype=torch.float64)
    before = torch.tensor([[threshold, 1 - threshold, 0.5]], dtype=torch.float64)
    expected = before / before.norm()
    torch.testing.assert_close(position_function(features, bandwidth, threshold), expected)


def test_far_from_the_band_it_is_the_normalised_indicator():
    features = torch.tensor([[-3.0, 2.0, 1.0, -0.5, 4.0]])
    expected = torch.tensor([[0.0, 1.0, 1.0, 0.0, 1.0]]) / math.sqrt(3)
    torch.testing.assert_close(position_function(features, **PAPER), expected)


def test_standardise_against_torchs_batch_normalisation():
    features = torch.randn(7, 5, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.0, 9, 0.1, 3, 0]) + 4
    norm = torch.nn.BatchNorm1d(5, affine=False, eps=EPSILON)
    torch.testing.assert_close(standardise(features), norm(features))


def test_by_hand_for_clearly_separated_words():
    # three words, two images; standardised, every entry is +1 or -1, but for the third word, which is constant (0)
    true = torch.tensor([[2.0, 0.0, 1.0], [0.0, 5.0, 1.0]], dtype=torch.float64)
    predicted = torch.tensor([[0.7, 0.2, 0.0], [0.1, -0.3, 0.0]], dtype=torch.float64)
    t = PAPER["threshold"]
    unit = math.sqrt(1 + t * t)
    # S(v) = (1, 0, T), (0, 1, T) and S(v^) = (1, 1, T), (0, 0, T), each over its norm
    both, none = np.array([1, 1, t]) / math.sqrt(2 + t * t), np.array([0.0, 0, 1])
    first = ((np.array([1, 0, t]) / unit - both) ** 2).sum()
    second = ((np.array([0, 1, t]) / unit - none) ** 2).sum()
    loss = position_loss(true, predicted, **PAPER)
    torch.testing.assert_close(loss, torch.tensor([first, second], dtype=torch.float64), rtol=1e-4, atol=0)


def test_equal_click_positions_cost_nothing_whatever_the_counts():
    # above its mean over the images is every word that was clicked
    true = torch.tensor([[9.0, 0.0, 1.0], [0.0, 3.0, 0.0], [0.0, 4.0, 0.0], [7.0, 0.0, 0.0]])
    predicted = torch.where(true > 0, 1 / (true + 3), torch.zeros(()))
    assert position_loss(true, predicted, **PAPER).max() < 1e-10


def test_a_frequent_word_is_clicked_only_above_its_mean():
    clicks = torch.tensor([[9.0], [0.0], [2.0], [0.0]])  # mean 2.75
    indicator = torch.sigmoid(slope(**PAPER) * (standardise(clicks) - PAPER["bandwidth"] / 2)).round()
    assert indicator.flatten().tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("predicted", [torch.zeros(3, 4), torch.full((3, 4), 1e4), torch.randn(3, 4) * 1e4])
def test_finite_at_zero_and_at_saturation(predicted):
    predicted = predicted.clone().requires_grad_()
    true = torch.tensor([[1.0, 0, 0, 2], [0, 0, 0, 0], [0, 3, 0, 0]])
    loss = position_loss(true, predicted, **PAPER)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert (loss <= 2 + 1e-6).all()
    assert torch.isfinite(predicted.grad).all()


def test_one_image_alone_has_a_loss():
    loss = position_loss(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.2, 0.4]]), **PAPER)
    assert loss.item() == pytest.approx(0.0, abs=1e-12)  # standardised, both are zero vectors


@pytest.mark.parametrize("bandwidth", [1.0, 0.1, 0.01])
def test_gradient_is_the_numerical_one(bandwidth):
    generator = torch.Generator().manual_seed(4)
    true = torch.rand(5, 6, generator=generator, dtype=torch.float64)
    predicted = torch.randn(5, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: position_loss(true, x, bandwidth, 0.16), predicted, eps=1e-8, rtol=1e-4)
