"""The study of a target without labels in the report: what a method recognises there, and what the labels add."""

from functools import partial
from typing import Any

import polars as pl

from report.pages import Column, Table, interval, number, with_deviation
from systems.mtmdd.published import point_label
from systems.mtmdd.report.runs import Runs
from systems.mtmdd.report.tables import accuracy, paired, with_interval

BASELINE = "VGGsrc"  # a network trained on the source, as it is


def unlabelled_table(runs: Runs) -> pl.DataFrame:
    """Return target accuracies without the target's labels, best first.

    Returns:
        `method`; the columns of the target's accuracy in percent; `gain` with its interval: percentage points above
        VGGsrc, which is then the source's network as it is; `seen_target`: target images (draws) that the training has
        seen without labels, mean over seeds; `labelled`: the accuracy with all labels, and `lost` with its interval:
        percentage points below it, on the same test images. What a run is missing for is null. There are no rows if the
        study is left out.
    """
    points = {point.method: point for point in runs.points if point.study == "unlabelled"}
    rows = []
    for method, point in points.items():
        row: dict[str, Any] = {"method": method, **accuracy(runs, point, "target")}
        baseline = points.get(BASELINE)
        gain = paired(runs, point, baseline) if baseline is not None and baseline != point else None
        row |= with_interval(gain, ("gain", "gain_low", "gain_high"))
        seen = [runs.metrics[point, seed]["seen"]["target"]["target"] for seed in runs.seeds]
        row["seen_target"] = round(sum(seen) / len(seen), 1)
        whole = point.whole if point.whole in runs.points else None
        row["labelled"] = None if whole is None else accuracy(runs, whole, "target")["accuracy_target"]
        lost = None if whole is None else paired(runs, whole, point)
        rows.append(row | with_interval(lost, ("lost", "lost_low", "lost_high")))
    rows.sort(key=lambda row: -row["accuracy_target"])
    floats = {name: pl.Float64 for row in rows[:1] for name in row if name not in ("method", "images_target")}
    return pl.DataFrame(rows, schema_overrides=floats)


def unlabelled_texts(table: pl.DataFrame) -> Table:
    """Return the table as texts."""
    columns = [
        Column("method", number=False, name=True), Column("Acc-T without labels, %"), Column("95 %"),
        Column(f"− {BASELINE}"), Column("95 %"), Column("target images seen"), Column("Acc-T with labels, %"),
        Column("lost"), Column("95 %"),
    ]  # fmt: skip
    signed, span = partial(number, sign=True), partial(interval, sign=True)
    rows = [
        [
            point_label(row["method"]),
            with_deviation(row["accuracy_target"], row["deviation_target"]),
            interval(row["low_target"], row["high_target"]),
            signed(row["gain"]),
            span(row["gain_low"], row["gain_high"]),
            number(row["seen_target"], 0),
            number(row["labelled"]),
            signed(row["lost"]),
            span(row["lost_low"], row["lost_high"]),
        ]
        for row in table.iter_rows(named=True)
    ]
    return Table(columns, rows)
