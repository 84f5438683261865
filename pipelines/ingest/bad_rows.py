"""Say why rows of a click log are bad, and fail if too many are.

Header rows and empty lines don't count: they hold nothing that could be lost.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from base.console import UserError, by_reason
from pipelines.ingest.click_rows import EMPTY_LINE, HEADER, REASONS
from pipelines.ingest.containers import documents, unpacking
from pipelines.ingest.log_format import LogFormat
from pipelines.ingest.log_head import HEAD, advice
from pipelines.ingest.log_slices import LogFile

HARMLESS = (REASONS[HEADER], REASONS[EMPTY_LINE])
SHOWN = 120  # characters of an example


def check_share(
    counts: Mapping[str, int], most: float, quarantine: Path, files: Sequence[LogFile], form: LogFormat
) -> None:
    """Check that a log's rows can be used.

    Args:
        counts: ``rows read``, ``rows kept`` and ``quarantined: <reason>`` of the log.
        most: the largest share of bad rows, 0 to 1.
        quarantine: the folder of the quarantine's files.
        files: the log.
        form: how it was read.

    Raises:
        UserError: no row is good, or the share is larger. The message has the counts by reason, an example of each,
            and what to try.
    """
    reasons = {name: number for name, number in by_reason("quarantined", counts).items() if name not in HARMLESS}
    bad, kept = sum(reasons.values()), counts.get("rows kept", 0)
    if not bad or (kept and bad <= most * (bad + kept)):
        return
    if kept:
        share = (
            f"{bad / (bad + kept):.1%} of the rows are bad, more than {form.spelled(most_bad_rows=f'{most:g}')} allows"
        )
    else:
        share = "no row can be used, so the vocabulary is empty"
    records = _records(quarantine, files, reasons)
    lines = [f"{share}: {counts.get('rows read', 0):,} read, {kept:,} kept"]
    for reason, number in sorted(reasons.items(), key=lambda item: (-item[1], item[0])):
        example = records.filter(pl.col("reason") == reason).sort("file", "row").head(1)
        seen = "".join(
            f", as row {row:,} of {file}: {raw!r}" for file, row, raw in example.select("file", "row", "raw").rows()
        )
        lines.append(f"  {number:,} {reason}{seen}")
    worst = _worst_file(records, files)
    if worst is not None and (hint := advice(_head(worst), form, reasons)):
        lines.append(f"{worst.name}: {hint}")
    raise UserError("\n".join(lines))


def _records(quarantine: Path, files: Sequence[LogFile], reasons: Mapping[str, int]) -> pl.DataFrame:
    """Return for each of the log's files and reasons the first record, with its rows summed."""
    names = [file.name for file in files]
    of_log = pl.col("file").is_in(names) | pl.any_horizontal(
        pl.lit(False), *(pl.col("file").str.starts_with(f"{name}/") for name in names[:100])
    )
    return (
        pl.scan_parquet(sorted(quarantine.glob("part-*.parquet")))
        .filter(of_log & pl.col("reason").is_in(list(reasons)))
        .with_columns(pl.col("raw").str.head(SHOWN))
        .group_by("file", "reason")
        .agg(pl.col("row").min(), pl.col("raw").sort_by("row").first(), pl.col("rows").sum())
        .collect()
    )


def _worst_file(records: pl.DataFrame, files: Sequence[LogFile]) -> LogFile | None:
    """Return the file with the most bad rows, the first of several."""
    if records.is_empty():
        return None
    totals = records.group_by("file").agg(pl.col("rows").sum()).sort("rows", "file", descending=[True, False])
    name = totals["file"][0]
    return next((file for file in files if name == file.name or name.startswith(f"{file.name}/")), None)


def _head(file: LogFile) -> bytes:
    """Return the first bytes of a file's text, of an archive's first member."""
    path = Path(file.path)
    for document in documents(path, file.name):
        with unpacking(path):
            return document.stream.peek(HEAD)
    return b""
