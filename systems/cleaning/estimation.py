"""The parameters of `systems.cleaning.reliability`, estimated by EM without any truth.

The M-step of r_z and s is Minka's fixed point for the Dirichlet-multinomial, with expected numbers of independent
clicks. The rest of a row of M, o_z, has the prior Dirichlet(l o), with o the names that are wrong in any category. l is
found from the same clicks by maximum likelihood (empirical Bayes): where wrong names are spread alike over all
categories l becomes large, and where each category has its own lookalikes it becomes small. EM begins with a large l,
since with a small one from the start two categories may exchange their names; and no name is more frequent in a
category than its own. b_z has the prior N(0, 1/4): without it a category can die out.

Reference: Minka, "Estimating a Dirichlet distribution" (2000), eq. 55 and 65.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import digamma

from base.console import UserError
from systems.cleaning.given import Given, estimate_given
from systems.cleaning.reliability import (
    NO_NAMES,
    Candidates,
    Reliability,
    has_name,
    judge,
    log_prior,
)
from systems.cleaning.urn import BLOCK, blocks, tables
from systems.cleaning.votes import Votes

ITERATIONS = 100
TOLERANCE = 1e-5  # of the mean log-likelihood of an image; EM ends when an iteration gains less
OWN_PSEUDO = 10.0  # clicks by which r_z is shrunk to the mean of all categories
FIRST_SHRINKAGE = 100.0  # l, clicks by which o_z is shrunk to o, before it is estimated
LEAST_SHRINKAGE, MOST_SHRINKAGE = 1.0, 1e4
UNSHRUNK_AFTER = 20  # iterations, from which on l is estimated
CONCENTRATION_POWER = 3  # of the fixed point's factor: s converges slowly
SHRINKAGE_STEPS = 3  # of Minka's fixed point in an iteration
BIAS_DEVIATION = 0.5  # of the prior of b_z, nats


def _start(votes: Votes, chosen: Candidates, num: int, has_classifier: bool, given: Given | None) -> np.ndarray:
    """Return the first q: shares of clicks, a given label beside them, and a fifth of the classifier's opinion."""
    q = np.full(chosen.category.shape, 1e-3)
    totals = votes.totals()
    for block in blocks(votes, chosen.category, num):
        is_named = block.cells % (num + 1) == 0  # the cells of the diagonal
        q[block.images] += block.sums(is_named * (block.clicks / totals[block.rows, None]))
    if given is not None:
        q += chosen.category == given.label[:, None]
    q /= q.sum(axis=1, keepdims=True)
    if not has_classifier:
        return q
    opinion = np.exp(chosen.log_p.astype(np.float64))
    return 0.8 * q + 0.2 * opinion / opinion.sum(axis=1, keepdims=True)


class _Clicks(NamedTuple):
    """Expected numbers of independent clicks: by true and named category, and the part that tells confusions."""

    all: np.ndarray  # (C, C)
    of_several: np.ndarray  # (C, C)


def _independent_clicks(
    votes: Votes, chosen: Candidates, q: np.ndarray, model: Reliability | None, num: int
) -> _Clicks:
    """Return the expected numbers of independent clicks (tables of the Polya urn): a (psi(v + a) - psi(a)), a = s M_zc.

    Before the first M-step, ln(1 + v) is used instead.
    """
    scaled = None if model is None else (model.concentration * model.confusion).ravel()
    counts = np.zeros((2, num * num))
    for block in blocks(votes, chosen.category, num, max(BLOCK, num * num)):  # as each pass adds C x C numbers
        if scaled is None:
            expected = np.log1p(block.clicks) * np.ones(block.cells.shape)
        else:
            expected = tables(scaled[block.cells], block.clicks)
        expected *= q[block.rows]
        of_image = block.sums(expected).sum(axis=1)
        several = np.repeat(np.clip(1 - 1 / np.maximum(of_image, 1.0), 0, 1), block.counts)
        counts[0] += np.bincount(block.cells.ravel(), expected.ravel(), num * num)
        counts[1] += np.bincount(block.cells.ravel(), (expected * several[:, None]).ravel(), num * num)
    return _Clicks(*counts.reshape(2, num, num))


def wrong_names(clicks: _Clicks) -> np.ndarray:
    """Return o: which names are wrong in any category, without the category's own one, (C, C); rows sum to 1."""
    num = len(clicks.all)
    others = clicks.all.sum(axis=0) - np.diag(clicks.all)
    result = np.repeat(((others + 1) / (others.sum() + num))[None], num, axis=0) * (1 - np.eye(num))
    return np.asarray(result / result.sum(axis=1, keepdims=True))


def found_shrinkage(several: np.ndarray, names: np.ndarray, shrinkage: float) -> float:
    """Return l after some steps to its maximum likelihood: rows of counts are Dirichlet-multinomial with l o.

    Args:
        several: clicks on wrong names that tell confusions.
        names: o.
        shrinkage: l before.

    Shape:
        several, names: (C, C), 0 in the diagonal
    """
    cells = np.nonzero(several)
    counts, totals = several[cells], several.sum(axis=1)
    if not len(counts):
        return shrinkage
    for _ in range(SHRINKAGE_STEPS):
        a = shrinkage * names[cells]
        up = (names[cells] * (digamma(counts + a) - digamma(a))).sum()
        down = (digamma(totals + shrinkage) - digamma(shrinkage)).sum()
        shrinkage = float(np.clip(shrinkage * up / max(down, 1e-12), LEAST_SHRINKAGE, MOST_SHRINKAGE))
    return shrinkage


