"""How reliable the names of images are: votes and a classifier's out-of-fold probabilities, judged together by EM.

An image i of the unknown category z has votes v_ic: the clicks on it whose queries name category c, n_i in all (a given
label is one vote). With the classifier's probability p_iz of a network that has not seen the image, the model is

    P(z | x_i)    = p_iz^T exp(b_z) / sum_k p_ik^T exp(b_k)
    P(v_i | z)    = (1 - e) D(v_i; s M_z) + e sum_k w_k D(v_i; s M_k),    w = mean of P(z | x)
    D(v; a)       = G(s) / G(n + s) prod_c G(v_c + a_c) / G(a_c),         G the gamma function, s = sum_c a_c
    M_zc          = r_z if c = z, else (1 - r_z) o_zc

M is the confusion matrix of Dawid and Skene, r_z the reliability of category z's names. The votes of an image are not
independent (one result page, one user), so D is the Dirichlet-multinomial: the smaller the concentration s, the less
the tenth click on the same name adds to the first. e is the share of images whose clicks are all about another image.
T and b calibrate the classifier, for which the votes are the reference: all parameters maximise the likelihood
prod_i sum_z P(z | x_i) P(v_i | z), with some pseudo counts. The truth is not used.

One vote per image cannot distinguish a label that is wrong from a classifier that confuses two categories. Therefore
o_zc is estimated from images with several independent clicks only, in proportion to the share (t - 1) / t of their t
expected independent clicks, and is shrunk to o_c, the names that are wrong in any category. With given labels o_zc is
o_c: wrong labels are then as frequent among lookalikes as elsewhere.

A given label beside the votes is one more factor, P(g_i | z, m_i) of `systems.cleaning.given`.

Reference: Dawid and Skene, "Maximum likelihood estimation of observer error-rates using the EM algorithm" (1979);
Minka, "Estimating a Dirichlet distribution" (2000), eq. 55 and 65 for the M-step's fixed point; Madsen, Kauchak, Elkan,
"Modeling word burstiness using the Dirichlet distribution" (2005). The joint use with calibrated out-of-fold
probabilities is this project's.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from scipy.special import digamma, gammaln, logsumexp

from base.console import UserError, log
from systems.cleaning.given import Given, GivenReliability, estimate_given, given_log_likelihood
from systems.cleaning.votes import Votes

CHUNK = 5_000  # images that a thread judges at once
MOST_THREADS = 8  # that judge images; each takes memory
ALL_CANDIDATES = 64  # with no more categories, every category is a candidate of every image
NUM_CANDIDATES = 16  # else the named categories, and the most probable ones, up to this number
ITERATIONS = 30
TOLERANCE = 1e-4  # of the mean log-likelihood of an image; EM ends when an iteration gains less
OWN_PSEUDO = 10.0  # clicks by which r_z is shrunk to the mean of all categories
OTHER_PSEUDO = 100.0  # clicks by which o_zc is shrunk to o_c
PRIOR_PSEUDO = 5.0  # images by which a category's bias b is shrunk to 0
LEAST_P = 1e-6  # smaller probabilities are raised to it: no network is that sure
SAMPLE = 20_000  # EM takes at least this many images,
NO_NAMES = "no image has a name: the labels are empty; check that the log's queries name the categories"
SAMPLE_PER_CATEGORY = 20  # and this many per category; all are judged afterwards


class Candidates(NamedTuple):
    """The categories that an image may be of, K per image, ascending, and the classifier's log probabilities.

    The other categories count in the classifier's sum over all categories, as so many with the same probability.

    Shape:
        category: int32 (N, K); log_p: float32 (N, K); other_log_p: float32 (N,)

    Attributes:
        num_others: C - K.
    """

    category: np.ndarray
    log_p: np.ndarray
    other_log_p: np.ndarray
    num_others: int

    def take(self, images: np.ndarray) -> "Candidates":
        """Return the candidates of some images, in their order."""
        return Candidates(self.category[images], self.log_p[images], self.other_log_p[images], self.num_others)


class Reliability(NamedTuple):
    """The model's parameters.

    Shape:
        own: r (C,); confusion: M (C, C), true category by named one, rows sum to 1; prior: w (C,); bias: b (C,)

    Attributes:
        concentration: s > 0.
        outliers: e, the share of images whose clicks are about another image.
        temperature: T; 0 without a classifier.
        log_likelihood: of the votes (and given labels), mean of the images with any, nats.
        given: of given labels beside the votes.
    """

    own: np.ndarray
    confusion: np.ndarray
    prior: np.ndarray
    bias: np.ndarray
    concentration: float
    outliers: float
    temperature: float
    log_likelihood: float
    given: GivenReliability | None = None


class Posterior(NamedTuple):
    """The probability of each candidate given votes and classifier; rows sum to 1.

    Shape:
        category: int32 (N, K), ascending; probability: float64 (N, K)
    """

    category: np.ndarray
    probability: np.ndarray

    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """Return each image's most probable category (of several the first), and its probability."""
        rows, best = np.arange(len(self.category)), self.probability.argmax(axis=1)
        return self.category[rows, best], self.probability[rows, best]

    def of(self, category: np.ndarray) -> np.ndarray:
        """Return the probability of one category per image; 0 where it is no candidate."""
        return np.where(self.category == category[:, None], self.probability, 0.0).sum(axis=1)


