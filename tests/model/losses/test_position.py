import math

import numpy as np
import pytest
import torch
from click_logs import sparse_clicks
from scipy.special import expit
from torch import Tensor
from torch.nn import functional

from model.losses.position import EPSILON, PositionLoss, position_function, slope, standardise

PAPER = {"bandwidth": 0.01, "threshold": 0.16}


def position_loss(true: Tensor, predicted: Tensor, bandwidth: float, threshold: float, **form) -> Tensor:
    return PositionLoss(bandwidth=bandwidth, threshold=threshold, **form)(true, predicted)


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
    # three words, two images; after standardisation every entry is +1 or -1, except the third word, constant at 0
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
    # every word that was clicked is above its mean over the images
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
    assert loss.item() == pytest.approx(0.0, abs=1e-12)  # both are zero vectors after standardisation


@pytest.mark.parametrize("bandwidth", [1.0, 0.1, 0.01])
def test_gradient_is_the_numerical_one(bandwidth):
    generator = torch.Generator().manual_seed(4)
    true = torch.rand(5, 6, generator=generator, dtype=torch.float64)
    predicted = torch.randn(5, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: position_loss(true, x, bandwidth, 0.16), predicted, eps=1e-8, rtol=1e-4)


def by_numpy(true: np.ndarray, predicted: np.ndarray, bandwidth: float, batch_normalised: bool, l2: bool) -> np.ndarray:
    """Return the loss of eq. 10 and 11, computed independently in NumPy and SciPy."""
    indicators = []
    for features in (true, predicted):
        if batch_normalised:
            features = (features - features.mean(axis=0)) / np.sqrt(features.var(axis=0) + 1e-5)
        indicator = expit(2 / bandwidth * np.log(0.84 / 0.16) * (features - bandwidth / 2))
        scale = np.linalg.norm(indicator, axis=1, keepdims=True) if l2 else np.sqrt(features.shape[1])
        indicators.append(indicator / scale)
    return ((indicators[0] - indicators[1]) ** 2).sum(axis=1)


@pytest.mark.parametrize("bandwidth", [10.0, 0.1, 0.01])
@pytest.mark.parametrize(("batch_normalised", "scale"), [(True, "l2"), (False, "l2"), (False, "1/sqrt(K)")])
def test_against_numpy(bandwidth, batch_normalised, scale):
    true = sparse_clicks(12, 1000, seed=1)
    predicted = sparse_clicks(12, 1000, seed=2) + np.random.default_rng(3).normal(0, 0.01, true.shape)
    loss = position_loss(
        torch.from_numpy(true),
        torch.from_numpy(predicted),
        bandwidth,
        0.16,
        batch_normalised=batch_normalised,
        scale=scale,
    )
    expected = by_numpy(true, predicted, bandwidth, batch_normalised, scale == "l2")
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-9)
    assert np.ptp(expected) > 1e-6


def test_standardised_loss_against_torchs_own_functions():
    true, predicted = (torch.from_numpy(sparse_clicks(12, 1000, seed)) for seed in (1, 2))
    of = []
    for features in (true, predicted):
        standard = functional.batch_norm(features, None, None, training=True, eps=EPSILON)
        of.append(functional.normalize(torch.sigmoid(slope(1.0, 0.16) * (standard - 0.5))))
    expected = functional.mse_loss(*of, reduction="none").sum(dim=1)
    torch.testing.assert_close(position_loss(true, predicted, 1.0, 0.16), expected, rtol=1e-12, atol=0)


def test_the_released_form_by_hand():
    # one word, v = 0 and v^ = B / 2: S is T and 1/2; the sigmoid's slope at v^ is a / 4
    predicted = torch.tensor([[0.005]], dtype=torch.float64, requires_grad=True)
    released = {"batch_normalised": False, "scale": "1/sqrt(K)"}
    loss = position_loss(torch.zeros(1, 1, dtype=torch.float64), predicted, **PAPER, **released)
    loss.sum().backward()
    assert loss.item() == pytest.approx((0.5 - 0.16) ** 2)
    assert predicted.grad.item() == pytest.approx(2 * (0.5 - 0.16) * slope(**PAPER) / 4)
    # four words, scale 1/sqrt(4): every squared difference counts a quarter
    true, fourfold = torch.zeros(1, 4, dtype=torch.float64), predicted.detach().expand(1, 4)
    assert position_loss(true, fourfold, **PAPER, **released).item() == pytest.approx((0.5 - 0.16) ** 2)


@pytest.mark.parametrize("word", [-0.2, -0.05, 0.004, 0.01, 0.03])
def test_the_gradient_in_single_precision_lives_as_far_as_it_does_in_double(word):
    """The sigmoid's slope falls as e^-a|x|: it is small, but rounding doesn't lose it below B, or some B above it."""
    found = {}
    for dtype in (torch.float32, torch.float64):
        predicted = torch.tensor([[word, 0.02]], dtype=dtype, requires_grad=True)
        true = torch.tensor([[1.0, 0.0]], dtype=dtype)
        position_loss(true, predicted, **PAPER, batch_normalised=False).sum().backward()
        found[dtype] = predicted.grad[0, 0].item()
    assert found[torch.float32] == pytest.approx(found[torch.float64], rel=2e-3)
    assert found[torch.float32] != 0


def test_saturated_words_have_no_gradient_and_no_nan():
    predicted = torch.tensor([[5.0, -5.0, 0.003]], requires_grad=True)
    position_loss(torch.tensor([[1.0, 1.0, 0.0]]), predicted, **PAPER, batch_normalised=False).sum().backward()
    assert predicted.grad[0, :2].tolist() == [0, 0]
    assert predicted.grad[0, 2] > 0


@pytest.mark.parametrize("options", [{"batch_normalised": False}, {"batch_normalised": False, "scale": "1/sqrt(K)"}])
def test_gradient_of_the_other_forms_is_the_numerical_one(options):
    generator = torch.Generator().manual_seed(4)
    true = torch.rand(5, 6, generator=generator, dtype=torch.float64)
    predicted = torch.randn(5, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: position_loss(true, x, 1.0, 0.16, **options), predicted)
