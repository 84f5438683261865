"""Neighbours by tags against a loop, pooled features, logistic regressions, and the whole command's measures."""

from pathlib import Path

import numpy as np
import pytest
from annotation_data import SEED, read, recipe, write_data_set
from scipy import sparse

from model.measures.label_sets import SET_MEASURES
from model.training.trainer import train
from systems.annotation.baselines import evaluate, jaccard_neighbours, logistic, pooled
from systems.annotation.rules import RuleParams
from systems.annotation.task import training_run

TAGS = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1], [1, 1, 1, 0], [0, 0, 0, 0], [1, 1, 0, 0]])


def test_neighbours_by_hand_and_by_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.array([0, 1, 2, 3])
    # image 5: 1 with image 0, 2/3 with 3, 1/2 with 1
    expected = []
    for image in range(6):
        mine = {int(row): (TAGS[image] & TAGS[row]).sum() / max((TAGS[image] | TAGS[row]).sum(), 1) for row in rows}
        ranked = sorted((row for row in mine if row != image and mine[row]), key=lambda row: -mine[row])
        expected.append(ranked[:2])
    assert expected[5] == [0, 3]
    for block in (2, 1000):
        monkeypatch.setattr("systems.annotation.baselines.BLOCK", block)
        found = jaccard_neighbours(sparse.csr_array(TAGS.astype(np.float32)), rows, 2)
        assert [mine.tolist() for mine in found] == expected


def test_features_are_pooled_over_neighbours() -> None:
    features = np.array([[1.0, 0], [3, 2], [5, 7]])
    found = pooled(features, [np.array([1, 2]), np.array([], np.int64), np.array([0])], np.array([0, 2]))
    assert found.tolist() == [[4, 4.5], [3, 3.5], [1, 0]]


def test_logistic_regressions_and_constant_labels() -> None:
    features = np.array([[0.0, 5], [1, 5], [4, 5], [5, 5], [0.5, 5], [4.5, 5]])
    has = np.array([[0, 1, 0], [0, 1, 0], [1, 1, 0], [1, 1, 0], [1, 0, 1], [0, 0, 0]], bool)
    found = logistic(features, has, np.arange(4), "test")
    assert found[4, 0] < 0.5 < found[5, 0]  # learned from the first four alone
    assert found[:, 1].tolist() == [1] * 6
    assert found[:, 2].tolist() == [0] * 6


@pytest.mark.usefixtures("own_folder")
def test_both_are_measured(request: pytest.FixtureRequest) -> None:
    run = training_run(recipe(request, "MS-CNN_first=3"), read(write_data_set(Path("data"))), SEED, "tiny")
    train(run, Path("model"))
    metrics, units = evaluate(Path("model"), Path("data"), SEED, RuleParams(batch_size=7, top=1, thresholds=[], bins=2))
    wanted = {f"{measure}_{name}_top" for measure in SET_MEASURES for name in ("logistic", "neighbours")}
    assert set(metrics) - {"squared_errors"} == wanted | {"map_logistic", "map_neighbours"}
    assert set(units["metric"]) == set(metrics) - {"squared_errors"}
