"""A picture of sample images with their true and predicted labels (the paper's Fig. 7)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from report.plots import GREY, INK, picture

COLUMNS, SIZE_INCHES = 4, 2.3
LONGEST = 34  # characters of a line of labels


class Sample(NamedTuple):
    """An image, and its labels.

    Attributes:
        pixels: uint8 (height, width, 3).
        true: names of the labels that it has.
        given: names of the labels that it is given, the most probable first.
    """

    pixels: np.ndarray
    true: Sequence[str]
    given: Sequence[str]


def sample_rows(number: int, of: int) -> np.ndarray:
    """Return row numbers at equal distances: at most `number` of `of` rows."""
    return np.unique(np.linspace(0, of - 1, min(number, of)).round().astype(np.int64))


def draw_samples(samples: Sequence[Sample]) -> bytes:
    """Return the samples as PNG; labels that are right have a tick."""
    rows = -(-len(samples) // COLUMNS)

    def draw(figure: Figure) -> None:
        axes: Any = figure.subplots(rows, COLUMNS, squeeze=False)
        for axis in axes.flat:
            axis.axis("off")
        for axis, sample in zip(axes.flat, samples, strict=False):
            axis.imshow(sample.pixels)
            given = lines([f"{name} ✓" if name in sample.true else name for name in sample.given])
            missed = lines([name for name in sample.true if name not in sample.given])
            axis.set_title(given or "none", fontsize=7, color=INK, fontweight="normal")
            axis.text(
                0.5, -0.04, f"missed: {missed}" if missed else "", transform=axis.transAxes, fontsize=7, color=GREY,
                ha="center", va="top",
            )  # fmt: skip

    return picture(draw, COLUMNS * SIZE_INCHES, max(rows, 1) * SIZE_INCHES * 1.35)


def lines(names: Sequence[str]) -> str:
    """Return names separated by commas, in lines of at most LONGEST characters where a name allows it."""
    found = [""]
    for name in names:
        longer = f"{found[-1]}, {name}" if found[-1] else name
        if len(longer) > LONGEST and found[-1]:
            found[-1] += ","
            found.append(name)
        else:
            found[-1] = longer
    return "\n".join(found)
