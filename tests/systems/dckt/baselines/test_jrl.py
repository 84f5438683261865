"""JRL: the rounds never raise the objective, its limits are ridge regression and one shared answer."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_pairs import made_pairs
from scipy.optimize import minimize
from sklearn.metrics.pairwise import cosine_similarity

from systems.dckt.baselines.config import JRLParams
from systems.dckt.baselines.jrl import SMOOTH, Medium, Weights, fit_jrl, laplacian, objective, solve


def problem(seed: int = 0) -> tuple[tuple[Medium, Medium], np.ndarray]:
    views = made_pairs(seed=seed)
    labels = np.eye(3)[views.category]
    media = []
    for features in (views.images, views.texts):
        x = (features - features.mean(axis=0)).astype(float) / 4
        media.append(Medium(x, x.T @ (laplacian(x, 3) @ x) / len(x)))
    return (media[0], media[1]), labels - labels.mean(axis=0)


def test_the_laplacian_by_its_definition() -> None:
    x = np.random.default_rng(1).normal(size=(9, 3))
    similar = cosine_similarity(x)
    np.fill_diagonal(similar, -np.inf)
    nearest = np.argsort(-similar, axis=1)[:, :2]
    joined = np.zeros((9, 9))
    for row, others in enumerate(nearest):
        joined[row, others] = joined[others, row] = 1
    sums = joined.sum(axis=1)
    expected = np.eye(9) - joined / np.sqrt(np.outer(sums, sums))
    np.testing.assert_allclose(laplacian(x, 2).toarray(), expected, atol=1e-12)
    assert laplacian(x, 99).shape == (9, 9)


def test_the_objective_by_a_loop() -> None:
    media, labels = problem()
    random = np.random.default_rng(0)
    projections = [random.normal(size=(medium.x.shape[1], 3)) for medium in media]
    by = Weights(pairs=0.7, graph=0.3, sparsity=0.2)
    n, total = len(labels), 0.0
    codes = [medium.x @ p for medium, p in zip(media, projections, strict=True)]
    for medium, p, code in zip(media, projections, codes, strict=True):
        total += sum(float(((code[row] - labels[row]) ** 2).sum()) for row in range(n)) / n
        total += 0.3 * float(np.trace(code.T @ (laplacian(medium.x, 3) @ code))) / n
        total += 0.2 * sum(float(np.sqrt((row**2).sum() + SMOOTH)) for row in p)
    total += 0.7 * sum(float(((codes[0][row] - codes[1][row]) ** 2).sum()) for row in range(n)) / n
    assert objective(media, labels, projections, by) == pytest.approx(total, rel=1e-9)


@settings(max_examples=25)
@given(st.floats(0, 5), st.floats(0, 5), st.floats(0, 2), st.integers(0, 20))
def test_no_round_raises_the_objective(pairs: float, graph: float, sparsity: float, seed: int) -> None:
    media, labels = problem(seed)
    _, values = solve(media, labels, Weights(pairs, graph, sparsity), rounds=6)
    assert len(values) == 7
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(values))


def test_many_rounds_reach_the_minimum_that_a_general_optimiser_finds() -> None:
    media, labels = problem()
    by = Weights(pairs=0.5, graph=0.2, sparsity=0.05)
    projections, values = solve(media, labels, by, rounds=300)
    shapes = [p.shape for p in projections]

    def of(flat: np.ndarray) -> float:
        parts = np.split(flat, [shapes[0][0] * 3])
        return objective(media, labels, [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)], by)

    start = np.zeros(sum(rows * columns for rows, columns in shapes))
    found = minimize(of, start, method="L-BFGS-B", options={"maxiter": 3000, "maxfun": 10**6})
    assert values[-1] == pytest.approx(found.fun, abs=1e-4)


def test_without_the_other_parts_it_is_least_squares() -> None:
    media, labels = problem()
    projections, _ = solve(media, labels, Weights(0, 0, 0), rounds=2)
    for medium, p in zip(media, projections, strict=True):
        np.testing.assert_allclose(p, np.linalg.lstsq(medium.x, labels, rcond=None)[0], atol=1e-4)


def test_sparsity_makes_rows_vanish() -> None:
    media, labels = problem()
    plain, sparse = (
        np.concatenate([np.linalg.norm(p, axis=1) for p in solve(media, labels, Weights(0, 0, value), rounds=60)[0]])
        for value in (0.0, 0.1)
    )
    assert plain.min() > 0.02
    assert (sparse < 2e-3).sum() >= 10
    assert (sparse > 0.05).sum() >= 3


def test_it_finds_categories_of_new_pairs() -> None:
    params = JRLParams(
        axes=50, pair_weights=[0.1, 1.0], graph_weights=[0.0, 0.1], sparsities=[0.01], neighbours=4, rounds=5
    )
    found = fit_jrl(params, made_pairs(), made_pairs(seed=1), seed=0)
    assert found.validation_map > 0.7
    assert set(found.chosen) == {"pair_weight", "graph_weight", "sparsity"}
    test = made_pairs(seed=2)
    assert (found.images(test.images).argmax(axis=1) == test.category).mean() > 0.7
    assert (found.texts(test.texts).argmax(axis=1) == test.category).mean() > 0.7
