"""The linear map: against a written-out step, what it ranks, and that a seed gives it."""

import numpy as np
import pytest

from model.measures.accuracy import precision_at_k
from model.measures.units import reduce_units
from model.recommenders.warp import WarpParams, fit_warp

RANDOM = np.random.default_rng(5)
X = np.c_[RANDOM.normal(size=(60, 4)), np.ones(60)]
TAGS = X[:, :4] @ RANDOM.normal(size=(4, 6)) + np.array([0.2, -2.5, -0.5, 0, -3, 0.4]) > 0.5
PARAMS = WarpParams(rate=0.05, epochs=30, batch_size=16)


def test_the_first_step_goes_against_the_gradient_of_the_written_out_loss() -> None:
    # Adam's first step is the rate times the gradient's sign
    found = fit_warp(X, TAGS, WarpParams(0.1, 1, len(X)), seed=0)
    gradient = np.zeros((6, 5))
    for x, tags in zip(X, TAGS, strict=True):
        lacking = np.flatnonzero(~tags)
        weight = sum(1 / rank for rank in range(1, len(lacking) + 1))  # at 0 all tags are within the margin
        for tag in np.flatnonzero(tags):
            gradient[tag] -= weight * len(lacking) * x
            gradient[lacking] += weight * x
    assert found == pytest.approx(-0.1 * np.sign(gradient), abs=1e-4)


def test_tags_that_features_tell_are_ranked_first() -> None:
    rows = TAGS.any(axis=1)
    maps = fit_warp(X[rows], TAGS[rows], PARAMS, seed=0)
    names = [str(row) for row in range(rows.sum())]

    def precision(scores: np.ndarray) -> float:
        return reduce_units(precision_at_k("p", names, scores, TAGS[rows], 1))["p"] or 0.0

    most_used = np.tile(TAGS[rows].mean(axis=0), (len(names), 1))
    assert precision(X[rows] @ maps.T) > max(0.9, precision(most_used) + 0.1)


def test_a_seed_gives_the_map_and_another_one_another() -> None:
    one, again, other = (fit_warp(X, TAGS, PARAMS, seed) for seed in (1, 1, 2))
    assert (one == again).all()
    assert not (one == other).all()
