"""Renders a report page as one file that needs no other file, and tables as plain text or Markdown."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
import polars as pl

from base.markdown import cell

PARTS = Path(__file__).with_name("page_parts.html.jinja")  # head, style and macros of every page
NOTHING = "–"


@dataclass(frozen=True)
class Column:
    """A table's column.

    Attributes:
        heading: the text above the column; may hold a line end.
        number: whether its cells are numbers, which are aligned right.
        group: the common heading of neighbouring columns.
        verdict: whether its cells are verdicts on claims, each with its colour.
        name: whether its cells are names, which are not wrapped.
        sentence: whether its cells are sentences, which get some width on a narrow page, too.
    """

    heading: str
    number: bool = True
    group: str = ""
    verdict: bool = False
    name: bool = False
    sentence: bool = False

    @property
    def classes(self) -> str:
        """The CSS classes of its cells."""
        of_cells = {
            "number": self.number,
            "name": self.name,
            "sentence": self.sentence,
            "published": self.group == "published",
        }
        return " ".join(name for name, holds in of_cells.items() if holds)


@dataclass(frozen=True)
class Table:
    """A table whose cells are finished texts."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The common headings of neighbouring columns, each with its number of columns."""
        return [
            (group, len(list(columns))) for group, columns in groupby(self.columns, key=lambda column: column.group)
        ]

    @property
    def grouped(self) -> bool:
        """Whether any column has a common heading."""
        return any(column.group for column in self.columns)


def number(value: float | None, digits: int = 1, sign: bool = False) -> str:
    """Return a number as the tables print it; None is a dash."""
    return NOTHING if value is None else f"{value:{'+' if sign else ''},.{digits}f}"


def interval(low: float | None, high: float | None, digits: int = 1, sign: bool = False) -> str:
    """Return an interval as the tables print it; None is a dash."""
    if low is None or high is None:
        return NOTHING
    return f"{number(low, digits, sign)} to {number(high, digits, sign)}"


def with_deviation(mean: float | None, deviation: float | None) -> str:
    """Return a mean over seeds as the tables print it, with the standard deviation if there are several seeds."""
    return number(mean) if deviation is None else f"{number(mean)} ± {number(deviation)}"


def plain_table(table: pl.DataFrame, headings: Mapping[str, str], decimals: int = 1) -> Table:
    """Return columns of a data frame as a table; `headings` maps their names to headings, `decimals` is for floats."""
    columns = [Column(heading, number=table.schema[name].is_numeric()) for name, heading in headings.items()]
    digits = {name: decimals if table.schema[name].is_float() else 0 for name in headings}
    rows = [
        [number(row[name], digits[name]) if table.schema[name].is_numeric() else str(row[name]) for name in headings]
        for row in table.iter_rows(named=True)
    ]
    return Table(columns, rows)


def as_text(table: Table) -> str:
    """Return a table as aligned text for the terminal; a group's heading is above its columns."""
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
    """Return a table in Markdown; a column's group is appended to its heading."""
    heads = [f"{column.heading} ({column.group})" if column.group else column.heading for column in table.columns]
    rules = ["---:" if column.number else "---" for column in table.columns]
    lines = [heads, rules, *table.rows]
    return "\n".join(f"| {' | '.join(map(cell, cells))} |" for cells in lines) + "\n"


def render(pictures: Mapping[str, bytes], template: Path, **content: Any) -> str:
    """Fill a page's template.

    Args:
        pictures: PNG bytes by name, which are embedded in the page.
        template: the page's template; it may import from `PARTS`.
        content: the variables of the template.
    """
    loader = jinja2.FileSystemLoader([template.parent, PARTS.parent])
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    encoded = {name: base64.b64encode(data).decode("ascii") for name, data in pictures.items()}
    return environment.get_template(template.name).render(pictures=encoded, **content)
