"""EM against a written-out one, maximum likelihood by scipy, and simulated logs whose truth is known."""

import math

import numpy as np
import pytest
from click_votes import votes_of
from scipy.optimize import minimize_scalar
from scipy.stats import dirichlet_multinomial
from simulated_votes import Simulated

from systems.cleaning import estimation
from systems.cleaning.estimation import fit
from systems.cleaning.posteriors import judge_all
from systems.cleaning.reliability import candidates
from systems.cleaning.votes import Votes


def test_one_vote_per_image_is_dawid_and_skene_with_a_prior_from_the_classifier() -> None:
    """A loop over images and categories, with the module's priors and nothing of its code."""
    random = np.random.default_rng(5)
    num, c = 60, 3
    p = random.dirichlet(np.full(c, 0.4), num).astype(np.float32).astype(np.float64)
    label = np.array(
        [random.choice(c, p=row / row.sum()) if random.random() < 0.7 else random.integers(c) for row in p]
    )
    p = np.maximum(p, 1e-6)
    q = [[0.8 * ((1.0 if label[i] == z else 0.0) + 1e-3) / (1 + c * 1e-3) + 0.2 * p[i][z] / sum(p[i]) for z in range(c)]
         for i in range(num)]  # fmt: skip
    tables, temperature, bias, before = math.log(2), 1.0, [0.0] * c, -math.inf
    for _ in range(100):
        counts = [[tables * sum(q[i][z] for i in range(num) if label[i] == k) for k in range(c)] for z in range(c)]
        mean = sum(counts[z][z] for z in range(c)) / sum(map(sum, counts))
        own = [(counts[z][z] + 10 * mean) / (sum(counts[z]) + 10) for z in range(c)]
        wrong = [sum(counts[z][k] for z in range(c) if z != k) for k in range(c)]
        anywhere = [(w + 1) / (sum(wrong) + c) for w in wrong]
        m = [[own[z] if z == k else (1 - own[z]) * anywhere[k] / sum(anywhere[j] for j in range(c) if j != z)
              for k in range(c)] for z in range(c)]  # fmt: skip
        prior, evidence = [], []
        for i in range(num):
            raw = [p[i][z] ** temperature * math.exp(bias[z]) for z in range(c)]
            prior.append([r / sum(raw) for r in raw])
            joint = [prior[i][z] * m[z][label[i]] for z in range(c)]
            evidence.append(math.log(sum(joint)))
            q[i] = [j / sum(joint) for j in joint]
        likelihood = sum(evidence) / num
        if abs(likelihood - before) < 1e-5:
            break
        before, tables = likelihood, 1.0
        for _ in range(2):
            for step in ("temperature", "bias"):
                prior = []
                for i in range(num):
                    raw = [p[i][z] ** temperature * math.exp(bias[z]) for z in range(c)]
                    prior.append([r / sum(raw) for r in raw])
                if step == "temperature":
                    means = [sum(prior[i][z] * math.log(p[i][z]) for z in range(c)) for i in range(num)]
                    slope = sum(sum(q[i][z] * math.log(p[i][z]) for z in range(c)) - means[i] for i in range(num))
                    curve = sum(
                        sum(prior[i][z] * math.log(p[i][z]) ** 2 for z in range(c)) - means[i] ** 2 for i in range(num)
                    )
                    temperature = min(max(temperature + slope / curve, 0.05), 5)
                else:
                    for z in range(c):
                        wanted, found = sum(row[z] for row in q), sum(row[z] for row in prior)
                        bias[z] += min(max((wanted - found - 4 * bias[z]) / (found + 4), -1), 1)
    votes = votes_of([{int(k): 1.0} for k in label])
    judged, model = judge_all(votes, p.astype(np.float32))
    assert model.confusion == pytest.approx(np.array(m), abs=1e-4)
    assert model.temperature == pytest.approx(temperature, abs=1e-3)
    assert judged.probability == pytest.approx(np.array(q), abs=1e-4)
    assert model.log_likelihood == pytest.approx(likelihood, abs=1e-5)


@pytest.mark.parametrize(("clicks", "overconfidence"), [(6.0, 2.0), (6.0, 0.7), (1.0, 1.5)])
def test_the_stated_accuracy_is_that_of_the_truth_and_above_majority_vote(clicks: float, overconfidence: float) -> None:
    made = Simulated(3000, 12, seed=3, clicks=clicks, overconfidence=overconfidence)
    judged, model = judge_all(made.votes, made.probabilities)
    label, right = judged.best()
    is_right, kept = label == made.truth, right >= 0.5
    assert right.mean() == pytest.approx(is_right.mean(), abs=0.03)
    assert right[kept].mean() == pytest.approx(is_right[kept].mean(), abs=0.03)
    for low, high in ((0.5, 0.8), (0.8, 0.95), (0.95, 1.01)):  # calibrated at every level, not only in the mean
        some = (right >= low) & (right < high)
        standard_error = math.sqrt(max(is_right[some].mean() * (1 - is_right[some].mean()), 0.01) / some.sum())
        assert right[some].mean() == pytest.approx(is_right[some].mean(), abs=0.03 + 3 * standard_error)
    assert is_right.mean() > (made.votes.majority() == made.truth).mean() + 0.05
    assert model.temperature == pytest.approx(1 / overconfidence, rel=0.15)
    assert np.abs(model.own - np.diag(made.confusion)).mean() < 0.06  # some 250 images each: a standard error of 0.03


