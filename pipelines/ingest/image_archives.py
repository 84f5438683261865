"""List the files of a folder or an archive with the location of their bytes, and read them without unpacking to disk.

An archive (.tar, .tar.gz, .tgz, .zip) is listed as the folder that it unpacks to. Each of its files is listed with the
location of its bytes, so that any worker can read any file:

- in .tar, and for stored members of .zip: offset and length;
- for deflated members of .zip: the same; each member is inflated by itself;
- in .tar.gz: offset and length in the inflated stream. An index of points to start inflating from (one per MiB) is made
  while the archive is listed, once per process, and kept in memory; it takes about 3 % of the archive's size.

Names in archives are only compared, never opened as paths: links and names that lead out of an archive (absolute,
``..``) are refused with a reason of their own. :mod:`pipelines.ingest.file_names` decodes names.
"""

import base64
import binascii
import contextlib
import errno
import io
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, NamedTuple, cast

import indexed_gzip

from base.console import UserError
from base.raw_files import walk
from pipelines.ingest.decoding import BadImageError
from pipelines.ingest.file_names import readable, zip_names

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
GZIPPED = (".tar.gz", ".tgz")
MOST_BYTES = 1 << 28  # of one image's file; far above every real one, and still fits into a worker's memory
INDEX_SPACING = 1 << 20  # bytes of inflated stream between two points to start from
LONGEST_NAME = 4096  # bytes of a member's name, as Linux allows for paths; each folder in it takes some 500 bytes
SHOWN = 100  # characters shown of a longer name
TAR_BLOCK = 512
# Errors that the libraries raise for damaged archives; indexed_gzip's errors are OSError.
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, ValueError)
# Errors of the operating system for which the file itself is at fault; too many open files, for example, are not.
UNREADABLE = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP, errno.EIO, errno.ESTALE)
ABSOLUTE = re.compile(r"/|[A-Za-z]:/")
ZIP_LOCAL_HEADER = struct.Struct("<4s22xHH")  # magic, lengths of name and extra field; then the member's bytes

LEADS_OUT, TOO_LONG = "name leads out of the archive", "name too long"
OUT_OF_PLACE = (LEADS_OUT, TOO_LONG)  # members with these reasons are listed at the top, not in their folders

Packing = Literal["file", "base64", "stored", "deflated", "gzipped"]


class Place(NamedTuple):
    """The location of a file's bytes.

    Attributes:
        file: path below the raw folder of the file itself, or of the archive or table that holds it.
        row: 1-based line of a table or member of an archive; 1 for a file of its own.
        name: the name shown to people: a file's name, or a member's path in the archive.
        packing: how to read it.
        offset: of the packed bytes, from the start of ``file`` (gzipped: of the inflated stream).
        length: of the packed bytes.
        size: of the unpacked file; -1 if it is unknown before reading.
    """

    file: str
    row: int = 1
    name: str = ""
    packing: Packing = "file"
    offset: int = 0
    length: int = -1
    size: int = -1


class Listed(NamedTuple):
    """A file of a folder or archive.

    Attributes:
        name: without its folders; in NFC, see :func:`pipelines.ingest.file_names.readable`.
        place: the location of its bytes.
        reason: why it must not be read; empty if it may be read.
    """

    name: str
    place: Place
    reason: str = ""


@dataclass
class Folder:
    """A folder's files and folders by name; hidden ones (``.DS_Store``) are not listed.

    Attributes:
        name: without the folders above, in NFC; an archive's without its suffix.
        files: in name order.
        folders: in name order.
    """

    name: str
    files: list[Listed] = field(default_factory=list)
    folders: dict[str, "Folder"] = field(default_factory=dict)

    def children(self) -> list["Listed | Folder"]:
        """Return files and folders together, in name order."""
        return sorted([*self.files, *self.folders.values()], key=lambda child: child.name)

    def sort(self) -> None:
        """Sort everything below by name; files of the same name in the archive's order, or by their names on disk."""
        folders = [self]
        while folders:
            folder = folders.pop()
            folder.files.sort(key=lambda listed: (listed.name, listed.place.file, listed.place.row))
            folder.folders = dict(sorted(folder.folders.items()))
            folders += folder.folders.values()


