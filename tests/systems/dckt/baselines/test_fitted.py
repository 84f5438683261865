"""The validation MAP against scikit-learn, and the choice among candidates."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity

from systems.dckt.baselines.fitted import Fitted, best, mean_map, measured
from systems.dckt.features import Views


def by_scikit_learn(images: np.ndarray, texts: np.ndarray, category: np.ndarray) -> float:
    scores = cosine_similarity(images, texts)
    both = [
        np.mean([average_precision_score(category == own, row) for own, row in zip(category, of, strict=True)])
        for of in (scores, scores.T)
    ]
    return float(np.mean(both))


def test_the_map_is_scikit_learns() -> None:
    random = np.random.default_rng(3)
    images, texts, category = random.normal(size=(11, 3)), random.normal(size=(11, 3)), random.integers(0, 3, 11)
    assert mean_map(images, texts, category) == pytest.approx(by_scikit_learn(images, texts, category), abs=1e-6)


def test_the_directions_differ_and_both_count() -> None:
    # the image of the first pair finds its text first, the other image doesn't; both texts find their images
    images, texts, category = np.array([[1.0, 0.0], [0.8, 0.6]]), np.array([[1.0, 0.1], [0.9, 0.5]]), np.array([0, 1])
    scores = cosine_similarity(images, texts)
    ranks = [1 + (scores[0] > scores[0, 0]).sum(), 1 + (scores[1] > scores[1, 1]).sum()]
    back = [1 + (scores[:, 0] > scores[0, 0]).sum(), 1 + (scores[:, 1] > scores[1, 1]).sum()]
    expected = (np.mean([1 / rank for rank in ranks]) + np.mean([1 / rank for rank in back])) / 2
    assert mean_map(images, texts, category) == pytest.approx(expected)


def test_the_first_of_the_best_is_chosen() -> None:
    def of(name: int, score: float) -> Fitted:
        return Fitted(lambda x: x, lambda x: x, {"name": name}, score)

    assert best([of(0, 0.4), of(1, 0.7), of(2, 0.7), of(3, 0.1)]).chosen == {"name": 1}


def test_a_candidate_is_measured_on_the_validation_pairs() -> None:
    random = np.random.default_rng(5)
    views = Views(*random.normal(size=(2, 8, 3)).astype(np.float32), np.arange(8) % 3)
    found = measured(lambda x: x, lambda x: -x, {"a": 1}, views)
    assert found.validation_map == pytest.approx(by_scikit_learn(views.images, -views.texts, views.category), abs=1e-6)
    assert found.chosen == {"a": 1}
