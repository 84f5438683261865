"""Say why rows of a click log are bad, and fail if too many are.

Header rows and empty lines don't count: they hold nothing that could be lost.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from base.artifacts import SHARDS
from base.console import UserError, by_reason
from base.stores import Location, local_copies, location, sorted_glob
from pipelines.ingest.click_rows import EMPTY_LINE, HEADER, REASONS
from pipelines.ingest.containers import documents, unpacking
from pipelines.ingest.log_format import LogFormat
from pipelines.ingest.log_head import HEAD, SHOWN, advice
from pipelines.ingest.log_slices import LogFile

HARMLESS = (REASONS[HEADER], REASONS[EMPTY_LINE])
MANY = 0.1  # share of bad rows from which on a job that succeeds warns of them

logger = logging.getLogger("clicksight")


@dataclass(frozen=True)
class ReadLog:
    """A log that has been read.

    Attributes:
        files: the log.
        form: how it was read.
        counts: ``rows read``, ``rows kept`` and ``quarantined: <reason>``.
        quarantine: the folder of the quarantine's files; it may have other records too.
    """

    files: Sequence[LogFile]
    form: LogFormat
    counts: Mapping[str, int]
    quarantine: Location

    def check(self, most: float) -> None:
        """Check that no more than a share of the rows is bad; warn if many are.

        Args:
            most: 0 to 1.

        Raises:
            UserError: the share is larger; see :meth:`explanation`.
        """
        bad, kept = sum(self.reasons().values()), self.counts.get("rows kept", 0)
        if bad > most * (bad + kept):
            allowed = self.form.spelled(most_bad_rows=f"{most:g}")
            raise UserError("\n".join([f"too many rows are bad, more than {allowed} allows", *self.explanation()]))
        if bad > MANY * (bad + kept):
            for line in self.explanation():
                logger.warning("%s", line)

    def reasons(self) -> dict[str, int]:
        """Return the number of bad rows by reason."""
        counts = by_reason("quarantined", self.counts)
        return {reason: number for reason, number in counts.items() if reason not in HARMLESS}

    def explanation(self) -> list[str]:
        """Return lines with the counts by reason, an example of each, and what to try; none if no row is bad."""
        reasons = self.reasons()
        if not reasons:
            return []
        records = _records(self.quarantine, self.files, reasons)
        read, kept = self.counts["rows read"], self.counts.get("rows kept", 0)
        lines = [f"the log has {read:,} rows: {kept:,} were kept, {sum(reasons.values()):,} are bad"]
        for reason, number in sorted(reasons.items(), key=lambda item: (-item[1], item[0])):
            of_reason = records.filter(pl.col("reason") == reason).sort("file", "row")
            examples = [f", as row {row:,} of {file}: {raw!r}" for file, _, row, raw, _ in of_reason.head(1).rows()]
            lines.append("".join([f"  {number:,} {reason}", *examples]))
        worst = _worst_file(records, self.files)
        if worst is not None and (hint := advice(_head(worst), self.form, reasons)):
            lines.append(f"{worst.name}: {hint}")
        return lines


def _records(quarantine: Location, files: Sequence[LogFile], reasons: Mapping[str, int]) -> pl.DataFrame:
    """Return (file, reason, row, raw, rows) of the first record of each of the log's files and reasons."""
    with local_copies(sorted_glob(quarantine, SHARDS[0])) as shards:
        records = (
            pl.scan_parquet(shards)
            .filter(pl.col("reason").is_in(list(reasons)))
            .with_columns(pl.col("raw").str.head(SHOWN))
            .group_by("file", "reason")
            .agg(pl.col("row").min(), pl.col("raw").sort_by("row").first(), pl.col("rows").sum())
            .collect()
        )
    found = [_file_of(name, {file.name: file for file in files}) is not None for name in records["file"]]
    return records.filter(pl.Series(found, dtype=pl.Boolean))


def _file_of(name: str, files: Mapping[str, LogFile]) -> LogFile | None:
    """Return the file of a log that has a name in the quarantine, or that is the archive of a member of that name."""
    names = (path.as_posix() for path in (Path(name), *Path(name).parents))
    return next((files[name] for name in names if name in files), None)


def _worst_file(records: pl.DataFrame, files: Sequence[LogFile]) -> LogFile | None:
    """Return the file with the most bad rows, the first of several."""
    if records.is_empty():
        return None
    totals = records.group_by("file").agg(pl.col("rows").sum()).sort("rows", "file", descending=[True, False])
    return _file_of(totals["file"][0], {file.name: file for file in files})


def _head(file: LogFile) -> bytes:
    """Return the first bytes of a file's text, of an archive's first member."""
    path = location(file.path)
    for document in documents(path, file.name):
        with unpacking(path):
            return document.stream.peek(HEAD)
    return b""
