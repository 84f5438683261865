"""The component studies in the report: their tables and their texts (Fig. 9 and 12, Tables III to VII)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from report.pages import NOTHING, Column, Table, interval, number, with_deviation
from systems.mtmdd import published
from systems.mtmdd.report.references import reference_rows
from systems.mtmdd.report.runs import Runs
from systems.mtmdd.report.tables import accuracy, mean_rmse, paired, with_interval
from systems.mtmdd.runs import Point
from systems.mtmdd.studies import split_value

DOMAINS = ("source", "target")


@dataclass(frozen=True, kw_only=True)
class Words:
    """The page's texts about a study.

    Attributes:
        title: the title, without the reference to the paper.
        text: a description of the comparison.
        axis: name of the values.
        baseline: the method or the study's point that each value's target accuracy is compared with; ``{series}``
            stands for the value's own series.
        series: name of the series, if there are several.
        ratio: the measure of click losses that the paper's table has: ``sigmoid_inputs`` or ``gradient_ratio``.
    """

    title: str
    text: str
    axis: str
    baseline: str
    series: str = ""
    ratio: str = ""


CLICK_ONLY = "TDL with recognisers on the predicted click feature alone"
WORDS = {
    "kernels": Words(
        title="Kernels of the word embedding",
        text=f"{CLICK_ONLY}, count loss, by side and number of E1's kernels. biFC has no E1.",
        axis="number of kernels",
        baseline="embedding=biFC",
        series="kernels",
    ),
    "embedding": Words(
        title="Word embedding",
        text=f"{CLICK_ONLY}, count loss.",
        axis="word embedding",
        baseline="embedding=FC",
    ),
    "bandwidth": Words(
        title="Bandwidth of the position function",
        text=f"{CLICK_ONLY}; τ = T = 0.1. Inputs in [0, B]: share of the position function's inputs in this range, for "
        "the predicted (v^) and the true (v) click features of the source's validation images; first seed. A standard "
        "normal distribution has 34.1 % at B = 1 and 0.4 % at B = 0.01.",
        axis="B",
        baseline="tau=0",
        ratio="sigmoid_inputs",
    ),
    "tau": Words(
        title="Weight of the position loss",
        text=f"{CLICK_ONLY}. τ = 0 is the count loss alone, τ = 1 the position loss alone. Gradient ratio: gradient "
        "norm of the weighted position loss over that of the weighted count loss, at 15 % of the steps (the paper: "
        "iteration 1,500 of 10,000), one batch, first seed; in brackets the smallest and largest value until then.",
        axis="τ",
        baseline="tau=0",
        ratio="gradient_ratio",
    ),
    "features": Words(
        title="Visual and click feature",
        text="V is the visual feature (VGGimg). The click feature is TDL's: C [7] is predicted by the linear word "
        "embedding trained with the count loss, C_E by the nonlinear word embedding trained with the count loss, C by "
        "the nonlinear word embedding trained with count and position loss.",
        axis="what the recognisers see",
        baseline="features=V",
    ),
    "lambda": Words(
        title="One task or two",
        text="MTMDD-VM (separate heads) and MTMDD-VM* (shared head), µ = 1. λ = 0 trains no click prediction. λ = 1 "
        "(MDD-VM, MDD-VM*) trains only click prediction on the source: its recogniser has not learned from its images.",
        axis="λ",
        baseline="lambda={series}-1",
        series="heads",
    ),
    "mu": Words(
        title="Weight of the target domain",
        text="MTMDD-VM (separate heads) and MTMDD-VM* (shared head) against MTTDL, which trains one domain after the "
        "other.",
        axis="µ",
        baseline="MTTDL",
        series="heads",
    ),
    "click_gradient": Words(
        title="Click gradient at the predicted click feature",
        text="MTMDD-VM (separate heads) and MTMDD-VM* (shared head), with the click losses' gradient at v^ times c and "
        "the embedding's gradient into the ConvNet times 1/c (docs/click_branch.md). c = 1 is the paper's model.",
        axis="c",
        baseline="click_gradient={series}-1",
        series="heads",
    ),
    "recogniser_gradient": Words(
        title="Recognisers' gradient at the predicted click feature",
        text="MTMDD-VM (separate heads) and MTMDD-VM* (shared head), with the recognition losses' gradient at v^ times "
        "g (docs/click_branch.md). g = 1 is the paper's model.",
        axis="g",
        baseline="recogniser_gradient={series}-1",
        series="heads",
    ),
}


def reported(runs: Runs) -> list[str]:
    """Return the studies to report: those with at least two values, one of them with a run that is not a method's."""
    return [
        name
        for name, values in runs.studies.items()
        if name in WORDS and len(values) > 1 and any(point.study == "components" for point in values.values())
    ]


