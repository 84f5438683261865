"""The made-up logs are what they are said to be, and the table's figures are those by hand."""

import numpy as np
import pytest

from benchmarks.studies.stated_accuracy import LOGS, made_up, nearest_categories, row_of
from systems.cleaning.agreement import Agreement
from systems.cleaning.denoise import Denoised
from systems.cleaning.reliability import Posterior
from systems.cleaning.votes import Votes

NEIGHBOURS = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [5, 3, 2], [4, 3, 2]])
TRUTH = np.repeat(np.arange(6), 300)


def log(name: str) -> Votes:
    return made_up(name, TRUTH, NEIGHBOURS, np.random.default_rng(5))


@pytest.mark.parametrize("name", LOGS)
def test_every_image_is_named_and_names_are_right_more_often_than_by_chance(name: str) -> None:
    votes = log(name)
    assert votes.num_images == len(TRUTH)
    assert (votes.counts > 0).all()
    assert votes.clicks.min() >= 1
    right = votes.category == TRUTH[votes.images()]
    assert 1 / 6 < votes.clicks[right].sum() / votes.clicks.sum() < 0.9


def test_lookalikes_err_among_neighbours_and_pages_err_whole_images() -> None:
    for name in ("lookalikes", "one click", "repeated"):
        votes = log(name)
        truth = TRUTH[votes.images()]
        assert all(c == z or c in NEIGHBOURS[z] for c, z in zip(votes.category, truth, strict=True))
    assert log("one click").totals().tolist() == [1.0] * len(TRUTH)
    assert log("repeated").clicks.max() > 2 * log("lookalikes").clicks.max()

    def share_without_truth(votes: Votes) -> float:
        named = np.bincount(votes.images(), votes.category == TRUTH[votes.images()], len(TRUTH))
        return float((named == 0)[votes.totals() >= 4].mean())

    assert share_without_truth(log("pages")) > share_without_truth(log("independent")) + 0.08
    assert log("different").clicks.max() == 2


def test_the_nearest_categories_by_hand() -> None:
    features = np.array([[0.0], [0.2], [1.0], [1.4], [9.0], [4.0], [30.0]])
    truth = np.array([0, 0, 1, 1, 2, 3, 4])  # means 0.1, 1.2, 9, 4, 30
    assert nearest_categories(features, truth, 5).tolist() == [[1, 3, 2], [0, 3, 2], [3, 1, 0], [1, 0, 2], [2, 3, 1]]


def test_the_row_by_hand() -> None:
    votes = Votes(np.array([0, 1, 2, 3, 4]), np.array([0, 1, 1, 0], np.int32), np.ones(4))
    found = Denoised(
        Posterior(np.zeros((4, 1), np.int32), np.ones((4, 1))), None, Agreement(0.5, 0.1, 0.001),
        np.array([True, True, False, True]), np.array([0, 0, 1, 1]), np.array([0.9, 0.8, 0.3, 0.6]),
    )  # fmt: skip
    row = row_of("poor", 2, votes, found, np.array([0, 0, 1, 0]))
    assert row["majority"] == pytest.approx(75)
    assert row["denoised"] == pytest.approx(75)
    assert row["stated"] == pytest.approx(65)
    assert (row["kept"], row["right of the kept"]) == (3, pytest.approx(200 / 3))
    # differences 0, 1, 0, -1: deviation sqrt(2 / 3), error 1.96 sqrt(2 / 3) / 2
    assert row["denoised - majority"] == "+0.0 (-80.0 to +80.0)"