def has_name(votes: Votes, given: Given | None) -> np.ndarray:
    """Return whether an image has a vote or a given label: bool (N,)."""
    return (votes.counts > 0) | (given is not None and given.label >= 0)


def candidates(
    votes: Votes, probabilities: np.ndarray, most: int = NUM_CANDIDATES, given: Given | None = None
) -> Candidates:
    """Choose the candidates: all of up to 64 categories, else the most clicked named ones, then the most probable ones.

    Args:
        votes: of the N images.
        probabilities: of all categories.
        most: largest number of candidates per image where there are more than 64 categories.
        given: labels beside the votes; they are candidates like the most clicked name.

    Shape:
        probabilities: float (N, C)
    """
    num_images, num_categories = probabilities.shape
    p = np.asarray(probabilities, np.float32)
    if num_categories <= max(ALL_CANDIDATES, most):
        every = np.tile(np.arange(num_categories, dtype=np.int32), (num_images, 1))
        return Candidates(every, np.log(np.maximum(p, LEAST_P)), np.full(num_images, -np.inf, np.float32), 0)
    order = np.array(probabilities, np.float32)
    image = votes.images()
    order[image, votes.category] += 1 + votes.clicks / votes.totals()[image]
    if given is not None:
        labelled = np.flatnonzero(given.label >= 0)
        order[labelled, given.label[labelled]] += 2
    chosen = np.sort(np.argpartition(order, num_categories - most, axis=1)[:, -most:], axis=1).astype(np.int32)
    of_chosen = np.take_along_axis(p, chosen, axis=1)
    others = (1 - of_chosen.sum(axis=1)) / (num_categories - most)
    return Candidates(
        chosen,
        np.log(np.maximum(of_chosen, np.float32(LEAST_P))),
        np.log(np.maximum(others, np.float32(LEAST_P))),
        num_categories - most,
    )


def _slots(votes: Votes) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield, for the images' first votes, their second ones, and so on: images, categories and clicks."""
    counts = votes.counts
    for slot in range(int(counts.max(initial=0))):
        images = np.flatnonzero(counts > slot)
        places = votes.starts[images] + slot
        yield images, votes.category[places], votes.clicks[places]