def study_table(runs: Runs, name: str) -> pl.DataFrame:
    """Return a component study's measures by value, together with the paper's.

    Returns:
        `series` and `value`; `run`, the source of the numbers; both accuracies' columns; `rmse_source`, mean over
        seeds; `baseline`, and `gain` with its interval: percentage points of target accuracy above the baseline, on the
        same test images, null for the baseline itself and if the baseline was not run; `published_source`,
        `published_target` (percent) and `published_rmse` (times sqrt(2), on our scale). If the paper's table has a
        ratio of click losses (Tables IV and V), also ours (see `_ratios`) and `published_ratio`. A baseline that is not
        one of the study's values is the last row, without value.
    """
    values = runs.studies[name]
    rows = []
    for value, point in values.items():
        series, value_in_series = split_value(value)
        baseline = WORDS[name].baseline.format(series=series)
        theirs = published.STUDIES.get(name, {}).get(value)
        row = {"series": series, "value": value_in_series} | _measures(runs, point, baseline, theirs)
        if WORDS[name].ratio:
            row |= _ratios(runs, point) | {"published_ratio": published.RATIOS[name].get(value)}
        rows.append(row)
    outside = runs.find(WORDS[name].baseline)
    if outside is not None and outside not in values.values():
        rows.append({"series": "", "value": None} | _measures(runs, outside, WORDS[name].baseline, None))
    types = {"value": pl.String} | dict.fromkeys(
        [
            f"{measure}_{domain}"
            for measure in ("accuracy", "low", "high", "deviation", "published")
            for domain in DOMAINS
        ]
        + ["rmse_source", "published_rmse", "gain", "gain_low", "gain_high"]
        + ([*_ratios(runs, None), "published_ratio"] if WORDS[name].ratio else []),
        pl.Float64,
    )
    return pl.DataFrame(rows, schema_overrides=types | {f"images_{domain}": pl.Int64 for domain in DOMAINS})


def _measures(runs: Runs, point: Point, baseline: str, theirs: published.Measured | None) -> dict[str, Any]:
    below = runs.find(baseline)
    gain = None if below is None or below == point else paired(runs, point, below)
    return {
        "run": point.name,
        **accuracy(runs, point, "source"),
        **accuracy(runs, point, "target"),
        "rmse_source": mean_rmse(runs, point),
        "baseline": baseline,
        **with_interval(gain, ("gain", "gain_low", "gain_high")),
        "published_source": theirs and theirs.source,
        "published_target": theirs and theirs.target,
        "published_rmse": theirs and theirs.rmse_source,
    }


def _ratios(runs: Runs, point: Point | None) -> dict[str, float | None]:
    """Return what `systems.mtmdd.click_ratios` measured for a point; None if it was not run.

    Returns:
        `inputs_predicted` and `inputs_true`: percent of the position function's inputs in [0, B]; `gradient_ratio` at
        15 % of the steps, with the `_least` and the `_largest` value until then.
    """
    found = runs.ratios.get(point) if point else None
    inputs = found["sigmoid_inputs"] if found else {}
    readings = [row["position_over_count"] for row in found["gradient_ratios"]] if found else []
    known = [reading for reading in readings if reading is not None]
    return {
        "inputs_predicted": inputs.get("predicted_percent"),
        "inputs_true": inputs.get("true_percent"),
        "gradient_ratio": readings[-1] if readings else None,
        "gradient_ratio_least": min(known, default=None),
        "gradient_ratio_largest": max(known, default=None),
    }


