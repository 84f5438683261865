"""Open the files of a click log that are packed: gzip, bzip2, xz, zstd, lz4, and the members of zip and tar archives.

A container is known by its first bytes, never by its name. Containers may be nested, as in .tar.gz, or an archive of
gzipped logs. Nothing is unpacked to disk, and memory holds only what is being read; so an archive is read member by
member in its order. Hidden members and macOS's ``__MACOSX/`` are no logs, as hidden files of a folder are none.
"""

import bz2
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from base.console import UserError
from base.stores import Location

# First bytes of what can be read. bzip2's are followed by a digit and by the magic of a block or of the stream's end.
GZIP, XZ, LZ4, PARQUET = b"\x1f\x8b", b"\xfd7zXZ\x00", b"\x04\x22\x4d\x18", b"PAR1"
ZSTD = (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + n]) + b"\x2a\x4d\x18" for n in range(16)))  # the others: skippable frames
BZIP2 = (b"1AY&SY", b"\x17rE8P\x90")
ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
TAR_HEADER = 512
MOST_NESTED = 4
# First bytes of what is refused by its name; none of them can begin a text.
REFUSED = {
    b"\xff\x06\x00\x00sNaPpY": "snappy",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "rar",
    b"LZIP\x01": "lzip",
    b"\x89LZO\x00": "lzop",
    b"\x1f\x9d": "compress (.Z)",
    b"\x02\x21\x4c\x18": "an old form of lz4",
    b"\x5d\x00\x00": "lzma (older than xz)",
    b"Obj\x01": "Avro",
    b"SEQ\x06": "a Hadoop sequence file",
    b"ARROW1\x00\x00": "Arrow IPC",
    b"PARE": "encrypted Parquet",
    b"SQLite format 3\x00": "SQLite",
    b"\x89HDF\r\n": "HDF5",
    b"\x93NUMPY": "NumPy",
    b"\xd0\xcf\x11\xe0": "an old Office document",
    b"\x89PNG\r\n": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF-": "PDF",
}
TEXTUAL = (b"PARE", b"GIF8", b"%PDF-")  # of these an image id could consist too
OFFICE = "[Content_Types].xml"  # a member of every Office document, which is a zip archive


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most so many bytes; none at the end."""
        ...


class Ahead:
    """A stream whose first bytes can be looked at before they are read."""

    closed = False

    def __init__(self, stream: Readable) -> None:
        self.stream = stream
        self.ahead = b""

    def peek(self, size: int) -> bytes:
        """Return the next bytes without reading them: so many, or all that are left."""
        while len(self.ahead) < size and (more := self.stream.read(size - len(self.ahead))):
            self.ahead += more
        return self.ahead[:size]

    def read(self, size: int = -1) -> bytes:
        """Return at most so many bytes; none at the end."""
        if not self.ahead:
            return self.stream.read(size)
        end = len(self.ahead) if size < 0 else size
        taken, self.ahead = self.ahead[:end], self.ahead[end:]
        return taken + self.stream.read() if size < 0 else taken

    def readable(self) -> bool:
        """Return True, as Arrow asks."""
        return True

    def close(self) -> None:
        """Do nothing: who opened the stream closes it."""


class Document(NamedTuple):
    """A text that was found in a file.

    Attributes:
        name: the file's name in the quarantine; for a member of an archive with its path in the archive.
        stream: the unpacked text.
    """

    name: str
    stream: Ahead


def is_packed(head: bytes) -> bool:
    """Return whether a file with these first 512 bytes is a container that can be read."""
    return bool(
        head.startswith((GZIP, XZ, LZ4, *ZSTD, *ZIP))
        or (head[:3] == b"BZh" and head[3:4].isdigit() and head[4:10] in BZIP2)
        or _is_tar(head)
    )


def _is_tar(head: bytes) -> bool:
    """Return whether the first 512 bytes are a header of tar, by its checksum: the oldest have no magic."""
    if len(head) < TAR_HEADER:
        return False
    try:
        tarfile.TarInfo.frombuf(head[:TAR_HEADER], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def refused_kind(head: bytes) -> str:
    """Return what kind of file with these first bytes can't be read; an empty text if none is known."""
    return next((kind for magic, kind in REFUSED.items() if head.startswith(magic) and magic not in TEXTUAL), "")


