"""Writes CSV files that are safe to open in spreadsheets, where a text that begins like a formula would be computed."""

from pathlib import Path

import polars as pl
import polars.selectors as cs

# Characters that spreadsheets read as the beginning of a formula, or skip before one (OWASP, "CSV Injection").
FORMULA = r"^[=+\-@\t\r\n\x{ff1d}\x{ff0b}\x{ff0d}\x{ff20}]"


def write_csv(table: pl.DataFrame, path: Path) -> None:
    """Write a table; texts that begin like a formula get a leading apostrophe, which spreadsheets hide.

    Numbers and all other texts are unchanged.

    Args:
        table: its column names must not come from users' data, because they are not escaped.
        path: the file.
    """
    texts = table.select(cs.string(include_categorical=True).cast(pl.String))
    safe = [text.str.replace(FORMULA, "'$0") for text in texts]
    table.with_columns(safe).write_csv(path)
