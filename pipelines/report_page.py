"""The report as a page that needs nothing beside it, and its main table as text."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
import polars as pl

from pipelines.markdown import cell
from pipelines.published import label, point_label

TEMPLATE = Path(__file__).with_name("report_page.html.jinja")
PARTS = Path(__file__).with_name("page_parts.html.jinja")  # head, style and macros of every page
NOTHING = "–"


@dataclass(frozen=True)
class Column:
    """A table's column.

    Attributes:
        heading: above it; may have a line end.
        number: its cells are numbers, ranged right.
        group: the common heading of neighbouring columns.
        verdict: its cells are verdicts on claims, coloured by what they say.
        name: its cells are names, which are not wrapped.
    """

    heading: str
    number: bool = True
    group: str = ""
    verdict: bool = False
    name: bool = False

    @property
    def classes(self) -> str:
        """The style classes of its cells."""
        return " ".join(["number"] * self.number + ["name"] * self.name + ["published"] * (self.group == "published"))


@dataclass(frozen=True)
class Table:
    """A table whose cells are texts already."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Neighbouring columns' common headings, and how many columns each spans."""
        return [
            (group, len(list(columns))) for group, columns in groupby(self.columns, key=lambda column: column.group)
        ]

    @property
    def grouped(self) -> bool:
        """Whether any column has a common heading."""
        return any(column.group for column in self.columns)


def number(value: float | None, digits: int = 1, sign: bool = False) -> str:
    """Return a number as the tables print it; nothing is a dash."""
    return NOTHING if value is None else f"{value:{'+' if sign else ''},.{digits}f}"


def interval(low: float | None, high: float | None, sign: bool = False) -> str:
    """Return an interval as the tables print it."""
    return NOTHING if low is None or high is None else f"{number(low, sign=sign)} to {number(high, sign=sign)}"


def with_deviation(mean: float | None, deviation: float | None) -> str:
    """Return a mean over seeds, with the seeds' standard deviation where there are several."""
    return number(mean) if deviation is None else f"{number(mean)} ± {number(deviation)}"


def methods_table(table: pl.DataFrame) -> Table:
    """Return Table VIII as texts: ours in one group of columns, the paper's in another."""
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
    return Table(columns, rows)


def claims_texts(table: pl.DataFrame) -> Table:
    """Return the claims as texts."""
    columns = [
        Column("claim", number=False), Column("says", number=False), Column("compared", number=False, name=True),
        Column("measure", number=False),
        Column("difference", group="published"), Column("difference", group="ours"), Column("95 %", group="ours"),
        Column("here", number=False, verdict=True),
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
            row["verdict"],
        ]
        for row in table.iter_rows(named=True)
    ]
    return Table(columns, rows)


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
            label(row["method"]),
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


def plain_table(table: pl.DataFrame, headings: Mapping[str, str], decimals: int = 1) -> Table:
    """Return some columns of a data frame as texts, by the headings they get; fractions with so many decimals."""
    columns = [Column(heading, number=table.schema[name].is_numeric()) for name, heading in headings.items()]
    digits = {name: decimals if table.schema[name].is_float() else 0 for name in headings}
    rows = [
        [number(row[name], digits[name]) if table.schema[name].is_numeric() else str(row[name]) for name in headings]
        for row in table.iter_rows(named=True)
    ]
    return Table(columns, rows)


def as_text(table: Table) -> str:
    """Return a table in aligned columns, for the screen; groups of columns have their heading above them."""
    heads = [column.heading for column in table.columns]
    widths = [max(len(cell) for cell in column) for column in zip(heads, *table.rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if column.number else cell.ljust(width)
            for cell, width, column in zip(cells, widths, table.columns, strict=True)
        )
        return "  ".join(padded).rstrip()

    lines = [line(heads), "  ".join("-" * width for width in widths), *(line(row) for row in table.rows)]
    if table.grouped:
        above, start = [], 0
        for group, span in table.groups:
            above.append(group.center(sum(widths[start : start + span]) + 2 * (span - 1), "-" if group else " "))
            start += span
        lines.insert(0, "  ".join(above).rstrip())
    return "\n".join(lines)


def as_markdown(table: Table) -> str:
    """Return a table in Markdown; a column's group goes into its heading."""
    heads = [f"{column.heading} ({column.group})" if column.group else column.heading for column in table.columns]
    rules = ["---:" if column.number else "---" for column in table.columns]
    lines = [heads, rules, *table.rows]
    return "\n".join(f"| {' | '.join(map(cell, cells))} |" for cells in lines) + "\n"


def render(pictures: Mapping[str, bytes], template: Path = TEMPLATE, **content: Any) -> str:
    """Fill a page's template.

    Args:
        pictures: PNG bytes by name; they become part of the page.
        template: of the page; may import from `PARTS`, which stands beside it.
        content: what the template names.
    """
    loader = jinja2.FileSystemLoader(PARTS.parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    encoded = {name: base64.b64encode(data).decode("ascii") for name, data in pictures.items()}
    return environment.get_template(template.name).render(pictures=encoded, **content)
