"""List the images of a raw data set, with the location of their bytes and their category.

Listing reads labels and file names and walks once over images.tsv and archives for ids and byte offsets, but decodes
nothing. The list is small (some 300 bytes an image), so that any worker can then read any of the images, one by one and
in any order.

In the target, a *category folder* is a folder that has image files or no folders in it. It may lie below other folders,
as data sets unpack (``Images/n02085620-Chihuahua/``, ``CUB_200_2011/images/001.Black_footed_Albatross/``), and below
archives of them. Source images are in images.tsv, or are ``<image id>.<suffix>`` in the folder or archive ``images``.
Every row and every file, except hidden files, is listed or is refused with the first reason that applies:

- ``empty line``, ``not UTF-8``, ``not two fields``, ``empty image id``, ``empty category``;
- ``name in an unknown encoding``: a file whose name, or whose category folder's name, can't be read as text;
- ``second label of the image``, ``second image of the id``: the first in file order stays (source before target);
- ``label without image``, ``image without label``, ``folder among the images`` (of each
  file in it): source domain;
- ``not in a category folder``, ``folder in a category folder`` (of each file in it): target domain;
- ``neither file nor folder`` (a named pipe, a socket, a device), ``link to a folder listed already``: in both;
- ``link in an archive``, ``name leads out of the archive``, ``name too long``, ``neither file nor folder``,
  ``encrypted``, ``unsupported compression``: members of archives.

A label whose image turns out to be broken counts as kept; only the image is quarantined.

Category names are normalised, then replaced as ``aliases.tsv`` states, then plurals are replaced by the other domain's
singulars: :mod:`pipelines.ingest.categories`.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from base.console import UserError, log, named
from base.inputs import is_file
from pipelines.ingest.categories import Aliases, matching_plurals, normalise_category
from pipelines.ingest.file_names import escape, is_text, likely_readings
from pipelines.ingest.image_archives import (
    ARCHIVES,
    OUT_OF_PLACE,
    SHOWN,
    Folder,
    Listed,
    Place,
    is_archive,
    list_folder,
)
from pipelines.ingest.image_ids import composed

LABELS, SOURCE_IMAGES, TARGET_IMAGES = "labels", "source images", "target images"  # tables of the summary
IMAGES_TSV = "source/images.tsv"
ALIASES_TSV = "aliases.tsv"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif")
UNKNOWN_ENCODING = "name in an unknown encoding"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
READ_BYTES = 1 << 20  # bytes read at a time; a line of images.tsv is some ten times Python's default


class Entry(NamedTuple):
    """An image that exists and has a category.

    Attributes:
        image_id: of the source, as in images.tsv or its file's stem; of the target ``<folder>/<file stem>``.
        domain: source or target.
        category: normalised name.
        place: the location of its bytes; in images.tsv, of its base64 text.
    """

    image_id: str
    domain: str
    category: str
    place: Place


class Refused(NamedTuple):
    """A row or file that cannot be used; the columns of schemas.QUARANTINE."""

    file: str
    row: int
    reason: str
    raw: str


@dataclass
class Catalogue:
    """The contents of a raw data set beside its click log.

    Attributes:
        entries: the images to be checked, source before target.
        refused: the rows and files that are not among the entries.
        read: number of rows or files read, by table.
        refusals: how many were refused, by table and reason.
        renamed: by domain, the categories whose plural was replaced by the other domain's singular.
        idle_aliases: names in aliases.tsv that no category of the data set has.
        unknown_names: the paths of files that are refused with UNKNOWN_ENCODING.
    """

    entries: list[Entry] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    read: Counter[str] = field(default_factory=Counter)
    refusals: dict[str, Counter[str]] = field(
        default_factory=lambda: {table: Counter() for table in (LABELS, SOURCE_IMAGES, TARGET_IMAGES)}
    )
    renamed: dict[str, dict[str, str]] = field(default_factory=dict)
    idle_aliases: list[str] = field(default_factory=list)
    unknown_names: list[str] = field(default_factory=list)

    def refuse(self, table: str, file: str, row: int, reason: str, raw: str) -> None:
        """Add a row or file that cannot be used, and count it."""
        self.refused.append(Refused(file, row, reason, raw))
        self.refusals[table][reason] += 1


class Line(NamedTuple):
    """A line of two tab-separated fields, or a line that is refused with a reason.

    Attributes:
        row: from 1.
        first: the first field, in NFC; empty if it is not UTF-8.
        start: of the line in the file, bytes.
        tab: length of the first field, bytes.
        reason: why it is refused; empty if it has two fields.
        raw: the line without its end.
    """

    row: int
    first: str
    start: int
    tab: int
    reason: str
    raw: bytes

    @property
    def second(self) -> bytes:
        """Return the second field."""
        return self.raw[self.tab + 1 :]

    @property
    def offset(self) -> int:
        """Return the offset of the second field in the file, bytes."""
        return self.start + self.tab + 1


def list_images(raw: Path, encoding: str | None = None) -> Catalogue:
    """List the images of both domains with their categories; warn of names that can't be read and of idle aliases.

    Args:
        raw: the raw data set's folder.
        encoding: of files' names that are not UTF-8.

    Raises:
        UserError: the folder does not have the layout of a click data set, or its archives or aliases are unusable.
    """
    check_layout(raw)
    catalogue = Catalogue()
    aliases = read_aliases(raw / ALIASES_TSV)
    labels = _read_labels(raw, aliases, catalogue)
    seen: set[str] = set()
    _list_tsv(raw, labels, seen, catalogue)
    for name in _source_folders(raw):
        _list_source(list_folder(raw, name, encoding), labels, seen, catalogue)
    for image_id, (row, _, text) in labels.items():
        if image_id not in seen:
            catalogue.refuse(LABELS, "source/labels.tsv", row, "label without image", text)
    children = list_folder(raw, "target", encoding).children()[::-1]
    while children:
        children += reversed(_list_target(children.pop(), aliases, seen, catalogue))
    catalogue.idle_aliases = aliases.idle()
    _align(catalogue)
    _warn(catalogue)
    return catalogue


def _warn(catalogue: Catalogue) -> None:
    if names := catalogue.unknown_names:
        log.warning(
            "files quarantined because of names in an unknown encoding: %d, for example %s; set ingest.name_encoding "
            "to the right one of these readings, or to another encoding: %s",
            len(names), escape(names[0]), likely_readings(names[0]),
        )  # fmt: skip
    if idle := catalogue.idle_aliases:
        log.warning(
            "%s: names that no category has, so that they do nothing: %d: %s", ALIASES_TSV, len(idle), named(idle)
        )


def _align(catalogue: Catalogue) -> None:
    """Replace plurals in one domain by the other domain's singulars."""
    names = {
        domain: {entry.category for entry in catalogue.entries if entry.domain == domain}
        for domain in ("source", "target")
    }
    catalogue.renamed = {
        "source": matching_plurals(names["source"], names["target"]),
        "target": matching_plurals(names["target"], names["source"]),
    }
    catalogue.entries = [
        entry._replace(category=catalogue.renamed[entry.domain].get(entry.category, entry.category))
        for entry in catalogue.entries
    ]


