"""Helpers for tests of plots: check pictures' files, keep a figure whose axes a test reads, refuse other fonts."""

import io
from collections.abc import Callable
from types import ModuleType

import pytest
from matplotlib.figure import Figure
from PIL import Image

from report import fonts


def check_pictures(draw: Callable[[], dict[str, bytes]]) -> None:
    """Check that pictures are PNG files with the same bytes each time, which name no software version."""
    pictures = draw()
    assert pictures == draw()
    for name, data in pictures.items():
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "PNG", name
            assert "Software" not in image.info, name


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
