"""The report's plots: our results with intervals, without the paper's; the same tables give the same bytes."""

from collections.abc import Mapping
from itertools import pairwise

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, PercentFormatter

from report.plots import GREY, METHODS, SOURCE, TARGET, picture
from systems.mtmdd.published import label, point_label, series_label


def accuracies_plot(table: pl.DataFrame) -> bytes:
    """Draw each method's test accuracy in both domains, with 95 % intervals; the best target on top."""
    rows = table.sort("accuracy_target", descending=False, nulls_last=False).to_dicts()

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for height, row in enumerate(rows):
            for domain, colour, offset in (("source", SOURCE, -0.1), ("target", TARGET, 0.1)):
                mean = row[f"accuracy_{domain}"]
                if mean is None:
                    continue
                reach = [[mean - row[f"low_{domain}"]], [row[f"high_{domain}"] - mean]]
                axes.errorbar(mean, height + offset, xerr=reach, fmt="o", color=colour, markersize=7, elinewidth=2)
                above = domain == "target"
                axes.annotate(
                    f"{mean:.1f}", (mean, height + offset), (0, 6 if above else -6), textcoords="offset points",
                    ha="center", va="bottom" if above else "top", fontsize=8, color=colour if above else GREY,
                )  # fmt: skip
        axes.set_yticks(range(len(rows)), [label(row["method"]) for row in rows])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("test accuracy, %, with 95 % interval")
        for domain, colour in (("target", TARGET), ("source", SOURCE)):
            axes.plot([], [], "o", color=colour, markersize=7, label=f"{domain} domain")
        figure.legend(loc="outside upper left", ncols=2)

    return picture(draw, 7.5, 1.2 + 0.55 * len(rows))


def sweep_plot(table: pl.DataFrame, axis: dict[str, str], percent: bool = False) -> bytes:
    """Draw target accuracy over a sweep's points, a line per method and a panel per reduced domain.

    Args:
        table: from `systems.mtmdd.report.tables.sweep_table`.
        axis: label of the points' axis, by reduced domain.
        percent: the points are shares.
    """
    domains = table["reduced"].unique(maintain_order=True).to_list()
    methods = table["method"].unique(maintain_order=True).to_list()
    names = [point_label(method) for method in methods]
    width = 5.2 if len(domains) == 1 else 8.5
    values = sorted(set(table["value"]))
    steps = [high - low for low, high in pairwise(values)]
    spacing = 0.03 * min(steps, default=values[-1])

    def draw(figure: Figure) -> None:
        panels: list[Axes] = list(figure.subplots(1, len(domains), sharey=True, squeeze=False)[0])
        for panel, domain in zip(panels, domains, strict=True):
            for number, method in enumerate(methods):
                rows = table.filter(method=method, reduced=domain)
                positions = rows["value"] + spacing * (number - (len(methods) - 1) / 2)
                reach = [rows["accuracy_target"] - rows["low_target"], rows["high_target"] - rows["accuracy_target"]]
                panel.errorbar(
                    positions, rows["accuracy_target"], yerr=reach, fmt="o-", color=METHODS[number % len(METHODS)],
                    linewidth=2, elinewidth=1.2, capsize=2, markersize=6, label=names[number],
                )  # fmt: skip
            panel.set_xlabel(axis[domain])
            panel.xaxis.set_major_locator(FixedLocator(values))
            panel.xaxis.set_minor_locator(NullLocator())
            if percent:
                panel.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            panel.grid(axis="x", visible=False)
            panel.margins(x=0.08)
        panels[0].set_ylabel("target test accuracy, %")
        panels[0].yaxis.set_major_locator(MaxNLocator(6))
        handles, labels = panels[0].get_legend_handles_labels()
        # an inch has about 12 letters; a line and its distances take the space of 8
        columns = max(1, int(12 * width / (8 + max(map(len, names)))))
        figure.legend(handles, labels, loc="outside upper left", ncols=columns)

    return picture(draw, width, 3.7)