def _source_folders(raw: Path) -> list[str]:
    """Return the folder and archives of source images, relative to the raw folder."""
    names = [f"source/images{suffix}" for suffix in ("", *ARCHIVES)]
    return [name for name in names if (is_file(raw / name) and is_archive(name)) or (raw / name).is_dir()]


def read_aliases(path: Path) -> Aliases:
    """Read the aliases of categories; without such a file there are none.

    Raises:
        UserError: a line is not of the form of :func:`alias_pairs`, or aliases contradict each other.
    """
    try:
        return Aliases(alias_pairs(path) if is_file(path) else ())
    except ValueError as error:
        raise error if isinstance(error, UserError) else UserError(f"{path}: {error}") from None


def alias_pairs(path: Path) -> list[tuple[str, str]]:
    """Read a file of lines ``name <TAB> name to use instead``.

    Raises:
        UserError: a line is not of this form; the message names file and line.
    """
    pairs: list[tuple[str, str]] = []
    for line in read_lines(path):
        try:
            name, instead = line.first, line.second.decode("utf-8")
        except UnicodeDecodeError:
            raise UserError(f"{path}:{line.row}: not UTF-8: {show(line.raw)!r}") from None
        if line.reason or not normalise_category(name) or not normalise_category(instead):
            reason = line.reason if line.reason != "empty image id" else ""
            raise UserError(
                f"{path}:{line.row}: {reason or 'a name is empty'}: {show(line.raw)!r}; "
                "a line is: name, tab, name to use instead"
            )
        pairs.append((name, instead))
    return pairs


