"""The texts of the report's cells and tables."""

import polars as pl
import pytest

from report.pages import (
    Column,
    Table,
    as_markdown,
    as_text,
    interval,
    number,
    plain_table,
    with_deviation,
)

TABLE = Table(
    [Column("method", number=False), Column("Acc-S", group="ours"), Column("Acc-T", group="ours"), Column("Acc-T")],
    [["TDL [7]", "1.0", "12.5", "71.3"], ["MTMDD-VM*", "–", "2.0", "76.0"]],
)


@pytest.mark.parametrize(
    ("value", "digits", "sign", "text"),
    [(None, 1, False, "–"), (71.25, 1, False, "71.2"), (1234567, 0, False, "1,234,567"), (0.35, 1, True, "+0.3"),
     (-0.31, 1, True, "-0.3"), (0.8123, 3, False, "0.812")],
)  # fmt: skip
def test_numbers(value: float | None, digits: int, sign: bool, text: str) -> None:
    assert number(value, digits, sign) == text


def test_intervals_and_deviations() -> None:
    assert interval(1.04, 2.0) == "1.0 to 2.0"
    assert interval(-1.0, 2.0, sign=True) == "-1.0 to +2.0"
    assert interval(None, 2.0) == "–"
    assert with_deviation(70.0, None) == "70.0"
    assert with_deviation(70.0, 1.26) == "70.0 ± 1.3"
    assert with_deviation(None, None) == "–"


def test_the_screen_table_is_aligned() -> None:
    assert as_text(TABLE) == (
        "           ----ours----\n"
        "method     Acc-S  Acc-T  Acc-T\n"
        "---------  -----  -----  -----\n"
        "TDL [7]      1.0   12.5   71.3\n"
        "MTMDD-VM*      –    2.0   76.0"
    )


def test_the_markdown_table_names_groups_in_its_headings() -> None:
    assert as_markdown(TABLE) == (
        "| method | Acc-S (ours) | Acc-T (ours) | Acc-T |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| TDL [7] | 1.0 | 12.5 | 71.3 |\n"
        "| MTMDD-VM* | – | 2.0 | 76.0 |\n"
    )


def test_a_cell_stays_a_cell() -> None:
    table = Table([Column("a\nb", number=False), Column("c")], [["x|y`|`", "<b>1</b> & 2\r\n| 3 |"]])
    assert as_markdown(table) == (
        "| a b | c |\n| --- | ---: |\n| x\\|y`\\|` | &lt;b&gt;1&lt;/b&gt; &amp; 2 \\| 3 \\| |\n"
    )


def test_neighbouring_columns_share_a_heading() -> None:
    assert TABLE.groups == [("", 1), ("ours", 2), ("", 1)]
    assert TABLE.grouped
    assert not Table([Column("a"), Column("b")], []).grouped


def test_a_plain_table_has_the_columns_asked_for_in_that_order() -> None:
    frame = pl.DataFrame({"a": [1234], "b": [0.126], "c": ["x"], "d": [None]}, schema_overrides={"d": pl.Int64})
    table = plain_table(frame, {"c": "third", "b": "second", "d": "fourth", "a": "first"}, decimals=2)
    assert [(column.heading, column.number) for column in table.columns] == [
        ("third", False), ("second", True), ("fourth", True), ("first", True),
    ]  # fmt: skip
    assert table.rows == [["x", "0.13", "–", "1,234"]]
