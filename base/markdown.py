"""Escapes text from outside for Markdown: names of files and categories may hold any characters.

Prefect's page renders HTML inside Markdown, so a name that is not escaped can do more than break a line.
"""

import html
import re

PUNCTUATION = re.compile(r"[!-%'-/:;=?@\[-`{-~]")  # of ASCII, without & < > which have HTML names
LINE_ENDS = re.compile(r"\r\n|[\n\v\f\r\x85\u2028\u2029]")
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def escape(text: str) -> str:
    """Escape a text so that Markdown shows it unchanged, in one line; line ends and controls are shown as ``\\n``."""
    return html.escape(PUNCTUATION.sub(r"\\\g<0>", _visible(text)), quote=False)


def code(text: str) -> str:
    """Return a text as Markdown code, in one line; line ends and controls are shown as ``\\n``."""
    text = _visible(text) or " "
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    # Markdown removes one space at each end, unless the code is only spaces: the padding protects backticks and spaces.
    pad = " " if text.strip(" ") and (text[0] in "` " or text[-1] in "` ") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def cell(text: str) -> str:
    """Return Markdown that this project wrote as one table cell without HTML."""
    return html.escape(LINE_ENDS.sub(" ", text), quote=False).replace("|", "\\|")


def _visible(text: str) -> str:
    return UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)
