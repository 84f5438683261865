"""Read the names of files, in folders and archives, as text.

Names are bytes on disk and in archives. They are taken for UTF-8 or, where they are not UTF-8 without doubt, for the
encoding that the user states. A file whose name is neither is quarantined, and the name is shown with ``\\xNN`` for its
bytes. In Python a byte that can't be decoded is a lone surrogate (PEP 383), so that any name can be kept as a text.

A member of a .zip states whether its name is UTF-8. If it doesn't, its encoding is that of the machine which packed it:
code page 437 by the letter of the format, but in practice GBK, Shift-JIS, ... or unmarked UTF-8 (as from a Mac). Such a
name is taken for UTF-8 only if the archive's names leave no doubt; see :func:`is_surely_utf8`.

Reference: PKWARE's APPNOTE.TXT 4.4.4 (bit 11), 4.4.17 (slashes), 4.6.9 (Unicode path), and appendix D.
"""

import contextlib
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator

from pipelines.ingest.image_ids import composed

UTF8_FLAG = 0x800
UNICODE_PATH = 0x7075  # the extra field that has the name in UTF-8
# Encodings by which a warning shows how a name would read.
LIKELY = ("gb18030", "big5", "shift_jis", "euc_kr", "cp1251", "cp437")
# UTF-8 of which every byte pair is also a character of GB 2312, Big5 and EUC-KR: 猫 in GBK is è in UTF-8.
DOUBTFUL = re.compile(rb"(?:[\x00-\x7f]|[\xc2-\xdf][\xa1-\xbf])*")


def is_text(name: str) -> bool:
    """Return True if a file's name is Unicode; on POSIX it may be any bytes."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def escape(name: str) -> str:
    r"""Return a file's name as text; bytes that could not be decoded become ``\xNN``."""
    return re.sub("[\udc80-\udcff]", lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", name)


def as_bytes(name: str) -> bytes:
    """Return the bytes of a file's name."""
    return name.encode("utf-8", "surrogateescape")


def readable(name: str, encoding: str | None) -> str:
    """Return a file's name in NFC.

    Args:
        name: as the operating system or an archive gives it.
        encoding: of a name that is not UTF-8, or DOUBTFUL; if it is None or does not fit, the name stays as it is.
    """
    if encoding is not None and not name.isascii():
        raw = as_bytes(name)
        with contextlib.suppress(UnicodeDecodeError):
            name = raw.decode(encoding) if not is_text(name) or DOUBTFUL.fullmatch(raw) else name
    return composed(name)


def zip_names(members: Iterable[zipfile.ZipInfo], encoding: str | None) -> Iterator[str]:
    """Yield the names of a .zip archive's members, in NFC, with forward slashes.

    A backslash is a separator as well: the format forbids it, but some programs of Windows write it. It is replaced
    only in decoded names, because it is the second byte of some characters in Shift-JIS and Big5.

    Args:
        members: all of the archive, in any order.
        encoding: of names that are not marked as UTF-8 and may be something else.
    """
    members = list(members)
    unmarked = [_raw_name(member) for member in members if not member.flag_bits & UTF8_FLAG]
    is_utf8 = is_surely_utf8(unmarked)
    for member in members:
        raw = _raw_name(member)
        if member.flag_bits & UTF8_FLAG or is_utf8:
            name = composed(raw.decode("utf-8"))
        else:
            name = _unicode_path(member) or readable(raw.decode("ascii", "surrogateescape"), encoding)
        yield name.replace("\\", "/") if is_text(name) else name


def is_surely_utf8(names: Iterable[bytes]) -> bool:
    """Return True if an archive's names are UTF-8, and at least one of them is hardly anything else.

    Names in another encoding are rarely all UTF-8 by chance, except short ones of two-byte characters (DOUBTFUL).
    """
    names = list(names)
    try:
        for name in names:
            name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(name.isascii() for name in names) or not all(map(DOUBTFUL.fullmatch, names))


def _raw_name(member: zipfile.ZipInfo) -> bytes:
    """Return the bytes of a member's name; like zipfile and other programs, up to a NUL."""
    return member.orig_filename.encode("utf-8" if member.flag_bits & UTF8_FLAG else "cp437").partition(b"\0")[0]


def _unicode_path(member: zipfile.ZipInfo) -> str:
    """Return the name in a member's extra field for UTF-8 names; empty if it has none, or one of another name."""
    extra = member.extra
    while len(extra) >= 4:
        kind, length = (int.from_bytes(extra[start : start + 2], "little") for start in (0, 2))
        content, extra = extra[4 : 4 + length], extra[4 + length :]
        checksum = content[1:5]  # after the version, 1
        if kind == UNICODE_PATH and checksum == zlib.crc32(_raw_name(member)).to_bytes(4, "little"):
            try:
                return composed(content[5:].decode("utf-8"))
            except UnicodeDecodeError:
                return ""
    return ""


def likely_readings(name: str) -> str:
    """Return how a name that can't be decoded reads in likely encodings, as in ``猫.jpg (gb18030)``."""
    readings: dict[str, str] = {}
    for encoding in LIKELY:
        try:
            text = as_bytes(name).decode(encoding)
        except UnicodeDecodeError:
            continue
        if text.isprintable():
            readings.setdefault(text, encoding)
    return ", ".join(f"{text} ({encoding})" for text, encoding in readings.items())
