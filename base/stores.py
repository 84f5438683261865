"""Paths in object stores, ``s3://BUCKET/KEY`` and ``gs://BUCKET/KEY``, beside the paths of this machine.

A :class:`StorePath` has those methods of :class:`pathlib.Path` that the click-feature jobs use, so a job doesn't ask
where its files are. Arrow's own clients do the work: Arrow is installed anyway, it speaks to both stores, every Beam
runner's workers have it, and it gives up after some seconds. (Beam's file systems would need boto3 and Google's
library, retry a request for minutes, and can't open what Arrow reads in pieces; fsspec needs a package for each store.)

Credentials come from the environment or from the files that the store's own tools write, where the client looks them
up in each process. They are in no path, message or pickled object. ``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL``
names another server than Amazon's, ``CLOUD_STORAGE_EMULATOR_ENDPOINT`` another one than Google's.
"""

import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from glob import has_magic
from pathlib import Path
from typing import IO, Any, TypeAlias, overload
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from base.console import UserError

SCHEMES = ("s3", "gs")
ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
ATTEMPTS = 4  # of a request before it is an error: some 4 s if the server refuses, 10 s if it is silent
CONNECT_S = 5
GCS_RETRY_S = 20
CHUNK = 1 << 20
# Codes of Arrow's messages, in the words of Amazon's client and of Google's.
NO_BUCKET = ("NO_SUCH_BUCKET",)
NO_ACCESS = (
    "ACCESS_DENIED",
    "INVALID_ACCESS_KEY_ID",
    "INVALID_CLIENT_TOKEN_ID",
    "INVALID_SIGNATURE",
    "MISSING_AUTHENTICATION_TOKEN",
    "PERMISSION_DENIED",
    "REQUEST_EXPIRED",
    "SIGNATURE_DOES_NOT_MATCH",
    "UNAUTHENTICATED",
    "UNRECOGNIZED_CLIENT",
)
NO_ANSWER = ("NETWORK_CONNECTION", "UNAVAILABLE", "DEADLINE_EXCEEDED")
CODE = re.compile(r"AWS Error ([A-Z_]+)|google::cloud::Status\(([A-Z_]+)|error code ([A-Z_]+)")
STATUS = re.compile(r"HTTP status (\d+)")
SETTINGS = {
    "s3": ("AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION (or AWS_PROFILE)", "AWS_ENDPOINT_URL"),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUD_STORAGE_EMULATOR_ENDPOINT"),
}


