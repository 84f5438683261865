"""Plots of methods and studies: they show the right data, and the same tables give the same bytes."""

import polars as pl
import pytest
from drawings import check_pictures, keep_drawing, refuse_other_fonts
from matplotlib.figure import Figure

from report.plots import SOURCE, TARGET
from systems.mtmdd.report import plots

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
STUDY = pl.DataFrame(
    {
        "series": ["separate", "separate", "shared", ""],
        "value": ["0.3", "0.9", "0.1", None],
        "baseline": ["MTTDL"] * 4,
        "accuracy_target": [50.0, 60.0, 62.5, 55.0],
        "low_target": [44.0, 51.0, 60.0, 50.0],
        "high_target": [55.0, 68.0, 66.0, 61.0],
        "accuracy_source": [70.0, None, 71.0, 72.0],
        "low_source": [66.0, None, 68.0, 70.0],
        "high_source": [75.0, None, 77.0, 78.0],
        "rmse_source": [None, None, None, 0.9],
    }
)
CROSS = pl.DataFrame(
    {
        "method": ["TDL7", "TDL7", "VGGimg"],
        "source": ["birds", "cats", "birds"],
        "single": [50.0, 50.0, None],
        "single_low": [40.0, 40.0, None],
        "single_high": [58.0, 58.0, None],
        "cross": [45.0, 30.0, 70.0],
        "cross_low": [39.0, 21.0, 61.0],
        "cross_high": [52.0, 40.0, 77.0],
    }
)

TRADE_OFF = pl.DataFrame(
    {
        "run": ["lambda=shared-0", "TDL7"],
        "is_method": [False, True],
        "rmse": [1.4, 0.9],
        "accuracy": [60.0, 75.0],
        "low": [51.0, 70.0],
        "high": [66.0, 77.0],
    }
)


def pictures() -> dict[str, bytes]:
    return {
        "accuracies": plots.accuracies_plot(METHODS),
        "sweep": plots.sweep_plot(SWEEP, {"source": "source categories"}),
        "cross": plots.cross_object_plot(CROSS),
        "study": plots.study_plot(STUDY, "µ", is_line=True, lines={}),
        "trade_off": plots.trade_off_plot(TRADE_OFF, {"predicting nothing": 1.0}),
    }


def test_pictures_have_the_same_bytes_again_and_no_software_version() -> None:
    check_pictures(pictures)


@pytest.fixture
def figure(monkeypatch: pytest.MonkeyPatch) -> Figure:
    return keep_drawing(monkeypatch, plots)


def test_methods_stand_in_the_order_of_target_accuracy_and_a_missing_source_is_left_out(figure: Figure) -> None:
    plots.accuracies_plot(METHODS)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["TDL [7]", "VGGimg"]
    assert [text.get_text() for text in axes.texts] == ["60.0", "50.0", "70.0"]


def test_each_domains_accuracy_has_its_own_interval_place_and_colour(figure: Figure) -> None:
    plots.accuracies_plot(METHODS)
    axes = figure.axes[0]
    found = []
    for container in axes.containers:
        point, _, (bars,) = container.lines
        ((low, y), (high, _)) = bars.get_segments()[0].tolist()
        found.append((float(point.get_xdata()[0]), low, high, y, point.get_color()))
    # The source is below the line of its method, the target above; VGGimg has no source accuracy.
    assert found == [
        (60.0, 55.0, 66.0, pytest.approx(-0.1), SOURCE),
        (50.0, 40.0, 58.0, pytest.approx(0.1), TARGET),
        (70.0, 61.0, 77.0, pytest.approx(1.1), TARGET),
    ]
    legend = {text.get_text(): line.get_color() for text, line in zip(
        figure.legends[0].get_texts(), figure.legends[0].get_lines(), strict=True)}  # fmt: skip
    assert legend == {"target domain": TARGET, "source domain": SOURCE}