def cross_object_plot(table: pl.DataFrame) -> bytes:
    """Draw each method's target test accuracy with the own source and with others, with 95 % intervals.

    Args:
        table: from `systems.mtmdd.report.cross_object.cross_object_table`.
    """
    methods = table["method"].unique(maintain_order=True).to_list()
    sources = table["source"].unique(maintain_order=True).to_list()
    series = [("single", None), *(("cross", source) for source in sources)]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for number, (which, source) in enumerate(series):
            rows = table if source is None else table.filter(source=source)
            rows = rows.unique("method", maintain_order=True).filter(pl.col(which).is_not_null())
            aside = 0.16 * ((len(series) - 1) / 2 - number)
            axes.errorbar(
                rows[which], [methods.index(name) - aside for name in rows["method"]],
                xerr=[rows[which] - rows[f"{which}_low"], rows[f"{which}_high"] - rows[which]],
                fmt="o", color=METHODS[number % len(METHODS)], markersize=7, elinewidth=2, capsize=2,
                label="own source" if source is None else f"source of {source}",
            )  # fmt: skip
        axes.set_yticks(range(len(methods)), [label(name) for name in methods])
        axes.set_ylim(len(methods) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("target test accuracy, %, with 95 % interval")
        figure.legend(loc="outside upper left", ncols=3)

    return picture(draw, 7.5, 1.3 + 0.6 * len(methods))


MEASURES = {
    "accuracy_target": "target test accuracy, %",
    "accuracy_source": "source test accuracy, %",
    "rmse_source": "RMSE-S",
}


def study_plot(table: pl.DataFrame, axis: str, is_line: bool, lines: Mapping[str, float]) -> bytes:
    """Draw a component study: a panel per measure, its values at equal distances, a colour per series.

    Args:
        table: from `systems.mtmdd.report.component_studies.study_table`; a baseline that is not one of the values
            becomes a dashed line.
        axis: label of the values' axis.
        is_line: join the points, because the values are numbers.
        lines: of reference of RMSE-S, by label.
    """
    inside = table.filter(pl.col("value").is_not_null())
    ticks = inside["value"].unique(maintain_order=True).to_list()
    if is_line:
        ticks.sort(key=float)
    series = inside["series"].unique(maintain_order=True).to_list()
    measures = [name for name in MEASURES if inside[name].is_not_null().any()]
    texts = [label(tick) for tick in ticks]
    # about 32 characters fit below a panel
    is_crowded = any((len(one) + len(next_one)) / 2 + 1 > 32 / len(texts) for one, next_one in pairwise(texts))

    def draw(figure: Figure) -> None:
        panels: list[Axes] = list(figure.subplots(1, len(measures), squeeze=False)[0])
        for panel, measure in zip(panels, measures, strict=True):
            for index, one in enumerate(series):
                rows = inside.filter(pl.col("series") == one, pl.col(measure).is_not_null())
                aside = 0.12 * (index - (len(series) - 1) / 2)
                reach = None
                if measure != "rmse_source":
                    low, high = (rows[measure.replace("accuracy", end)] for end in ("low", "high"))
                    reach = [rows[measure] - low, high - rows[measure]]
                panel.errorbar(
                    [ticks.index(value) + aside for value in rows["value"]], rows[measure], yerr=reach,
                    fmt="o-" if is_line else "o", color=METHODS[index % len(METHODS)], linewidth=2, elinewidth=1.2,
                    capsize=2, markersize=6, label=series_label(one),
                )  # fmt: skip
            for row in table.filter(pl.col("value").is_null(), pl.col(measure).is_not_null()).to_dicts():
                name = point_label(row["baseline"])
                panel.axhline(row[measure], color=GREY, linestyle="--", linewidth=1.5, label=name)
            if measure == "rmse_source":
                _draw_references(panel, lines)
            panel.set_title(MEASURES[measure], fontsize=10, fontweight="normal")
            panel.set_xlabel(axis)
            panel.set_xticks(range(len(ticks)), texts)
            if is_crowded:
                for text in panel.get_xticklabels():
                    text.set(rotation=35, horizontalalignment="right", rotation_mode="anchor")
            panel.set_xlim(-0.5, len(ticks) - 0.5)
            panel.grid(axis="x", visible=False)
            panel.yaxis.set_major_locator(MaxNLocator(6))
        handles, labels = panels[0].get_legend_handles_labels()
        if labels:
            figure.legend(handles, labels, loc="outside upper left", ncols=len(labels))

    names = 1.3 if "rmse_source" in measures and lines else 0.0  # inches for the names of the lines of reference
    return picture(draw, 0.6 + 3.0 * len(measures) + names, 3.5)


def trade_off_plot(table: pl.DataFrame, lines: Mapping[str, float]) -> bytes:
    """Draw target accuracy with its 95 % interval against RMSE-S: the best runs are at the top left.

    Args:
        table: from `systems.mtmdd.report.tables.trade_off_table`.
        lines: of reference of RMSE-S, by label.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, rmse in lines.items():  # named above the axes, where no run is
            axes.axvline(rmse, color=GREY, linestyle=":", linewidth=1.2)
            axes.annotate(
                name, (rmse, 1), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
                ha="left", va="bottom", rotation=25, rotation_mode="anchor", fontsize=8, color=GREY,
            )  # fmt: skip
        for number, row in enumerate(table.to_dicts(), start=1):
            colour = TARGET if row["is_method"] else METHODS[1]
            reach = [[row["accuracy"] - row["low"]], [row["high"] - row["accuracy"]]]
            axes.errorbar(
                row["rmse"], row["accuracy"], yerr=reach, fmt="none", ecolor=colour, elinewidth=1.2, alpha=0.6
            )
            axes.plot(
                row["rmse"], row["accuracy"], "o", color=colour, markersize=13, zorder=3,
                label=f"{number}  {point_label(row['run'])}",
            )  # fmt: skip
            axes.annotate(
                str(number), (row["rmse"], row["accuracy"]), ha="center", va="center_baseline", fontsize=8,
                color="white", zorder=4,
            )  # fmt: skip
        axes.margins(x=0.06, y=0.08)
        axes.set_xlabel("RMSE-S: how badly clicks are predicted")
        axes.set_ylabel("target test accuracy, %")
        figure.legend(loc="outside right upper", handlelength=1, fontsize=9, markerscale=0.6)

    return picture(draw, 8.5, max(4.5, 0.8 + 0.22 * len(table)))


def _draw_references(panel: Axes, lines: Mapping[str, float]) -> None:
    """Draw the lines, with their names at the right of the panel, where no run is."""
    for name, height in lines.items():
        panel.axhline(height, color=GREY, linestyle=":", linewidth=1.2)
        panel.annotate(
            name, (1, height), (3, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
            ha="left", va="center", fontsize=8, color=GREY,
        )  # fmt: skip
