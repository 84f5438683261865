import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from base.console import UserError
from model.losses.mmd import MultiKernelMMD, squared_distances


def sample(rows: int, columns: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) + shift


def written_out(one: torch.Tensor, other: torch.Tensor, factors: tuple[float, ...]) -> float:
    """The U-statistic as its formula says, pair by pair."""
    pooled = [row.double() for row in (*one, *other)]
    distances = sorted(
        float(((a - b) ** 2).sum()) for i, a in enumerate(pooled) for j, b in enumerate(pooled) if i != j
    )
    median = distances[(len(distances) - 1) // 2]

    def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
        squared = float(((a.double() - b.double()) ** 2).sum())
        return sum(math.exp(-squared / (factor * median)) for factor in factors) / len(factors)

    def within(rows: torch.Tensor) -> float:
        values = [kernel(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j]
        return sum(values) / len(values)

    between = [kernel(a, b) for a in one for b in other]
    return within(one) + within(other) - 2 * sum(between) / len(between)


@given(n=st.integers(2, 7), m=st.integers(2, 7), seed=st.integers(0, 10**6), shift=st.floats(-3, 3))
def test_it_is_the_written_out_double_loop_and_symmetric(n: int, m: int, seed: int, shift: float) -> None:
    one, other = sample(n, 3, seed), sample(m, 3, seed + 1, shift)
    factors = (0.5, 3.0)
    mmd = MultiKernelMMD(factors)
    found = mmd(one, other).item()
    assert found == pytest.approx(written_out(one, other, factors), abs=2e-6)  # single precision
    assert mmd(other, one).item() == pytest.approx(found, abs=1e-6)


def test_its_expectation_is_zero_for_one_distribution_and_positive_for_two() -> None:
    def mean_and_error(shift: float) -> tuple[float, float]:
        values = torch.stack(
            [MultiKernelMMD()(sample(6, 4, 2 * i), sample(9, 4, 2 * i + 1, shift)) for i in range(600)]
        )
        return values.mean().item(), values.std().item() / math.sqrt(len(values))

    mean, error = mean_and_error(0.0)
    assert abs(mean) < 3 * error
    assert error < 0.005  # so that a biased estimator, which is above 0.1 here, would be found
    mean, error = mean_and_error(1.0)
    assert mean > 20 * error


def test_a_sample_against_itself_is_below_zero() -> None:
    rows = sample(5, 3, 0)
    assert MultiKernelMMD()(rows, rows).item() < 0


def test_equal_rows_have_no_discrepancy_and_finite_gradients() -> None:
    one, other = torch.ones(3, 4, requires_grad=True), torch.ones(5, 4)
    value = MultiKernelMMD()(one, other)
    value.backward()
    assert value.item() == 0
    assert torch.equal(one.grad, torch.zeros_like(one))


def test_minimising_it_brings_samples_together() -> None:
    one, other = sample(8, 2, 0).requires_grad_(), sample(6, 2, 1, shift=2.0)
    before = MultiKernelMMD()(one, other)
    before.backward()
    with torch.no_grad():
        moved = one - 0.5 * one.grad
    assert MultiKernelMMD()(moved, other) < before
    assert (moved.mean(dim=0) > one.mean(dim=0)).all()  # towards the other sample


def test_distances_of_far_away_rows_keep_their_digits() -> None:
    rows = sample(6, 3, 0)
    found = squared_distances(rows + 1000)
    assert torch.allclose(found, torch.cdist(rows.double(), rows.double()).float() ** 2, atol=1e-2)
    assert (found >= 0).all()


@pytest.mark.parametrize("sizes", [(1, 4), (4, 1)])
def test_a_batch_of_one_is_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(UserError, match=r"samples of at least 2 images, found \d and \d; raise train.batch_size"):
        MultiKernelMMD()(sample(sizes[0], 3, 0), sample(sizes[1], 3, 1))
