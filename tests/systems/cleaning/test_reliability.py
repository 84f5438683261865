"""The model of names' reliability against scipy, and properties of its posteriors."""

import math

import numpy as np
import pytest
from click_votes import votes_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import dirichlet_multinomial

from systems.cleaning import reliability
from systems.cleaning.estimation import fit
from systems.cleaning.reliability import Posterior, candidates, posterior


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
