"""Escapes texts from users' data for a terminal, where control characters move the cursor, recolour or hide lines."""

import unicodedata

BREAKS = "\u2028\u2029"  # line and paragraph separators, at which some viewers break lines
MARKS = "\u200e\u200f\u061c"  # invisible letters with a direction
BIDIRECTIONAL = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def printable(text: str, keep: str = "") -> str:
    r"""Return a text with its control characters escaped, as in ``\x1b``, ``\n`` and ``\u202e``.

    The function escapes C0 and C1 controls, DEL, characters that change the direction of text, line separators and lone
    surrogates (from file names that are not UTF-8).

    Args:
        text: any text.
        keep: control characters that stay, such as this project's own line breaks.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter in keep or _is_harmless(letter) else _escaped(letter) for letter in text)


def _is_harmless(letter: str) -> bool:
    return (
        unicodedata.category(letter) not in ("Cc", "Cs")
        and unicodedata.bidirectional(letter) not in BIDIRECTIONAL
        and letter not in BREAKS + MARKS
    )


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