def check_layout(raw: Path) -> None:
    """Check that a raw data set has the files that every click data set needs.

    Raises:
        UserError: a file is missing (the message shows the layout), or something other than a file has its name.
    """
    needed = {
        "source/labels.tsv": is_file(raw / "source" / "labels.tsv"),
        "source/images.tsv or source/images/": is_file(raw / IMAGES_TSV) or bool(_source_folders(raw)),
        "target/<category>/": (raw / "target").is_dir()
        and any(path.is_dir() or is_archive(path.name) for path in (raw / "target").iterdir()),
    }
    missing = [name for name, is_there in needed.items() if not is_there]
    if missing:
        raise UserError(
            f"{raw}: no {', no '.join(missing)}; a raw data set has source/clicks.tsv, source/images.tsv "
            "(or source/images/), source/labels.tsv and target/<category>/*.jpg, or archives of them: see `raw` in the "
            "parameter file and data/README.md"
        )


def read_lines(path: Path) -> Iterator[Line]:
    r"""Yield the lines ``id <TAB> value`` of a text file; they end with ``\n`` or ``\r\n``. Skip a byte-order mark."""
    with path.open("rb", buffering=READ_BYTES) as stream:
        position = 0
        for row, line in enumerate(stream, start=1):
            start, position = position, position + len(line)
            if row == 1 and line.startswith(BYTE_ORDER_MARK):
                start, line = start + len(BYTE_ORDER_MARK), line.removeprefix(BYTE_ORDER_MARK)
            text = line[: -2 if line.endswith(b"\r\n") else -1] if line.endswith(b"\n") else line.removesuffix(b"\r")
            tab = text.find(b"\t")  # the second field may be a whole image, so it is not copied
            try:
                name, reason = composed((text if tab < 0 else text[:tab]).decode("utf-8")), ""
            except UnicodeDecodeError:
                name, reason = "", "not UTF-8"
            if not text:
                reason = "empty line"
            elif tab < 0 or text.find(b"\t", tab + 1) >= 0:
                reason = "not two fields"
            elif not reason and not name.strip():
                reason = "empty image id"
            yield Line(row, name, start, tab, reason, text)


def _read_labels(raw: Path, aliases: Aliases, catalogue: Catalogue) -> dict[str, tuple[int, str, str]]:
    """Return row, category and text of each image's label."""
    labels: dict[str, tuple[int, str, str]] = {}
    for line in read_lines(raw / "source" / "labels.tsv"):
        catalogue.read[LABELS] += 1
        reason, category = line.reason, ""
        if not reason:
            try:
                category = aliases.category(line.second.decode("utf-8"))
                reason = "" if category else "empty category"
            except UnicodeDecodeError:
                reason = "not UTF-8"
        if not reason and line.first in labels:
            reason = "second label of the image"
        if reason:
            catalogue.refuse(LABELS, "source/labels.tsv", line.row, reason, show(line.raw))
        else:
            labels[line.first] = (line.row, category, show(line.raw))
    return labels


def _list_tsv(raw: Path, labels: dict[str, tuple[int, str, str]], seen: set[str], catalogue: Catalogue) -> None:
    if not is_file(raw / IMAGES_TSV):
        return
    for line in read_lines(raw / IMAGES_TSV):
        catalogue.read[SOURCE_IMAGES] += 1
        reason = line.reason or _why_not(line.first, labels, seen)
        if reason:
            catalogue.refuse(SOURCE_IMAGES, IMAGES_TSV, line.row, reason, show(line.raw))
        else:
            category = labels[line.first][1]
            place = Place(IMAGES_TSV, line.row, "", "base64", line.offset, len(line.raw) - line.tab - 1)
            catalogue.entries.append(Entry(line.first, "source", category, place))
        if line.first and not line.reason:  # a broken line must not take its id from a good one
            seen.add(line.first)