def test_a_sweep_has_a_panel_for_each_domain_that_is_reduced(figure: Figure) -> None:
    less = SWEEP.with_columns(
        reduced=pl.lit("target"), accuracy_target=pl.col("accuracy_target") - 20, low_target=pl.col("low_target") - 21
    )
    shares = pl.concat([SWEEP, less])
    shares = shares.with_columns(value=pl.col("value") / 24)
    plots.sweep_plot(shares, {"source": "share of source", "target": "share of target"}, percent=True)
    source, target = figure.axes
    assert (source.get_xlabel(), target.get_xlabel()) == ("share of source", "share of target")
    lines = [{c.get_label(): list(c.lines[0].get_ydata()) for c in panel.containers} for panel in figure.axes]
    assert lines == [
        {"TDL": [40.0, 50.0], "VGGsrc": [30.0, 45.0]},
        {"TDL": [20.0, 30.0], "VGGsrc": [10.0, 25.0]},
    ]
    (segments,) = target.containers[0].lines[2]
    assert [segment[:, 1].tolist() for segment in segments.get_segments()] == [[14.0, 45.0], [23.0, 57.0]]
    assert [target.xaxis.get_major_formatter()(value) for value in (0.25, 1.0)] == ["25%", "100%"]
    assert list(target.xaxis.get_major_locator()()) == [0.25, 1.0]


def test_a_sweep_has_a_line_with_its_interval_per_method(figure: Figure) -> None:
    plots.sweep_plot(SWEEP, {"source": "source categories"})
    (axes,) = figure.axes
    lines = {container.get_label(): container.lines[0] for container in axes.containers}
    assert list(lines) == ["TDL", "VGGsrc"]
    assert list(lines["VGGsrc"].get_ydata()) == [30.0, 45.0]
    # Two methods are 3 % of the step apart, on both sides of the value.
    assert list(lines["TDL"].get_xdata()) == pytest.approx([6 - 0.27, 24 - 0.27])
    (segments,) = axes.containers[1].lines[2]
    assert [segment[:, 1].tolist() for segment in segments.get_segments()] == [[26.0, 36.0], [40.0, 49.0]]
    assert axes.get_xlabel() == "source categories"


def test_a_study_has_a_panel_per_measure_and_a_line_per_series(figure: Figure) -> None:
    plots.study_plot(STUDY, "µ", is_line=True, lines={})
    target, source = figure.axes  # no value of the study has an RMSE-S
    # Values are in ascending order, whatever the table's order, and at equal distances; the two series are 0.12 apart.
    assert [text.get_text() for text in target.get_xticklabels()] == ["0.1", "0.3", "0.9"]
    lines = {container.get_label(): container.lines[0] for container in target.containers}
    assert list(lines["separate heads"].get_xdata()) == pytest.approx([1 - 0.06, 2 - 0.06])
    assert list(lines["separate heads"].get_ydata()) == [50.0, 60.0]
    assert list(lines["shared head"].get_xdata()) == pytest.approx([0.06])
    (segments,) = target.containers[0].lines[2]
    assert [segment[:, 1].tolist() for segment in segments.get_segments()] == [[44.0, 55.0], [51.0, 68.0]]
    # A null has no point; the baseline is a horizontal line.
    assert list(source.containers[0].lines[0].get_ydata()) == [70.0]
    (dashed,) = [line for line in source.get_lines() if line.get_label() == "MTTDL"]
    assert set(dashed.get_ydata()) == {72.0}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["MTTDL", "separate heads", "shared head"]


