import numpy as np
import pytest
from scipy import optimize, sparse

from model.recommenders.factorisation import factorise, solve

COUNTS = np.array([[3, 0, 0, 1], [0, 2, 0, 0], [1, 0, 4, 0], [0, 0, 0, 0], [0, 5, 1, 0]])


def objective(users: np.ndarray, tags: np.ndarray, alpha: float, penalty: float) -> float:
    errors = (1 + alpha * COUNTS) * ((COUNTS > 0) - users @ tags.T) ** 2
    return float(errors.sum() + penalty * ((users**2).sum() + (tags**2).sum()))


def test_a_solution_is_the_minimum_that_a_general_optimiser_finds() -> None:
    tags = np.random.default_rng(0).normal(size=(4, 3))
    found = solve(sparse.csr_array(COUNTS), tags, 2.0, 0.5)
    best = optimize.minimize(lambda x: objective(x.reshape(5, 3), tags, 2.0, 0.5), np.zeros(15), tol=1e-12)
    assert found == pytest.approx(best.x.reshape(5, 3), abs=1e-5)
    assert found[3].tolist() == [0, 0, 0]  # who gave no tag


def test_each_round_lowers_the_objective() -> None:
    values = []
    for rounds in range(1, 6):
        factors = factorise(sparse.csr_array(COUNTS), 2, 3.0, 0.1, rounds, seed=1)
        users = solve(sparse.csr_array(COUNTS), factors.tags, 3.0, 0.1)
        values.append(objective(users, factors.tags, 3.0, 0.1))
    assert values == sorted(values, reverse=True)
    assert values[-1] < values[0]


def test_a_user_who_was_not_in_the_training_gets_the_scores_of_the_same_history() -> None:
    factors = factorise(sparse.csr_array(COUNTS), 2, 3.0, 0.1, 4, seed=1)
    known = factors.scores(COUNTS)
    assert factors.scores(COUNTS[2:3])[0] == pytest.approx(known[2])
    assert known[0].argmax() == 0
    assert known[3].tolist() == [0, 0, 0, 0]