def _list_source(folder: Folder, labels: dict[str, tuple[int, str, str]], seen: set[str], catalogue: Catalogue) -> None:
    """List the image files of a folder; if it has none itself, list those of the folders in it."""
    children: list[tuple[bool, Listed | Folder]] = [(True, folder)]
    while children:
        is_in_wrapper, child = children.pop()
        if isinstance(child, Folder) and is_in_wrapper:
            is_wrapper = not holds_images(child)
            children += [(is_wrapper, below) for below in reversed(child.children())]
            continue
        if isinstance(child, Folder):
            _refuse_folder(catalogue, SOURCE_IMAGES, child, "folder among the images")
            continue
        catalogue.read[SOURCE_IMAGES] += 1
        image_id = stem(child.name)
        reason = _unreadable(child) or _why_not(image_id, labels, seen)
        if reason:
            _refuse_file(catalogue, SOURCE_IMAGES, child.place, reason)
        else:
            catalogue.entries.append(Entry(image_id, "source", labels[image_id][1], child.place))
        if not child.reason:
            seen.add(image_id)


def _why_not(image_id: str, labels: dict[str, tuple[int, str, str]], seen: set[str]) -> str:
    if image_id in seen:
        return "second image of the id"
    return "" if image_id in labels else "image without label"


def _list_target(
    child: Listed | Folder, aliases: Aliases, seen: set[str], catalogue: Catalogue
) -> list[Listed | Folder]:
    """List the images of a category folder; return the children of any other folder, to be listed next."""
    if isinstance(child, Listed):
        catalogue.read[TARGET_IMAGES] += 1
        _refuse_file(catalogue, TARGET_IMAGES, child.place, _unreadable(child) or "not in a category folder")
        return []
    if child.folders and not holds_images(child):
        return child.children()
    category = aliases.category(child.name)
    for below in child.children():
        if isinstance(below, Folder):
            _refuse_folder(catalogue, TARGET_IMAGES, below, "folder in a category folder")
            continue
        catalogue.read[TARGET_IMAGES] += 1
        image_id = f"{child.name}/{stem(below.name)}"
        reason = _unreadable(below) or ("" if is_text(child.name) else UNKNOWN_ENCODING)
        if not reason and not category:
            reason = "empty category"
        if not reason and image_id in seen:
            reason = "second image of the id"
        if reason:
            _refuse_file(catalogue, TARGET_IMAGES, below.place, reason)
        else:
            catalogue.entries.append(Entry(image_id, "target", category, below.place))
            seen.add(image_id)
    return []


def holds_images(folder: Folder) -> bool:
    """Return True if a folder itself has image files, judged by their names."""
    return any(
        listed.name.lower().endswith(IMAGE_SUFFIXES) and listed.reason not in OUT_OF_PLACE for listed in folder.files
    )


def stem(name: str) -> str:
    """Return a file's name without its last suffix."""
    return PurePosixPath(name).stem


def _unreadable(listed: Listed) -> str:
    return listed.reason or ("" if is_text(listed.name) else UNKNOWN_ENCODING)


def _refuse_folder(catalogue: Catalogue, table: str, folder: Folder, reason: str) -> None:
    """Refuse every file below a folder: a single row for the folder would not show which files are lost."""
    children = folder.children()[::-1]
    while children:
        child = children.pop()
        if isinstance(child, Folder):
            children += reversed(child.children())
        else:
            catalogue.read[table] += 1
            _refuse_file(catalogue, table, child.place, _unreadable(child) or reason)


def _refuse_file(catalogue: Catalogue, table: str, place: Place, reason: str) -> None:
    catalogue.refuse(table, escape(place.file), place.row, reason, escape(place.name))
    if reason == UNKNOWN_ENCODING:
        catalogue.unknown_names.append(place.name if is_archive(place.file) else place.file)


def show(raw: bytes) -> str:
    r"""Return the beginning of a line as text; bytes that are not UTF-8 become ``\xNN``, and a cut ends with ``…``."""
    text = raw[: 4 * SHOWN].decode("utf-8", "backslashreplace")
    return text if len(raw) <= 4 * SHOWN and len(text) <= SHOWN else text[:SHOWN] + "…"
