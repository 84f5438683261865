"""Helpers for tests of plots: keep a plot's figure, whose axes a test reads; refuse fonts of the machine."""

from types import ModuleType

import pytest
from matplotlib.figure import Figure

from report import fonts


def keep_drawing(monkeypatch: pytest.MonkeyPatch, plots: ModuleType) -> Figure:
    """Make a module of plots draw on the returned figure instead of into a PNG."""
    kept = Figure()

    def draw_only(draw: object, width: float, height: float) -> bytes:
        draw(kept)  # type: ignore[operator]
        return b""

    monkeypatch.setattr(plots, "picture", draw_only)
    return kept


def refuse_other_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a picture fail that has a letter which DejaVu Sans lacks."""
    monkeypatch.setattr(fonts, "_families_with", lambda letters: pytest.fail(f"DejaVu Sans lacks {letters}"))
