"""The texts in the tables of methods, claims and sweeps."""

import polars as pl
import pytest

from report.pages import Table
from systems.mtmdd.report.texts import claims_texts, methods_table, sweep_texts


def headed(table: Table, row: int = 0) -> list[tuple[str, str, str]]:
    """Return a row's cells, each with the group and the heading above it."""
    return [(column.group, column.heading, cell) for column, cell in zip(table.columns, table.rows[row], strict=True)]


def test_each_number_of_table_viii_stands_below_its_heading() -> None:
    row = {
        "method": "MTMDD-VM-star", "seeds": 3,
        "accuracy_source": 11.0, "low_source": 10.0, "high_source": 12.0, "deviation_source": 0.5,
        "accuracy_target": 21.0, "low_target": 20.0, "high_target": 22.0, "deviation_target": 0.7,
        "rmse_source": 0.8764, "published_source": 77.7, "difference_source": -66.7, "published_target": 76.0,
        "difference_target": -55.0, "images_source": 1300, "images_target": 140,
    }  # fmt: skip
    table = methods_table(pl.DataFrame([row]), {"an untrained v^": 2**0.5})
    assert list(table.rows[1]) == ["reference: an untrained v^", *["–"] * 4, "1.414", *["–"] * 3]
    assert headed(table) == [
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
    # A smaller RMSE-S is better, so the claim is that worse minus better is above 0.
    row = {
        "claim": 4, "says": "so", "better": "lambda=shared-0.4", "worse": "lambda=shared-0", "measure": measure,
        "published": 14.0, "difference": 3.25, "low": -1.0, "high": 7.5, "p": 0.05, "p_holm": 0.2504, "verdict": "open",
        "needs_seeds": 14, "needs_times": 1, "detectable": 8.0,
    }  # fmt: skip
    assert headed(claims_texts(pl.DataFrame([row]))) == [
        ("", "claim", "4"),
        ("", "says", "so"),
        ("", "compared", compared),
        ("", "measure", measure),
        ("published", "difference", "+14.0"),
        ("ours", "difference", "+3.2"),
        ("ours", "95 %", "-1.0 to +7.5"),
        ("ours", "p,\ncorrected", "0.250"),
        ("", "here", "open"),
        ("", "would decide it", "about 14 seeds"),
    ]


@pytest.mark.parametrize(("p", "text"), [(None, "–"), (0.0004, "< 0.001"), (0.001, "0.001"), (1.0, "1.000")])
def test_a_corrected_p_is_shown_with_three_digits(p: float | None, text: str) -> None:
    row = {
        "claim": 4, "says": "so", "better": "TDL", "worse": "TDL7", "measure": "Acc-T", "published": None,
        "difference": None, "low": None, "high": None, "p": p, "p_holm": p, "verdict": "not run",
            "needs_seeds": None, "needs_times": None, "detectable": None,
    }  # fmt: skip
    assert headed(claims_texts(pl.DataFrame([row])))[7] == ("ours", "p,\ncorrected", text)


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