@dataclass(frozen=True, order=True)
class StorePath:
    """An object, or a folder of objects, in a store.

    Attributes:
        scheme: ``s3`` or ``gs``.
        key: ``BUCKET/KEY``, without a slash at its end.
    """

    scheme: str
    key: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.key}"

    def __truediv__(self, name: str) -> "StorePath":
        return StorePath(self.scheme, f"{self.key}/{name}")

    @property
    def name(self) -> str:
        """The last part."""
        return self.key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The last part without its ending."""
        return Path(self.name).stem

    @property
    def suffix(self) -> str:
        """The last part's ending, as in ``.parquet``."""
        return Path(self.name).suffix

    @property
    def parent(self) -> "StorePath":
        """The folder that holds this object."""
        return StorePath(self.scheme, self.key.rpartition("/")[0])

    def with_name(self, name: str) -> "StorePath":
        """Return the path of another object beside this one."""
        return self.parent / name

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: a store has no folders but in the names of its objects."""

    def exists(self) -> bool:
        """Return True if there is such an object, or one below this name."""
        return self._look().type != pafs.FileType.NotFound

    def is_file(self) -> bool:
        """Return True if there is such an object."""
        return self._look().type == pafs.FileType.File

    def is_dir(self) -> bool:
        """Return True if there is an object below this name."""
        return self._look().type == pafs.FileType.Directory

    def size(self) -> int:
        """Return the object's bytes."""
        return int(self._look().size or 0)

    def iterdir(self) -> "list[StorePath]":
        """Return the objects and folders directly below this name, sorted; none if there are none."""
        return [path for path, _ in self._below(recursive=False)]

    def objects(self) -> "list[tuple[StorePath, int]]":
        """Return all objects below this name with their bytes, sorted; none if there are none."""
        return [(path, size) for path, size in self._below(recursive=True) if size is not None]

    def glob(self, pattern: str) -> "list[StorePath]":
        """Return the objects and folders directly below this name whose names match, sorted."""
        return [path for path in self.iterdir() if fnmatchcase(path.name, pattern)]

    def open(self, mode: str = "rb") -> IO[Any]:
        """Open the object for reading bytes, ``rb``, or UTF-8 text, ``r``.

        Raises:
            FileNotFoundError: there is no such object.
            UserError: the store refuses or doesn't answer.
        """
        with _asking(self):
            stream = io.BufferedReader(_Raw(self, filesystem(self.scheme).open_input_file(self.key)), CHUNK)
        return stream if "b" in mode else io.TextIOWrapper(stream, encoding="utf-8")

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the object's text."""
        with self.open("rb") as stream:
            return str(stream.read().decode(encoding))

    def unlink(self) -> None:
        """Delete the object."""
        with _asking(self):
            filesystem(self.scheme).delete_file(self.key)

    def remove_all(self) -> None:
        """Delete all objects below this name. (Arrow leaves an empty object ``FOLDER/`` in the folder above.)"""
        with _asking(self):
            filesystem(self.scheme).delete_dir(self.key)

    def put(self, source: Path) -> None:
        """Write a local file's bytes as the object: it appears whole or not at all, and replaces an older one.

        A small file is a single request.
        """
        with _asking(self), source.open("rb") as file, filesystem(self.scheme).open_output_stream(self.key) as target:
            shutil.copyfileobj(file, target, CHUNK)

    def put_text(self, text: str) -> None:
        """Write a short text as the object, in a single request."""
        with _asking(self), filesystem(self.scheme).open_output_stream(self.key) as target:
            target.write(text.encode())

    def _look(self) -> pafs.FileInfo:
        with _asking(self):
            return filesystem(self.scheme).get_file_info(self.key)

    def _below(self, recursive: bool) -> "list[tuple[StorePath, int | None]]":
        """Return (path, bytes) below this name; folders have None."""
        try:
            with _asking(self):
                found = filesystem(self.scheme).get_file_info(pafs.FileSelector(self.key, recursive=recursive))
        except FileNotFoundError:  # to allow it would also hide that there is no such bucket
            return []
        return sorted(
            (StorePath(self.scheme, entry.path), entry.size if entry.type == pafs.FileType.File else None)
            for entry in found
        )


Location: TypeAlias = Path | StorePath


def is_address(text: str | Location) -> bool:
    """Return True for the text of a :class:`StorePath`, or of an address of another kind."""
    return isinstance(text, StorePath) or (isinstance(text, str) and ADDRESS.match(text) is not None)


def location(text: str | Location) -> Location:
    """Return the path that a text names: in a store, or else on this machine.

    Raises:
        UserError: it is an address that can't be used: of another kind, without a bucket, or with credentials in it,
            which the message doesn't repeat.
    """
    if not isinstance(text, str):
        return text
    scheme = ADDRESS.match(text)
    if scheme is None:
        return Path(text)
    bucket, _, key = text[scheme.end() :].partition("/")
    if "@" in bucket or ":" in bucket:
        raise UserError(
            f"{scheme[0]}...: the address has credentials or a port in it, which others could read; set "
            f"{' and '.join(SETTINGS.get(scheme[1], SETTINGS['s3']))} in the environment instead"
        )
    if scheme[1] not in SCHEMES:
        raise UserError(
            f"{text}: can't be read or written here; use {' or '.join(f'{s}://' for s in SCHEMES)} or a path"
        )
    if not bucket:
        raise UserError(f"{text}: names no bucket; expected {scheme[0]}BUCKET/KEY")
    return StorePath(scheme[1], f"{bucket}/{key}".rstrip("/"))


@lru_cache
def filesystem(scheme: str) -> pafs.FileSystem:
    """Return this process's client of a store; its threads share it."""
    if scheme == "gs":
        other = os.environ.get("CLOUD_STORAGE_EMULATOR_ENDPOINT", "")
        server = urlsplit(other)
        options = {"scheme": server.scheme, "endpoint_override": server.netloc, "anonymous": True} if other else {}
        return pafs.GcsFileSystem(retry_time_limit=timedelta(seconds=GCS_RETRY_S), **options)
    server = urlsplit(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "https://")
    return pafs.S3FileSystem(
        scheme=server.scheme,
        endpoint_override=server.netloc or None,
        connect_timeout=CONNECT_S,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        allow_delayed_open=True,  # a small object is then one request
    )


@contextmanager
def _asking(path: StorePath) -> Iterator[None]:
    """Turn the client's errors into a :class:`UserError` that names the path; the client's own text is not repeated.

    Raises:
        FileNotFoundError: there is no such object.
    """
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such object or folder") from None
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: {_reason(path, str(error))}") from None


