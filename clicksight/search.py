"""Search an index of pictures by words, or by a picture.

    clicksight search pictures.index "brown spotted dog"
    clicksight search pictures.index --image dog.jpg --top 20 --format jsonl
    clicksight search pictures.index albatross --top 1000 --output albatross.parquet

In: a folder of `clicksight index`; with --image also the model that made it (--model, if it has moved).
Out: the pictures whose predicted click features are most similar to the query, the most similar first; pictures that
are equally similar stay in the index's order. A table, or JSON Lines of rank, image and cosine; with --output a file,
JSON Lines or Parquet (`schemas.SEARCH_RESULTS`) by its suffix.

A query's words are found as those of the log's queries were, and each counts the same: its click feature has the value
1 for every word. Words that nobody's clicks taught the model are named; a query without any other is an error. All
click features are compared, a block at a time, so memory doesn't grow with the index. If the index has an approximate
one (`clicksight.approximate`), that is searched, unless --exact is given.

If the index has cut-offs (`clicksight cut-offs`), pictures that the query's words, or the category's name that it is,
don't fit are left out, so that it may find nothing. Words without a cut-off are named and leave out none. --all shows
the pictures that don't fit, too.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from base import schemas
from base.artifacts import read_json, whole_file, write_table
from base.console import UserError, log, named, stage
from base.inputs import check_file
from base.terminal import printable
from clicksight import approximate
from clicksight.approximate import FILE as APPROXIMATE
from clicksight.cut_offs import FILE as CUT_OFFS
from clicksight.cut_offs import CutOffs
from clicksight.entries import Entries
from clicksight.index import FILES
from clicksight.models import load_model
from clicksight.pictures import Pictures, decoded, squares_of
from clicksight.queries import known_words, query_vectors
from model.folder import model_digest
from pipelines.words.segmentation import Segmenter, SegmentParams
from report.pages import Column, Table, as_text

OVERFETCH = 20  # with cut-offs: most similar pictures that an approximate search looks at, for each one wanted


class Found(NamedTuple):
    """A picture of an index, as a search finds it.

    Attributes:
        rank: from 1.
        image: its name; several pictures may have one.
        cosine: of the query.
        row: of the picture in the index, from 0.
    """

    rank: int
    image: str
    cosine: float
    row: int

    def line(self) -> dict[str, Any]:
        """Return what a result's line says of it."""
        return {"rank": self.rank, "image": self.image, "cosine": self.cosine}


class Query(NamedTuple):
    """Words as a search takes them.

    Attributes:
        vector: of length 1, float32 (K,).
        unknown: words that the model doesn't know, sorted; they change nothing.
    """

    vector: np.ndarray
    unknown: list[str]


class Least(NamedTuple):
    """What a picture must exceed to fit a query.

    Attributes:
        entries: of the click feature, float32 (K,); -inf where nothing is asked.
        cosine: of the query; -inf if nothing is asked.
    """

    entries: np.ndarray
    cosine: float

    def fits(self, clicks: np.ndarray, cosines: np.ndarray) -> np.ndarray:
        """Return which pictures fit: bool (pictures,).

        Shape:
            clicks: (pictures, K); cosines: (pictures,)
        """
        found: np.ndarray = (clicks > self.entries).all(axis=1) & (cosines > self.cosine)
        return found


