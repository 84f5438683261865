"""Which images a raw data set has, where their bytes are, and what category each belongs to.

Listing reads labels and file names and walks once over images.tsv for ids and byte offsets, but decodes nothing: the
list is small (some 200 bytes an image), so that the images themselves can be read one by one, in any order, by any
worker. Every row of labels.tsv and images.tsv and every file is listed or refused with the first reason that applies:

- ``empty line``, ``not UTF-8``, ``not two fields``, ``empty image id``, ``empty category``;
- ``second label of the image``, ``second image of the id``: the first in file order stays (source before target);
- ``label without image``, ``image without label``: source domain;
- ``not in a category folder``, ``folder in a category folder``: target domain.

A label whose image turns out to be broken counts as kept; it is the image that is quarantined then.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pipelines.categories import normalise_category
from pipelines.console import UserError

LABELS, SOURCE_IMAGES, TARGET_IMAGES = "labels", "source images", "target images"  # the tables whose rows add up
IMAGES_TSV = "source/images.tsv"
SHOWN = 100  # characters of an image's base64 that quarantine shows
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Entry(NamedTuple):
    """An image that is there and has a category.

    Attributes:
        image_id: of the source, as in images.tsv or its file's stem; of the target ``<folder>/<file stem>``.
        domain: source or target.
        category: normalised name.
        file: below the raw folder.
        row: 1-based line in images.tsv; 1 for a file of its own.
        offset: of the base64 text in images.tsv, bytes.
        length: of the base64 text, bytes; -1 for a file of its own.
    """

    image_id: str
    domain: str
    category: str
    file: str
    row: int
    offset: int
    length: int


class Refused(NamedTuple):
    """A row or file that cannot be used; the columns of schemas.QUARANTINE."""

    file: str
    row: int
    reason: str
    raw: str


@dataclass
class Catalogue:
    """What a raw data set holds beside its click log.

    Attributes:
        entries: the images to be checked, source before target.
        refused: what has no place among them.
        read: rows or files seen, by table.
        refusals: how many were refused, by table and reason.
    """

    entries: list[Entry] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    read: Counter[str] = field(default_factory=Counter)
    refusals: dict[str, Counter[str]] = field(
        default_factory=lambda: {table: Counter() for table in (LABELS, SOURCE_IMAGES, TARGET_IMAGES)}
    )

    def refuse(self, table: str, file: str, row: int, reason: str, raw: str) -> None:
        """Note what cannot be used."""
        self.refused.append(Refused(file, row, reason, raw))
        self.refusals[table][reason] += 1


class Line(NamedTuple):
    """A line of two tab-separated fields, or the reason why it is none."""

    row: int
    first: str
    second: bytes
    offset: int  # of the second field, bytes
    reason: str
    raw: bytes  # the line without its end


def list_images(raw: Path) -> Catalogue:
    """List the images of both domains with their categories.

    Raises:
        UserError: the folder is not laid out as a click data set.
    """
    check_layout(raw)
    catalogue = Catalogue()
    labels = _read_labels(raw, catalogue)
    seen: set[str] = set()
    _list_tsv(raw, labels, seen, catalogue)
    _list_source_files(raw, labels, seen, catalogue)
    for image_id, (row, _, text) in labels.items():
        if image_id not in seen:
            catalogue.refuse(LABELS, "source/labels.tsv", row, "label without image", text)
    _list_target(raw, seen, catalogue)
    return catalogue


def check_layout(raw: Path) -> None:
    """Check that the files are there that every click data set has.

    Raises:
        UserError: what is missing, and what a data set looks like.
    """
    needed = {
        "source/labels.tsv": (raw / "source" / "labels.tsv").is_file(),
        "source/images.tsv or source/images/": (raw / IMAGES_TSV).is_file() or (raw / "source" / "images").is_dir(),
        "target/<category>/": (raw / "target").is_dir() and any(path.is_dir() for path in (raw / "target").iterdir()),
    }
    missing = [name for name, is_there in needed.items() if not is_there]
    if missing:
        raise UserError(
            f"{raw}: no {', no '.join(missing)}; a raw data set has source/clicks.tsv, source/images.tsv "
            "(or source/images/), source/labels.tsv and target/<category>/*.jpg: see `raw` in the parameter "
            "file and data/README.md"
        )


def read_lines(path: Path) -> Iterator[Line]:
    r"""Yield the lines ``id <TAB> value`` of a text file, ended by ``\n`` or ``\r\n``, with or without a mark."""
    with path.open("rb") as stream:
        position = 0
        for row, line in enumerate(stream, start=1):
            start, position = position, position + len(line)
            if row == 1 and line.startswith(BYTE_ORDER_MARK):
                start, line = start + len(BYTE_ORDER_MARK), line.removeprefix(BYTE_ORDER_MARK)
            text = line.removesuffix(b"\n").removesuffix(b"\r")
            first, tab, second = text.partition(b"\t")
            try:
                name, reason = first.decode("utf-8"), ""
            except UnicodeDecodeError:
                name, reason = "", "not UTF-8"
            if not text:
                reason = "empty line"
            elif not tab or b"\t" in second:
                reason = "not two fields"
            elif not reason and not name.strip():
                reason = "empty image id"
            yield Line(row, name, second, start + len(first) + 1, reason, text)


def _read_labels(raw: Path, catalogue: Catalogue) -> dict[str, tuple[int, str, str]]:
    """Return row, category and text of each image's label."""
    labels: dict[str, tuple[int, str, str]] = {}
    for line in read_lines(raw / "source" / "labels.tsv"):
        catalogue.read[LABELS] += 1
        reason, category = line.reason, ""
        if not reason:
            try:
                category = normalise_category(line.second.decode("utf-8"))
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
    if not (raw / IMAGES_TSV).is_file():
        return
    for line in read_lines(raw / IMAGES_TSV):
        catalogue.read[SOURCE_IMAGES] += 1
        reason = line.reason or _why_not(line.first, labels, seen)
        if reason:
            catalogue.refuse(SOURCE_IMAGES, IMAGES_TSV, line.row, reason, show(line.raw))
        else:
            category = labels[line.first][1]
            catalogue.entries.append(
                Entry(line.first, "source", category, IMAGES_TSV, line.row, line.offset, len(line.second))
            )
        if line.first and not line.reason:  # a broken line doesn't take its id from a good one
            seen.add(line.first)


