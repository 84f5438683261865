"""CCA and CFA against scikit-learn, the generalised eigenvalue problem and what they are the best of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_pairs import made_pairs, wide_pairs
from scipy.linalg import eigh, qr
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import PCA

from systems.dckt.baselines.config import CCAParams, CFAParams
from systems.dckt.baselines.fitted import Fitted
from systems.dckt.baselines.linear import canonical_axes, factors, fit_cca, fit_cfa, principal_axes, sizes

PARAMS = CCAParams(axes=50, components=[2, 3, 99], ridges=[0.0, 0.1])


def correlations(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(one.T, other.T, strict=True)])


@pytest.mark.parametrize(
    ("features", "rank"), [(made_pairs().images, 11), (wide_pairs().images, 11)], ids=["35 x 11", "12 x 40"]
)
def test_the_principal_axes_are_scikit_learns(features: np.ndarray, rank: int) -> None:
    found, expected = principal_axes(features, 5), PCA(5).fit(features)
    np.testing.assert_allclose(np.abs(found.weights.T @ expected.components_.T), np.eye(5), atol=1e-4)
    np.testing.assert_allclose(np.abs(found(features)), np.abs(expected.transform(features)), atol=1e-3)
    assert principal_axes(features, 999).weights.shape[1] == rank


def test_a_constant_feature_adds_no_axis() -> None:
    features = np.random.default_rng(0).normal(size=(20, 4))
    features[:, 2] = 5
    assert principal_axes(features, 9).weights.shape == (4, 3)


def test_without_a_ridge_the_correlations_are_scikit_learns() -> None:
    views = made_pairs(sizes=(60, 50, 40), noise=1.0)
    x, y = (principal_axes(part, 99)(part) for part in (views.images, views.texts))
    a, b, found = canonical_axes(x, y, ridge=0.0)
    oracle = CCA(4, max_iter=5000, tol=1e-10).fit(views.images.astype(float), views.texts.astype(float))
    expected = correlations(*oracle.transform(views.images.astype(float), views.texts.astype(float)))
    np.testing.assert_allclose(found[:4], expected, atol=1e-5)
    np.testing.assert_allclose(correlations(x @ a, y @ b), found, atol=1e-9)


@pytest.mark.parametrize("ridge", [0.01, 0.5])
def test_with_a_ridge_they_solve_the_generalised_eigenvalue_problem(ridge: float) -> None:
    views = made_pairs()
    x, y = (part - part.mean(axis=0) for part in (views.images.astype(float), views.texts.astype(float)))
    p, q, n = x.shape[1], y.shape[1], len(x)
    whole, right = np.zeros((p + q, p + q)), np.zeros((p + q, p + q))
    whole[:p, p:] = x.T @ y / n
    whole[p:, :p] = whole[:p, p:].T
    for part, values in ((slice(0, p), x), (slice(p, p + q), y)):
        covariance = values.T @ values / n
        right[part, part] = covariance + ridge * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    expected = eigh(whole, right, eigvals_only=True)[::-1][: min(p, q)]
    *_, found = canonical_axes(*(principal_axes(part, 99)(part) for part in (views.images, views.texts)), ridge)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@given(st.integers(0, 50), st.floats(0.01, 1))
def test_no_other_direction_correlates_more(seed: int, ridge: float) -> None:
    views = made_pairs(seed=seed)
    x, y = (principal_axes(part, 99)(part) for part in (views.images, views.texts))
    _, _, found = canonical_axes(x, y, ridge)
    random = np.random.default_rng(seed)
    a, b = random.normal(size=x.shape[1]), random.normal(size=y.shape[1])
    lengths = [
        np.sqrt(np.square(z @ w).mean() + ridge * np.square(z).mean(axis=0).mean() * (w @ w))
        for z, w in ((x, a), (y, b))
    ]
    assert abs((x @ a) @ (y @ b)) / len(x) <= found[0] * lengths[0] * lengths[1] + 1e-9


def test_with_fewer_pairs_than_features_only_a_ridge_helps() -> None:
    train = wide_pairs()
    x, y = (principal_axes(part, 99)(part) for part in (train.images, train.texts))
    np.testing.assert_allclose(canonical_axes(x, y, 0.0)[2], 1, atol=1e-6)  # any two sets of 12 points correlate
    assert canonical_axes(x, y, 0.3)[2].max() < 0.95


def test_cca_finds_pairs() -> None:
    found = fit_cca(PARAMS, made_pairs(), made_pairs(seed=1), seed=0)
    assert found.validation_map > 0.6
    test = made_pairs(seed=2)
    images, texts = found.images(test.images), found.texts(test.texts)
    assert images.shape == texts.shape == (35, found.chosen["components"])
    assert correlations(images, texts)[0] > 0.9


def test_validation_chooses_ridge_and_components() -> None:
    def of(components: list[int], ridges: list[float]) -> Fitted:
        params = CCAParams(axes=50, components=components, ridges=ridges)
        return fit_cca(params, wide_pairs(), wide_pairs(seed=8), seed=0)

    every = [of([number], [ridge]) for ridge in (0.0, 0.3) for number in (2, 5)]
    found = of([2, 5], [0.0, 0.3])
    assert len({one.validation_map for one in every}) > 1
    expected = max(every, key=lambda one: one.validation_map)
    assert (found.validation_map, found.chosen) == (expected.validation_map, expected.chosen)


@given(st.integers(0, 30))
def test_along_no_other_orthonormal_axes_the_media_vary_together_more(seed: int) -> None:
    views = made_pairs(seed=seed)
    x, y = (part - part.mean(axis=0) for part in (views.images.astype(float), views.texts.astype(float)))
    a, b = factors(x, y)
    np.testing.assert_allclose(a.T @ a, np.eye(7), atol=1e-9)
    np.testing.assert_allclose(b.T @ b, np.eye(7), atol=1e-9)
    random = np.random.default_rng(seed)
    for number in (1, 3, 7):
        others = [qr(random.normal(size=(part.shape[1], number)), mode="economic")[0] for part in (x, y)]
        best = np.trace(a[:, :number].T @ x.T @ y @ b[:, :number])
        assert best >= np.trace(others[0].T @ x.T @ y @ others[1]) - 1e-6
        near = [
            qr(axes[:, :number] + 0.05 * random.normal(size=(len(axes), number)), mode="economic")[0] for axes in (a, b)
        ]
        assert best >= np.trace(near[0].T @ x.T @ y @ near[1]) - 1e-6


def test_square_axes_bring_projections_nearest() -> None:
    views = made_pairs()
    x, y = views.images[:, :7].astype(float), views.texts.astype(float)
    a, b = factors(x, y)
    random = np.random.default_rng(0)
    for _ in range(20):
        others = [qr(random.normal(size=(7, 7)))[0] for _ in range(2)]
        assert np.square(x @ a - y @ b).sum() <= np.square(x @ others[0] - y @ others[1]).sum()


def test_cfa_finds_pairs() -> None:
    found = fit_cfa(CFAParams(components=[2, 4, 50]), made_pairs(), made_pairs(seed=1), seed=0)
    assert found.validation_map > 0.6
    assert found.chosen["components"] in (2, 4, 7)
    test = made_pairs(seed=2)
    assert correlations(found.images(test.images), found.texts(test.texts))[0] > 0.8


def test_sizes_above_the_maximum_become_it_once() -> None:
    assert sizes([2, 9, 30, 5], 5) == [2, 5]