def vote_log_likelihood(votes: Votes, category: np.ndarray, confusion: np.ndarray, concentration: float) -> np.ndarray:
    """Return log D(v_i; s M_z) for each candidate z.

    Shape:
        category: int32 (N, K); result: float64 (N, K)
    """
    scaled = concentration * confusion
    log_gamma = gammaln(scaled)
    totals = votes.totals()[:, None]
    result = np.repeat(gammaln(concentration) - gammaln(totals + concentration), category.shape[1], axis=1)
    log_scaled = np.log(scaled)
    for images, named, clicks in _slots(votes):
        one = clicks == 1  # the most frequent case by far, and G(1 + a) / G(a) = a
        result[images[one]] += log_scaled[category[images[one]], named[one][:, None]]
        images, named, clicks = images[~one], named[~one], clicks[~one]
        cells = category[images], named[:, None]
        result[images] += gammaln(clicks[:, None] + scaled[cells]) - log_gamma[cells]
    return result


def _log_prior(chosen: Candidates, temperature: float, bias: np.ndarray) -> np.ndarray:
    logits = temperature * chosen.log_p.astype(np.float64) + bias[chosen.category]
    total = logsumexp(logits, axis=1)
    if chosen.num_others:
        total = np.logaddexp(total, np.log(chosen.num_others) + temperature * chosen.other_log_p)
    return logits - total[:, None]


class _Judged(NamedTuple):
    probability: np.ndarray  # of each candidate (N, K)
    outlier: np.ndarray  # probability of each candidate and that the clicks are about another image, over the former
    evidence: np.ndarray  # log P(v_i | x_i) (N,)


def _judge(votes: Votes, chosen: Candidates, model: Reliability, given: Given | None) -> _Judged:
    log_prior = _log_prior(chosen, model.temperature, model.bias)
    of_votes = vote_log_likelihood(votes, chosen.category, model.confusion, model.concentration)
    share = np.zeros_like(of_votes)
    if model.outliers:
        weights = np.log(model.prior[chosen.category])
        elsewhere = np.log(model.outliers) + logsumexp(of_votes + weights, axis=1, keepdims=True)
        of_votes = np.logaddexp(np.log1p(-model.outliers) + of_votes, elsewhere)
        share = np.exp(elsewhere - of_votes)
    joint = log_prior + of_votes
    if given is not None and model.given is not None:
        joint += given_log_likelihood(given, chosen.category, model.given, len(model.own))
    evidence = logsumexp(joint, axis=1)
    return _Judged(np.exp(joint - evidence[:, None]), share, evidence)


def _start(votes: Votes, chosen: Candidates, has_classifier: bool, given: Given | None) -> np.ndarray:
    """Return the first q: shares of clicks, a given label beside them, and a fifth of the classifier's opinion."""
    q = np.full(chosen.category.shape, 1e-3)
    totals = votes.totals()
    for images, named, clicks in _slots(votes):
        q[images] += (chosen.category[images] == named[:, None]) * (clicks / totals[images])[:, None]
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
    scaled = None if model is None else model.concentration * model.confusion
    parts, of_image = [], np.zeros(votes.num_images)
    for images, named, clicks in _slots(votes):
        if scaled is None:
            tables = np.repeat(np.log1p(clicks)[:, None], chosen.category.shape[1], axis=1)
        else:
            tables = np.ones((len(images), chosen.category.shape[1]))  # of one click
            more = clicks != 1
            a = scaled[chosen.category[images[more]], named[more][:, None]]
            tables[more] = a * (digamma(clicks[more][:, None] + a) - digamma(a))
        tables *= q[images]
        of_image[images] += tables.sum(axis=1)
        parts.append((images, chosen.category[images] * num + named[:, None], tables))
    several = np.clip(1 - 1 / np.maximum(of_image, 1.0), 0, 1)
    counts = np.zeros((2, num * num))
    for images, cells, tables in parts:
        counts[0] += np.bincount(cells.ravel(), tables.ravel(), num * num)
        counts[1] += np.bincount(cells.ravel(), (tables * several[images][:, None]).ravel(), num * num)
    return _Clicks(*counts.reshape(2, num, num))