def is_archive(name: str) -> bool:
    """Return True if a file's name is that of an archive that can be read."""
    return name.lower().endswith(ARCHIVES)


def list_folder(raw: Path, path: str, encoding: str | None = None) -> Folder:
    """List a folder or archive, and every archive in it as the folder that it unpacks to.

    A folder that several names lead to is listed once (:func:`base.raw_files.walk`); its other names are refused.

    Args:
        raw: the raw data set's folder.
        path: relative to ``raw``, with forward slashes.
        encoding: of names that are not UTF-8.

    Raises:
        UserError: an archive is damaged.
    """
    if is_archive(path) and (raw / path).is_file():
        return _list_archive(raw, path, encoding)
    root = Folder(path.rpartition("/")[2])
    folders = {raw / path: (root, path)}
    for found, kind in walk(raw / path):
        parent, above = folders[found.parent]
        name, below = readable(found.name, encoding), f"{above}/{found.name}"
        if kind == "folder":
            folders[found] = (parent.folders.setdefault(name, Folder(name)), below)
        elif is_archive(name) and kind in ("file", "broken"):
            parent.folders[found.name] = _list_archive(raw, below, encoding)
        else:
            reason = {"again": "link to a folder listed already", "odd": "neither file nor folder"}.get(kind, "")
            parent.files.append(Listed(name, Place(below, name=name), reason))
    root.sort()
    return root


def _list_archive(raw: Path, path: str, encoding: str | None) -> Folder:
    file_name = readable(path.rpartition("/")[2], encoding)
    suffix = next(suffix for suffix in ARCHIVES if file_name.lower().endswith(suffix))
    root = Folder(file_name[: -len(suffix)])
    is_zip, is_gzipped = suffix == ".zip", suffix in GZIPPED
    members = (
        _zip_members(raw / path, path, encoding) if is_zip else _tar_members(raw / path, path, is_gzipped, encoding)
    )
    try:
        for place, reason in members:
            _add_member(root, place, reason)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{raw / path}: the name of a member is marked as UTF-8 but isn't: {error.object!r}; pack it again"
        ) from None
    except DAMAGED as error:
        raise UserError(f"{raw / path}: not a whole {suffix} archive ({error}); copy or download it again") from None
    root.sort()
    return root


def _add_member(root: Folder, place: Place, reason: str) -> None:
    parts = [part for part in place.name.split("/") if part not in ("", ".")]
    if ABSOLUTE.match(place.name) or ".." in parts:
        root.files.append(Listed(place.name, place, LEADS_OUT))
        return
    if not parts or any(part.startswith(".") for part in parts):
        return
    if len(os.fsencode(place.name)) > LONGEST_NAME:
        root.files.append(Listed(parts[-1], place._replace(name=f"{place.name[:SHOWN]}…"), TOO_LONG))
        return
    folder = root
    for part in parts[:-1]:
        folder = folder.folders.setdefault(part, Folder(part))
    folder.files.append(Listed(parts[-1], place, reason))


def _tar_members(archive: Path, path: str, gzipped: bool, encoding: str | None) -> Iterator[tuple[Place, str]]:
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(_open_gzipped(archive) if gzipped else archive.open("rb"))
        tar = stack.enter_context(tarfile.open(fileobj=stream, mode="r:"))
        for row, member in enumerate(tar, start=1):
            if member.isdir():
                continue
            reason = (
                "link in an archive" if member.issym() or member.islnk()
                else "neither file nor folder" if not member.isfile() or member.issparse()
                else ""
            )  # fmt: skip
            packing: Packing = "gzipped" if gzipped else "stored"
            name = readable(member.name, encoding)
            yield Place(path, row, name, packing, member.offset_data, member.size, member.size), reason
            vars(tar)["members"] = []  # otherwise it keeps a kilobyte of every member
        stream.seek(tar.offset)
        if stream.read(TAR_BLOCK) != bytes(TAR_BLOCK):  # tarfile accepts an archive that was cut before this block
            raise tarfile.ReadError("no end mark")


