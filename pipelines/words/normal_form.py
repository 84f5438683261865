"""The normal form in which words are compared.

A text is stripped of characters that can't be seen, then NFKC, Unicode case folding, and NFKC again, so that folding
cannot undo it. That is Unicode's NFKC_Casefold (The Unicode Standard, section 3.13; UAX 31, R5), except that a
zero-width space stays: it separates words in Thai, Lao and Khmer.

This module imports neither Polars nor Arrow, because the processes that cut Han runs must start fast.
"""

import re
import unicodedata

# The characters with the property Default_Ignorable_Code_Point, except the zero-width space U+200B: soft hyphen,
# joiners, direction marks, word joiner and byte-order mark, variation selectors, fillers of Hangul, tags, ...
# Unicode reserves these ranges, so that later versions add none outside them.
INVISIBLE = (
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200c-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_INVISIBLE = re.compile(INVISIBLE)


def visible_text(text: str) -> str:
    r"""Return a text without invisible characters; this comes first, because they keep letters and marks apart.

    >>> visible_text("co\u00adoperate")
    'cooperate'
    """
    return _INVISIBLE.sub("", text)


def compatible_text(text: str) -> str:
    """Return a text without differences between compatibility forms; its case stays."""
    return unicodedata.normalize("NFKC", text)


def normalise_text(text: str) -> str:
    """Return a text without invisible characters in the form in which words are compared.

    >>> normalise_text("Ｇｏｌｄｅｎ Straße")
    'golden strasse'
    """
    return unicodedata.normalize("NFKC", compatible_text(text).casefold())