def confusion_matrix(clicks: _Clicks, shrinkage: float, estimates: bool) -> tuple[np.ndarray, np.ndarray, float]:
    """Return r (C,), M (C, C) and l from expected independent clicks.

    Args:
        clicks: from the E-step.
        shrinkage: l before.
        estimates: whether l is estimated anew.
    """
    num = len(clicks.all)
    diagonal, totals = np.diag(clicks.all), clicks.all.sum(axis=1)
    own = (diagonal + OWN_PSEUDO * diagonal.sum() / totals.sum()) / (totals + OWN_PSEUDO)
    own = np.clip(own, 1e-4, 1 - 1e-4)
    names, several = wrong_names(clicks), clicks.of_several * (1 - np.eye(num))
    if estimates:
        shrinkage = found_shrinkage(several, names, shrinkage)
    confused = (several + shrinkage * names) / (several.sum(axis=1, keepdims=True) + shrinkage)
    most = confused.max(axis=1)
    own = np.maximum(own, most / (1 + most))  # r_z >= (1 - r_z) o_zc
    return own, (1 - own)[:, None] * confused + np.diag(own), shrinkage


def calibrate(
    chosen: Candidates, q: np.ndarray, temperature: float, bias: np.ndarray, fits: bool
) -> tuple[float, np.ndarray]:
    """Return T and b after two Newton steps each for sum q log P(z | x) - sum b^2 / (2 BIAS_DEVIATION^2).

    Args:
        chosen: the images' candidates.
        q: their probabilities.
        temperature: T before.
        bias: b before.
        fits: whether T is fitted.

    Shape:
        q: (N, K); bias: (C,)
    """
    num = len(bias)
    wanted = np.bincount(chosen.category.ravel(), q.ravel(), num)
    log_p = chosen.log_p.astype(np.float64)
    precision = 1 / BIAS_DEVIATION**2
    for _ in range(2):
        prior = np.exp(log_prior(chosen, temperature, bias))
        if fits:
            mean, square = (prior * log_p).sum(axis=1), (prior * log_p**2).sum(axis=1)
            if chosen.num_others:
                left = 1 - prior.sum(axis=1)
                mean, square = mean + left * chosen.other_log_p, square + left * chosen.other_log_p**2
            slope = float(((q * log_p).sum(axis=1) - mean).sum())
            curvature = float((square - mean**2).sum())
            temperature = float(np.clip(temperature + slope / max(curvature, 1e-9), 0.05, 5.0))
            prior = np.exp(log_prior(chosen, temperature, bias))
        found = np.bincount(chosen.category.ravel(), prior.ravel(), num)
        bias = bias + np.clip((wanted - found - precision * bias) / (found + precision), -1, 1)
    return temperature, bias


def fit(
    votes: Votes, chosen: Candidates, num_categories: int, has_classifier: bool = True, given: Given | None = None
) -> Reliability:
    """Estimate the model by EM; images without votes and given label are left out.

    Args:
        votes: of the N images.
        chosen: candidates of the same images.
        num_categories: C.
        has_classifier: False ignores `log_p`; T is then 0.
        given: labels beside the votes.

    Raises:
        UserError: no image has a vote.
    """
    named = np.flatnonzero(has_name(votes, given))
    if not len(named):
        raise UserError(NO_NAMES)
    votes, chosen, given = votes.take(named), chosen.take(named), given and given.take(named)
    totals = votes.totals()
    has_several = bool(totals.max() > 1)
    q = _start(votes, chosen, num_categories, has_classifier, given)
    u = np.zeros_like(q)
    model: Reliability | None = None
    temperature, bias = 1.0 if has_classifier else 0.0, np.zeros(num_categories)
    concentration, outliers, shrinkage, before = 1.0, 0.05 if has_several else 0.0, FIRST_SHRINKAGE, -np.inf
    for iteration in range(ITERATIONS):
        inside = q * (1 - u)
        clicks = _independent_clicks(votes, chosen, inside, model, num_categories)
        if has_several and model is not None:
            draws = inside.sum(axis=1) * (digamma(totals + concentration) - digamma(concentration))
            factor = clicks.all.sum() / draws.sum() / concentration
            concentration = float(np.clip(concentration * factor**CONCENTRATION_POWER, 1e-2, 1e4))
        own, confusion, shrinkage = confusion_matrix(clicks, shrinkage, iteration >= UNSHRUNK_AFTER)
        prior = np.bincount(
            chosen.category.ravel(), np.exp(log_prior(chosen, temperature, bias)).ravel(), num_categories
        )
        prior = (prior + 1e-3) / (prior + 1e-3).sum()
        of_given = estimate_given(given, chosen.category, q, num_categories) if given is not None else None
        model = Reliability(own, confusion, prior, bias, concentration, outliers, temperature, 0.0, of_given)
        judged = judge(votes, chosen, model, given)
        q, u = judged.probability, judged.outlier
        likelihood = float(judged.evidence.mean())
        model = model._replace(log_likelihood=likelihood)
        if abs(likelihood - before) < TOLERANCE:
            break
        before = likelihood
        temperature, bias = calibrate(chosen, q, temperature, bias, has_classifier)
        if has_several:
            outliers = float(np.clip((q * u).sum(axis=1).mean(), 1e-4, 0.5))
    assert model is not None
    return model
