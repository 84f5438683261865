"""The permutation test of the names: its level where votes say nothing, and its power where they do."""

import numpy as np
from scipy.stats import binom

from systems.cleaning.agreement import agreement
from systems.cleaning.votes import Votes


def log_of(random: np.random.Generator, num: int, c: int, share: float) -> tuple[Votes, np.ndarray, np.ndarray]:
    """Return votes of which a share names the true category, probabilities and folds; 19 more images have no votes."""
    truth = random.integers(0, c, num)
    named = np.where(random.random(num) < share, truth, random.integers(0, c, num))
    p = random.dirichlet(np.ones(c), num)
    p[np.arange(num), truth] += 0.5
    starts = np.concatenate([np.arange(num + 1), np.full(19, num)])
    votes = Votes(starts, named.astype(np.int32), random.integers(1, 9, num).astype(np.float64))
    p = np.concatenate([p / p.sum(axis=1, keepdims=True), np.full((19, c), 1 / c)])
    return votes, p, random.integers(0, 3, num + 19)


def test_the_level_is_kept_where_votes_say_nothing() -> None:
    random = np.random.default_rng(0)
    p_values = [agreement(*log_of(random, 60, 4, 0.0), seed=s, permutations=19).p_value for s in range(300)]
    rejected = sum(p <= 0.05 for p in p_values)  # exactly 5 %, as 19 permutations allow
    assert binom.ppf(0.001, 300, 0.05) <= rejected <= binom.ppf(0.999, 300, 0.05)


def test_few_right_votes_are_noticed() -> None:
    found = agreement(*log_of(np.random.default_rng(1), 500, 10, 0.3))
    assert found.p_value == 0.001
    assert found.agreement > found.by_chance


def test_permutations_stay_within_folds() -> None:
    # A network that knows only how often its fold names a category agrees with any order of the fold's images.
    folds = np.repeat([0, 1], 30)
    named = np.concatenate([np.zeros(30), np.ones(30)]).astype(np.int32)
    p = np.where(folds[:, None] == np.arange(2), 0.9, 0.1)
    found = agreement(Votes(np.arange(61), named, np.ones(60)), p, folds)
    assert found.p_value == 1.0
