"""Tests of reading a trained target network."""

import json
from pathlib import Path

import numpy as np
import pytest
from dckt_runs import domains, recipe

from base.console import UserError
from model.training.trainer import train
from systems.dckt.task import training_run
from systems.dckt.trained import TargetModel

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def folder() -> Path:
    """A model folder."""
    train(training_run(recipe(), *domains(Path("data")), 0, "model"), Path("model"))
    return Path("model")


def test_codes_are_probabilities_of_the_targets_categories(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = TargetModel(folder)
    assert model.categories == ["Bee", "ant", "wasp"]
    random = np.random.default_rng(0)
    images = random.normal(size=(7, 6)).astype(np.float32)
    codes = model.image_codes(images)
    assert codes.shape == (7, 3)
    assert codes.sum(axis=1) == pytest.approx(np.ones(7))
    monkeypatch.setattr("systems.dckt.trained.BATCH", 2)
    assert model.image_codes(images) == pytest.approx(codes, abs=1e-6)
    assert model.text_codes(images[:0, :4]).shape == (0, 3)


def test_other_features_are_an_error(folder: Path) -> None:
    with pytest.raises(UserError, match=r"trained on 4 features, these are 6"):
        TargetModel(folder).text_codes(np.zeros((2, 6), np.float32))


def test_a_folder_of_another_system_is_an_error(folder: Path) -> None:
    (folder / "run.json").write_text(json.dumps({"recipe": {"run": "clicks"}, "domains": {}}))
    with pytest.raises(UserError, match=r"model/run.json: not of this system"):
        TargetModel(folder)
