"""Table IX in the report: the loss from another kind of object as source, ours and the paper's."""

from functools import partial
from typing import Any

import polars as pl

from report.pages import NOTHING, Column, Table, interval, number, with_deviation
from systems.mtmdd.published import TABLE_IX, label
from systems.mtmdd.report.runs import Runs
from systems.mtmdd.report.tables import accuracy, paired, with_interval
from systems.mtmdd.runs import Point

MEASURES = {"": "accuracy", "_low": "low", "_high": "high", "_deviation": "deviation"}  # by the suffix of the column


def cross_object_table(runs: Runs) -> pl.DataFrame:
    """Return target accuracies with the data set's own source and with another's, by method and other source.

    Returns:
        `method`, `source`; `single` and `cross` in percent, each with `_low`, `_high` and `_deviation`; `lost` with its
        interval: percentage points, single minus cross, on the same test images; the paper's `published_dog_single`,
        `published_dog_cross` and the same for birds, percent. `single` and `lost` are null if the method was not run
        with the own source. There are no rows if the study is left out.
    """
    rows = []
    for point in [point for point in runs.points if point.study == "cross_object"]:
        single = Point("methods", point.method)
        row: dict[str, Any] = {"method": point.method, "source": point.source}
        for name, of_name in (("single", single), ("cross", point)):
            measures = accuracy(runs, of_name, "target") if of_name in runs.points else {}
            row |= {f"{name}{end}": measures.get(f"{measure}_target") for end, measure in MEASURES.items()}
        lost = paired(runs, single, point) if single in runs.points else None
        row |= with_interval(lost, ("lost", "lost_low", "lost_high"))
        for name, methods in TABLE_IX.items():
            theirs = methods.get(point.method)
            row |= {
                f"published_{name}_single": theirs and theirs.single,
                f"published_{name}_cross": theirs and theirs.cross,
            }
        rows.append(row)
    floats = {name: pl.Float64 for row in rows[:1] for name in row if name not in ("method", "source")}
    return pl.DataFrame(rows, schema_overrides=floats)


def cross_object_texts(table: pl.DataFrame) -> Table:
    """Return the table as texts."""
    ours, theirs = "ours, on this data", "published"
    columns = [
        Column("method", number=False), Column("other source", number=False),
        Column("Acc-T, single", group=ours), Column("95 %", group=ours),
        Column("Acc-T, cross", group=ours), Column("95 %", group=ours),
        Column("lost", group=ours), Column("95 %", group=ours),
        *(Column(f"{name}s, single / cross", group=theirs) for name in TABLE_IX),
    ]  # fmt: skip
    signed, span = partial(number, sign=True), partial(interval, sign=True)
    rows = [
        [
            label(row["method"]),
            row["source"],
            with_deviation(row["single"], row["single_deviation"]),
            interval(row["single_low"], row["single_high"]),
            with_deviation(row["cross"], row["cross_deviation"]),
            interval(row["cross_low"], row["cross_high"]),
            signed(row["lost"]),
            span(row["lost_low"], row["lost_high"]),
            *(_pair(row[f"published_{name}_single"], row[f"published_{name}_cross"]) for name in TABLE_IX),
        ]
        for row in table.iter_rows(named=True)
    ]
    return Table(columns, rows)


def _pair(single: float | None, cross: float | None) -> str:
    return NOTHING if single is None else f"{number(single)} / {number(cross)}"
