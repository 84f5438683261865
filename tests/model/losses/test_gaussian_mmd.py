"""Tests of the MMD with one Gaussian kernel."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from base.console import UserError
from model.losses.gaussian_mmd import GaussianMMD


def samples(n: int, m: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    one = torch.randn(n, 3, generator=random, dtype=torch.float64)
    return one, 0.5 + 2 * torch.randn(m, 3, generator=random, dtype=torch.float64)


def loop(one: np.ndarray, other: np.ndarray) -> float:
    """The estimate by loops over all pairs."""
    rows = np.concatenate([one, other])
    distances = [((rows[i] - rows[j]) ** 2).sum() for i in range(len(rows)) for j in range(len(rows)) if i != j]
    mean = sum(distances) / len(distances)

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.exp(-((x - y) ** 2).sum() / mean))

    n, m = len(one), len(other)
    within = sum(k(one[i], one[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within += sum(k(other[i], other[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within - 2 * sum(k(x, y) for x in one for y in other) / (n * m)


@pytest.mark.parametrize(("n", "m"), [(5, 7), (2, 3), (6, 2)])
def test_it_is_the_mean_over_all_pairs(n: int, m: int) -> None:
    one, other = samples(n, m)
    assert GaussianMMD()(one, other).item() == pytest.approx(loop(one.numpy(), other.numpy()), abs=1e-6)


def test_quadruples_have_the_same_expectation() -> None:
    one, other = samples(4, 4, seed=1)
    torch.manual_seed(0)
    drawn = torch.stack([GaussianMMD(quadruples=True)(one, other) for _ in range(4000)])
    # of n = m, all pairs with i != j: the form of Gretton et al.'s eq. 3, which has no i = j between the samples either
    rows = torch.cat([one, other])
    squared = torch.cdist(rows, rows).square()
    kernel = torch.exp(-squared / squared[~torch.eye(8, dtype=torch.bool)].mean())
    h = kernel[:4, :4] + kernel[4:, 4:] - kernel[:4, 4:] - kernel[:4, 4:].T
    expected = h[~torch.eye(4, dtype=torch.bool)].mean()
    assert drawn.std() > 0
    assert drawn.mean().item() == pytest.approx(expected.item(), abs=4 * drawn.std().item() / 4000**0.5)


@pytest.mark.parametrize("quadruples", [False, True])
def test_the_gradient_is_that_of_differences(quadruples: bool) -> None:
    one, other = samples(4, 4, seed=2)
    measure = GaussianMMD(quadruples)

    rows = torch.cat([one, other])
    scale = (rows[:, None] - rows[None]).square().sum(dim=2).sum() / (8 * 7)
    moved = one.clone().requires_grad_()
    torch.manual_seed(3)
    measure(moved, other).backward()
    assert moved.grad is not None
    assert moved.grad.abs().max() > 1e-3
    step = 1e-3

    def fixed(shift: torch.Tensor) -> float:
        """The estimate with the bandwidth of the rows that are not moved: no gradient flows through it."""
        torch.manual_seed(3)
        both = torch.cat([one + shift, other])
        kernel = torch.exp(-(both[:, None] - both[None]).square().sum(dim=2) / scale)
        if quadruples:
            first = torch.randperm(4)
            second = first.roll(1)
            terms = kernel[first, second] + kernel[4 + first, 4 + second]
            return float((terms - kernel[first, 4 + second] - kernel[second, 4 + first]).mean())
        apart = ~torch.eye(4, dtype=torch.bool)
        return float(kernel[:4, :4][apart].mean() + kernel[4:, 4:][apart].mean() - 2 * kernel[:4, 4:].mean())

    for i in range(4):
        for j in range(3):
            shift = torch.zeros(4, 3, dtype=torch.float64)
            shift[i, j] = step
            difference = (fixed(shift) - fixed(-shift)) / (2 * step)
            assert moved.grad[i, j].item() == pytest.approx(difference, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(2, 6), st.integers(0, 1000))
def test_it_is_symmetric_and_knows_no_order(n: int, m: int, seed: int) -> None:
    one, other = samples(n, m, seed)
    value = GaussianMMD()(one, other).item()
    assert GaussianMMD()(other.flip(0), one.flip(0)).item() == pytest.approx(value, abs=1e-6)


def test_equal_rows_have_no_discrepancy() -> None:
    assert GaussianMMD()(torch.ones(3, 2), torch.ones(4, 2)).item() == 0


def test_a_sample_of_one_row_is_an_error() -> None:
    with pytest.raises(UserError, match="at least 2 rows, found 1 and 4; raise the batch size"):
        GaussianMMD()(torch.ones(1, 2), torch.ones(4, 2))


def test_quadruples_need_equal_sizes() -> None:
    with pytest.raises(ValueError, match="one size, found 3 and 4"):
        GaussianMMD(quadruples=True)(torch.ones(3, 2), torch.ones(4, 2))