def _reason(path: StorePath, text: str) -> str:
    code = next(filter(None, found.groups()), "") if (found := CODE.search(text)) else ""
    status = found[1] if (found := STATUS.search(text)) else ""
    credentials, endpoint = SETTINGS[path.scheme]
    bucket = path.key.partition("/")[0]
    if code in NO_BUCKET:
        return f"the store has no bucket {bucket}; create it, or check its name"
    if code in NO_ACCESS or status in ("401", "403"):
        return f"the store gives no access ({code or status}); check {credentials} in the environment, and their rights"
    if code in NO_ANSWER:
        return f"the store doesn't answer ({code}); check {endpoint} in the environment, and the network"
    return f"the store reports {code or 'an error'}{f' (HTTP status {status})' if status else ''}; try again later"


class _Raw(io.RawIOBase):
    """An object's bytes, whose errors name the object."""

    def __init__(self, path: StorePath, file: pa.NativeFile) -> None:
        self.path, self.file = path, file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _asking(self.path):
            return int(self.file.readinto(buffer))

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self.file.seek(offset, whence))

    def tell(self) -> int:
        return int(self.file.tell())

    def close(self) -> None:
        if not self.closed:
            self.file.close()
        super().close()


@overload
def sorted_glob(folder: Path, pattern: str) -> list[Path]: ...
@overload
def sorted_glob(folder: Location, pattern: str) -> Sequence[Location]: ...
def sorted_glob(folder: Location, pattern: str) -> Sequence[Location]:
    """Return the files and folders of a folder whose names match, in name order."""
    return folder.glob(pattern) if isinstance(folder, StorePath) else sorted(folder.glob(pattern))


def size_of(path: Location) -> int:
    """Return a file's bytes."""
    return path.size() if isinstance(path, StorePath) else path.stat().st_size


def source(path: Location) -> Path | IO[bytes]:
    """Return what Arrow's readers take: the path of a local file, an object as an open file."""
    return path.open("rb") if isinstance(path, StorePath) else path


def copy(original: Location, target: Location) -> None:
    """Copy a file that is never changed: within a store by the store, within a file system by a link if possible."""
    if isinstance(original, Path) and isinstance(target, Path):
        try:
            os.link(original, target)
        except OSError:  # on another file system, or links are not supported
            shutil.copy2(original, target)
    elif isinstance(original, StorePath) and isinstance(target, StorePath) and original.scheme == target.scheme:
        with _asking(target):
            filesystem(target.scheme).copy_file(original.key, target.key)
    elif isinstance(target, StorePath):
        with local_copies([original]) as files:
            target.put(files[0])
    else:
        _fetch(original, target)


def _fetch(original: Location, target: Path) -> None:
    with original.open("rb") as stream, target.open("wb") as file:
        shutil.copyfileobj(stream, file, CHUNK)


@contextmanager
def local_copies(paths: Sequence[Location]) -> Iterator[list[Path]]:
    """Yield local files with the same content, in order; objects are fetched into a temporary folder for the block."""
    with tempfile.TemporaryDirectory(prefix="clicksight-") as folder:
        local = []
        for number, path in enumerate(paths):
            if isinstance(path, StorePath):
                _fetch(path, target := Path(folder) / f"{number}-{path.name}")
            else:
                target = path
            local.append(target)
        yield local


def matches_in_store(pattern: StorePath) -> list[StorePath]:
    """Return the objects whose names, or whose folders' names, match a glob; hidden ones are left out.

    ``**`` stands for any number of folders.
    """
    parts = pattern.key.split("/")
    fixed = next((number for number, part in enumerate(parts) if has_magic(part)), len(parts))
    if fixed == 0:
        raise UserError(f"{pattern}: the bucket's name can't be a glob; name the bucket")
    found = []
    for path, _ in StorePath(pattern.scheme, "/".join(parts[:fixed])).objects():
        names = path.key.split("/")[fixed:]
        ends = [end for end in range(1, len(names) + 1) if _matches(names[:end], parts[fixed:])]
        if ends and not any(name.startswith(".") for name in names[ends[0] :]):
            found.append(path)
    return found


def _matches(names: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not names
    if pattern[0] == "**":
        hidden = next((number for number, name in enumerate(names) if name.startswith(".")), len(names))
        return any(_matches(names[start:], pattern[1:]) for start in range(hidden + 1))
    if not names or (names[0].startswith(".") and not pattern[0].startswith(".")):
        return False
    return fnmatchcase(names[0], pattern[0]) and _matches(names[1:], pattern[1:])
