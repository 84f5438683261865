import polars as pl
import pytest

from report.claims import Claim, claims_texts, judged_table
from report.intervals import Estimate, paired


def difference(*points: float) -> Estimate:
    """Return the difference of two runs, a value per seed, the same for each of three images."""
    rows = [(seed, str(unit), value) for seed, value in enumerate(points) for unit in range(3)]
    one = pl.DataFrame(rows, schema=["seed", "unit", "numerator"], orient="row").with_columns(denominator=1.0)
    return paired(one, one.with_columns(numerator=pl.lit(0.0)))


CLAIMS = [
    Claim("2", "a > b", "a", "b"),
    Claim("1", "c > d", "c", "d"),
    Claim("3", "e hardly > f", "e", "f", at_most=5.0),
]


def test_claims_keep_their_order_and_a_missing_run_is_said() -> None:
    table = judged_table(CLAIMS, [difference(4.011, 4.0, 4.005), None, difference(1.0, 1.2, 1.1)])
    assert table["claim"].to_list() == ["2", "1", "3"]
    assert table["verdict"].to_list() == ["holds", "not run", "holds"]
    assert table["difference"].to_list() == [pytest.approx(4.01), None, pytest.approx(1.1)]
    assert table["p_holm"][0] > table["p"][0] > 0
    assert table.schema["low"] == pl.Float64


def test_no_claim_is_a_table_without_rows() -> None:
    assert judged_table([], []).height == 0
    assert claims_texts(judged_table([], [])).rows == []


def test_texts_have_signs_and_as_many_digits_as_asked() -> None:
    table = judged_table(CLAIMS[:2], [difference(-0.125, -0.375, -0.25), None], decimals=3)
    low, high = table["low"][0], table["high"][0]
    row, missing = claims_texts(table, 2).rows
    assert row[:4] == ["2", "a > b", "-0.25", f"{low:+.2f} to {high:+.2f}"]
    assert missing[2:5] == ["–"] * 3
    assert claims_texts(table).rows[0][3] == f"{low:+.1f} to {high:+.1f}"