def test_clicks_that_are_not_independent_are_not_counted_as_such() -> None:
    made = Simulated(3000, 8, seed=1, clicks=15.0, s=3.0)
    _, model = judge_all(made.votes, made.probabilities)
    assert model.concentration == pytest.approx(3.0, rel=0.2)
    together = Votes(made.votes.starts, made.votes.category, 10 * made.votes.clicks)  # each click logged ten times
    label, right = judge_all(together, made.probabilities)[0].best()
    assert right.mean() == pytest.approx((label == made.truth).mean(), abs=0.03)


def test_the_shrinkage_is_the_maximum_likelihood_of_the_rows() -> None:
    random = np.random.default_rng(2)
    c, shrinkage = 15, 7.0
    names = np.tile(random.dirichlet(np.full(c, 2.0)), (c, 1)) * (1 - np.eye(c))
    names /= names.sum(axis=1, keepdims=True)
    rows = [random.multinomial(300, random.dirichlet(shrinkage * row + 1e-12)) for row in names]
    counts = np.array(rows, float)

    def cost(log_l: float) -> float:
        return -sum(
            dirichlet_multinomial.logpmf(np.delete(row, z), math.exp(log_l) * np.delete(names[z], z), int(row.sum()))
            for z, row in enumerate(np.array(rows))
        )

    expected = math.exp(minimize_scalar(cost, bounds=(-1, 6), method="bounded").x)
    found = estimation.FIRST_SHRINKAGE
    for _ in range(200):
        found = estimation.found_shrinkage(counts, names, found)
    assert found == pytest.approx(expected, rel=1e-3)
    assert found == pytest.approx(shrinkage, rel=0.4)
    alike = 10_000 * names  # every category has the same wrong names: there is nothing to estimate row by row
    for _ in range(200):
        found = estimation.found_shrinkage(alike, names, found)
    assert found > 1000
    assert estimation.found_shrinkage(np.zeros((c, c)), names, 33.0) == 33.0


def test_no_name_is_more_frequent_in_a_category_than_its_own() -> None:
    """Else two categories could exchange their names, and the votes would be as probable as before."""
    counts = np.array([[2.0, 90.0, 3.0], [1.0, 60.0, 5.0], [4.0, 2.0, 50.0]])
    own, confusion, _ = estimation.confusion_matrix(estimation._Clicks(counts, counts), 1.0, estimates=False)
    assert own == pytest.approx(np.diag(confusion))
    assert confusion.sum(axis=1) == pytest.approx(1.0)
    assert (confusion.max(axis=1) <= own + 1e-12).all()
    assert own[0] == pytest.approx(confusion[0, 1])  # as far as it goes: 2 of 95 clicks are its own
    assert own[2] > 0.8


class Lookalikes:
    """Clicks that name three lookalikes of an image's category, and no other one, where they are wrong."""

    def __init__(self, num: int, c: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.truth = random.integers(0, c, num)
        own = random.uniform(0.4, 0.85, c)
        self.confusion = np.zeros((c, c))
        for z in range(c):
            self.confusion[z, (z + np.array([1, 2, 5])) % c] = (1 - own[z]) / 3
            self.confusion[z, z] = own[z]
        drawn = [random.multinomial(random.geometric(0.25), self.confusion[z]) for z in self.truth]
        self.votes = votes_of([{int(k): float(row[k]) for k in np.flatnonzero(row)} for row in drawn])
        alpha = np.full((num, c), 0.3)
        alpha[np.arange(num), self.truth] += 1.0  # a Dirichlet's draw with one more for the truth is calibrated
        self.probabilities = np.array([random.dirichlet(row) for row in alpha], np.float32)


def test_lookalikes_are_learned_where_images_have_several_clicks() -> None:
    made = Lookalikes(1500, 20, seed=6)
    judged, model = judge_all(made.votes, made.probabilities)
    label, right = judged.best()
    assert (label == made.truth).mean() > (made.votes.majority() == made.truth).mean() + 0.08
    assert right.mean() == pytest.approx((label == made.truth).mean(), abs=0.03)
    for z in range(20):
        wrong = np.argsort(np.delete(-model.confusion[z], z))[:3]
        assert set(np.delete(np.arange(20), z)[wrong]) == set((z + np.array([1, 2, 5])) % 20)


def test_no_category_dies_out() -> None:
    """One that is hardly ever named, and that the classifier doesn't know, keeps a share of the prior."""
    random = np.random.default_rng(4)
    truth = random.integers(0, 3, 600)
    named = np.where(truth == 2, np.where(random.random(600) < 0.9, 0, 2), truth)
    votes = votes_of([{int(k): 2.0} for k in named])
    p = np.full((600, 3), 0.02, np.float32)
    p[np.arange(600), np.where(truth == 2, 0, truth)] = 0.96
    model = fit(votes, candidates(votes, p), 3)
    assert model.bias.min() > -4
    assert np.isfinite(model.bias).all()