def _list_source_files(
    raw: Path, labels: dict[str, tuple[int, str, str]], seen: set[str], catalogue: Catalogue
) -> None:
    folder = raw / "source" / "images"
    for path in _visible(folder) if folder.is_dir() else ():
        catalogue.read[SOURCE_IMAGES] += 1
        name = f"source/images/{path.name}"
        if path.is_dir():
            catalogue.refuse(SOURCE_IMAGES, escape(name), 1, "folder among the images", escape(path.name))
            continue
        reason = _why_not(path.stem, labels, seen) if is_text(path.name) else "not UTF-8"
        if reason:
            catalogue.refuse(SOURCE_IMAGES, escape(name), 1, reason, escape(path.name))
        else:
            catalogue.entries.append(Entry(path.stem, "source", labels[path.stem][1], name, 1, 0, -1))
        seen.add(path.stem)


def _why_not(image_id: str, labels: dict[str, tuple[int, str, str]], seen: set[str]) -> str:
    if image_id in seen:
        return "second image of the id"
    return "" if image_id in labels else "image without label"


def _list_target(raw: Path, seen: set[str], catalogue: Catalogue) -> None:
    for folder in _visible(raw / "target"):
        if not folder.is_dir():
            catalogue.read[TARGET_IMAGES] += 1
            name = escape(folder.name)
            catalogue.refuse(TARGET_IMAGES, f"target/{name}", 1, "not in a category folder", name)
            continue
        category = normalise_category(folder.name)
        for path in _visible(folder):
            catalogue.read[TARGET_IMAGES] += 1
            image_id, name = f"{folder.name}/{path.stem}", f"target/{folder.name}/{path.name}"
            if not is_text(name):
                reason = "not UTF-8"
            elif path.is_dir():
                reason = "folder in a category folder"
            elif not category:
                reason = "empty category"
            else:
                reason = "second image of the id" if image_id in seen else ""
            if reason:
                catalogue.refuse(TARGET_IMAGES, escape(name), 1, reason, escape(path.name))
            else:
                catalogue.entries.append(Entry(image_id, "target", category, name, 1, 0, -1))
                seen.add(image_id)


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def show(raw: bytes) -> str:
    r"""Return the beginning of a line as text: what is not UTF-8 as ``\xNN``, what is cut off as ``…``."""
    text = raw[: 4 * SHOWN].decode("utf-8", "backslashreplace")
    return text if len(raw) <= 4 * SHOWN and len(text) <= SHOWN else text[:SHOWN] + "…"


def is_text(name: str) -> bool:
    """Say whether a file's name is Unicode; on POSIX it may be any bytes."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def escape(name: str) -> str:
    r"""Return a file's name as text, what is not UTF-8 in it as ``\xNN``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
