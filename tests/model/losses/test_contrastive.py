"""The contrastive loss against a loop over pairs, hand-worked numbers and gradients."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import distance

from model.losses.contrastive import ContrastiveLoss, pair_distances


def by_loop(phi: np.ndarray, labels: list[int], margin: float) -> float:
    unit = [row / math.sqrt(sum(value * value for value in row)) for row in phi]
    kinds: dict[bool, list[float]] = {True: [], False: []}
    for a, b in itertools.combinations(range(len(labels)), 2):
        d = math.sqrt(sum((x - y) ** 2 for x, y in zip(unit[a], unit[b], strict=True)))
        same = labels[a] == labels[b]
        kinds[same].append(d * d if same else max(0.0, margin - d) ** 2)
    return sum(0.5 * 0.5 * sum(found) / len(found) for found in kinds.values() if found)


def test_by_hand() -> None:
    # three directions: 0, 90 and 60 degrees; d^2 = 2 - 2 cos, so 2, 1 and 2 - sqrt(3)
    phi = torch.tensor([[3.0, 0.0], [0.0, 0.5], [1.0, math.sqrt(3)]], dtype=torch.float64)
    found = ContrastiveLoss(margin=1.5)(phi, torch.tensor([4, 4, 1]))
    # positive: the first two; negative: 60 degrees and 30 degrees
    negative = ((1.5 - 1) ** 2 + (1.5 - math.sqrt(2 - math.sqrt(3))) ** 2) / 2
    assert found.item() == pytest.approx((2 + negative) / 4, abs=1e-12)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=9), st.sampled_from([0.3, 1.0, 1.7]), st.integers(0, 99))
def test_against_a_loop(labels: list[int], margin: float, seed: int) -> None:
    phi = np.random.default_rng(seed).normal(0.4, 1.0, (len(labels), 5))
    found = ContrastiveLoss(margin)(torch.from_numpy(phi), torch.tensor(labels))
    assert found.item() == pytest.approx(by_loop(phi, labels, margin), abs=1e-12)


def test_equally_many_pairs_give_the_usual_form() -> None:
    # four images of the categories 0, 0, 0, 1: three positive and three negative pairs
    phi = torch.randn(4, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    d, labels = pair_distances(phi), [0, 0, 0, 1]
    pairs = list(itertools.combinations(range(4), 2))
    terms = [d[a, b] ** 2 if labels[a] == labels[b] else max(0, 1.2 - d[a, b]) ** 2 for a, b in pairs]
    usual = sum(terms) / (2 * len(pairs))
    torch.testing.assert_close(ContrastiveLoss(1.2)(phi, torch.tensor(labels)), usual)


def test_distances_are_those_of_scipy() -> None:
    phi = torch.randn(7, 11, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    cosines = 1 - distance.cdist(phi, phi, "cosine")
    torch.testing.assert_close(pair_distances(phi).square(), torch.from_numpy(2 - 2 * cosines), rtol=0, atol=1e-12)


def test_distances_are_those_of_the_metric_learning_library() -> None:
    library = pytest.importorskip("pytorch_metric_learning.distances")
    phi = torch.randn(7, 11, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    torch.testing.assert_close(pair_distances(phi.float()), library.LpDistance()(phi.float()))


def test_only_the_direction_counts() -> None:
    phi = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    labels, lengths = torch.tensor([0, 1, 1, 2, 0, 2]), torch.tensor([[0.1], [3.0], [7.0], [1.0], [0.5], [2.0]])
    torch.testing.assert_close(ContrastiveLoss()(phi, labels), ContrastiveLoss()(phi * lengths, labels))


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]], ids=["no negative pair", "no positive pair"])
def test_a_missing_kind_counts_nothing_and_gives_finite_gradients(labels: list[int]) -> None:
    # two equal rows: their distance is 0, where a root has no gradient
    phi = torch.tensor([[1.0, 2.0], [1.0, 2.0], [-2.0, 0.5]], requires_grad=True)
    loss = ContrastiveLoss()(phi, torch.tensor(labels))
    loss.backward()
    assert phi.grad is not None
    assert torch.isfinite(phi.grad).all()
    assert loss.item() == pytest.approx(by_loop(phi.detach().numpy(), labels, 1.0), abs=1e-6)


def test_the_gradient_is_that_of_finite_differences() -> None:
    phi = torch.randn(5, 3, generator=torch.Generator().manual_seed(8), dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 0, 2, 1])
    assert torch.autograd.gradcheck(lambda x: ContrastiveLoss(1.4)(x, labels), (phi,))
