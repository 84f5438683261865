"""Draws the pictures of all reports in one style; equal tables give equal bytes."""

import io
import warnings
from collections.abc import Callable
from typing import Any

from matplotlib import rc_context, style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from report.fonts import FIRST, families_for

INK, GREY, LINES = "#1f2933", "#7b8794", "#e4e7eb"
SOURCE, TARGET = "#9aa5b1", "#0b69a3"
METHODS = ("#0b69a3", "#de911d", "#57ae5b", "#a23f97", "#cf1124", "#4c63b6", "#5d4037")
DPI = 160
STYLE: dict[Any, Any] = {
    "font.family": FIRST,
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": LINES,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


def picture(draw: Callable[[Figure], None], width: float, height: float) -> bytes:
    """Draw on a figure of `width` x `height` inches and return it as PNG, without software version and time.

    Letters that DejaVu Sans lacks, such as Chinese ones, are drawn with fonts of this machine (:mod:`report.fonts`).
    The function `draw` is then called twice, because a text takes its fonts when it is created.
    """
    buffer = io.BytesIO()
    with style.context(["default", STYLE]):  # independent of the user's matplotlibrc
        figure = _drawn(draw, width, height)
        families = families_for({letter for text in figure.findobj(Text) for letter in text.get_text()})
        with rc_context({"font.family": families}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # families_for has logged it
            if families != [FIRST]:
                figure = _drawn(draw, width, height)
            figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _drawn(draw: Callable[[Figure], None], width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure)
    return figure
