"""Votes for the categories of images: the clicks on an image whose queries name a category."""

from typing import NamedTuple

import numpy as np


class Votes(NamedTuple):
    """The votes of N images in the order of the images (CSR); those of image i lie at starts[i]:starts[i + 1].

    Shape:
        starts: int64 (N + 1,); category: int32 (votes,), each at most once per image; clicks: float64 (votes,), > 0
    """

    starts: np.ndarray
    category: np.ndarray
    clicks: np.ndarray

    @property
    def num_images(self) -> int:
        """The number of images, N."""
        return len(self.starts) - 1

    @property
    def counts(self) -> np.ndarray:
        """The number of named categories of each image: int64 (N,)."""
        return np.diff(self.starts)

    def totals(self) -> np.ndarray:
        """Return the clicks of each image that name a category: float64 (N,)."""
        running = np.concatenate([[0.0], np.cumsum(self.clicks, dtype=np.float64)])
        totals = running[self.starts[1:]] - running[self.starts[:-1]]
        totals[self.counts == 0] = 0.0
        return totals

    def take(self, images: np.ndarray) -> "Votes":
        """Return the votes of some images, in their order."""
        counts = self.counts[images]
        starts = np.concatenate([[0], np.cumsum(counts)])
        places = np.repeat(self.starts[images] - starts[:-1], counts) + np.arange(starts[-1])
        return Votes(starts, self.category[places], self.clicks[places])

    def images(self) -> np.ndarray:
        """Return the image of each vote: int64 (votes,)."""
        return np.repeat(np.arange(self.num_images), self.counts)

    def majority(self) -> np.ndarray:
        """Return the category with the most clicks of each image, of several the first; -1 without votes."""
        image = self.images()
        order = np.lexsort((self.category, -self.clicks, image))
        named = self.counts > 0
        best = np.full(self.num_images, -1, np.int32)
        best[named] = self.category[order[self.starts[:-1][named]]]
        return best
