"""Text from outside in Markdown: names of files and categories hold what they like, and stay text.

Prefect's page renders HTML that stands in Markdown, so what breaks out of its place can be more than a broken line.
"""

import html
import re

PUNCTUATION = re.compile(r"[!-%'-/:;=?@\[-`{-~]")  # ASCII's, but & < > which have names
LINE_ENDS = re.compile(r"\r\n|[\n\v\f\r\x85\u2028\u2029]")
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def escape(text: str) -> str:
    """Return a text so that Markdown shows it as it is, in one line; a line end as ``\\n``, other controls alike."""
    return html.escape(PUNCTUATION.sub(r"\\\g<0>", _visible(text)), quote=False)


def code(text: str) -> str:
    """Return a text as code, in one line; a line end as ``\\n``, other controls alike."""
    text = _visible(text) or " "
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    # A space at each end is taken off again, unless there is nothing else: it keeps backticks and spaces apart.
    pad = " " if text.strip(" ") and (text[0] in "` " or text[-1] in "` ") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def cell(text: str) -> str:
    """Return Markdown of our own so that it is one cell of a table, without HTML."""
    return html.escape(LINE_ENDS.sub(" ", text), quote=False).replace("|", "\\|")


def _visible(text: str) -> str:
    return UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)
