"""Which part of a drawing belongs to what: the painter's layers, and how much of each can be seen in the end.

A drawing is made from back to front. After each part of it `Layers.mark` takes the pixels that have changed for that
part, so that what is drawn later hides what was drawn before, as it does in the picture.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

BEHIND = "behind"  # what the drawing begins with: sky or wall


class Area(NamedTuple):
    """What can be seen of one layer.

    Attributes:
        name: of the layer; several may have the same.
        colour: its colour's name; empty where it is nobody's business.
        share: of the picture's area, 0 to 1.
        contrast: how much it differs from what it was drawn on: in the channel that differs most, in levels of 255,
            on average over its pixels.
    """

    name: str
    colour: str
    share: float
    contrast: float


class Layers:
    """An RGB image that is being drawn, and the layer that each of its pixels belongs to."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self._drawn: list[tuple[str, str, float]] = [(BEHIND, "", 0.0)]  # name, colour, contrast
        self._seen = np.array(image)
        self._layer = np.zeros(self._seen.shape[:2], np.int64)

    def mark(self, name: str, colour: str = "") -> None:
        """End a layer: all that was drawn since the last one belongs to it."""
        now = np.array(self.image)
        changed = (now != self._seen).any(axis=2)
        difference = np.abs(now[changed].astype(np.int64) - self._seen[changed]).max(axis=1)
        self._layer[changed] = len(self._drawn)
        self._drawn.append((name, colour, float(difference.mean()) if len(difference) else 0.0))
        self._seen = now

    def areas(self) -> tuple[Area, ...]:
        """Return what can be seen of each layer, from back to front."""
        shares = np.bincount(self._layer.ravel(), minlength=len(self._drawn)) / self._layer.size
        return tuple(
            Area(name, colour, float(share), contrast)
            for (name, colour, contrast), share in zip(self._drawn, shares, strict=True)
        )
