"""Read the Wikipedia image-text set of Rasiwasia et al. (2010), as it unpacks.

    trainset_txt_img_cat.list, testset_txt_img_cat.list   text file <TAB> image file <TAB> category, from 1
    categories.list                                       names of the categories, in order; optional
    images/<category>/<image file>.jpg
    texts/<text file>.xml                                 the article is in elements `text`

A pair's id is the name of its text file. The lists give the splits train and test.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from base.console import UserError
from base.inputs import is_file
from pipelines.ingest.image_archives import Place
from pipelines.ingest.image_catalogue import IMAGE_SUFFIXES, show
from pipelines.pairs.records import NO_IMAGE, Piece, RawPair

LISTS = {"train": "trainset_txt_img_cat.list", "test": "testset_txt_img_cat.list"}
CATEGORIES = "categories.list"
NO_TEXT_FILE, NOT_XML = "no text", "text is not XML"
MOST_ROWS = 64  # of a piece


@dataclass(frozen=True)
class WikipediaPiece(Piece):
    """Some rows of a list.

    Attributes:
        root: the data set's folder.
        pairs: the rows, without their texts.
    """

    root: Path
    pairs: tuple[RawPair, ...]

    def read(self) -> Iterator[RawPair]:
        """Yield the rows with their texts."""
        for pair in self.pairs:
            yield pair if pair.reason else with_text(pair, self.root / "texts" / f"{pair.pair_id}.xml")


def with_text(pair: RawPair, path: Path) -> RawPair:
    """Return the pair with the text of its article, or refused."""
    try:
        article = ElementTree.fromstring(path.read_bytes())
    except OSError:
        return pair._replace(reason=NO_TEXT_FILE)
    except (ElementTree.ParseError, ValueError, LookupError):  # the last two: an encoding that Python lacks
        return pair._replace(reason=NOT_XML)
    return pair._replace(text=" ".join(" ".join(part.itertext()) for part in article.iter("text")).strip())


def wikipedia_pieces(root: Path) -> list[WikipediaPiece]:
    """Return the pieces of the data set.

    Raises:
        UserError: a list or folder is missing.
    """
    lists = [root / name for name in LISTS.values()]
    missing = [path for path in lists if not is_file(path)] + [
        path for path in (root / "images", root / "texts") if not path.is_dir()
    ]
    if missing:
        raise UserError(
            f"{missing[0]}: is missing; the layout `wikipedia` has {', '.join(LISTS.values())}, images/, texts/"
        )
    names = {}
    if is_file(root / CATEGORIES):
        lines = (root / CATEGORIES).read_text(encoding="utf-8").split("\n")
        names = {str(number): line.strip() for number, line in enumerate(lines, start=1) if line.strip()}
    images = {
        path.stem: path.relative_to(root).as_posix()
        for path in sorted((root / "images").rglob("*"), reverse=True)  # of two with one name the first stays
        if path.suffix.lower() in IMAGE_SUFFIXES
    }
    rows = [
        _pair(split, path.name, number, line, names, images)
        for split, path in zip(LISTS, lists, strict=True)
        for number, line in enumerate(path.read_bytes().splitlines(), start=1)
    ]
    return [WikipediaPiece(root, tuple(rows[at : at + MOST_ROWS])) for at in range(0, len(rows), MOST_ROWS)]


def _pair(split: str, file: str, number: int, line: bytes, names: dict[str, str], images: dict[str, str]) -> RawPair:
    raw = show(line)
    fields = [field.strip() for field in line.decode("utf-8", "replace").split("\t")]
    if len(fields) != 3 or "/" in fields[0]:
        return RawPair(file, number, reason="not three fields" if line.strip() else "empty line", raw=raw)
    pair_id, image, category = fields
    pair = RawPair(file, number, pair_id, names.get(category, category), split, raw=raw)
    name = images.get(image)
    return pair._replace(image=Place(name, name=name)) if name else pair._replace(reason=NO_IMAGE)
