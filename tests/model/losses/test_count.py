import math

import pytest
import torch
from click_logs import sparse_clicks
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from model.losses.count import SMALLEST_NORM, CountLoss, l2_normalise

count_loss = CountLoss()


def test_by_hand():
    true = torch.tensor([[3.0, 4.0], [1.0, 0.0], [2.0, 0.0], [0.0, 5.0]], dtype=torch.float64)
    predicted = torch.tensor([[4.0, 3.0], [0.0, 7.0], [-9.0, 0.0], [0.0, 0.1]], dtype=torch.float64)
    # (.6, .8) and (.8, .6); orthogonal; opposite; equal except for the length
    expected = torch.tensor([0.08, 2.0, 4.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(count_loss(true, predicted), expected, rtol=0, atol=1e-15)


def test_image_without_clicks_costs_one_and_pulls_nowhere():
    predicted = torch.tensor([[0.3, -2.0, 0.7]], dtype=torch.float64, requires_grad=True)
    loss = count_loss(torch.zeros(1, 3, dtype=torch.float64), predicted)
    loss.sum().backward()
    assert loss.item() == pytest.approx(1.0, abs=1e-15)
    assert predicted.grad.abs().max() < 1e-15


@pytest.mark.parametrize("value", [0.0, SMALLEST_NORM / 10])
def test_zero_prediction_costs_one_with_zero_gradient(value):
    predicted = torch.full((1, 3), value, requires_grad=True)
    loss = count_loss(torch.tensor([[1.0, 2.0, 0.0]]), predicted)
    loss.sum().backward()
    assert loss.item() == pytest.approx(1.0, abs=1e-7)
    assert torch.equal(predicted.grad, torch.zeros(1, 3))


def test_zero_rows_leave_the_others_alone():
    vectors = torch.tensor([[0.0, 0.0], [3.0, -4.0]], requires_grad=True)
    unit = l2_normalise(vectors)
    torch.testing.assert_close(unit, torch.tensor([[0.0, 0.0], [0.6, -0.8]]))
    unit[:, 0].sum().backward()
    # derivative of x / sqrt(x^2 + y^2): (y^2, -x y) / norm^3
    torch.testing.assert_close(vectors.grad, torch.tensor([[0.0, 0.0], [16 / 125, 12 / 125]]))


def test_against_torchs_own_functions():
    true, predicted = (torch.from_numpy(sparse_clicks(12, 1000, seed)) for seed in (1, 2))
    predicted += torch.randn(12, 1000, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    distances = functional.mse_loss(functional.normalize(true), functional.normalize(predicted), reduction="none")
    torch.testing.assert_close(count_loss(true, predicted), distances.sum(dim=1), rtol=1e-12, atol=0)
    # || a - b ||^2 of unit vectors is 2 - 2 cos
    cosine = functional.cosine_similarity(true[1:], predicted[1:])
    torch.testing.assert_close(count_loss(true, predicted)[1:], 2 - 2 * cosine, rtol=1e-12, atol=0)


@pytest.mark.parametrize("length", [1e-5, 1.0, 1e18])
def test_any_length_keeps_value_and_direction_of_the_gradient(length):
    # v = (3, 4) / 5 and v^ = length * (1, 0): the gradient is -2 (0.8 / length) along the second word
    predicted = torch.tensor([[length, 0.0]], requires_grad=True)
    loss = count_loss(torch.tensor([[3.0, 4.0]]), predicted)
    loss.sum().backward()
    assert loss.item() == pytest.approx(2 - 2 * 0.6, rel=1e-6)
    assert (predicted.grad * length).tolist()[0] == pytest.approx([0.0, -1.6], rel=1e-6, abs=1e-6)


def test_gradient_is_the_numerical_one():
    generator = torch.Generator().manual_seed(3)
    true = torch.rand(4, 6, generator=generator, dtype=torch.float64)
    predicted = torch.randn(4, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: count_loss(true, x), predicted)


@given(
    st.lists(st.floats(-50, 50), min_size=3, max_size=3),
    st.lists(st.floats(0, 50), min_size=3, max_size=3),
    st.floats(0.01, 100),
)
def test_range_and_indifference_to_length(predicted, true, factor):
    x, v = torch.tensor([predicted], dtype=torch.float64), torch.tensor([true], dtype=torch.float64)
    loss = count_loss(v, x).item()
    assert 0 <= loss <= 4 + 1e-12
    shorter = min(math.hypot(*predicted), math.hypot(*true))
    if shorter > 100 * SMALLEST_NORM:
        assert count_loss(v * factor, x * factor).item() == pytest.approx(loss, abs=1e-9)
