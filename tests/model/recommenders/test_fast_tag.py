import numpy as np
import pytest

from model.recommenders.fast_tag import fit_fast_tag

RANDOM = np.random.default_rng(3)
X = np.c_[RANDOM.normal(size=(40, 3)), np.ones(40)]
TAGS = (X[:, :3] @ RANDOM.normal(size=(3, 5)) > 0.4).astype(float)
TAGS[:, 4] = TAGS[:, 0]  # two tags that are always given together


def objective(completion: np.ndarray, features: np.ndarray, corruption: float, gamma: float, penalty: float) -> float:
    """The loss with the expectation over blanked tags as a sum over all 2^5 patterns."""
    total = ((TAGS @ completion.T - X @ features.T) ** 2).sum() / len(X) + penalty * (features**2).sum()
    for pattern in range(2**5):
        kept = np.array([pattern >> tag & 1 for tag in range(5)])
        probability = np.prod(np.where(kept, 1 - corruption, corruption))
        total += gamma * probability * ((TAGS - (TAGS * kept) @ completion.T) ** 2).sum() / len(X)
    return float(total)


def test_the_solution_is_a_minimum_in_either_map() -> None:
    maps = fit_fast_tag(X, TAGS, 0.3, 0.7, 0.05, rounds=60)
    best = objective(maps.completion, maps.features, 0.3, 0.7, 0.05)
    for seed in range(20):
        random = np.random.default_rng(seed)
        for step in (1e-2, 1e-4):
            for_b, for_w = (step * random.normal(size=part.shape) for part in maps)
            assert objective(maps.completion + for_b, maps.features, 0.3, 0.7, 0.05) > best
            assert objective(maps.completion, maps.features + for_w, 0.3, 0.7, 0.05) > best


def test_without_completion_it_is_ridge_regression() -> None:
    maps = fit_fast_tag(X, TAGS, 0.3, 0.7, 0.05, rounds=0)
    ridge = np.linalg.solve(X.T @ X + 40 * 0.05 * np.eye(4), X.T @ TAGS)
    assert maps.scores(X) == pytest.approx(X @ ridge)


def test_a_blanked_tag_is_completed_by_the_one_that_comes_with_it() -> None:
    completion = fit_fast_tag(X, TAGS, 0.5, 1.0, 0.05, rounds=5).completion
    off_diagonal = completion[0].copy()
    off_diagonal[0] = -np.inf
    assert off_diagonal.argmax() == 4


def test_a_tag_that_nobody_gave_gets_no_score() -> None:
    tags = TAGS.copy()
    tags[:, 2] = 0
    assert fit_fast_tag(X, tags, 0.3, 0.7, 0.05, rounds=3).scores(X)[:, 2] == pytest.approx(0)
