"""Text in other encodings than UTF-8: read it as UTF-8, and guess what an unknown text is written in."""

import codecs
from collections.abc import Iterable, Iterator

from charset_normalizer import from_bytes

MARKS = {  # byte-order marks; UTF-32's begins with that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
GUESSED_FROM = 1 << 14  # bytes; more make the guess slower, not better


def _keep_bytes(error: UnicodeError) -> tuple[str, int]:
    """Replace bytes that can't be decoded by what becomes the same bytes, or their names, in a text that is not UTF-8.

    As with ``surrogateescape`` a byte from 0x80 on becomes a lone surrogate. Bytes below that would become valid text,
    even line ends, so they are written out after a byte 0xff.
    """
    if not isinstance(error, UnicodeDecodeError):
        raise error
    bad = error.object[error.start : error.end]
    if min(bad) >= 0x80:
        return "".join(chr(0xDC00 + byte) for byte in bad), error.end
    return "\udcff" + "".join(f"\\x{byte:02x}" for byte in bad), error.end


codecs.register_error("clicksight.bytes", _keep_bytes)


def as_utf8(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Return text as UTF-8; what can't be decoded stays bytes that are not UTF-8.

    Args:
        chunks: the text, cut anywhere.
        encoding: the name of its encoding.
    """
    if encoding == "utf-8":
        yield from chunks
        return
    decoder = codecs.getincrementaldecoder(encoding)("clicksight.bytes")
    for chunk in chunks:
        yield decoder.decode(chunk).encode("utf-8", "surrogateescape")
    yield decoder.decode(b"", True).encode("utf-8", "surrogateescape")


def guessed_encoding(head: bytes) -> str:
    """Return the encoding that a text is probably written in; an empty text for UTF-8 and if there is no guess."""
    for mark, name in MARKS.items():
        if head.startswith(mark):
            return name
    even, odd = head[::2].count(0), head[1::2].count(0)
    if even + odd > len(head) / 8 and (even == 0 or odd == 0):
        return "utf-16-le" if odd else "utf-16-be"
    best = from_bytes(head[:GUESSED_FROM].rpartition(b"\n")[0] or head).best()
    return "" if best is None or best.encoding in ("utf_8", "ascii") else best.encoding
