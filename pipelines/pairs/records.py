"""Image-text pairs as they are read, before they are checked, and the reasons why a row is refused."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipelines.ingest.image_archives import Place
from pipelines.ingest.image_catalogue import show

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
NO_ID, NO_CATEGORY, EMPTY_TEXT, NO_IMAGE = "empty pair id", "no category", "empty text", "no image"
UNKNOWN_SPLIT = "unknown split"
SECOND_PAIR, SECOND_TEXT = "second pair of the id", "second text of the id"


class RawPair(NamedTuple):
    """A row of a data set.

    Attributes:
        file: where the row is, relative to the data set.
        row: its number there, from 1.
        pair_id: as written.
        category: as written.
        split: as written; None or an empty text: none is given.
        text: as written.
        image: the bytes of the image's file, or their location below the reader's root; None: there is none.
        reason: why the row is refused; empty if it is not, so far.
        raw: the row's text for the quarantine; empty: it is made of id, category and text.
    """

    file: str
    row: int
    pair_id: str = ""
    category: str = ""
    split: str | None = None
    text: str = ""
    image: bytes | Place | None = None
    reason: str = ""
    raw: str = ""

    def shown(self) -> str:
        """Return the beginning of the row as text, for the quarantine."""
        return self.raw or show(f"{self.pair_id}\t{self.category}\t{self.text}".encode())


class Piece(ABC):
    """A part of a data set that one worker reads; picklable.

    Attributes:
        root: the folder below which the places of images are.
    """

    root: Path

    @abstractmethod
    def read(self) -> Iterator[RawPair]:
        """Yield the piece's rows, in order."""
