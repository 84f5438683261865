"""The plot of the fate of each category's images: the right bars, and the same bytes twice."""

import polars as pl
import pytest
from drawings import keep_drawing
from matplotlib.figure import Figure

from systems.cleaning import preparation_plots

STEPS = pl.DataFrame(
    {
        "domain": ["source", "source", "source", "target", "target"],
        "category": ["akita", "borzoi", "corgi", "corgi", "dingo"],
        "images_ingested": [30, 50, 30, 20, 7],
        "images_selected": [18, 40, 0, 20, 0],
        "over_the_cap": [0, 0, 0, 0, 0],
        "left_out": [0, 0, 25, 0, 7],
        "duplicates": [0, 0, 0, 0, 0],
        "dropped": [12, 10, 5, 0, 0],
    }
)


@pytest.fixture
def figure(monkeypatch: pytest.MonkeyPatch) -> Figure:
    return keep_drawing(monkeypatch, preparation_plots)


def test_each_bar_is_as_high_as_its_category_and_the_largest_comes_first(figure: Figure) -> None:
    preparation_plots.steps_plot(STEPS)
    source, target = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["source domain", "target domain"]
    assert [label.get_text() for label in source.get_xticklabels()] == ["borzoi", "akita", "corgi"]
    assert [label.get_text() for label in target.get_xticklabels()] == ["corgi", "dingo"]
    parts = {bars.get_label(): [(bar.get_y(), bar.get_height()) for bar in bars] for bars in source.containers}
    assert parts == {
        "selected": [(0, 40), (0, 18), (0, 0)],
        "kept, but the category is left out": [(40, 0), (18, 0), (0, 25)],
        "dropped by the noise filter": [(40, 10), (18, 12), (25, 5)],
    }
    assert source.get_ylim()[1] > 50


def test_what_befell_no_image_is_not_in_the_legend(figure: Figure) -> None:
    preparation_plots.steps_plot(STEPS)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        *("selected", "kept, but the category is left out", "dropped by the noise filter"),
    ]


def test_more_names_than_can_be_read_are_left_out(figure: Figure) -> None:
    most = preparation_plots.MOST_NAMES
    many = pl.concat([STEPS.head(1).with_columns(category=pl.lit(f"c{number:03d}")) for number in range(most + 1)])
    preparation_plots.steps_plot(many)
    assert figure.axes[0].get_xlabel() == "categories, the largest first"
    figure.clear()
    preparation_plots.steps_plot(many.head(most))  # the largest number with names
    assert len(figure.axes[0].get_xticklabels()) == most
    assert figure.axes[0].get_xticklabels()[-1].get_text() == f"c{most - 1:03d}"
    figure.clear()
    preparation_plots.steps_plot(many)
    assert not any(label.get_text().startswith("c0") for label in figure.axes[0].get_xticklabels())


def test_the_same_bytes_again() -> None:
    assert preparation_plots.steps_plot(STEPS) == preparation_plots.steps_plot(STEPS)
