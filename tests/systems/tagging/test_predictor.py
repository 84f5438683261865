"""Applying a run to pictures: the same tags as `recommend`, for several pictures and histories at once."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tagging_data import picture
from tiny_tagging import train_run

from base.console import UserError
from clicksight.pictures import middle_square
from model.prediction import Context
from systems.tagging.predictor import load
from systems.tagging.recommend import Recommender

pytestmark = pytest.mark.usefixtures("own_folder")


def test_each_picture_gets_the_tags_of_its_own_history(sources) -> None:
    train_run(sources, "A6", input="images")
    predictor, recommender = load(Path("A6")), Recommender.load(Path("A6"))
    histories = [("red", "red", "a"), (), ("a",)]
    files = [picture(number) for number in (7, 99, 7)]
    pixels = np.stack([middle_square(file, predictor.resize, predictor.image_size) for file in files])
    squares = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    said = predictor.predict(squares, [Context(history=history) for history in histories], top=4)
    for one, file, history in zip(said, files, histories, strict=True):
        expected = recommender.recommend(recommender.see(file), recommender.counts(history), 4)
        assert [scored.name for scored in one.tags] == [suggestion.tag for suggestion in expected]
        values = [suggestion.probability for suggestion in expected]
        assert [scored.value for scored in one.tags] == pytest.approx(values, abs=1e-6)
    assert said[0].tags != said[2].tags
    cold = predictor.predict(squares, top=4)
    assert [scored.name for scored in cold[1].tags] == [scored.name for scored in said[1].tags]


def test_a_model_of_features_is_refused(sources) -> None:
    train_run(sources, "A1")
    with pytest.raises(UserError, match="sees frozen features, not pictures"):
        load(Path("A1"))
