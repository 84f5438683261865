"""Chooses fonts for the letters that the pictures' own font lacks, such as Chinese ones.

A picture's own font comes with matplotlib, so a picture with Latin, Greek and Cyrillic letters is the same on every
machine. Other letters are drawn with the machine's own fonts.
"""

import logging
import unicodedata
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.font_manager import FontEntry
from matplotlib.ft2font import FT2Font

from base.console import log

FIRST = "DejaVu Sans"
# Families with Chinese, Japanese and Korean letters, the first one that is installed is taken: on Linux (Debian's
# fonts-noto-cjk, fonts-wqy-microhei, fonts-wqy-zenhei, fonts-droid-fallback; Adobe's), macOS, Windows.
PREFERRED = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei",
    "Droid Sans Fallback", "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "SimHei",
)  # fmt: skip
INVISIBLE = ("C", "Z")  # Unicode's categories of controls, unassigned code points and spaces

_warned: set[str] = set()  # letters that were missing so far


def families_for(text: Collection[str]) -> list[str]:
    """Return the families that draw a text: DejaVu Sans, then installed ones for the letters that it lacks.

    The function logs one warning in a process if no installed font has a letter, with an advice what to install.

    Args:
        text: all letters of a picture.
    """
    letters = {letter for letter in text if unicodedata.category(letter)[0] not in INVISIBLE}
    if missing := letters - _found(_own_font(), letters):
        _hide_messages_on_weights()
        return [FIRST, *_families_with("".join(sorted(missing)))]
    return [FIRST]


@cache
def _own_font() -> FontEntry:
    entries = (entry for entry in font_manager.fontManager.ttflist if entry.name == FIRST and entry.weight == 400)
    return next(entry for entry in entries if entry.style == "normal")  # the oblique one has fewer letters


@cache
def _families_with(missing: str) -> tuple[str, ...]:
    """Return as many installed families as the missing letters need."""
    families, left = list[str](), set(missing)
    for entry in _installed():
        if not left:
            break
        if found := _found(entry, left):
            families.append(entry.name)
            left -= found
    if left:
        _warn_of_boxes(left)
    return tuple(families)


def _installed() -> Iterator[FontEntry]:
    """Yield a regular font of each family of this machine: the preferred ones first, the others by name.

    matplotlib keeps a list of fonts in a file, which may be older than the fonts, so new fonts are added here. Its own
    fonts are left out: they are for formulas, or draw each letter as the name of its script.
    """
    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    for path in sorted(set(font_manager.findSystemFonts()) - known):
        try:
            font_manager.fontManager.addfont(path)
        except Exception as error:  # FreeType's and fontTools' errors have no common class
            log.debug("%s: not usable as a font (%s)", path, error)
    own = Path(mpl.get_data_path())
    regular: dict[str, FontEntry] = {}
    for entry in font_manager.fontManager.ttflist:
        better = entry.name not in regular or _distance(entry) < _distance(regular[entry.name])
        if better and entry.style == "normal" and own not in Path(entry.fname).parents:
            regular[entry.name] = entry
    for name in (*PREFERRED, *sorted(regular.keys() - set(PREFERRED))):
        if name in regular:
            yield regular[name]


def _distance(entry: FontEntry) -> int:
    """Return how far a font's weight is from a regular one's."""
    weight = entry.weight if isinstance(entry.weight, int) else font_manager.weight_dict.get(entry.weight, 400)
    return abs(weight - 400)


def _found(entry: FontEntry, letters: Collection[str]) -> set[str]:
    """Return those of the letters that a font has; none if it can't be read or has pictures in place of outlines."""
    try:
        font = FT2Font(entry.fname, face_index=entry.index)
    except (OSError, RuntimeError):
        return set()
    return {letter for letter in letters if font.get_char_index(ord(letter))} if font.scalable else set()


def _warn_of_boxes(letters: Collection[str]) -> None:
    """Log letters that no font has, once in a process."""
    if not _warned:
        log.warning(
            "no installed font has these letters of a plot, which are drawn as boxes: %s; for Chinese, Japanese and "
            "Korean install one, such as Debian's and Ubuntu's package fonts-noto-cjk, and run the command again",
            "".join(sorted(letters)[:20]),
        )
    _warned.update(letters)


@cache
def _hide_messages_on_weights() -> None:
    """Hide matplotlib's messages that a family has no bold font: the regular one is then right."""
    logging.getLogger(font_manager.__name__).setLevel(logging.ERROR)