def test_each_measures_panel_has_its_own_numbers(figure: Figure) -> None:
    table = STUDY.with_columns(rmse_source=pl.Series([0.9, None, 0.7, 1.1]))
    plots.study_plot(table, "µ", is_line=True, lines={"predicting nothing": 1.0, "the category means": 0.83})
    titles = {panel.get_title(): panel for panel in figure.axes}
    assert list(titles) == ["target test accuracy, %", "source test accuracy, %", "RMSE-S"]
    numbers = {
        title: {c.get_label(): list(c.lines[0].get_ydata()) for c in panel.containers}
        for title, panel in titles.items()
    }
    assert numbers == {
        "target test accuracy, %": {"separate heads": [50.0, 60.0], "shared head": [62.5]},
        "source test accuracy, %": {"separate heads": [70.0], "shared head": [71.0]},
        "RMSE-S": {"separate heads": [0.9], "shared head": [0.7]},
    }
    (segments,) = titles["source test accuracy, %"].containers[1].lines[2]
    assert [segment[:, 1].tolist() for segment in segments.get_segments()] == [[68.0, 77.0]]
    assert not titles["RMSE-S"].containers[0].has_yerr  # it has no interval
    for title, height in (("target test accuracy, %", 55.0), ("RMSE-S", 1.1)):
        (dashed,) = [line for line in titles[title].get_lines() if line.get_label() == "MTTDL"]
        assert set(dashed.get_ydata()) == {height}
    assert {panel.get_xlabel() for panel in figure.axes} == {"µ"}
    # the lines of reference are dotted, in the panel of RMSE-S only, with their names above them
    for title, panel in titles.items():
        dotted = [line.get_ydata()[0] for line in panel.get_lines() if line.get_linestyle() == ":"]
        assert dotted == ([1.0, 0.83] if title == "RMSE-S" else [])
    named = {text.get_text(): text.xy[1] for text in titles["RMSE-S"].texts}
    assert named == {"predicting nothing": 1.0, "the category means": 0.83}


def test_values_that_are_no_numbers_are_not_joined_and_long_ones_are_turned(figure: Figure) -> None:
    table = STUDY.with_columns(series=pl.lit(""), value=pl.Series(["CONV+FC", "C7", "CONV+biFC", None]))
    plots.study_plot(table, "word embedding", is_line=False, lines={})
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["CONV+FC", "C [7]", "CONV+biFC"]
    assert axes.containers[0].lines[0].get_linestyle() == "None"
    assert {text.get_rotation() for text in axes.get_xticklabels()} == {0.0}
    wider = pl.concat([table, table.with_columns(value=pl.Series(["biFC", "V+C_E", "CONV", None]))])
    figure.clear()
    plots.study_plot(wider, "word embedding", is_line=False, lines={})
    assert {text.get_rotation() for text in figure.axes[0].get_xticklabels()} == {35.0}


def test_sources_of_other_objects_stand_beside_the_own_one(figure: Figure) -> None:
    plots.cross_object_plot(CROSS)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["TDL [7]", "VGGimg"]
    points = {container.get_label(): container.lines[0] for container in axes.containers}
    found = {name: list(zip(line.get_xdata(), line.get_ydata(), strict=True)) for name, line in points.items()}
    # three series, 0.16 apart, the own source first; the axis points down
    assert found == {
        "own source": [(50.0, pytest.approx(-0.16))],
        "source of birds": [(45.0, 0.0), (70.0, 1.0)],
        "source of cats": [(30.0, pytest.approx(0.16))],
    }
    assert axes.yaxis_inverted()
    (segments,) = axes.containers[1].lines[2]
    assert [segment[:, 0].tolist() for segment in segments.get_segments()] == [[39.0, 52.0], [61.0, 77.0]]


def test_no_picture_needs_a_glyph_that_its_font_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_other_fonts(monkeypatch)
    pictures()


def test_the_trade_off_has_each_run_at_its_values_under_its_number(figure: Figure) -> None:
    plots.trade_off_plot(TRADE_OFF, {"predicting nothing": 1.0, "the category means": 0.8})
    (axes,) = figure.axes
    points = [(float(line.get_xdata()[0]), float(line.get_ydata()[0]), line.get_label(), line.get_color())
              for line in axes.lines if line.get_marker() == "o"]  # fmt: skip
    assert points == [(1.4, 60.0, "1  λ = 0, shared head", plots.METHODS[1]), (0.9, 75.0, "2  TDL [7]", TARGET)]
    bars = [container.lines[2][0].get_segments()[0].tolist() for container in axes.containers]
    assert bars == [[[1.4, 51.0], [1.4, 66.0]], [[0.9, 70.0], [0.9, 77.0]]]
    assert [(text.get_text(), text.xy) for text in axes.texts] == [
        ("predicting nothing", (1.0, 1)), ("the category means", (0.8, 1)), ("1", (1.4, 60.0)), ("2", (0.9, 75.0))
    ]  # fmt: skip
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1  λ = 0, shared head", "2  TDL [7]"]
