"""How the report's cells and tables read."""

import polars as pl
import pytest

from report.pages import (
    Column,
    Table,
    as_markdown,
    as_text,
    claims_texts,
    interval,
    methods_table,
    number,
    plain_table,
    sweep_texts,
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


def headed(table: Table, row: int = 0) -> list[tuple[str, str, str]]:
    """A row's cells, each with the group and the heading above it."""
    return [(column.group, column.heading, cell) for column, cell in zip(table.columns, table.rows[row], strict=True)]


def test_each_number_of_table_viii_stands_below_its_heading() -> None:
    row = {
        "method": "MTMDD-VM-star", "seeds": 3,
        "accuracy_source": 11.0, "low_source": 10.0, "high_source": 12.0, "deviation_source": 0.5,
        "accuracy_target": 21.0, "low_target": 20.0, "high_target": 22.0, "deviation_target": 0.7,
        "rmse_source": 0.8764, "published_source": 77.7, "difference_source": -66.7, "published_target": 76.0,
        "difference_target": -55.0, "images_source": 1300, "images_target": 140,
    }  # fmt: skip
    assert headed(methods_table(pl.DataFrame([row]))) == [
        ("", "method", "MTMDD-VM*"),
        ("ours, on this data", "Acc-S, %", "11.0 ± 0.5"),
        ("ours, on this data", "Acc-T, %", "21.0 ± 0.7"),
        ("ours, on this data", "Acc-T, 95 %", "20.0 to 22.0"),
        ("ours, on this data", "test images S / T", "1,300 / 140"),
        ("ours, on this data", "RMSE-S", "0.876"),
        ("published", "Acc-S, %", "77.7"),
        ("published", "Acc-T, %", "76.0"),
        ("", "Acc-T, ours − published", "-55.0"),
    ]


@pytest.mark.parametrize(
    ("measure", "compared"),
    [("Acc-T", "λ = 0.4, shared head −\nλ = 0, shared head"), ("RMSE-S", "λ = 0, shared head −\nλ = 0.4, shared head")],
)
def test_a_claim_names_first_what_the_other_is_subtracted_from(measure: str, compared: str) -> None:
    # A smaller RMSE-S is better, so there it is worse minus better that the claim wants above 0.
    row = {
        "claim": 4, "says": "so", "better": "lambda=shared-0.4", "worse": "lambda=shared-0", "measure": measure,
        "published": 14.0, "difference": 3.25, "low": -1.0, "high": 7.5, "verdict": "open",
    }  # fmt: skip
    assert headed(claims_texts(pl.DataFrame([row]))) == [
        ("", "claim", "4"),
        ("", "says", "so"),
        ("", "compared", compared),
        ("", "measure", measure),
        ("published", "difference", "+14.0"),
        ("ours", "difference", "+3.2"),
        ("ours", "95 %", "-1.0 to +7.5"),
        ("", "here", "open"),
    ]


@pytest.mark.parametrize(("percent", "value", "text"), [(True, 0.4, "40%"), (False, 30.0, "30")])
def test_each_number_of_a_sweep_stands_below_its_heading(percent: bool, value: float, text: str) -> None:
    row = {
        "method": "TDL7", "reduced": "target", "value": value,
        "accuracy_target": 21.0, "low_target": 20.0, "high_target": 22.0, "deviation_target": 0.7,
        "decline": 5.0, "decline_low": -1.5, "decline_high": 11.5,
    }  # fmt: skip
    assert [cells[1:] for cells in headed(sweep_texts(pl.DataFrame([row]), "the axis", percent))] == [
        ("method", "TDL [7]"),
        ("reduced", "target"),
        ("the axis", text),
        ("Acc-T, %", "21.0 ± 0.7"),
        ("95 %", "20.0 to 22.0"),
        ("lost against the whole data", "+5.0"),
        ("95 %", "-1.5 to +11.5"),
    ]


def test_a_plain_table_has_the_columns_asked_for_in_that_order() -> None:
    frame = pl.DataFrame({"a": [1234], "b": [0.126], "c": ["x"], "d": [None]}, schema_overrides={"d": pl.Int64})
    table = plain_table(frame, {"c": "third", "b": "second", "d": "fourth", "a": "first"}, decimals=2)
    assert [(column.heading, column.number) for column in table.columns] == [
        ("third", False), ("second", True), ("fourth", True), ("first", True),
    ]  # fmt: skip
    assert table.rows == [["x", "0.13", "–", "1,234"]]
