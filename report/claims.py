"""A paper's claims that one thing is better than another: how a system lists them, and their table."""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import polars as pl

from report import pages
from report.intervals import Estimate
from report.sample_size import MOST_SEEDS, MOST_TIMES, POWER, SEEDS_WITH_IMAGES, Sample
from report.verdicts import LEVEL, Claimed, verdicts

Measured = TypeVar("Measured")
NUMBERS = ("difference", "low", "high", "p", "p_holm")
DECIDING = "would decide it"  # heading of the sample that would decide an open claim
# its columns in the tables' files; null for a claim that isn't open
COLUMNS: dict[str, type[pl.DataType]] = {
    "needs_seeds": pl.Int64,
    "needs_times": pl.Int64,
    "detectable": pl.Float64,
}


class Claim(NamedTuple, Generic[Measured]):
    """A claim that a measure of one is above that of the other, or not above it by more than `at_most` points.

    Attributes:
        number: the claim's number in the paper's list.
        says: the claim in words.
        better, worse: what is compared, as the system names it: a run, or a phase of a run.
        at_most: the limit; None: the claim is that `better` is above `worse`.
    """

    number: str
    says: str
    better: Measured
    worse: Measured
    at_most: float | None = None


def judged_table(
    claims: Sequence[Claim[Measured]], differences: Sequence[Estimate | None], decimals: int = 2
) -> pl.DataFrame:
    """Return the content of claims.csv: difference, its 95 % interval, p before and after Holm's correction, verdict.

    The last columns are the sample that would decide an open claim (`report.sample_size`).

    Args:
        claims: all claims of a report, because the correction depends on their number.
        differences: `better` minus `worse` of each claim; None: one of them is missing.
        decimals: to which the difference, its interval and what is detectable are rounded.
    """
    judged = verdicts([Claimed(found, claim.at_most) for claim, found in zip(claims, differences, strict=True)])
    rows = []
    for claim, found, verdict in zip(claims, differences, judged, strict=True):
        known = [None] * 3 if found is None else [round(value, decimals) for value in found.interval()]
        needed = sample_columns(verdict.sample, decimals).values()
        rows.append((claim.number, claim.says, *known, verdict.p, verdict.corrected, verdict.text, *needed))
    schema = {"claim": pl.String, "says": pl.String, **dict.fromkeys(NUMBERS, pl.Float64), "verdict": pl.String}
    return pl.DataFrame(rows, schema=schema | COLUMNS, orient="row")


def claims_texts(table: pl.DataFrame, digits: int = 1, tested: str = "test images") -> pages.Table:
    """Return the table of :func:`judged_table` for the page.

    Args:
        table: the claims.
        digits: of differences.
        tested: what is paired, in words.
    """
    columns = [
        pages.Column("claim", number=False),
        pages.Column("says", number=False, sentence=True),
        pages.Column("difference"),
        pages.Column("95 %"),
        pages.Column("p, corrected"),
        pages.Column("verdict", number=False, verdict=True),
        pages.Column(DECIDING, number=False, name=True),
    ]
    rows = [
        [
            row["claim"],
            row["says"],
            pages.number(row["difference"], digits, sign=True),
            pages.interval(row["low"], row["high"], digits, sign=True),
            pages.number(row["p_holm"], 4),
            row["verdict"],
            sample_text(row, digits, tested),
        ]
        for row in table.iter_rows(named=True)
    ]
    return pages.Table(columns, rows)


def sample_columns(sample: Sample | None, decimals: int = 2) -> dict[str, float | None]:
    """Return a claim's `COLUMNS`, all null without a sample; `detectable` is rounded to so many decimals."""
    seeds, times, smallest = sample or (None, None, None)
    return dict(zip(COLUMNS, (seeds, times, None if smallest is None else round(smallest, decimals)), strict=True))


def sample_text(row: Mapping[str, Any], digits: int = 1, tested: str = "test images") -> str:
    """Return what would decide a claim, as pages print it in one or two lines; a dash if it isn't open.

    Args:
        row: with the `COLUMNS`, and the `verdict`.
        digits: of a detectable distance.
        tested: what is paired, in words.
    """
    seeds, times, smallest = (row[name] for name in COLUMNS)
    if seeds is not None:
        return f"about {seeds} seeds" if times == 1 else f"{times} times the {tested}\nand {seeds} seeds"
    if smallest is not None:
        return f"out of reach;\n{pages.number(smallest, digits)} would show"
    return "unknown:\nnothing differs" if row["verdict"] == "open" else pages.NOTHING


def sample_note(table: pl.DataFrame, tested: str = "test images") -> str:
    """Return the page's sentences about the column `DECIDING`; nothing if no claim is open.

    Args:
        table: the claims, with the `COLUMNS` and `verdict`.
        tested: what is paired, in words.
    """
    num_open = table.filter(verdict="open").height
    if not num_open:
        return ""
    return (
        f"“{DECIDING.capitalize()}”: the sample that would give an open claim a verdict with a power of "
        f"{100 * POWER:.0f} %, if the true difference is as large as seen here. That is uncertain itself, and half the "
        "difference needs about four times the sample. "
        f"The level is {100 * LEVEL:.0f} % / {num_open}, for the number of open claims. "
        f"“Out of reach”: neither {MOST_SEEDS} seeds nor {SEEDS_WITH_IMAGES} seeds with {MOST_TIMES} times the "
        f"{tested} are enough for a difference as small as seen. What “would show” is the smallest one that the "
        "present sample finds with the same power; for a claim with a limit, its distance from the limit."
    )
