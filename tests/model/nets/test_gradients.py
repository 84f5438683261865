import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.nets.gradients import scale_gradient


def gradient(factor: float, values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    values = values.clone().requires_grad_()
    (scale_gradient(values * 3, factor) * weights).sum().backward()
    assert values.grad is not None
    return values.grad


@given(factor=st.floats(min_value=-100, max_value=100, allow_subnormal=False))
def test_values_pass_and_gradients_are_multiplied(factor):
    values, weights = torch.tensor([[1.5, -2.0, 0.0]]), torch.tensor([[0.25, -1.0, 7.0]])
    assert torch.equal(scale_gradient(values, factor), values)
    torch.testing.assert_close(gradient(factor, values, weights), 3 * (weights * factor))


def test_the_factor_one_returns_the_argument_itself():
    values = torch.ones(2, requires_grad=True)
    assert scale_gradient(values, 1.0) is values


def test_the_factor_zero_gives_zero_gradients_not_missing_ones():
    assert torch.equal(gradient(0.0, torch.ones(2), torch.tensor([5.0, -1.0])), torch.zeros(2))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_gradients_keep_the_precision_of_the_values(dtype):
    found = gradient(0.3, torch.ones(2, dtype=dtype), torch.ones(2, dtype=dtype))
    assert found.dtype == dtype
    torch.testing.assert_close(found, torch.full((2,), 0.9, dtype=dtype))


def test_a_second_derivative_is_scaled_twice():
    value = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(scale_gradient(value, 0.5) ** 3, value, create_graph=True)
    (second,) = torch.autograd.grad(first, value)
    assert (first.item(), second.item()) == (0.5 * 12, 0.5 * 0.5 * 12)
