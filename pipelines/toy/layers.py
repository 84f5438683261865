"""The layers of a drawing: which pixels belong to which part, and how much of each part stays visible.

A drawing is made from back to front. After each part, `Layers.mark` assigns the pixels that have changed to this part,
so that later parts hide earlier ones, as they do in the picture.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops

BEHIND = "behind"  # the first layer: sky or wall


class Area(NamedTuple):
    """The visible part of one layer.

    Attributes:
        name: of the layer; several layers may have the same name.
        colour: the name of its colour; empty if the colour does not matter.
        share: of the picture's area, 0 to 1.
        contrast: the difference to what was there before: of the channel that differs most, in levels of 255, averaged
            over the layer's pixels.
    """

    name: str
    colour: str
    share: float
    contrast: float


class Layers:
    """An RGB image that is being drawn, and the layer of each of its pixels."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self._marked: list[tuple[str, str, float]] = [(BEHIND, "", 0.0)]  # name, colour, contrast
        self._seen = image.copy()
        self._layer = np.zeros((image.height, image.width), np.uint8)

    def mark(self, name: str, colour: str = "") -> None:
        """End a layer: everything drawn since the last call belongs to it."""
        difference = ImageChops.difference(self.image, self._seen)
        contrast = 0.0
        if box := difference.getbbox():
            red, green, blue = difference.crop(box).split()
            most = np.asarray(ImageChops.lighter(ImageChops.lighter(red, green), blue))
            left, top, right, bottom = box
            self._layer[top:bottom, left:right][most > 0] = len(self._marked)
            contrast = float(most[most > 0].mean())
        self._marked.append((name, colour, contrast))
        self._seen = self.image.copy()

    def areas(self) -> tuple[Area, ...]:
        """Return the visible part of each layer, from back to front."""
        shares = np.bincount(self._layer.ravel(), minlength=len(self._marked)) / self._layer.size
        return tuple(
            Area(name, colour, float(share), contrast)
            for (name, colour, contrast), share in zip(self._marked, shares, strict=True)
        )
