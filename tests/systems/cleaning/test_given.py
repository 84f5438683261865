"""Given labels beside votes: against probabilities by hand, and simulated labels that repeat the log's mistakes."""

import math

import numpy as np
import pytest
from click_votes import votes_of

from systems.cleaning.given import Given, GivenReliability, estimate_given, given_log_likelihood
from systems.cleaning.posteriors import judge_all
from systems.cleaning.reliability import candidates
from systems.cleaning.votes import Votes


def test_the_likelihood_by_hand() -> None:
    model = GivenReliability(alone=0.7, name_right=0.9, name_wrong=0.5, repeated=0.3)
    label, name = np.array([1, 2, 2, 0, -1], np.int32), np.array([-1, 2, 0, 1, 3], np.int32)
    found = given_log_likelihood(Given(label, name), np.tile(np.arange(4, dtype=np.int32), (5, 1)), model, 4)
    expected = [
        [0.1, 0.7, 0.1, 0.1],  # no name: (1 - 0.7) / 3
        [0.3, 0.3, 0.9, 0.3],  # the label is the name: right, or the same mistake
        [0.1 / 3, 0.1, 0.5, 0.1],  # z = 0 is the name, which the label is not; z = 2: label right, name wrong
        [0.5, 0.1 / 3, 0.1, 0.1],
        [1, 1, 1, 1],  # no label
    ]
    assert np.exp(found) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("name", [-1, 0, 1, 2])
def test_the_probabilities_of_all_labels_sum_to_one(name: int) -> None:
    model = GivenReliability(alone=0.6, name_right=0.8, name_wrong=0.45, repeated=0.35)
    labels = Given(np.arange(3, dtype=np.int32), np.full(3, name, np.int32))
    found = given_log_likelihood(labels, np.tile(np.arange(3, dtype=np.int32), (3, 1)), model, 3)
    assert np.exp(found).sum(axis=0) == pytest.approx(1)


class Simulated:
    """Images whose most clicked name is wrong in a fifth, and labels that repeat a share of these mistakes.

    The classifier's probabilities are calibrated, and of all sizes: only so can its doubts be told from their mistakes.
    """

    def __init__(self, repeats: float, num: int = 4000, c: int = 6, seed: int = 3) -> None:
        random = np.random.default_rng(seed)
        self.p = random.dirichlet(np.full(c, 0.2), num)
        self.truth = np.array([random.choice(c, p=row) for row in self.p])

        def others(of: np.ndarray) -> np.ndarray:
            return (of + random.integers(1, c, num)) % c

        self.name = np.where(random.random(num) < 0.8, self.truth, others(self.truth)).astype(np.int32)
        wrong = self.name != self.truth
        independent = np.where(random.random(num) < 0.85, self.truth, others(self.truth))
        self.label = np.where(wrong & (random.random(num) < repeats), self.name, independent).astype(np.int32)
        clicks = 3 + random.poisson(3, num)
        self.votes: Votes = votes_of([{int(n): float(k)} for n, k in zip(self.name, clicks, strict=True)])
        self.given = Given(self.label, self.name)


def test_the_estimates_from_the_truth_are_the_shares() -> None:
    log = Simulated(repeats=0.7)
    category = np.tile(np.arange(6, dtype=np.int32), (len(log.truth), 1))
    found = estimate_given(log.given, category, (category == log.truth[:, None]).astype(float), 6)
    wrong = log.name != log.truth
    assert found.name_right == pytest.approx(np.mean(log.label[~wrong] == log.truth[~wrong]), abs=0.01)
    assert found.name_wrong == pytest.approx(np.mean(log.label[wrong] == log.truth[wrong]), abs=0.02)
    assert found.repeated == pytest.approx(np.mean(log.label[wrong] == log.name[wrong]), abs=0.02)
    assert found.alone == pytest.approx(np.mean(log.label == log.truth), abs=0.02)  # all have names: its prior


@pytest.mark.parametrize("repeats", [0.0, 0.7])
def test_labels_that_repeat_the_logs_mistakes_are_found_out(repeats: float) -> None:
    log = Simulated(repeats)
    judged, model = judge_all(log.votes, log.p, given=log.given)
    category, right = judged.best()
    accuracy = np.mean(category == log.truth)
    wrong = log.name != log.truth
    assert model.given is not None
    assert model.given.repeated == pytest.approx(np.mean(log.label[wrong] == log.name[wrong]), abs=0.06)
    assert right.mean() == pytest.approx(accuracy, abs=0.02)
    alone, _ = judge_all(log.votes, log.p)
    of_labels, _ = judge_all(votes_of([{int(n): 1.0} for n in log.label]), log.p)
    assert accuracy > max(np.mean(other.best()[0] == log.truth) for other in (alone, of_labels)) + 0.01


def test_an_image_with_a_label_alone_and_one_with_nothing() -> None:
    log = Simulated(repeats=0.3, num=600)
    rows = [{int(n): 4.0} for n in log.name]
    rows[0] = rows[1] = {}
    label, name = log.label.copy(), log.name.copy()
    name[:2], label[1], log.p[:2] = -1, -1, 1 / 6
    judged, model = judge_all(votes_of(rows), log.p, given=Given(label, name))
    assert model.given is not None
    assert judged.best()[0][0] == label[0]
    assert judged.of(label)[0] == pytest.approx(model.given.alone, abs=0.05)
    assert judged.probability[1] == pytest.approx(np.exp(model.bias) / np.exp(model.bias).sum(), abs=1e-6)


def test_a_label_is_a_candidate_among_many_categories() -> None:
    p = np.full((1, 100), 1e-6)
    p[0, :40] = 1 / 40
    labels = Given(np.array([99], np.int32), np.array([98], np.int32))
    chosen = candidates(votes_of([{98: 2.0}]), p, most=16, given=labels)
    assert {98, 99} <= set(chosen.category[0].tolist())
    assert math.isfinite(float(chosen.other_log_p[0]))
