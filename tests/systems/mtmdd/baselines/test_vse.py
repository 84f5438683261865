from pathlib import Path

import pytest
import torch
from training_runs import read_curve, train_recipe

from model.losses.hardest_negative import HardestNegativeLoss
from systems.mtmdd.baselines.vse import VseTask
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
    assert model.chosen[0]["chosen_on"] == "source validation click loss"
