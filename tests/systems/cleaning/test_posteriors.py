"""All images are judged by a model of a sample; impossible input is refused."""

import numpy as np
import pytest
from click_votes import votes_of
from simulated_votes import Simulated

from base.console import UserError
from systems.cleaning.posteriors import judge_all


def test_without_votes_the_classifier_decides_and_without_any_votes_nothing_can_be_learned() -> None:
    made = Simulated(400, 4, seed=2)
    keep = np.arange(400)[1:]
    emptied = votes_of([{}] + [
        dict(zip(made.votes.category[a:b].tolist(), made.votes.clicks[a:b].tolist(), strict=True))
        for a, b in zip(made.votes.starts[keep], made.votes.starts[keep + 1], strict=True)
    ])  # fmt: skip
    judged, model = judge_all(emptied, made.probabilities)
    logits = model.temperature * np.log(made.probabilities[0].astype(float)) + model.bias
    assert judged.probability[0] == pytest.approx(np.exp(logits) / np.exp(logits).sum(), abs=1e-5)
    with pytest.raises(UserError, match="no image has a name"):
        judge_all(votes_of([{}, {}]), np.full((2, 3), 1 / 3))


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.5])
def test_impossible_probabilities_are_refused(bad: float) -> None:
    probabilities = np.full((30, 3), 1 / 3)
    probabilities[17, 1] = bad
    with pytest.raises(UserError, match="row 17 of the probabilities is not in"):
        judge_all(votes_of([{i % 3: 2.0} for i in range(30)]), probabilities)


def test_candidates_and_all_categories_give_nearly_the_same() -> None:
    made = Simulated(1500, 80, seed=4)
    few = judge_all(made.votes, made.probabilities, most=24)[0].best()
    every = judge_all(made.votes, made.probabilities, most=80)[0].best()
    assert (few[0] == every[0]).mean() > 0.9
    right = [(found[0] == made.truth).mean() for found in (few, every)]
    assert right[0] == pytest.approx(right[1], abs=0.03)
