"""The style of pictures: the bytes are stable, hold no software version and don't depend on the user's style."""

import io

import matplotlib as mpl
import pytest
from drawings import refuse_other_fonts
from matplotlib.figure import Figure
from PIL import Image

from report.plots import DPI, INK, picture


def line(figure: Figure) -> None:
    axes = figure.subplots()
    axes.plot([1, 2], [3, 1])
    axes.set_xlabel("µ, λ − ≤ τ")


def test_pictures_have_the_same_bytes_again_and_no_software_version() -> None:
    data = picture(line, 4, 3)
    assert data == picture(line, 4, 3)
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG"
        assert image.size == (4 * DPI, 3 * DPI)
        assert "Software" not in image.info


def test_the_users_own_style_changes_nothing() -> None:
    expected = picture(line, 4, 3)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "lines.linewidth": 9}):
        assert picture(line, 4, 3) == expected
        assert mpl.rcParams["font.size"] == 30  # the user's settings are unchanged too


def test_the_style_is_the_reports() -> None:
    seen = {}

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        seen["spines"] = {name for name, spine in axes.spines.items() if spine.get_visible()}
        seen["ink"] = axes.xaxis.label.get_color()

    picture(draw, 2, 2)
    assert seen == {"spines": {"left", "bottom"}, "ink": INK}


def test_no_picture_needs_a_glyph_that_its_font_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_other_fonts(monkeypatch)
    picture(line, 4, 3)
