"""Plots of a click predictor: gradients by layer (Fig. 11), true and predicted click features (Fig. 10)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from report.plots import GREY, INK, METHODS, SOURCE, TARGET, picture

# the paper's labels, and ours for recognition
LOSSES = {
    "recognition": ("recognition", SOURCE, "-"),
    "click": ("combined", TARGET, "-"),
    "count": ("count", METHODS[2], "--"),
    "position": ("position", METHODS[1], "-"),
}
FEATURES = {
    "true": ("true", INK),
    "predicted": ("predicted", TARGET),
    "predicted_without_position": ("predicted, trained without the position loss", METHODS[1]),
}


class Sample(NamedTuple):
    """An image and its click features.

    Attributes:
        image: uint8 (height, width, 3).
        features: columns image_id, category, word, true and the predictions
            (`systems.mtmdd.click_diagnostics.sample_table`).
    """

    image: np.ndarray
    features: pl.DataFrame


def gradients_plot(table: pl.DataFrame, layers: Sequence[str]) -> bytes:
    """Draw the gradient norm of each loss over the steps, a panel per layer, on a logarithmic scale.

    Args:
        table: columns step, loss, layer, norm.
        layers: the layers to draw, in this order.
    """
    columns = min(4, len(layers))
    rows = -(-len(layers) // columns)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
        for panel, layer in zip(panels, layers, strict=False):
            _draw_layer(panel, table.filter(layer=layer), layer)
        for panel in panels[len(layers) :]:
            panel.set_visible(False)
        for panel in panels[max(0, len(layers) - columns) : len(layers)]:
            panel.set_xlabel("step")
        figure.supylabel("gradient norm of the weighted loss", fontsize=10)
        # one panel may lack a loss that another has
        line_of = {line.get_label(): line for panel in panels for line in panel.lines}
        handles = [line_of[label] for label, _, _ in LOSSES.values() if label in line_of]
        figure.legend(handles=handles, loc="outside upper left", ncols=len(LOSSES))

    return picture(draw, 2.9 * columns + 0.4, 1.9 * rows + 0.7)


def _draw_layer(panel: Axes, of_layer: pl.DataFrame, layer: str) -> None:
    for loss, (label, colour, line) in LOSSES.items():
        rows = of_layer.filter((pl.col("loss") == loss) & (pl.col("norm") > 0)).sort("step")
        if len(rows):
            panel.plot(rows["step"], rows["norm"], line, color=colour, linewidth=1.5, label=label)
    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(numticks=5))
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    panel.set_title(layer, fontsize=9)
    panel.tick_params(labelsize=8)


def click_features_plot(samples: Sequence[Sample]) -> bytes:
    """Draw each sample's image, with a bar chart of its true and predicted click features by word."""
    columns = min(2, len(samples))
    rows = -(-len(samples) // columns)

    def draw(figure: Figure) -> None:
        grid = figure.subplots(rows, 2 * columns, squeeze=False, width_ratios=[1, 2.8] * columns)
        panels = grid.reshape(-1, 2)
        for (image, bars), sample in zip(panels, samples, strict=False):
            _draw_sample(image, bars, sample)
        for left_over in panels[len(samples) :].ravel():
            left_over.set_visible(False)
        figure.supylabel("click feature, l2-normalised", fontsize=10)
        handles, labels = panels[0][1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=len(handles))

    return picture(draw, 6.2 * columns, 2.35 * rows + 0.5)


def _draw_sample(image: Axes, bars: Axes, sample: Sample) -> None:
    image.imshow(sample.image)
    image.set_title(sample.features["category"][0], fontsize=9)
    image.set_xlabel(sample.features["image_id"][0], fontsize=7, color=GREY)
    image.set_xticks([])
    image.set_yticks([])
    image.grid(visible=False)
    image.spines[:].set_visible(False)
    shown = [name for name in FEATURES if name in sample.features.columns]
    width = 0.84 / len(shown)
    positions = np.arange(len(sample.features))
    for number, name in enumerate(shown):
        label, colour = FEATURES[name]
        bars.bar(
            positions + (number - (len(shown) - 1) / 2) * width, sample.features[name], width, color=colour, label=label
        )
    bars.set_xticks(positions, sample.features["word"].to_list(), rotation=45, ha="right", rotation_mode="anchor")
    for text in bars.get_xticklabels():
        text.set_fontsize(8)
    bars.tick_params(axis="x", length=0, pad=2)
    bars.tick_params(axis="y", labelsize=8)
    bars.yaxis.set_major_locator(MaxNLocator(4))
    bars.axhline(0, color=GREY, linewidth=0.8)
    bars.grid(axis="x", visible=False)
    bars.margins(x=0.02)
