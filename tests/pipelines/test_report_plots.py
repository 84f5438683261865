"""Pictures: the right things are drawn, and the same bytes come out twice."""

import io

import polars as pl
import pytest
from drawings import keep_drawing
from matplotlib.figure import Figure
from PIL import Image

from pipelines import report_plots

METHODS = pl.DataFrame(
    {
        "method": ["TDL7", "VGGimg"],
        "accuracy_source": [60.0, None],
        "low_source": [55.0, None],
        "high_source": [66.0, None],
        "accuracy_target": [50.0, 70.0],
        "low_target": [40.0, 61.0],
        "high_target": [58.0, 77.0],
    }
)
SWEEP = pl.DataFrame(
    {
        "method": ["TDL", "TDL", "VGGsrc", "VGGsrc"],
        "reduced": ["source"] * 4,
        "value": [6.0, 24.0, 6.0, 24.0],
        "accuracy_target": [40.0, 50.0, 30.0, 45.0],
        "low_target": [35.0, 44.0, 26.0, 40.0],
        "high_target": [45.0, 57.0, 36.0, 49.0],
    }
)
FILTER = pl.DataFrame(
    {"rule": ["8 <= n < 100, first, p < 0.2", "all"], "images": [4, 9], "kept": [3, 8], "kept_percent": [75.0, 88.9]}
)
WORDS = pl.DataFrame(
    {"word_id": [0, 1, 2], "word": ["dog", "斑点", "red"], "clicks": [90, 20, 3], "document_frequency": [30, 9, 1]}
)


def pictures() -> dict[str, bytes]:
    return {
        "accuracies": report_plots.accuracies_plot(METHODS),
        "sweep": report_plots.sweep_plot(SWEEP, {"source": "source categories"}),
        "filter": report_plots.noise_filter_plot(FILTER),
        "vocabulary": report_plots.vocabulary_plot(WORDS),
    }


def test_pictures_have_the_same_bytes_again_and_no_software_version() -> None:
    one, other = pictures(), pictures()
    assert one == other
    for name, data in one.items():
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "PNG", name
            assert "Software" not in image.info, name


@pytest.fixture
def figure(monkeypatch: pytest.MonkeyPatch) -> Figure:
    return keep_drawing(monkeypatch, report_plots)


def test_methods_stand_in_the_order_of_target_accuracy_and_a_missing_source_is_left_out(figure: Figure) -> None:
    report_plots.accuracies_plot(METHODS)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["TDL [7]", "VGGimg"]
    assert [text.get_text() for text in axes.texts] == ["60.0", "50.0", "70.0"]


def test_a_sweep_has_a_line_with_its_interval_per_method(figure: Figure) -> None:
    report_plots.sweep_plot(SWEEP, {"source": "source categories"})
    (axes,) = figure.axes
    lines = {container.get_label(): container.lines[0] for container in axes.containers}
    assert list(lines) == ["TDL", "VGGsrc"]
    assert list(lines["VGGsrc"].get_ydata()) == [30.0, 45.0]
    # Two methods stand 3 % of the step apart, around the value.
    assert list(lines["TDL"].get_xdata()) == pytest.approx([6 - 0.27, 24 - 0.27])
    (segments,) = axes.containers[1].lines[2]
    assert [segment[:, 1].tolist() for segment in segments.get_segments()] == [[26.0, 36.0], [40.0, 49.0]]
    assert axes.get_xlabel() == "source categories"


def test_the_noise_filter_tells_counts_beside_the_bars(figure: Figure) -> None:
    report_plots.noise_filter_plot(FILTER)
    assert [text.get_text() for text in figure.axes[0].texts] == ["8 of 9  (88.9 %)", "3 of 4  (75.0 %)"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["all", "8 ≤ n < 100, first, p < 0.2"]


def test_no_picture_needs_a_glyph_that_its_font_lacks(recwarn: pytest.WarningsRecorder) -> None:
    pictures()
    assert [str(warning.message) for warning in recwarn if "Glyph" in str(warning.message)] == []