def documents(path: Location, name: str) -> Iterator[Document]:
    """Yield the text of a file, or of each member of an archive; each must be read before the next.

    Args:
        path: the file.
        name: its name in the quarantine.

    Raises:
        UserError: the file is damaged, or holds something that can't be read. Reading a document's stream raises the
            libraries' own errors, unless that is done within :func:`unpacking`.
    """
    with path.open("rb") as file, unpacking(path):
        yield from _documents(Ahead(file), file, path, name, 0)


@contextmanager
def unpacking(path: Location) -> Iterator[None]:
    """Turn the errors of the libraries that unpack into a :class:`UserError` that names the file."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: damaged or cut short ({error}); fetch it again") from error
    except OSError as error:  # of bz2 and Arrow; the system's own name a file or have a number
        if error.errno is not None:
            raise
        raise UserError(f"{path}: damaged or cut short ({error}); fetch it again") from error
    except (NotImplementedError, RuntimeError) as error:  # of zipfile: unknown compression, a password
        raise UserError(f"{path}: cannot be unpacked here ({error}); unpack it first") from error


def _documents(stream: Ahead, file: Any, path: Location, name: str, depth: int) -> Iterator[Document]:
    """Yield the texts in a stream; ``file`` is the same if it can be sought in, else None."""
    head = stream.peek(TAR_HEADER)
    if depth > MOST_NESTED:
        raise UserError(f"{path}: more than {MOST_NESTED} containers within each other; unpack it first")
    if head.startswith(PARQUET) and depth:
        raise UserError(f"{path}: holds a Parquet file; unpack it first")
    if not is_packed(head):
        yield Document(name, stream)
        return
    if head.startswith(ZIP):
        if file is None:
            raise UserError(f"{path}: holds a zip archive; unpack it first")
        yield from _zip_members(file, path, name, depth)
        return
    if _is_tar(head):
        yield from _tar_members(stream, path, name, depth)
        return
    yield from _documents(Ahead(_unpacked(stream, head)), None, path, name, depth + 1)


def _unpacked(stream: Any, head: bytes) -> Readable:
    """Return the unpacked stream of one that begins with these bytes and can only be read."""
    if head.startswith(GZIP):
        return gzip.open(stream)
    if head.startswith(XZ):
        return lzma.open(stream)
    if head.startswith(b"BZh"):
        return bz2.open(stream)
    return pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "lz4" if head.startswith(LZ4) else "zstd")


def _zip_members(file: Any, path: Location, name: str, depth: int) -> Iterator[Document]:
    with zipfile.ZipFile(file) as archive:
        if OFFICE in archive.namelist():
            raise UserError(f"{path}: is an Office document; save the sheet as text and name that file")
        for member in archive.infolist():
            if not member.is_dir() and _is_visible(member.filename):
                with archive.open(member) as content:
                    yield from _documents(Ahead(content), None, path, f"{name}/{member.filename}", depth + 1)


def _tar_members(stream: Any, path: Location, name: str, depth: int) -> Iterator[Document]:
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() and _is_visible(member.name) else None
            if content is not None:
                yield from _documents(Ahead(content), None, path, f"{name}/{member.name}", depth + 1)


def _is_visible(name: str) -> bool:
    """Return whether a member's path has no hidden part and is not macOS's own."""
    parts = [part for part in PurePosixPath(name).parts if part not in (".", "..", "/")]
    return bool(parts) and not any(part.startswith(".") or part == "__MACOSX" for part in parts)
