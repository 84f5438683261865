"""The model of names' reliability against a written-out EM, scipy, and simulated logs whose truth is known."""

import math

import numpy as np
import pytest
from click_votes import votes_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import dirichlet_multinomial

from base.console import UserError
from systems.cleaning import reliability
from systems.cleaning.reliability import Posterior, candidates, denoise, fit, posterior
from systems.cleaning.votes import Votes


class Simulated:
    """A log with known truth: Dirichlet-multinomial clicks by a known confusion matrix, and calibrated probabilities.

    Attributes:
        sharpness: of the classifier; its reported probabilities are raised to `overconfidence`, and scaled to 1.
    """

    def __init__(self, num: int, c: int, seed: int, clicks: float = 6.0, s: float = 3.0, overconfidence: float = 2.0):
        random = np.random.default_rng(seed)
        own = random.uniform(0.35, 0.9, c)
        attractive = random.dirichlet(np.full(c, 0.5))
        confusion = np.tile(attractive, (c, 1)) * (1 - np.eye(c)) + 1e-9
        confusion *= ((1 - own) / confusion.sum(axis=1))[:, None]
        self.confusion = confusion * (1 - np.eye(c)) + np.diag(own)
        true_p = random.dirichlet(np.full(c, 0.25), num)
        self.truth = np.array([random.choice(c, p=row) for row in true_p])
        raised = true_p**overconfidence + 1e-12
        self.probabilities = (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)
        totals = 1 + random.poisson(clicks - 1, num) if clicks > 1 else np.ones(num, int)
        rows = []
        for z, n in zip(self.truth, totals, strict=True):
            p = random.dirichlet(s * self.confusion[z] + 1e-12)
            drawn = random.multinomial(n, p)
            rows.append({int(k): float(drawn[k]) for k in np.flatnonzero(drawn)})
        self.votes = votes_of(rows)


def test_the_likelihood_is_scipys_dirichlet_multinomial() -> None:
    confusion = np.array([[0.7, 0.2, 0.1], [0.05, 0.9, 0.05], [0.3, 0.3, 0.4]])
    votes = votes_of([{0: 3, 2: 1}, {1: 5}, {}, {0: 1, 1: 1, 2: 7}])
    category = np.tile(np.arange(3, dtype=np.int32), (4, 1))
    found = reliability.vote_log_likelihood(votes, category, confusion, 2.5)
    for image, counts in enumerate(([3, 0, 1], [0, 5, 0], [0, 0, 0], [1, 1, 7])):
        ways = math.lgamma(sum(counts) + 1) - sum(math.lgamma(k + 1) for k in counts)  # ours is of ordered clicks
        for z in range(3):
            expected = dirichlet_multinomial.logpmf(counts, 2.5 * confusion[z], sum(counts)) - ways
            assert found[image, z] == pytest.approx(expected, abs=1e-9)


def test_one_vote_per_image_is_dawid_and_skene_with_a_prior_from_the_classifier() -> None:
    """A loop over images and categories, with the module's pseudo counts and nothing of its code."""
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
    for _ in range(30):
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
        if abs(likelihood - before) < 1e-4:
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
                        bias[z] += math.log(wanted + 5) - math.log(found + 5)
    votes = votes_of([{int(k): 1.0} for k in label])
    judged, model = denoise(votes, p.astype(np.float32))
    assert model.confusion == pytest.approx(np.array(m), abs=1e-4)
    assert model.temperature == pytest.approx(temperature, abs=1e-3)
    assert judged.probability == pytest.approx(np.array(q), abs=1e-4)
    assert model.log_likelihood == pytest.approx(likelihood, abs=1e-5)


@pytest.mark.parametrize(("clicks", "overconfidence"), [(6.0, 2.0), (6.0, 0.7), (1.0, 1.5)])
def test_the_stated_accuracy_is_that_of_the_truth_and_above_majority_vote(clicks: float, overconfidence: float) -> None:
    made = Simulated(3000, 12, seed=3, clicks=clicks, overconfidence=overconfidence)
    judged, model = denoise(made.votes, made.probabilities)
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
    _, model = denoise(made.votes, made.probabilities)
    assert model.concentration == pytest.approx(3.0, rel=0.2)
    together = Votes(made.votes.starts, made.votes.category, 10 * made.votes.clicks)  # each click logged ten times
    label, right = denoise(together, made.probabilities)[0].best()
    assert right.mean() == pytest.approx((label == made.truth).mean(), abs=0.03)


