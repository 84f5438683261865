from pathlib import Path

import numpy as np
import pytest
import torch
from training_runs import read_curve, train_recipe

from model.losses.hardest_negative import HardestNegativeLoss
from systems.mtmdd.baselines.vse import VseTask, sum_of_recalls
from systems.mtmdd.examples import Examples
from systems.mtmdd.methods import METHODS
from systems.mtmdd.predictor import Model

pytestmark = pytest.mark.usefixtures("own_folder")


def test_it_is_tdl_with_another_click_loss(recipe) -> None:
    ours, tdl = recipe("VSE++"), recipe("TDL")
    assert [(term.domain, term.kind, term.weight) for term in ours.phases[0].losses] == [("source", "own", 1.0)]
    assert ours.phases[1:] == tdl.phases[1:]
    assert ours.network == tdl.network
    assert ours.position is None
    assert METHODS["TDL"].train is None


def test_the_predictor_learns_by_the_hardest_negatives(recipe, examples: Examples, monkeypatch) -> None:
    sizes, plain = [], HardestNegativeLoss.__call__

    def spied(self, true: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
        sizes.append(tuple(true.shape))
        return plain(self, true, predicted)

    monkeypatch.setattr(HardestNegativeLoss, "__call__", spied)
    train_recipe(recipe("VSE++", epochs=2), examples, 0, Path("model"), "run", kind=VseTask)
    assert set(sizes) == {(4, 5), (9, 5)}  # steps of four images, and all validation images at once
    losses = read_curve(Path("model/curves/predict"), "train/source own")
    assert all(0 < loss < 2.4 for loss in losses)
    assert len(read_curve(Path("model/curves/predict"), "validation/source rmse")) == 2
    model = Model.read(Path("model"))
    assert model.phase_that_predicts_clicks().name == "predict"
    assert model.chosen[0]["chosen_on"] == "source validation sum of recalls"
    sums = read_curve(Path("model/curves/predict"), "validation/source sum of recalls")
    assert model.chosen[0]["value"] == max(sums)


def test_recalls_by_hand() -> None:
    texts = np.eye(12)
    texts[11] = 0  # an image without clicks has no text
    images = np.eye(12)
    assert sum_of_recalls(images, texts) == 600.0
    images[[0, 1]] = images[[1, 0]]  # two of eleven find each other's text first, and their own among five
    images += 1e-3 * np.eye(12)
    assert sum_of_recalls(images, texts) == pytest.approx(2 * 100 * (9 / 11 + 1 + 1), abs=1e-3)
    # all images alike: by chance
    assert sum_of_recalls(np.ones((12, 12)), texts) == pytest.approx(2 * 100 * (1 + 5 + 10) / 11, abs=1e-3)
    assert sum_of_recalls(images[:1], np.zeros((1, 12))) == 0.0
