import math

import polars as pl
import pytest
from scipy import stats

from report.claims import Claim, claims_texts, judged_table, sample_note, sample_text
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


def test_an_open_claim_says_what_would_decide_it() -> None:
    claims = [
        *CLAIMS,
        Claim("4", "g > h", "g", "h"),
        Claim("5", "i > j", "i", "j"),
        Claim("6", "k > l", "k", "l"),
    ]
    # 3: one deviation off its limit; 4: two; 5: hardly any difference; 6: none at all
    found = [difference(9.0, 9.1, 8.9), None, difference(3.0, 4.0, 5.0), difference(1.0, 2.0, 3.0)]
    found += [difference(1.0, -1.0, 0.0001), difference(0.0, 0.0, 0.0)]
    table = judged_table(claims, found)
    assert table["verdict"].to_list() == ["holds", "not run", "open", "open", "open", "open"]
    # t tests at 5 % / 4 (the open claims), of effects of one and of two deviations, with degrees that grow
    expected = [
        next(
            size
            for size in range(3, 100)
            if stats.nct.sf(stats.t.isf(0.05 / 4 / 2, size - 1), size - 1, effect * math.sqrt(size)) >= 0.8
        )
        for effect in (1, 2)
    ]
    assert table["needs_seeds"].to_list() == [None, None, *expected, None, None]
    assert table["needs_times"].to_list() == [None, None, 1, 1, None, None]
    assert table["detectable"].is_null().to_list() == [True, True, False, False, False, True]
    out_of_reach = f"out of reach;\n{table['detectable'][4]:.1f} would show"
    assert [row[-1] for row in claims_texts(table).rows] == [
        "–", "–", f"about {expected[0]} seeds", f"about {expected[1]} seeds", out_of_reach, "unknown:\nnothing differs",
    ]  # fmt: skip
    assert "5 % / 4, for the number of open claims" in sample_note(table)
    assert sample_note(table.head(2)) == ""


def test_more_images_are_named_as_the_system_names_them() -> None:
    row = {"needs_seeds": 20, "needs_times": 4, "detectable": 2.0, "verdict": "open"}
    assert sample_text(row, tested="test posts") == "4 times the test posts\nand 20 seeds"
    assert "30 seeds with 10 times the test posts" in sample_note(pl.DataFrame([row]), "test posts")
