"""The artifacts that flows show in Prefect's page. Their keys are fixed, so that the page has their history over runs.

| key | shows |
|---|---|
| `progress` | the share of stages that have ended, while the flow runs |
| `stages` | every stage and its outcome |
| `metrics` | every metrics file of the project |
| `sweep-STUDY` | the runs of one study |
| `daily` | where a day's log was added |
| `report-SYSTEM-NAME`, `report-SYSTEM-NAME-plot` | a system's tables (`.md`) and plots (`.png`) |
| `report` | a link to the report's page |

If the server can't be reached, the artifact is skipped with a warning in the log, and the flow continues.
"""

import base64
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from base.markdown import escape

DATA = Path("data")  # each system's folder has a folder report/; DATA/report/index.html joins them
PROGRESS_PAUSE_S = 2.0  # between two updates
SILENCE_S = 10.0  # pause after a server did not answer: a report has twenty artifacts
LARGEST_PICTURE = 1 << 20  # bytes; Prefect's database gets a copy for each run
Shown = TypeVar("Shown")


def key_of(*words: str) -> str:
    """Return an artifact's key: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")


def show_table(key: str, rows: Sequence[Mapping[str, Any]], description: str) -> None:
    """Show rows as a table; without rows, do nothing.

    Args:
        key: of the artifact.
        rows: cells by column; shown as text.
        description: the plain text above the table; Markdown in it is escaped.
    """
    if rows:
        description = escape(description)
        _try(key, lambda: create_table_artifact(table=[dict(row) for row in rows], key=key, description=description))


def show_metrics(metrics: Mapping[str, Mapping[str, Any]]) -> None:
    """Show the contents of metrics files, given by path."""
    rows = [{"file": path, **flat(values)} for path, values in metrics.items()]
    show_table("metrics", rows, "Metrics of every evaluation")


def show_markdown(key: str, markdown: str) -> None:
    """Show a Markdown text; the caller has escaped the parts that come from users (:mod:`base.markdown`)."""
    _try(key, lambda: create_markdown_artifact(markdown=markdown, key=key))


def show_picture(key: str, file: Path) -> None:
    """Show a PNG picture; skip a file of more than 1 MiB."""
    if file.is_file() and file.stat().st_size <= LARGEST_PICTURE:
        content = base64.b64encode(file.read_bytes()).decode("ascii")
        _try(key, lambda: create_image_artifact(image_url=f"data:image/png;base64,{content}", key=key))


def show_report(root: Path) -> None:
    """Show the systems' tables and plots, and a link to the report's page; skip files that do not exist."""
    for folder in sorted((root / DATA).glob("*/report")):
        for file in sorted(folder.glob("*.md")):
            show_markdown(key_of("report", folder.parent.name, file.stem), file.read_text(encoding="utf-8"))
        for file in sorted(folder.glob("*.png")):
            show_picture(key_of("report", folder.parent.name, file.stem, "plot"), file)
    page = root / DATA / "report" / "index.html"
    if page.is_file():
        _try("report", lambda: create_link_artifact(link=page.as_uri(), link_text=escape(str(page)), key="report"))


class Progress:
    """The share of stages that have ended, as one artifact that is updated.

    Args:
        num_stages: the number of all stages, at least 1.
    """

    def __init__(self, num_stages: int) -> None:
        self._num_stages = num_stages
        self._shown_at = time.monotonic()
        self._artifact = _try(
            "progress",
            lambda: cast(UUID, create_progress_artifact(0.0, key="progress", description=self._text(0))),
        )

    def show(self, num_ended: int) -> None:
        """Show how many stages have ended: always after the last one, otherwise at most every other second."""
        is_due = num_ended == self._num_stages or time.monotonic() - self._shown_at >= PROGRESS_PAUSE_S
        if self._artifact is None or not is_due:
            return
        artifact, self._shown_at = self._artifact, time.monotonic()
        share = 100.0 * num_ended / self._num_stages
        text = self._text(num_ended)
        self._artifact = _try(
            "progress", lambda: cast(UUID, update_progress_artifact(artifact, share, description=text))
        )

    def _text(self, num_ended: int) -> str:
        return f"{num_ended} of {self._num_stages} stages have ended"


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten nested metrics: ``{"target": {"accuracy": 0.7}}`` becomes ``{"target.accuracy": 0.7}``."""
    if not isinstance(values, Mapping):
        return {prefix: values}
    parts = (flat(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in values.items())
    return {key: value for part in parts for key, value in part.items()}


class _Silence:
    """The time at which the server last failed to answer, shared by all artifacts."""

    since = -math.inf


def _try(key: str, show: Callable[[], Shown]) -> Shown | None:
    if time.monotonic() < _Silence.since + SILENCE_S:
        get_run_logger().warning("artifact %s was not shown: the server does not answer", key)
        return None
    try:
        return show()
    except httpx.HTTPError as error:
        if isinstance(error, httpx.TransportError):
            _Silence.since = time.monotonic()
        get_run_logger().warning("artifact %s was not shown: %s", key, str(error) or type(error).__name__)
        return None