def confusion_matrix(clicks: _Clicks) -> tuple[np.ndarray, np.ndarray]:
    """Return r (C,) and M (C, C) from expected independent clicks, with the pseudo counts."""
    num = len(clicks.all)
    diagonal, totals = np.diag(clicks.all), clicks.all.sum(axis=1)
    own = (diagonal + OWN_PSEUDO * diagonal.sum() / totals.sum()) / (totals + OWN_PSEUDO)
    own = np.clip(own, 1e-4, 1 - 1e-4)
    others = clicks.all * (1 - np.eye(num))
    anywhere = np.repeat(((others.sum(axis=0) + 1) / (others.sum() + num))[None], num, axis=0) * (1 - np.eye(num))
    anywhere /= anywhere.sum(axis=1, keepdims=True)
    several = clicks.of_several * (1 - np.eye(num))
    confused = (several + OTHER_PSEUDO * anywhere) / (several.sum(axis=1, keepdims=True) + OTHER_PSEUDO)
    return own, (1 - own)[:, None] * confused + np.diag(own)


def _calibrate(
    chosen: Candidates, q: np.ndarray, temperature: float, bias: np.ndarray, fits: bool
) -> tuple[float, np.ndarray]:
    """Return T after Newton steps for sum q log P(z | x), and b after steps of matched marginals."""
    num = len(bias)
    wanted = np.bincount(chosen.category.ravel(), q.ravel(), num)
    log_p = chosen.log_p.astype(np.float64)
    for _ in range(2):
        prior = np.exp(_log_prior(chosen, temperature, bias))
        if fits:
            mean, square = (prior * log_p).sum(axis=1), (prior * log_p**2).sum(axis=1)
            if chosen.num_others:
                left = 1 - prior.sum(axis=1)
                mean, square = mean + left * chosen.other_log_p, square + left * chosen.other_log_p**2
            slope = float(((q * log_p).sum(axis=1) - mean).sum())
            curvature = float((square - mean**2).sum())
            temperature = float(np.clip(temperature + slope / max(curvature, 1e-9), 0.05, 5.0))
            prior = np.exp(_log_prior(chosen, temperature, bias))
        found = np.bincount(chosen.category.ravel(), prior.ravel(), num)
        bias = bias + np.log(wanted + PRIOR_PSEUDO) - np.log(found + PRIOR_PSEUDO)
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
    q = _start(votes, chosen, has_classifier, given)
    u = np.zeros_like(q)
    model: Reliability | None = None
    temperature, bias = 1.0 if has_classifier else 0.0, np.zeros(num_categories)
    concentration, outliers, before = 1.0, 0.05 if has_several else 0.0, -np.inf
    for _ in range(ITERATIONS):
        inside = q * (1 - u)
        clicks = _independent_clicks(votes, chosen, inside, model, num_categories)
        if has_several and model is not None:
            draws = inside.sum(axis=1) * (digamma(totals + concentration) - digamma(concentration))
            concentration = float(np.clip(clicks.all.sum() / draws.sum(), 1e-2, 1e4))
        own, confusion = confusion_matrix(clicks)
        prior = np.bincount(
            chosen.category.ravel(), np.exp(_log_prior(chosen, temperature, bias)).ravel(), num_categories
        )
        prior = (prior + 1e-3) / (prior + 1e-3).sum()
        of_given = estimate_given(given, chosen.category, q, num_categories) if given is not None else None
        model = Reliability(own, confusion, prior, bias, concentration, outliers, temperature, 0.0, of_given)
        judged = _judge(votes, chosen, model, given)
        q, u = judged.probability, judged.outlier
        likelihood = float(judged.evidence.mean())
        model = model._replace(log_likelihood=likelihood)
        if abs(likelihood - before) < TOLERANCE:
            break
        before = likelihood
        temperature, bias = _calibrate(chosen, q, temperature, bias, has_classifier)
        if has_several:
            outliers = float(np.clip((q * u).sum(axis=1).mean(), 1e-4, 0.5))
    assert model is not None
    return model


