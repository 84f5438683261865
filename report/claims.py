"""A paper's claims that one thing is better than another: how a system lists them, and their table."""

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import polars as pl

from report import pages
from report.intervals import Estimate
from report.verdicts import Claimed, verdicts

Measured = TypeVar("Measured")
NUMBERS = ("difference", "low", "high", "p", "p_holm")


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

    Args:
        claims: all claims of a report, because the correction depends on their number.
        differences: `better` minus `worse` of each claim; None: one of them is missing.
        decimals: to which the difference and its interval are rounded.
    """
    judged = verdicts([Claimed(found, claim.at_most) for claim, found in zip(claims, differences, strict=True)])
    rows = []
    for claim, found, verdict in zip(claims, differences, judged, strict=True):
        known = [None] * 3 if found is None else [round(value, decimals) for value in found.interval()]
        rows.append((claim.number, claim.says, *known, verdict.p, verdict.corrected, verdict.text))
    schema = {"claim": pl.String, "says": pl.String, **dict.fromkeys(NUMBERS, pl.Float64), "verdict": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def claims_texts(table: pl.DataFrame, digits: int = 1) -> pages.Table:
    """Return the table of :func:`judged_table` for the page, its differences with so many digits."""
    columns = [
        pages.Column("claim", number=False),
        pages.Column("says", number=False, sentence=True),
        pages.Column("difference"),
        pages.Column("95 %"),
        pages.Column("p, corrected"),
        pages.Column("verdict", number=False, verdict=True),
    ]
    rows = [
        [
            row["claim"],
            row["says"],
            pages.number(row["difference"], digits, sign=True),
            pages.interval(row["low"], row["high"], digits, sign=True),
            pages.number(row["p_holm"], 4),
            row["verdict"],
        ]
        for row in table.iter_rows(named=True)
    ]
    return pages.Table(columns, rows)
