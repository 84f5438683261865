"""Probabilities of a fold know nothing of its labels, not even by way of other images' judged labels."""

import numpy as np
import pytest

from systems.cleaning.heads import FoldedHeadParams, folds_of, judged_out_of_fold, out_of_fold

PARAMS = FoldedHeadParams(folds=4, components=4, hidden=8, dropout=0.0, epochs=15, batch_size=1000, learning_rate=0.02,
                          weight_decay=0.0, seed=3, threads=1)  # fmt: skip


@pytest.fixture(scope="module")
def made() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs of 120 images, their labels (a fifth wrong), and their folds."""
    random = np.random.default_rng(8)
    truth = random.integers(0, 3, 120)
    x = (2 * np.eye(4)[truth] + random.normal(0, 0.7, (120, 4))).astype(np.float32)
    labels = np.where(random.random(120) < 0.2, random.integers(0, 3, 120), truth)
    return x, np.eye(3, dtype=np.float32)[labels], folds_of([f"i{i}" for i in range(120)], PARAMS)


def sharpened(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Judge by both: a stand-in for the model, by which a wrong label changes other images' judgement."""
    joint = p * (labels + 0.2)
    return np.asarray(joint / joint.sum(axis=1, keepdims=True))


def test_labels_of_a_fold_change_nothing_in_its_probabilities(made: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    x, labels, folds = made
    changed = labels.copy()
    changed[folds == 2] = np.roll(labels[folds == 2], 1, axis=1)
    everyone = np.ones(120, bool)

    def found(of: np.ndarray) -> np.ndarray:
        return judged_out_of_fold(x, of, everyone, folds, PARAMS, lambda images, p: sharpened(p, of[images]))

    before, after = found(labels), found(changed)
    assert np.array_equal(before[folds == 2], after[folds == 2])
    assert not np.allclose(before[folds != 2], after[folds != 2], atol=1e-3)
    # judged only once, other images' labels carry the change back
    once = [out_of_fold(x, sharpened(out_of_fold(x, of, everyone, folds, PARAMS), of), everyone, folds, PARAMS)
            for of in (labels, changed)]  # fmt: skip
    assert not np.allclose(once[0][folds == 2], once[1][folds == 2], atol=1e-3)


def test_unnamed_images_are_scored_but_nobody_learns_from_them(
    made: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    x, labels, folds = made
    named = np.arange(120) % 5 > 0
    nonsense = labels.copy()
    nonsense[~named] = np.roll(labels[~named], 1, axis=1)
    found = [judged_out_of_fold(x, of, named, folds, PARAMS, lambda images, p: sharpened(p, labels[images]))
             for of in (labels, nonsense)]  # fmt: skip
    assert np.array_equal(found[0], found[1])
    assert found[0].sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_the_judge_gets_every_image_of_the_other_folds_once_per_fold(
    made: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    x, labels, folds = made
    calls: list[np.ndarray] = []

    def judge(images: np.ndarray, p: np.ndarray) -> np.ndarray:
        calls.append(images)
        assert p.shape == (len(images), 3)
        assert p.sum(axis=1) == pytest.approx(1, abs=1e-5)
        return labels[images]

    judged_out_of_fold(x, labels, np.ones(120, bool), folds, PARAMS, judge)
    assert [images.tolist() for images in calls] == [np.flatnonzero(folds != f).tolist() for f in range(4)]
