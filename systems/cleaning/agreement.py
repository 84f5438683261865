"""Whether votes say anything of the images: their agreement with out-of-fold probabilities against permutations.

The agreement is the mean over images of sum_c share_ic p_ic, the probability that the network of the image's fold,
which has not seen it, gives to the names that its clicks vote for. If the votes say nothing of the images, the images
of one fold could have been given each other's votes with equal probability, whatever the network has learned from the
other folds. So with permutations within folds the p-value (1 + number of permutations that agree at least as much) /
(1 + permutations) is at most alpha with a probability of at most alpha: the test is exact.

Reference: Phipson and Smyth, "Permutation P-values should never be zero" (2010).
"""

from typing import NamedTuple

import numpy as np

from systems.cleaning.votes import Votes

LEVEL = 0.001
PERMUTATIONS = 999
MOST_IMAGES = 20_000


class Agreement(NamedTuple):
    """The agreement of votes and probabilities, its mean over the permutations, and the p-value."""

    agreement: float
    by_chance: float
    p_value: float


def agreement(
    votes: Votes, probabilities: np.ndarray, folds: np.ndarray, seed: int = 0, permutations: int = PERMUTATIONS
) -> Agreement:
    """Test whether votes and out-of-fold probabilities agree more than by chance, on at most 20,000 images.

    Args:
        votes: of the N images; those without votes are left out.
        probabilities: of the network that has not seen the image, nor others of its fold.
        folds: of the images.
        seed: of sample and permutations.
        permutations: number of permutations.

    Shape:
        probabilities: (N, C); folds: int (N,)
    """
    random = np.random.default_rng(seed)
    images = np.flatnonzero(votes.counts)
    if len(images) > MOST_IMAGES:
        images = np.sort(random.choice(images, MOST_IMAGES, replace=False))
    order = images[np.argsort(folds[images], kind="stable")]
    taken, p = votes.take(order), np.asarray(probabilities[order], np.float32)
    image = taken.images()
    share = taken.clicks / taken.totals()[image]
    groups = np.split(np.arange(len(order)), np.flatnonzero(np.diff(folds[order])) + 1)

    def mean(of_image: np.ndarray) -> float:
        return float(p[of_image[image], taken.category] @ share) / len(order)

    found = mean(np.arange(len(order)))
    by_chance = np.array(
        [mean(np.concatenate([random.permutation(group) for group in groups])) for _ in range(permutations)]
    )
    as_much = int((by_chance >= found).sum())
    return Agreement(found, float(by_chance.mean()), (1 + as_much) / (1 + permutations))