def study_texts(table: pl.DataFrame, name: str, lines: Mapping[str, float]) -> Table:
    """Return a component study's table as texts, without empty columns.

    Args:
        table: from :func:`study_table`.
        name: the study's name.
        lines: of reference of RMSE-S, the last rows if the study has an RMSE-S.
    """
    ours, theirs = "ours, on this data", "published"
    against = published.point_label(WORDS[name].baseline.replace("{series}-", ""))
    own = f"{name}="
    ratios = _ratio_columns(table, WORDS[name].ratio, ours, theirs)
    columns = {
        Column(WORDS[name].series, number=False, name=True): [
            published.series_label(series) for series in table["series"]
        ],
        Column(WORDS[name].axis, number=False, name=True): [
            published.point_label(row["baseline"]) if row["value"] is None else published.label(row["value"])
            for row in table.iter_rows(named=True)
        ],
        Column("Acc-S, %", group=ours): _each(with_deviation, table, "accuracy_source", "deviation_source"),
        Column("Acc-T, %", group=ours): _each(with_deviation, table, "accuracy_target", "deviation_target"),
        Column("Acc-T, 95 %", group=ours): _each(interval, table, "low_target", "high_target"),
        Column("RMSE-S", group=ours): _each(partial(number, digits=3), table, "rmse_source"),
        **ratios[ours],
        Column(f"Acc-T −\n{against}", group=ours): _each(partial(number, sign=True), table, "gain"),
        Column("95 %", group=ours): _each(partial(interval, sign=True), table, "gain_low", "gain_high"),
        Column("Acc-S, %", group=theirs): _each(number, table, "published_source"),
        Column("Acc-T, %", group=theirs): _each(number, table, "published_target"),
        Column("RMSE-S\n× √2", group=theirs): _each(partial(number, digits=3), table, "published_rmse"),
        **ratios[theirs],
        Column("run", number=False, name=True): [
            NOTHING if run.startswith(own) else published.point_label(run) for run in table["run"]
        ],
    }
    nonempty = {column: texts for column, texts in columns.items() if set(texts) - {NOTHING, ""}}
    columns_shown, rows = list(nonempty), list(zip(*nonempty.values(), strict=True))
    places = {(column.heading, column.group): index for index, column in enumerate(columns_shown)}
    rmse, axis = places.get(("RMSE-S", ours)), places[WORDS[name].axis, ""]
    references = [] if rmse is None else reference_rows(lines, len(columns_shown), label=axis, value=rmse)
    return Table(columns_shown, [*rows, *references])


def _ratio_columns(table: pl.DataFrame, ratio: str, ours: str, theirs: str) -> dict[str, dict[Column, list[str]]]:
    """Return the columns of a ratio by their group."""
    two_digits = partial(number, digits=2)
    if ratio == "sigmoid_inputs":
        return {
            ours: {
                Column("v^ in\n[0, B], %", group=ours): _each(two_digits, table, "inputs_predicted"),
                Column("v in\n[0, B], %", group=ours): _each(two_digits, table, "inputs_true"),
            },
            theirs: {Column("in\n[0, B], %", group=theirs): _each(two_digits, table, "published_ratio")},
        }
    if ratio == "gradient_ratio":
        names = ("gradient_ratio", "gradient_ratio_least", "gradient_ratio_largest")
        return {
            ours: {Column("gradient ratio", group=ours): _each(_with_range, table, *names)},
            theirs: {Column("gradient\nratio", group=theirs): _each(two_digits, table, "published_ratio")},
        }
    return {ours: {}, theirs: {}}


def _with_range(value: float | None, least: float | None, largest: float | None) -> str:
    text = number(value, 2)
    return text if value is None else f"{text} ({number(least, 2)} to {number(largest, 2)})"


def _each(as_text: Callable[..., str], table: pl.DataFrame, *names: str) -> list[str]:
    return [as_text(*values) for values in table.select(names).rows()]
