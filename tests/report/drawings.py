"""Keeps the figure of a plot, for tests that read its axes."""

from types import ModuleType

import pytest
from matplotlib.figure import Figure


def keep_drawing(monkeypatch: pytest.MonkeyPatch, plots: ModuleType) -> Figure:
    """Make a module of plots draw on the returned figure instead of into a PNG."""
    kept = Figure()

    def draw_only(draw: object, width: float, height: float) -> bytes:
        draw(kept)  # type: ignore[operator]
        return b""

    monkeypatch.setattr(plots, "picture", draw_only)
    return kept