def posterior(votes: Votes, chosen: Candidates, model: Reliability, given: Given | None = None) -> Posterior:
    """Return the probability of each candidate; an image without votes and label has the calibrated classifier's."""
    return Posterior(chosen.category, _judge(votes, chosen, model, given).probability)


def sampled(num_images: int, num_categories: int, seed: int = 0) -> np.ndarray:
    """Return the images that EM takes: all, or a random sample of a size that the number of categories sets."""
    size = max(SAMPLE, SAMPLE_PER_CATEGORY * num_categories)
    if num_images <= size:
        return np.arange(num_images)
    return np.sort(np.random.default_rng(seed).choice(num_images, size, replace=False))


def _checked(probabilities: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return the probabilities of some images.

    Raises:
        UserError: one is not in [0, 1], or NaN.
    """
    bad = ~((probabilities >= 0) & (probabilities <= 1)).all(axis=1)
    if bad.any():
        row = int(images[int(bad.argmax())])
        raise UserError(f"row {row} of the probabilities is not in [0, 1] (or NaN): train the classifier again")
    return np.asarray(probabilities)


def denoise(
    votes: Votes, probabilities: np.ndarray, most: int = NUM_CANDIDATES, given: Given | None = None
) -> tuple[Posterior, Reliability]:
    """Estimate the model and judge all images, a chunk at a time; beside the result it needs 100 MB a thread.

    Args:
        votes: of the N images.
        probabilities: out-of-fold; may be a memory map.
        most: as of :func:`candidates`.
        given: labels beside the votes.

    Shape:
        probabilities: float (N, C)

    Raises:
        UserError: no image has a vote or given label, or a probability is NaN or outside [0, 1].
    """
    num_images, num_categories = probabilities.shape
    named = np.flatnonzero(has_name(votes, given))
    taken = named[sampled(len(named), num_categories)]
    log.info("reliability: EM over %s of %s images", f"{len(taken):,}", f"{num_images:,}")
    parts = []
    for start in range(0, len(taken), CHUNK):
        images = taken[start : start + CHUNK]
        rows = _checked(probabilities[images], images)
        parts.append(candidates(votes.take(images), rows, most, given and given.take(images)))
    if not parts:
        raise UserError(NO_NAMES)
    chosen = Candidates(
        np.concatenate([part.category for part in parts]),
        np.concatenate([part.log_p for part in parts]),
        np.concatenate([part.other_log_p for part in parts]),
        parts[0].num_others,
    )
    model = fit(votes.take(taken), chosen, num_categories, given=given and given.take(taken))

    def judged(start: int) -> tuple[np.ndarray, np.ndarray]:
        images = np.arange(start, min(start + CHUNK, num_images))
        rows = _checked(probabilities[images[0] : images[-1] + 1], images)
        of_images, labels = votes.take(images), given and given.take(images)
        of_chunk = posterior(of_images, candidates(of_images, rows, most, labels), model, labels)
        return of_chunk.category, of_chunk.probability.astype(np.float32)

    # NumPy's loops run outside the interpreter's lock, so that threads share the cores.
    with ThreadPoolExecutor(min(MOST_THREADS, len(os.sched_getaffinity(0)))) as threads:
        chunks = list(threads.map(judged, range(0, num_images, CHUNK)))
    return Posterior(*(np.concatenate(column) for column in zip(*chunks, strict=True))), model


def cut_of_best_f1(wrong: np.ndarray) -> float:
    """Return the probability of being wrong from which images should be dropped, so that the expected F1 is largest.

    Dropping the k images that are most probably wrong finds sum of their w hits, so F1 is expected to be
    2 sum_k w / (k + sum_all w), as a ratio of expectations.

    Shape:
        wrong: (N,)
    """
    ordered = np.sort(wrong)[::-1]
    f1 = 2 * np.cumsum(ordered) / (np.arange(1, len(ordered) + 1) + ordered.sum())
    return float(ordered[int(f1.argmax())])
