"""The graph of categories and words says what the networks say, normalised, of whichever of them there are."""

import numpy as np
import pytest
import torch
from torch import nn

from model.graph import CategoriesAndWords, Graph, SecondInput


class Fixed(nn.Module):
    """Returns sums of each picture's pixels, times fixed weights."""

    def __init__(self, weights: list[float]) -> None:
        super().__init__()
        self.weights = torch.tensor(weights)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.double().sum(dim=(1, 2, 3))[:, None] * self.weights


PIXELS = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
PIXELS[0, 0, 0, 0], PIXELS[1, 2, 3, 1] = 1, 2


def test_probabilities_and_a_click_feature_by_hand() -> None:
    found = CategoriesAndWords(Fixed([0.0, float(np.log(3))]), Fixed([3.0, 0.0, -4.0]))(PIXELS)
    probabilities, clicks = (one.numpy() for one in found)
    assert probabilities == pytest.approx(np.array([[0.25, 0.75], [0.1, 0.9]]))  # 1 : 3 and 1 : 9
    assert clicks == pytest.approx(np.array([[0.6, 0, -0.8], [0.6, 0, -0.8]]))
    assert {one.dtype for one in found} == {torch.float32}  # of networks with any other type


@pytest.mark.parametrize(("recogniser", "clicks", "columns"), [(True, False, [2]), (False, True, [3])])
def test_what_a_run_lacks_is_left_out(recogniser: bool, clicks: bool, columns: list[int]) -> None:
    network = CategoriesAndWords(Fixed([1.0, 2.0]) if recogniser else None, Fixed([1.0, 2.0, 3.0]) if clicks else None)
    assert [one.shape[1] for one in network(PIXELS)] == columns


def test_its_networks_are_found_as_submodules() -> None:
    network = CategoriesAndWords(nn.Linear(2, 3), nn.Linear(2, 5))
    assert sum(weights.numel() for weights in network.parameters()) == 9 + 15
    assert not CategoriesAndWords(nn.Dropout(), None).eval().recogniser.training  # type: ignore[union-attr]


def test_a_graph_has_no_second_input_unless_it_is_given() -> None:
    graph = Graph(nn.Identity(), {"probabilities": ["a", "b"]})
    assert graph.second is None
    assert Graph(nn.Identity(), {}, SecondInput("tags", "1 if given", ["x"])).second == ("tags", "1 if given", ["x"])
