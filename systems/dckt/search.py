"""Search an index of images or of texts, by a text or by an image.

    python -m systems.dckt.search --index pictures.index --text "a brown dog on grass" --top 10
    python -m systems.dckt.search --index captions.index --image dog.jpg --output found.jsonl

In: a folder of systems.dckt.index, and the model that it was made with. Out: a table on standard output, the most
similar item first; with --output the same as JSON Lines: rank, id, text (of an index of texts), cosine.

The cosine is that of the common representations, probabilities of the target's categories. Items with equal cosines are
in order of their ids.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from pydantic import ValidationError

from base.artifacts import read_json, read_tables, whole_file
from base.console import UserError, stage
from base.inputs import is_file
from base.terminal import printable
from model.measures.retrieval import unit_rows
from report.pages import Column, Table, as_text
from systems.dckt.encoders import EncoderParams, Encoders
from systems.dckt.index import FILES


class Found(NamedTuple):
    """An item of an index, as a search finds it."""

    rank: int
    id: str
    text: str
    cosine: float


def read_index(folder: Path) -> tuple[str, EncoderParams, pl.DataFrame]:
    """Return what an index holds (images or texts), what codes depend on, and the items.

    Raises:
        UserError: the folder is no index.
    """
    if not (folder / FILES[2]).is_file():
        raise UserError(f"{folder}: not an index (no {FILES[2]}); make it by python -m systems.dckt.index")
    about = read_json(folder / FILES[2])
    try:
        kind, params = str(about["kind"]), EncoderParams.model_validate(about["encoders"])
    except (KeyError, ValidationError) as error:
        raise UserError(f"{folder}/{FILES[2]}: not as systems.dckt.index writes it: {error}; make it again") from None
    return kind, params, pl.DataFrame(read_tables(folder / FILES[0]))


def query_code(encoders: Encoders, text: str | None, image: Path | None) -> np.ndarray:
    """Return the code of a text or an image: float32 (C,).

    Raises:
        UserError: the text has no known word, or the image can't be read.
    """
    if text is not None:
        codes, has_words = encoders.texts([text])
        if not has_words[0]:
            raise UserError(f"{text!r} has no word that the model knows; try other words")
        return np.asarray(codes[0])
    assert image is not None
    if not is_file(image):
        raise UserError(f"{image}: no such file; --image takes an image file")
    _, codes, bad = next(encoders.images([image]))
    if bad:
        raise UserError(f"{image}: {bad[image]}")
    return np.asarray(codes[0])


def nearest(items: pl.DataFrame, code: np.ndarray, top: int) -> list[Found]:
    """Return the items with the largest cosines.

    Args:
        items: `schemas.INDEXED`, at least one.
        code: of the query.
        top: items at most.

    Shape:
        code: (C,)

    Raises:
        UserError: the items' codes are of another length.
    """
    codes = np.stack(list(items["code"].to_numpy()))
    if codes.shape[1] != len(code):
        raise UserError(f"the index has codes of {codes.shape[1]} numbers, the model {len(code)}; make the index again")
    cosines = (unit_rows(codes) @ unit_rows(code[None, :]).T)[:, 0]
    best = np.argsort(-cosines, kind="stable")[:top]
    ids, texts = items["id"], items["text"]
    return [Found(rank, ids[int(row)], texts[int(row)], float(cosines[row])) for rank, row in enumerate(best, start=1)]


def as_table(found: Sequence[Found], kind: str) -> str:
    """Return the results as aligned text; control characters of ids and texts are escaped."""
    with_text = kind == "texts"
    columns = [
        Column("rank"),
        Column("cosine"),
        Column("id", number=False),
        *[Column("text", number=False)] * with_text,
    ]
    rows = [
        [str(one.rank), f"{one.cosine:.4f}", printable(one.id), *[printable(one.text)] * with_text] for one in found
    ]
    return as_text(Table(columns, rows))


def as_lines(found: Sequence[Found], kind: str) -> str:
    """Return the results as JSON Lines."""
    lines = []
    for one in found:
        line = {**one._asdict(), "cosine": round(one.cosine, 6)}
        if kind != "texts":
            del line["text"]
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    return "".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True, help="a folder of systems.dckt.index")
    query = parser.add_mutually_exclusive_group(required=True)
    query.add_argument("--text", help="words to search by")
    query.add_argument("--image", type=Path, help="an image file to search by")
    parser.add_argument("--top", type=int, default=10, help="number of results (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="JSON Lines file to write; without it there is only the table")
    arguments = parser.parse_args(argv)
    with stage("search") as closing:
        if arguments.top < 1:
            raise UserError(f"--top {arguments.top}: at least 1 expected")
        kind, params, items = read_index(arguments.index)
        code = query_code(Encoders(params), arguments.text, arguments.image)
        found = nearest(items, code, arguments.top)
        if arguments.output is not None:
            with whole_file(arguments.output) as temporary:
                temporary.write_text(as_lines(found, kind), encoding="utf-8")
            closing.wrote[str(arguments.output)] = f"{len(found)} results"
        sys.stdout.write(as_table(found, kind) + "\n")
        closing.counts[f"{kind} searched"] = len(items)


if __name__ == "__main__":
    main()