def test_without_votes_the_classifier_decides_and_without_any_votes_nothing_can_be_learned() -> None:
    made = Simulated(400, 4, seed=2)
    keep = np.arange(400)[1:]
    emptied = votes_of([{}] + [
        dict(zip(made.votes.category[a:b].tolist(), made.votes.clicks[a:b].tolist(), strict=True))
        for a, b in zip(made.votes.starts[keep], made.votes.starts[keep + 1], strict=True)
    ])  # fmt: skip
    judged, model = denoise(emptied, made.probabilities)
    logits = model.temperature * np.log(made.probabilities[0].astype(float)) + model.bias
    assert judged.probability[0] == pytest.approx(np.exp(logits) / np.exp(logits).sum(), abs=1e-5)
    with pytest.raises(UserError, match="no image has a name"):
        denoise(votes_of([{}, {}]), np.full((2, 3), 1 / 3))


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.5])
def test_impossible_probabilities_are_refused(bad: float) -> None:
    probabilities = np.full((30, 3), 1 / 3)
    probabilities[17, 1] = bad
    with pytest.raises(UserError, match="row 17 of the probabilities is not in"):
        denoise(votes_of([{i % 3: 2.0} for i in range(30)]), probabilities)


def test_many_categories_keep_the_named_and_the_most_probable_candidates() -> None:
    random = np.random.default_rng(0)
    p = random.dirichlet(np.full(100, 0.1), 7).astype(np.float32)
    votes = votes_of([{90 + i: 1.0, 5: 2.0} if i != 5 else {5: 1.0} for i in range(7)])
    chosen = candidates(votes, p, most=10)
    for i in range(7):
        named = {90 + i, 5} if i != 5 else {5}
        others = [int(k) for k in np.argsort(-p[i]) if k not in named][: 10 - len(named)]
        assert chosen.category[i].tolist() == sorted(named | set(others))
        assert chosen.log_p[i] == pytest.approx(np.log(np.maximum(p[i, chosen.category[i]], 1e-6)), rel=1e-5)


def test_candidates_and_all_categories_give_nearly_the_same() -> None:
    made = Simulated(1500, 80, seed=4)
    few = denoise(made.votes, made.probabilities, most=24)[0].best()
    every = denoise(made.votes, made.probabilities, most=80)[0].best()
    print(
        (few[0] == every[0]).mean(),
        few[1].mean(),
        every[1].mean(),
        (few[0] == made.truth).mean(),
        (every[0] == made.truth).mean(),
        (made.votes.majority() == made.truth).mean(),
    )
    assert (few[0] == every[0]).mean() > 0.9
    right = [(found[0] == made.truth).mean() for found in (few, every)]
    assert right[0] == pytest.approx(right[1], abs=0.03)


@settings(deadline=None, max_examples=10)
@given(st.lists(st.dictionaries(st.integers(0, 3), st.integers(1, 9), max_size=4), min_size=1, max_size=12))
def test_posteriors_are_probabilities_and_don_t_depend_on_the_images_order(rows: list[dict[int, int]]) -> None:
    votes = votes_of([{k: float(v) for k, v in row.items()} for row in rows])
    if not votes.counts.any():
        return
    p = np.random.default_rng(len(rows)).dirichlet(np.ones(4), len(rows)).astype(np.float32)
    chosen = candidates(votes, p)
    model = fit(votes, chosen, 4)
    found = posterior(votes, chosen, model).probability
    assert found.sum(axis=1) == pytest.approx(1.0)
    assert model.confusion.sum(axis=1) == pytest.approx(1.0)
    order = np.arange(len(rows))[::-1]
    again = fit(votes.take(order), chosen.take(order), 4)
    assert posterior(votes.take(order), chosen.take(order), again).probability[order] == pytest.approx(found, abs=1e-3)


def test_the_cut_maximises_the_expected_f1() -> None:
    wrong = np.array([0.9, 0.1, 0.6, 0.35, 0.02])
    # dropping 1: 1.8 / 2.97; 2: 3.0 / 3.97; 3: 3.7 / 4.97; 4: 3.9 / 5.97
    assert reliability.cut_of_best_f1(wrong) == 0.6
    assert Posterior(np.array([[0, 2]], np.int32), np.array([[0.3, 0.7]])).of(np.array([1])).tolist() == [0.0]
