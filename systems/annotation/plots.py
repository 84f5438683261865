"""Plots of the report: how many labels images have and are given (Fig. 6), and how reliable probabilities are."""

from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from model.measures.calibration import reliability
from model.measures.label_sets import nearest_counts
from report.plots import GREY, INK, SOURCE, TARGET, picture


def counted(annotated: pl.DataFrame, num_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the true and the predicted number of labels of each image; none are predicted without a quantity.

    Args:
        annotated: `schemas.ANNOTATIONS`.
        num_labels: C.
    """
    true = annotated["labels"].list.len().to_numpy().astype(np.int64)
    quantity = annotated["quantity"].drop_nulls().to_numpy()
    return true, nearest_counts(quantity, num_labels)


def draw_quantities(annotated: pl.DataFrame) -> bytes:
    """Return histograms of the true and of the predicted number of labels of the test images, as PNG."""
    true, predicted = counted(annotated, len(annotated["probabilities"][0]))
    numbers = np.arange(1, max(true.max(initial=1), predicted.max(initial=1)) + 1)

    def draw(figure: Figure) -> None:
        axis: Any = figure.add_subplot()
        for shift, values, colour, name in ((-0.2, true, SOURCE, "true"), (0.2, predicted, TARGET, "predicted")):
            share = 100 * np.bincount(values, minlength=len(numbers) + 1)[1:] / max(len(values), 1)
            axis.bar(numbers + shift, share, width=0.4, color=colour, label=name)
        axis.set_xlabel("number of labels")
        axis.set_ylabel("test images, %")
        axis.set_xticks(numbers)
        axis.legend()

    return picture(draw, 6, 3.2)


def draw_reliability(annotated: pl.DataFrame, labels: list[str], bins: int) -> bytes:
    """Return the share of true decisions by calibrated probability, as PNG.

    Args:
        annotated: `schemas.ANNOTATIONS`.
        labels: names, in the order of the probabilities.
        bins: of probabilities.
    """
    probabilities = np.array(annotated["probabilities"].to_list(), np.float64)
    true = np.array([[name in has for name in labels] for has in annotated["labels"].to_list()])
    found = reliability(probabilities, true, bins)

    def draw(figure: Figure) -> None:
        axis: Any = figure.add_subplot()
        axis.plot([0, 1], [0, 1], color=GREY, linewidth=1)
        axis.plot(found["probability"], found["true"], marker="o", color=TARGET)
        for row in found.iter_rows(named=True):
            # below the line, clear of the point
            axis.annotate(
                f"{row['decisions']:,}", (row["probability"], row["true"]), (5, -9), textcoords="offset points",
                fontsize=7, color=INK,
            )  # fmt: skip
        axis.set_xlabel("calibrated probability")
        axis.set_ylabel("share that is true")

    return picture(draw, 4.2, 3.6)
