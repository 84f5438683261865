"""KCCA: with linear kernels it is CCA; the projection of new rows by the definition; Gaussian kernels see curves."""

import numpy as np
import pytest
from made_pairs import made_pairs, wide_pairs
from sklearn.decomposition import KernelPCA
from sklearn.metrics.pairwise import linear_kernel, rbf_kernel

from systems.dckt.baselines import kernels
from systems.dckt.baselines.config import CCAParams, KCCAParams
from systems.dckt.baselines.kernels import Gaussian, fit_kcca, kernel_axes, median_square
from systems.dckt.baselines.linear import canonical_axes, fit_cca, principal_axes
from systems.dckt.features import Views

PARAMS = KCCAParams(axes=50, components=[2, 4], ridges=[0.1, 1.0], widths=[0.5, 2.0], most_pairs=500)


def test_the_gaussian_kernel_is_scikit_learns() -> None:
    one, other = np.random.default_rng(0).normal(size=(4, 3)), np.random.default_rng(1).normal(size=(5, 3))
    np.testing.assert_allclose(Gaussian(2.5)(one, other), rbf_kernel(one, other, gamma=1 / 2.5), atol=1e-12)


def test_the_axes_are_those_of_kernel_pca_also_for_new_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "BLOCK", 4)  # new rows are projected in several parts
    train, new = made_pairs().texts.astype(float), made_pairs(seed=1).texts.astype(float)[:11]
    found, expected = kernel_axes(Gaussian(20.0), train, 6), KernelPCA(6, kernel="rbf", gamma=1 / 20.0).fit(train)
    np.testing.assert_allclose(np.abs(found(train)), np.abs(expected.transform(train)), atol=1e-8)
    np.testing.assert_allclose(np.abs(found(new)), np.abs(expected.transform(new)), atol=1e-8)
    assert found(new[:0]).shape == (0, 6)


@pytest.mark.parametrize("views", [made_pairs(), wide_pairs()], ids=["more pairs", "more features"])
def test_with_linear_kernels_it_is_cca(views: Views) -> None:
    projections = [kernel_axes(linear_kernel, part.astype(float), 99) for part in (views.images, views.texts)]
    linear = [principal_axes(part, 99) for part in (views.images, views.texts)]
    parts = (views.images.astype(float), views.texts.astype(float))
    found = canonical_axes(*(of(part) for of, part in zip(projections, parts, strict=True)), ridge=0.2)
    expected = canonical_axes(*(of(part) for of, part in zip(linear, parts, strict=True)), ridge=0.2)
    np.testing.assert_allclose(found[2], expected[2], atol=1e-6)
    other = made_pairs(seed=5) if views.images.shape[1] == 11 else wide_pairs(seed=5)
    for of, axes, of_linear, axes_linear, part in zip(
        projections, found[:2], linear, expected[:2], (other.images, other.texts), strict=True
    ):
        codes, codes_linear = of.then(axes[:, :2])(part.astype(float)), of_linear(part) @ axes_linear[:, :2]
        np.testing.assert_allclose(np.abs(codes), np.abs(codes_linear), atol=1e-4)


def test_it_finds_a_relation_that_no_line_shows() -> None:
    def curved(seed: int) -> Views:
        random = np.random.default_rng(seed)
        hidden = random.uniform(-1, 1, 120)
        images = np.stack([hidden, random.normal(0, 0.1, 120)], axis=1)
        texts = np.stack([np.cos(3 * hidden), random.normal(0, 0.1, 120)], axis=1)  # even: no correlation
        return Views(images.astype(np.float32), texts.astype(np.float32), np.digitize(np.abs(hidden), [0.33, 0.66]))

    by_kernel = fit_kcca(PARAMS, curved(0), curved(1), seed=0)
    by_lines = fit_cca(CCAParams(axes=50, components=[2], ridges=[0.1, 1.0]), curved(0), curved(1), seed=0)
    assert by_kernel.validation_map > by_lines.validation_map + 0.2


def test_more_pairs_than_allowed_are_drawn_from_by_the_seed() -> None:
    few = PARAMS.model_copy(update={"most_pairs": 20})
    one, same, other = (fit_kcca(few, made_pairs(), made_pairs(seed=1), seed) for seed in (3, 3, 4))
    test = made_pairs(seed=2).images
    np.testing.assert_array_equal(one.images(test), same.images(test))
    assert one.images(test).shape != other.images(test).shape or not np.allclose(one.images(test), other.images(test))
    assert one.images.train.shape == (20, 11)


def test_the_median_ignores_copies() -> None:
    assert median_square(np.array([[0.0], [0.0], [3.0]]), seed=0) == 9
    assert median_square(np.zeros((3, 1)), seed=0) == 1
