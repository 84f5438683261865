"""The Polya urn of an image's votes: log-likelihood and independent clicks of each vote, for many votes at once.

A category's urn holds a = s M_zc balls of the name c. A click draws a ball and puts it back with another of its name.
So v clicks on a name give the likelihood the factor G(v + a) / G(a), and are a (psi(v + a) - psi(a)) independent clicks
on average ("tables"), G the gamma function and psi the derivative of its logarithm.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.special import digamma, gammaln

from systems.cleaning.votes import Votes

BLOCK = 1 << 18  # candidates of votes in one step: they fit into a processor's cache
FEW_CLICKS = 8  # up to this number a product or sum over the clicks is quicker than the gamma function


class Block(NamedTuple):
    """The votes of some images one after the other, and each of their candidates' place in M.

    Shape:
        clicks: float64 (V, 1), of V votes; cells: int64 (V, K), z C + c for the candidate z of the vote's image and the
        named category c; rows: int64 (V,), each vote's image; counts: int64, the votes of each of `images`

    Attributes:
        images: those with a vote, ascending.
    """

    images: np.ndarray
    counts: np.ndarray
    rows: np.ndarray
    clicks: np.ndarray
    cells: np.ndarray

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Return the sum of each image's votes.

        Shape:
            values: (V, K); result: (images, K)
        """
        return np.asarray(np.add.reduceat(values, np.cumsum(self.counts) - self.counts, axis=0))


def blocks(votes: Votes, category: np.ndarray, num_categories: int, size: int = BLOCK) -> Iterator[Block]:
    """Yield all images with votes, some at once.

    Args:
        votes: of the N images.
        category: their candidates.
        num_categories: C.
        size: candidates of votes at once; one image may have more.

    Shape:
        category: int32 (N, K)
    """
    named = np.flatnonzero(votes.counts)
    ends = votes.starts[named + 1]
    start, most = 0, max(1, size // category.shape[1])
    while start < len(named):
        first = votes.starts[named[start]]
        end = max(start + 1, int(np.searchsorted(ends, first + most, side="right")))
        images, places = named[start:end], slice(first, ends[end - 1])
        counts = ends[start:end] - votes.starts[images]
        rows = np.repeat(images, counts)
        cells = category[rows].astype(np.int64) * num_categories + votes.category[places, None]
        yield Block(images, counts, rows, votes.clicks[places, None], cells)
        start = end


def is_few(clicks: np.ndarray) -> np.ndarray:
    """Return for which votes (V, 1) a product or sum over the clicks is quicker than the gamma function: bool (V,)."""
    return np.asarray(((clicks <= FEW_CLICKS) & (clicks == np.rint(clicks)))[:, 0])


def log_rising(a: np.ndarray, clicks: np.ndarray) -> np.ndarray:
    """Return log G(v + a) / G(a) = log prod_{j < v} (a + j) for v clicks.

    Shape:
        a: (V, K), > 0; clicks: (V, 1); result: (V, K)
    """
    few = is_few(clicks)
    product = a.copy()
    for j in range(1, int(clicks[few].max(initial=0))):
        more = few & (clicks[:, 0] > j)
        product[more] *= a[more] + j
    result = np.log(product)
    result[~few] = gammaln(clicks[~few] + a[~few]) - gammaln(a[~few])
    return np.asarray(result)


def tables(a: np.ndarray, clicks: np.ndarray) -> np.ndarray:
    """Return a (psi(v + a) - psi(a)) = sum_{j < v} a / (a + j) for v clicks: the expected number of independent ones.

    Shape:
        a: (V, K), > 0; clicks: (V, 1); result: (V, K)
    """
    few = is_few(clicks)
    result = np.ones_like(a)
    for j in range(1, int(clicks[few].max(initial=0))):
        more = few & (clicks[:, 0] > j)
        result[more] += a[more] / (a[more] + j)
    result[~few] = a[~few] * (digamma(clicks[~few] + a[~few]) - digamma(a[~few]))
    return result
