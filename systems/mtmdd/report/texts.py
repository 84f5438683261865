"""The report's tables as texts, for the page, the screen and Markdown."""

from collections.abc import Mapping

import polars as pl

from report.claims import DECIDING, sample_text
from report.pages import Column, Table, interval, number, with_deviation
from systems.mtmdd.published import label, point_label
from systems.mtmdd.report.references import reference_rows


def methods_table(table: pl.DataFrame, lines: Mapping[str, float]) -> Table:
    """Return Table VIII as texts, our results and the paper's in separate groups of columns.

    Args:
        table: from `systems.mtmdd.report.tables.table_viii`.
        lines: of reference of RMSE-S, the last rows.
    """
    ours, theirs = "ours, on this data", "published"
    columns = [
        Column("method", number=False, name=True),
        Column("Acc-S, %", group=ours),
        Column("Acc-T, %", group=ours),
        Column("Acc-T, 95 %", group=ours),
        Column("test images S / T", group=ours),
        Column("RMSE-S", group=ours),
        Column("Acc-S, %", group=theirs),
        Column("Acc-T, %", group=theirs),
        Column("Acc-T, ours − published"),
    ]
    rows = [
        [
            label(row["method"]),
            with_deviation(row["accuracy_source"], row["deviation_source"]),
            with_deviation(row["accuracy_target"], row["deviation_target"]),
            interval(row["low_target"], row["high_target"]),
            f"{number(row['images_source'], 0)} / {number(row['images_target'], 0)}",
            number(row["rmse_source"], 3),
            number(row["published_source"]),
            number(row["published_target"]),
            number(row["difference_target"], sign=True),
        ]
        for row in table.iter_rows(named=True)
    ]
    rmse = [column.heading for column in columns].index("RMSE-S")
    return Table(columns, [*rows, *reference_rows(lines, len(columns), label=0, value=rmse)])


def claims_texts(table: pl.DataFrame) -> Table:
    """Return the claims as texts."""
    columns = [
        Column("claim", number=False), Column("says", number=False, sentence=True),
        Column("compared", number=False, name=True),
        Column("measure", number=False),
        Column("difference", group="published"), Column("difference", group="ours"), Column("95 %", group="ours"),
        Column("p,\ncorrected", group="ours"), Column("here", number=False, verdict=True),
        Column(DECIDING, number=False, name=True),
    ]  # fmt: skip
    rows = [
        [
            str(row["claim"]),
            row["says"],
            " −\n".join(point_label(row[side]) for side in _order(row["measure"])),
            row["measure"],
            number(row["published"], sign=True),
            number(row["difference"], sign=True),
            interval(row["low"], row["high"], sign=True),
            _p_text(row["p_holm"]),
            row["verdict"],
            sample_text(row),
        ]
        for row in table.iter_rows(named=True)
    ]
    return Table(columns, rows)


def _p_text(p: float | None) -> str:
    return "< 0.001" if p is not None and p < 0.001 else number(p, 3)


def _order(measure: str) -> tuple[str, str]:
    return ("worse", "better") if measure == "RMSE-S" else ("better", "worse")


def sweep_texts(table: pl.DataFrame, axis: str, percent: bool) -> Table:
    """Return a sweep as texts."""
    columns = [
        Column("method", number=False, name=True), Column("reduced", number=False), Column(axis), Column("Acc-T, %"),
        Column("95 %"), Column("lost against the whole data"), Column("95 %"),
    ]  # fmt: skip
    rows = [
        [
            point_label(row["method"]),
            row["reduced"],
            f"{row['value']:.0%}" if percent else number(row["value"], 0),
            with_deviation(row["accuracy_target"], row["deviation_target"]),
            interval(row["low_target"], row["high_target"]),
            number(row["decline"], sign=True),
            interval(row["decline_low"], row["decline_high"], sign=True),
        ]
        for row in table.iter_rows(named=True)
    ]
    return Table(columns, rows)
