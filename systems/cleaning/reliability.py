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
prod_i sum_z P(z | x_i) P(v_i | z), with some priors (`systems.cleaning.estimation`). The truth is not used.

One vote per image cannot distinguish a label that is wrong from a classifier that confuses two categories. Therefore
o_zc is estimated from images with several independent clicks only, in proportion to the share (t - 1) / t of their t
expected independent clicks, and is shrunk to o_c, the names that are wrong in any category. With given labels o_zc is
o_c: wrong labels are then as frequent among lookalikes as elsewhere. If in truth they are more frequent there, the
stated accuracy is too high.

The classifier must know nothing of the image's own votes, not even by way of the labels of other images: else it
repeats their mistakes, and the stated accuracy is too high (`systems.cleaning.heads.judged_out_of_fold`).

A given label beside the votes is one more factor, P(g_i | z, m_i) of `systems.cleaning.given`.

Reference: Dawid and Skene, "Maximum likelihood estimation of observer error-rates using the EM algorithm" (1979);
Madsen, Kauchak, Elkan, "Modeling word burstiness using the Dirichlet distribution" (2005). The joint use with
calibrated out-of-fold probabilities is this project's.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import gammaln, logsumexp

from systems.cleaning.given import Given, GivenReliability, given_log_likelihood
from systems.cleaning.urn import blocks, log_rising
from systems.cleaning.votes import Votes

ALL_CANDIDATES = 64  # with no more categories, every category is a candidate of every image
NUM_CANDIDATES = 16  # else the named categories, and the most probable ones, up to this number
LEAST_P = 1e-6  # smaller probabilities are raised to it: no network is that sure
NO_NAMES = "no image has a name: the labels are empty; check that the log's queries name the categories"


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


def vote_log_likelihood(votes: Votes, category: np.ndarray, confusion: np.ndarray, concentration: float) -> np.ndarray:
    """Return log D(v_i; s M_z) for each candidate z.

    Shape:
        category: int32 (N, K); result: float64 (N, K)
    """
    scaled = (concentration * confusion).ravel()
    totals = votes.totals()[:, None]
    result = np.repeat(gammaln(concentration) - gammaln(totals + concentration), category.shape[1], axis=1)
    for block in blocks(votes, category, len(confusion)):
        result[block.images] += block.sums(log_rising(scaled[block.cells], block.clicks))
    return result


def log_prior(chosen: Candidates, temperature: float, bias: np.ndarray) -> np.ndarray:
    """Return log P(z | x_i) for each candidate z.

    Shape:
        bias: (C,); result: float64 (N, K)
    """
    logits = temperature * chosen.log_p.astype(np.float64) + bias[chosen.category]
    total = logsumexp(logits, axis=1)
    if chosen.num_others:
        total = np.logaddexp(total, np.log(chosen.num_others) + temperature * chosen.other_log_p)
    return logits - total[:, None]


class Judged(NamedTuple):
    """The E-step's result."""

    probability: np.ndarray  # of each candidate (N, K)
    outlier: np.ndarray  # probability of each candidate and that the clicks are about another image, over the former
    evidence: np.ndarray  # log P(v_i | x_i) (N,)


def judge(votes: Votes, chosen: Candidates, model: Reliability, given: Given | None) -> Judged:
    """Judge images by votes, classifier and given labels."""
    of_classifier = log_prior(chosen, model.temperature, model.bias)
    of_votes = vote_log_likelihood(votes, chosen.category, model.confusion, model.concentration)
    share = np.zeros_like(of_votes)
    if model.outliers:
        weights = np.log(model.prior[chosen.category])
        elsewhere = np.log(model.outliers) + logsumexp(of_votes + weights, axis=1, keepdims=True)
        of_votes = np.logaddexp(np.log1p(-model.outliers) + of_votes, elsewhere)
        share = np.exp(elsewhere - of_votes)
    joint = of_classifier + of_votes
    if given is not None and model.given is not None:
        joint += given_log_likelihood(given, chosen.category, model.given, len(model.own))
    evidence = logsumexp(joint, axis=1)
    return Judged(np.exp(joint - evidence[:, None]), share, evidence)


def posterior(votes: Votes, chosen: Candidates, model: Reliability, given: Given | None = None) -> Posterior:
    """Return the probability of each candidate; an image without votes and label has the calibrated classifier's."""
    return Posterior(chosen.category, judge(votes, chosen, model, given).probability)


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