def _zip_members(archive: Path, path: str, encoding: str | None) -> Iterator[tuple[Place, str]]:
    with zipfile.ZipFile(archive) as contents, archive.open("rb") as stream:
        members = contents.infolist()
        names = zip_names(members, encoding)
        for row, (name, member) in enumerate(zip(names, members, strict=True), start=1):
            if name.endswith("/"):
                continue
            reason = (
                "link in an archive" if stat.S_ISLNK(member.external_attr >> 16)
                else "encrypted" if member.flag_bits & 1
                else "" if member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
                else "unsupported compression"
            )  # fmt: skip
            stream.seek(member.header_offset)
            magic, name_length, extra_length = ZIP_LOCAL_HEADER.unpack(stream.read(ZIP_LOCAL_HEADER.size))
            if magic != b"PK\x03\x04":
                raise zipfile.BadZipFile(f"no member where {member.filename!r} should be")
            packing: Packing = "stored" if member.compress_type == zipfile.ZIP_STORED else "deflated"
            offset = member.header_offset + ZIP_LOCAL_HEADER.size + name_length + extra_length
            yield Place(path, row, name, packing, offset, member.compress_size, member.file_size), reason


def _open_gzipped(archive: Path) -> BinaryIO:
    """Open the inflated stream of a .gz file so that it can be read at any offset."""
    status = archive.stat()
    index = _index_of(str(archive), status.st_size, status.st_mtime_ns)
    stream = indexed_gzip.IndexedGzipFile(str(archive), spacing=INDEX_SPACING)
    stream.import_index(fileobj=io.BytesIO(index))
    return cast(BinaryIO, stream)


@lru_cache(maxsize=16)
def _index_of(archive: str, size: int, changed_ns: int) -> bytes:
    """Return the index of points where inflating a .gz file may start; it is made again when the file has changed."""
    buffer = io.BytesIO()
    with indexed_gzip.IndexedGzipFile(archive, spacing=INDEX_SPACING) as stream:
        stream.build_full_index()
        stream.export_index(fileobj=buffer)
    return buffer.getvalue()


class PlaceReader:
    """Reads files at their places; keeps tables and archives open in between. For one thread only.

    Args:
        raw: the raw data set's folder.
    """

    def __init__(self, raw: Path) -> None:
        self.raw = raw
        self._stack = contextlib.ExitStack()
        self._streams: dict[str, BinaryIO] = {}

    def __enter__(self) -> "PlaceReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def read(self, place: Place) -> bytes:
        """Return a file's unpacked bytes; for base64 its text, see :func:`decode_base64`.

        Raises:
            BadImageError: it is too large, unreadable (broken link, no permission), or not as its archive describes it.
        """
        if place.packing == "file":
            try:
                with (self.raw / place.file).open("rb", buffering=0) as file:
                    if os.fstat(file.fileno()).st_size > MOST_BYTES:
                        raise BadImageError("too many bytes")
                    return file.readall()
            except OSError as error:
                if error.errno not in UNREADABLE:
                    raise
                raise BadImageError("cannot be read") from error
        if max(place.length, place.size) > MOST_BYTES:
            raise BadImageError("too many bytes")
        stream = self._stream(place)
        stream.seek(place.offset)
        data = stream.read(place.length)
        if place.packing == "deflated":
            data = _inflate(data, place.size)
        if place.size >= 0 and len(data) != place.size:
            raise BadImageError("damaged in the archive")
        return data

    def _stream(self, place: Place) -> BinaryIO:
        if place.file not in self._streams:
            path = self.raw / place.file
            opened = _open_gzipped(path) if place.packing == "gzipped" else path.open("rb")
            self._streams[place.file] = self._stack.enter_context(opened)
        return self._streams[place.file]


def _inflate(data: bytes, size: int) -> bytes:
    """Inflate a member, but not beyond the size that the archive states."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
    except zlib.error:
        raise BadImageError("damaged in the archive") from None


def decode_base64(text: bytes) -> bytes:
    """Return the bytes that base64 text encodes.

    Raises:
        BadImageError: it is not base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise BadImageError("not base64") from None
