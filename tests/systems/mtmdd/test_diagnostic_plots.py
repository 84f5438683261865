"""The plots of the diagnostics show the right data."""

import io
import itertools

import numpy as np
import polars as pl
import pytest
from drawings import keep_drawing
from PIL import Image

from systems.mtmdd import diagnostic_plots
from systems.mtmdd.diagnostic_plots import Sample, click_features_plot, gradients_plot

GRADIENTS = pl.DataFrame(
    [
        (step, loss, layer, norm)
        for step, factor in ((0, 1.0), (10, 0.5), (25, 0.2))
        for loss, size in (("count", 2.0), ("position", 0.7), ("click", 2.2), ("objective", 9.0))
        for layer, norm in (("a.0", size * factor), ("a.3", size), ("all", 3 * size))
    ]
    + [(0, "recognition", "a.3", 5.0), (10, "recognition", "a.3", 0.0), (25, "recognition", "a.3", 4.0)],
    schema=["step", "loss", "layer", "norm"],
    orient="row",
)
FEATURES = pl.DataFrame(
    {
        "image_id": ["i"] * 3,
        "category": ["husky"] * 3,
        "word": ["blue", "斑点", "eyes"],
        "true": [0.8, 0.6, 0.0],
        "predicted": [0.5, 0.1, 0.4],
        "predicted_without_position": [0.2, -0.1, 0.3],
    }
)


def sample(features: pl.DataFrame = FEATURES) -> Sample:
    return Sample(np.full((5, 7, 3), 200, np.uint8), features)


def test_a_panel_per_layer_and_a_line_per_loss(monkeypatch):
    figure = keep_drawing(monkeypatch, diagnostic_plots)
    gradients_plot(GRADIENTS, ["a.0", "a.3"])
    first, second = figure.axes
    assert [panel.get_title() for panel in figure.axes] == ["a.0", "a.3"]
    assert [panel.get_yscale() for panel in figure.axes] == ["log", "log"]
    lines = {line.get_label(): line for line in first.lines}
    assert set(lines) == {"count", "position", "combined"}  # the objective is only in the table
    assert lines["position"].get_xdata().tolist() == [0, 10, 25]
    assert lines["position"].get_ydata().tolist() == pytest.approx([0.7, 0.35, 0.14])
    recognition = next(line for line in second.lines if line.get_label() == "recognition")
    assert recognition.get_xdata().tolist() == [0, 25]  # a zero has no logarithm and is left out
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == {"count", "position", "combined", "recognition"}


def test_lines_run_by_step_whatever_the_order_of_rows(monkeypatch):
    figure = keep_drawing(monkeypatch, diagnostic_plots)
    gradients_plot(GRADIENTS.sample(fraction=1.0, shuffle=True, seed=2), ["a.0"])
    lines = {line.get_label(): (line.get_xdata().tolist(), line.get_ydata().tolist()) for line in figure.axes[0].lines}
    assert lines == {
        "count": ([0, 10, 25], pytest.approx([2.0, 1.0, 0.4])),
        "position": ([0, 10, 25], pytest.approx([0.7, 0.35, 0.14])),
        "combined": ([0, 10, 25], pytest.approx([2.2, 1.1, 0.44])),
    }


def test_panels_without_a_layer_are_hidden(monkeypatch):
    figure = keep_drawing(monkeypatch, diagnostic_plots)
    gradients_plot(GRADIENTS, ["a.0", "a.3", "all", "a.0", "a.3"])
    assert [panel.get_visible() for panel in figure.axes] == [True] * 5 + [False] * 3


@pytest.mark.parametrize("missing", [[], ["predicted_without_position"]])
def test_bars_are_the_features_by_word(monkeypatch, missing):
    figure = keep_drawing(monkeypatch, diagnostic_plots)
    click_features_plot([sample(FEATURES.drop(missing))])
    image, bars = figure.axes
    assert image.get_title() == "husky"
    assert image.images[0].get_array().shape == (5, 7, 3)
    assert [text.get_text() for text in bars.get_xticklabels()] == ["blue", "斑点", "eyes"]
    heights = [[bar.get_height() for bar in group] for group in bars.containers]
    assert heights == [FEATURES[name].to_list() for name in FEATURES.columns[3:] if name not in missing]
    for tick in range(3):  # a word's bars are side by side, centred at its tick
        edges = [(group[tick].get_x(), group[tick].get_x() + group[tick].get_width()) for group in bars.containers]
        assert all(left[1] == pytest.approx(right[0]) for left, right in itertools.pairwise(edges))
        assert (edges[0][0] + edges[-1][1]) / 2 == pytest.approx(tick)


def test_an_odd_sample_leaves_a_place_empty(monkeypatch):
    figure = keep_drawing(monkeypatch, diagnostic_plots)
    click_features_plot([sample()] * 3)
    assert [panel.get_visible() for panel in figure.axes] == [True] * 6 + [False] * 2


def test_the_same_bytes_twice():
    for draw in (lambda: gradients_plot(GRADIENTS, ["a.0"]), lambda: click_features_plot([sample()])):
        first = draw()
        assert first == draw()
        assert min(Image.open(io.BytesIO(first)).size) > 100
