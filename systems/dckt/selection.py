"""The progressive selection of target pairs: section 4 of the paper, eq. 11 to 13."""

import math
from typing import NamedTuple

import numpy as np

from base.seeding import derive_seed
from model.measures.retrieval import cosine_average_precision
from systems.dckt.config import Rule, Selection

LEAST = 2  # pairs that an iteration trains on: with one alone batch normalisation has nothing to compare
LAST_RISE = 20  # iteration up to which the released code's divisor grows


class Retrieved(NamedTuple):
    """The average precision of each pair's image among texts, and of its text among images: float64 (Q,)."""

    image_to_text: np.ndarray
    text_to_image: np.ndarray


def retrieve(images: np.ndarray, texts: np.ndarray, labels: np.ndarray) -> Retrieved:
    """Return the average precisions of pairs that are each other's queries and items (eq. 11).

    Shape:
        images, texts: codes, (Q, C); labels: int (Q,)
    """
    return Retrieved(
        cosine_average_precision(images, texts, labels, labels)[0],
        cosine_average_precision(texts, images, labels, labels)[0],
    )


def probabilities(consistency: np.ndarray, iteration: int, alpha: float, rule: Rule = "paper") -> np.ndarray:
    r"""Return the probability of each target pair to be chosen in an iteration.

    - paper: alpha [1 - log2(1 + (max AP - AP^q) / (iter max AP))], between 0 and alpha (eq. 13)
    - released: alpha [1 - ln(1 + (max AP - AP^q) / min(iter, 20))], at least 0

    If all AP are 0, no pair is better than another, and all have alpha.

    Args:
        consistency: AP^q, the sum of both directions (eq. 12), 0 to 2.
        iteration: from 1.
        alpha: the largest probability.
        rule: the formula.

    Shape:
        consistency, result: float64 (Q,)
    """
    best = float(consistency.max())
    if best <= 0:
        return np.full(len(consistency), alpha)
    if rule == "released":
        falling = np.log1p((best - consistency) / min(iteration, LAST_RISE))
    else:
        falling = np.log1p((best - consistency) / (iteration * best)) / math.log(2)
    return np.asarray(alpha * np.clip(1 - falling, 0, 1))


def select(chances: np.ndarray, seed: int, iteration: int, selection: Selection) -> np.ndarray:
    """Return the places of the pairs that an iteration trains on, ascending.

    Each pair is drawn by itself. If fewer than two are drawn, the most probable ones complete them (of equal ones, the
    first). `random` draws as many as that, each pair with the same probability; `all` takes all.

    Args:
        chances: the probability of each pair.
        seed: the run's seed.
        iteration: from 1.
        selection: how.
    """
    if selection == "all":
        return np.arange(len(chances))
    random = np.random.default_rng(derive_seed(seed, "select", iteration))
    chosen = np.flatnonzero(random.random(len(chances)) < chances)
    if len(chosen) < LEAST:
        likely = np.argsort(-chances, kind="stable")
        others = likely[~np.isin(likely, chosen)]
        chosen = np.sort(np.concatenate([chosen, others[: LEAST - len(chosen)]]))
    if selection == "random":
        random = np.random.default_rng(derive_seed(seed, "select at random", iteration))
        chosen = np.sort(random.choice(len(chances), len(chosen), replace=False))
    return chosen