@dataclass(frozen=True)
class Index:
    """The folder of an index.

    Attributes:
        folder: its path.
        model: the model's folder when the index was made.
        digest: of the model then.
        words: K names.
        segment: how queries become words.
        cut_offs: of the words; None: the index has none.
    """

    folder: Path
    model: Path
    digest: str
    words: list[str]
    segment: SegmentParams
    cut_offs: CutOffs | None = None

    @classmethod
    def read(cls, folder: Path) -> "Index":
        """Read what an index says of itself.

        Raises:
            UserError: the folder is no index, or its cut-offs are another model's.
        """
        path = folder / FILES[2]
        if not path.is_file():
            raise UserError(f"{folder}: not an index (no {FILES[2]}); make it by clicksight index")
        about = read_json(path)
        try:
            segment = SegmentParams.model_validate(about["segment"])
            index = cls(folder, Path(about["model"]), str(about["digest"]), list(about["words"]), segment)
        except (KeyError, TypeError, ValidationError) as error:
            raise UserError(f"{path}: not as clicksight index writes it: {error}; make it again") from None
        file = folder / CUT_OFFS
        return replace(index, cut_offs=CutOffs.read(file, index.digest)) if file.exists() else index

    @cached_property
    def entries(self) -> Entries:
        """The pictures."""
        return Entries(self.folder, len(self.words))

    @cached_property
    def segmenter(self) -> Segmenter:
        """Finds the words of queries; it loads dictionaries."""
        return Segmenter(self.segment)

    @cached_property
    def places_of_names(self) -> set[tuple[int, ...]]:
        """The places of the known words of each category's name that has a cut-off."""
        names = [] if self.cut_offs is None else self.cut_offs.names
        return {tuple(places) for places, _ in known_words(names, self.words, self.segmenter)}

    def of_words(self, query: str) -> Query:
        """Return a query.

        Raises:
            UserError: the model knows none of its words.
        """
        [(known, unknown)] = known_words([query], self.words, self.segmenter)
        if not known:
            raise UserError(
                f"{query!r} has no word that the model knows; its {len(self.words)} words are in {FILES[2]}"
            )
        return Query(query_vectors([known], np.ones(len(self.words)))[0], sorted(unknown))

    def check_model(self, folder: Path) -> None:
        """Check that a model made the index.

        Raises:
            UserError: it is another one.
        """
        if model_digest(folder) != self.digest:
            raise UserError(f"{folder}: not the model that made {self.folder}; make the index again, or give --model")

    def of_picture(self, picture: Path, model: Path | None = None) -> np.ndarray:
        """Return a picture's predicted click feature, of length 1: float32 (K,).

        Args:
            picture: a file.
            model: the model's folder; None: where it was when the index was made.

        Raises:
            UserError: the picture can't be used; the model isn't there, or is another one.
        """
        check_file(picture)
        folder = model or self.model
        if not folder.is_dir():
            raise UserError(f"{folder}: the model of {self.folder} is not there; give its folder by --model")
        self.check_model(folder)
        predictor = load_model(folder)
        encoded = iter(Pictures([str(picture)]))
        [seen] = decoded(encoded, predictor.resize, predictor.image_size, finely=predictor.finely)
        if seen.pixels is None:
            raise UserError(f"{picture}: {seen.reason}")
        return predictor.click_features(squares_of([seen])).numpy()[0]

    def least(self, vector: np.ndarray) -> Least | None:
        """Return what fits a query of words must exceed, by the cut-offs; None: they say nothing of the query.

        The words of a category's name, alone, have the cut-off of names; else each word has its own, and a warning
        names those that have none.

        Shape:
            vector: (K,), of :meth:`of_words`
        """
        if self.cut_offs is None:
            return None
        asked = np.flatnonzero(vector)
        entries = np.full(len(self.words), -np.inf, np.float32)
        if not np.isnan(self.cut_offs.cosine) and tuple(asked.tolist()) in self.places_of_names:
            return Least(entries, self.cut_offs.cosine)
        values = self.cut_offs.values[asked]
        unjudged = np.isnan(values)
        if unjudged.any():
            log.warning(
                "words with too little evidence for a cut-off, so nothing says what fits them: %s",
                named([self.words[word] for word in asked[unjudged]]),
            )
        if unjudged.all():
            return None
        entries[asked[~unjudged]] = values[~unjudged]
        return Least(entries, -np.inf)

    @property
    def is_approximate(self) -> bool:
        """Whether the index has an approximate one beside its pictures."""
        return (self.folder / APPROXIMATE).exists()

    def nearest(
        self, vector: np.ndarray, top: int, least: Least | None = None, compare_all: bool = False
    ) -> list[Found]:
        """Return the most similar pictures.

        Args:
            vector: of the query, of length 1.
            top: pictures at most.
            least: pictures that don't exceed it are left out, from :meth:`least`; None: none is.
            compare_all: True is exact even if the index has an approximate one beside it.

        Shape:
            vector: (K,)
        """
        if self.is_approximate and not compare_all:
            return self._approximately(vector, top, least)
        return self._exactly(vector, top, least)

    def _approximately(self, vector: np.ndarray, top: int, least: Least | None) -> list[Found]:
        """Return most of the most similar pictures; with cut-offs, those that fit of `OVERFETCH` times as many."""
        number = top if least is None else OVERFETCH * top
        rows, cosines, clicks = approximate.nearest(self.folder / APPROXIMATE, vector, number)
        if least is not None:
            fits = least.fits(clicks, cosines)
            rows, cosines = rows[fits], cosines[fits]
        return self._found(rows[:top], cosines[:top])

    def _exactly(self, vector: np.ndarray, top: int, least: Least | None) -> list[Found]:
        rows, cosines = np.empty(0, np.int64), np.empty(0, np.float32)
        start = 0
        for clicks in self.entries.blocks():
            similar = clicks @ vector
            new = np.arange(len(clicks)) if least is None else np.flatnonzero(least.fits(clicks, similar))
            rows, cosines = np.concatenate([rows, start + new]), np.concatenate([cosines, similar[new]])
            best = np.argsort(-cosines, kind="stable")[:top]  # those found earlier come before equal later ones
            rows, cosines = rows[best], cosines[best]
            start += len(clicks)
        return self._found(rows, cosines)

    def _found(self, rows: np.ndarray, cosines: np.ndarray) -> list[Found]:
        found = zip(self.entries.names(rows), cosines, rows, strict=True)
        return [Found(rank, name, float(cosine), int(row)) for rank, (name, cosine, row) in enumerate(found, start=1)]


