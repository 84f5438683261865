from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from base.console import UserError
from model.prediction import RecogniserPredictor, Scored, largest, refuse_calibration


@given(values=st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.5]), min_size=1, max_size=6), top=st.integers(1, 7))
def test_the_largest_values_come_first_and_of_equal_ones_the_earlier_name(values: list[float], top: int) -> None:
    names = [f"n{place}" for place in range(len(values))]
    expected = sorted(zip(names, values, strict=True), key=lambda pair: -pair[1])  # sorted is stable
    assert largest(torch.tensor(values), names) == expected
    assert largest(torch.tensor(values), names, top) == expected[:top]
    above = [pair for pair in expected[:top] if pair[1] > 0.25]
    assert largest(torch.tensor(values), names, top, above=0.25) == above


class Sums(nn.Module):
    """Linear in the mean of each colour."""

    def __init__(self, weights: list[list[float]]) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().mean(dim=(2, 3)) @ self.weights.T


def predictor(recognises: bool, predicts: bool) -> RecogniserPredictor:
    recogniser = (Sums([[0.01, 0, 0], [0, 0.02, 0]]), ["red", "green"]) if recognises else None
    clicks = (Sums([[0.0, 0, 3], [0, 4, 0], [-1, 0, 0]]), ["sky", "grass", "night"]) if predicts else None
    return RecogniserPredictor("some", "RUN", 0, (4, 4), recogniser, clicks, torch.device("cpu"))


IMAGES = torch.tensor([[100, 0, 0], [0, 100, 100]], dtype=torch.uint8)[:, :, None, None].expand(2, 3, 4, 4)


def test_categories_are_probabilities_and_words_entries_of_a_vector_of_length_1() -> None:
    red, green = predictor(True, True).predict(IMAGES)
    assert [one.name for one in red.categories] == ["red", "green"]
    assert [one.value for one in red.categories] == pytest.approx([0.731058579, 0.268941421], abs=1e-7)  # e^1 : e^0
    assert [one.value for one in green.categories] == pytest.approx([0.880797078, 0.119202922], abs=1e-7)  # e^2 : e^0
    assert red.words == []  # nothing above 0
    assert green.words == [Scored("grass", pytest.approx(0.8)), Scored("sky", pytest.approx(0.6))]
    assert predictor(True, True).predict(IMAGES, top=1)[1].words == green.words[:1]
    assert predictor(True, True).click_features(IMAGES).norm(dim=1).tolist() == pytest.approx([1, 1])


def test_what_is_not_predicted_is_empty() -> None:
    assert not predictor(True, False).predict(IMAGES)[0].words
    assert not predictor(False, True).predict(IMAGES)[0].categories
    assert predictor(False, True).categories == ()
    with pytest.raises(UserError, match="some RUN predicts no clicks"):
        predictor(True, False).click_features(IMAGES)


def test_an_evaluation_that_calibrates_nothing_is_refused() -> None:
    refuse_calibration(Path("model"), None)
    with pytest.raises(UserError, match="evaluation: the probabilities of model are not calibrated"):
        refuse_calibration(Path("model"), Path("evaluation"))
