"""Ids and texts as tokens of formats that have separators but neither quotes nor escapes."""

import re
from urllib.parse import quote

from clicksight.neighbours.open_clip import MISSING

UNSAFE = re.compile(r"""[\s%"'\x00-\x20\x7f-\xa0\u2028\u2029\ufeff]""")


def token(text: str) -> str:
    """Return a text as one token: white space, quotes, control characters and ``%`` percent-encoded.

    `urllib.parse.unquote` returns the text. A text that pandas would read as missing has its first character encoded.
    """
    encoded = UNSAFE.sub(lambda found: quote(found[0], safe=""), text)
    return f"%{ord(text[0]):02X}{encoded[1:]}" if text in MISSING else encoded