def show(found: Sequence[Found], form: str) -> str:
    """Return results as aligned text, whose control characters are escaped, or as JSON Lines."""
    if form == "jsonl":
        lines = (json.dumps({**one.line(), "cosine": round(one.cosine, 6)}, ensure_ascii=False) for one in found)
        return "".join(f"{line}\n" for line in lines)
    columns = [Column("rank"), Column("cosine"), Column("image", number=False)]
    rows = [[str(one.rank), f"{one.cosine:.3f}", printable(one.image)] for one in found]
    return as_text(Table(columns, rows)) + "\n"


def write(found: Sequence[Found], output: Path) -> None:
    """Write results to a file, JSON Lines or Parquet by its suffix; whole or not at all.

    Raises:
        UserError: the suffix is another one.
    """
    if output.suffix == ".parquet":
        write_table(pa.Table.from_pylist([one.line() for one in found], schemas.SEARCH_RESULTS), output)
    elif output.suffix == ".jsonl":
        with whole_file(output) as path:
            path.write_text(show(found, "jsonl"), encoding="utf-8")
    else:
        raise UserError(f"--output {output}: the suffix says the format; expected .jsonl or .parquet")


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path, help="a folder of clicksight index")
    parser.add_argument("words", nargs="*", help="what to search for")
    parser.add_argument("--image", type=Path, help="a picture to search by, instead of words")
    parser.add_argument(
        "--model", type=Path, help="the model's folder, if it has moved; an index of another model is refused"
    )
    parser.add_argument("--top", type=int, default=10, help="number of results (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="show pictures below the words' cut-offs, too")
    parser.add_argument("--exact", action="store_true", help="compare all pictures, even more than a million")
    parser.add_argument("--format", choices=("table", "jsonl"), default="table", help="on standard output")
    parser.add_argument("--output", type=Path, help="write a .jsonl or .parquet file instead")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = build_parser()
    arguments = parser.parse_intermixed_args(argv)  # options may stand between the index and the words
    if bool(arguments.words) == (arguments.image is not None):
        parser.error("words or --image PICTURE expected, one of them")
    with stage("search") as closing:
        if arguments.top < 1:
            raise UserError(f"--top {arguments.top}: at least 1 expected")
        index = Index.read(arguments.index)
        least = None
        if arguments.image is not None:
            vector = index.of_picture(arguments.image, arguments.model)
        else:
            if arguments.model is not None:
                index.check_model(arguments.model)
            vector, unknown = index.of_words(" ".join(arguments.words))
            if unknown:
                log.warning("words that the model doesn't know are left out: %s", named(unknown))
            least = None if arguments.all else index.least(vector)
        found = index.nearest(vector, arguments.top, least, arguments.exact)
        if not found and index.cut_offs is not None:  # an index has a picture at least
            log.warning(
                "nothing fits: no picture is above the cut-offs, above which %.0f %% are right; --all shows the most "
                "similar",
                100 * index.cut_offs.right,
            )
        if arguments.output is None:
            sys.stdout.write(show(found, arguments.format))
        else:
            write(found, arguments.output)
            closing.wrote[str(arguments.output)] = f"{len(found):,} pictures"


if __name__ == "__main__":
    main()
