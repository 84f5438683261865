"""A given label beside votes from clicks: how often it is right, and how often it repeats the log's mistake.

Both may come from the same clicks, so that their mistakes are not independent: where log and label agree, the second
says less than it seems to. With m, the most clicked name of an image (if it has one), the given label g of an image of
the category z is

    no name:     g = z with the probability r_0, each of the C - 1 others with (1 - r_0) / (C - 1)
    m = z:       g = z with r_1, each of the others with (1 - r_1) / (C - 1)
    m is not z:  g = z with r_2, g = m with a, each of the C - 2 others with (1 - r_2 - a) / (C - 2)

Independent mistakes would have a near (1 - r_2) / (C - 1); a label that is read off the log has an a near 1 - r_2. The
probabilities are estimated with the others of `systems.cleaning.reliability`, from the expected numbers of images.
"""

from typing import NamedTuple

import numpy as np

PSEUDO = 10.0  # images by which r_0, r_1, r_2 are shrunk to their common mean, and a to independence


class Given(NamedTuple):
    """Given labels and most clicked names of N images; -1 where there is none.

    Shape:
        label, name: int32 (N,)
    """

    label: np.ndarray
    name: np.ndarray

    def take(self, images: np.ndarray) -> "Given":
        """Return those of some images, in their order."""
        return Given(self.label[images], self.name[images])


class GivenReliability(NamedTuple):
    """The probabilities r_0, r_1, r_2 and a."""

    alone: float
    name_right: float
    name_wrong: float
    repeated: float


def given_log_likelihood(
    given: Given, category: np.ndarray, model: GivenReliability, num_categories: int
) -> np.ndarray:
    """Return log P(g_i | z, m_i) for each candidate z; 0 without a given label.

    Shape:
        category: int32 (N, K); result: float64 (N, K)
    """
    label, name = given.label[:, None], given.name[:, None]
    right, one_of = category == label, max(num_categories - 1, 1)
    alone = np.where(right, model.alone, (1 - model.alone) / one_of)
    name_right = np.where(right, model.name_right, (1 - model.name_right) / one_of)
    other = (1 - model.name_wrong - model.repeated) / max(num_categories - 2, 1)
    name_wrong = np.where(right, model.name_wrong, np.where(label == name, model.repeated, other))
    probability = np.where(name < 0, alone, np.where(category == name, name_right, name_wrong))
    return np.where(label < 0, 0.0, np.log(np.maximum(probability, 1e-12)))


def estimate_given(given: Given, category: np.ndarray, q: np.ndarray, num_categories: int) -> GivenReliability:
    """Return the probabilities from the expected numbers of images, with the pseudo counts.

    Args:
        given: of the images.
        category: their candidates.
        q: the candidates' probabilities.
        num_categories: C.

    Shape:
        category: int32 (N, K); q: float (N, K)
    """
    label, name = given.label[:, None], given.name[:, None]
    weight = np.where(label < 0, 0.0, q)
    right = category == label
    mean = (weight[right].sum() + 1) / (weight.sum() + 2)

    def share(of: np.ndarray, among: np.ndarray, prior: float) -> float:
        return float((weight[of & among].sum() + PSEUDO * prior) / (weight[among].sum() + PSEUDO))

    unnamed, named_right = np.broadcast_to(name < 0, q.shape), category == name
    named_wrong = ~unnamed & ~named_right
    repeats = np.broadcast_to(label == name, q.shape)
    name_wrong = share(right, named_wrong, mean)
    repeated = share(repeats, named_wrong, (1 - mean) / (num_categories - 1))
    return GivenReliability(share(right, unnamed, mean), share(right, named_right, mean), name_wrong, repeated)
