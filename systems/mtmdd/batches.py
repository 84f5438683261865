"""A domain's part of a step's batch: images, labels and, for the source, click features."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from model.data.batches import Draw
from systems.mtmdd.config import DOMAINS, Domain
from systems.mtmdd.examples import Examples


class DomainBatch(NamedTuple):
    """The images of one domain in a step. B images, S pixels, K words."""

    images: Tensor  # uint8 (B, 3, S, S)
    labels: Tensor  # int64 (B,)
    clicks: Tensor | None  # float32 (B, K); only of the source, and only if clicks are predicted


class ImageLoader:
    """The loader of a domain's batches: crops, labels and click features.

    Args:
        examples: the data to load from.
        image_size: side of the crops, pixels.
        seed: of the crops.
        with_clicks: whether source batches carry click features.
        mirrored: domains whose training images are mirrored half of the time.
    """

    def __init__(
        self,
        examples: Examples,
        image_size: int,
        seed: int,
        with_clicks: bool,
        mirrored: Sequence[Domain] = DOMAINS,
    ) -> None:
        self.examples = examples
        self.image_size = image_size
        self.seed = seed
        self.mirrored = mirrored
        self._labels = examples.labels().astype(np.int32)
        self._click_places = examples.click_places() if with_clicks else None

    def __call__(self, stream: str, draws: Sequence[Draw]) -> DomainBatch:
        """Return the batch that consists of the given draws."""
        mirror = stream in self.mirrored
        images = self.examples.images.crops(draws, self.image_size, self.seed, mirror)
        rows = np.array([draw.row for draw in draws])
        clicks = None
        if stream == "source" and self._click_places is not None:
            assert self.examples.clicks is not None
            clicks = torch.from_numpy(self.examples.clicks.at(self._click_places[rows]))
        return DomainBatch(images=images, labels=torch.from_numpy(self._labels[rows]).long(), clicks=clicks)
