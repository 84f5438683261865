"""Index a folder of images, or a file of texts, for systems.dckt.search.

    python -m systems.dckt.index --model data/dckt/models/DCKT/seed-0 --data data/dckt --images pictures \\
        --output pictures.index
    python -m systems.dckt.index --model data/dckt/models/DCKT/seed-0 --data data/dckt --texts captions.txt \\
        --output captions.index

In: a model folder of systems.dckt.train, the folder of the domains (for the target's text encoder), the parameters
`segment` and `dckt.features` that the model's features were made with; and image files, or a text on each line (UTF-8,
perhaps after an id and a tab).
Out: ``items.parquet`` (`schemas.INDEXED`, rows by id), ``quarantine.parquet`` (`schemas.QUARANTINE`): what could not be
indexed, with the reason; ``index.json``: what codes depend on.

An id is a file's path below the folder, or the text's id or line number. The index refers to the model, which a search
needs again.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from base.artifacts import whole_directory, write_json, write_table
from base.console import UserError, progress, rows_add_up, stage
from base.inputs import check_file
from base.params import DEFAULT_PATH, load_section
from base.raw_files import walk
from base.schemas import INDEXED, QUARANTINE
from model.frozen_features import as_lists
from pipelines.ingest.image_catalogue import IMAGE_SUFFIXES
from pipelines.words.segmentation import SegmentParams
from systems.dckt.encoders import EncoderParams, Encoders, num_batches, weights_digest
from systems.dckt.feature_params import FeatureParams

FILES = ("items.parquet", "quarantine.parquet", "index.json")
AT_ONCE = 4096  # texts that are encoded at once
EMPTY, NO_WORD, TWICE, UNREADABLE = "empty text", "no known word", "id twice", "unreadable image"


class Bad(NamedTuple):
    """A row of the quarantine: the line of a file, or 1 for an image file, with the reason."""

    file: str
    row: int
    reason: str
    raw: str


class Line(NamedTuple):
    """A text to index."""

    number: int
    id: str
    text: str


def image_files(folder: Path) -> list[Path]:
    """Return the image files below a folder, sorted.

    Raises:
        UserError: the folder doesn't exist, or has no image file.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; --images takes a folder of image files")
    found = sorted(
        found.path for found in walk(folder) if found.kind == "file" and found.path.suffix.lower() in IMAGE_SUFFIXES
    )
    if not found:
        raise UserError(f"{folder}: no image file in it or below it (expected {', '.join(IMAGE_SUFFIXES)})")
    return found


def read_lines(path: Path) -> tuple[list[Line], list[Bad]]:
    """Return the texts of a file, and the lines that are none.

    Raises:
        UserError: the file is missing, not UTF-8, or has no line.
    """
    check_file(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8: {error}; convert the file") from None
    texts, bad, ids = list[Line](), list[Bad](), set[str]()
    for number, line in enumerate(lines[:-1] if lines[-1] == "" else lines, start=1):
        name, tab, text = line.removesuffix("\r").partition("\t")
        name, text = (name, text) if tab else (str(number), name)
        if reason := EMPTY if not text.strip() else TWICE if name in ids else "":
            bad.append(Bad(path.name, number, reason, line))
        else:
            texts.append(Line(number, name, text))
            ids.add(name)
    if not texts and not bad:
        raise UserError(f"{path}: an empty file; --texts takes a text on each line")
    return texts, bad


def index_images(encoders: Encoders, folder: Path) -> tuple[pa.Table, list[Bad], int]:
    """Return the items, what could not be indexed, and the number of image files."""
    files = image_files(folder)
    names, codes, bad = list[str](), list[np.ndarray](), list[Bad]()
    batches = num_batches(files, encoders.params.features)
    for readable, found, unreadable in progress(encoders.images(files), "images", "batches", batches):
        names += [path.relative_to(folder).as_posix() for path in readable]
        codes.append(found)
        bad += [Bad(path.relative_to(folder).as_posix(), 1, UNREADABLE, why) for path, why in unreadable.items()]
    return items_of(names, [""] * len(names), np.concatenate(codes)), bad, len(files)


def index_texts(encoders: Encoders, path: Path) -> tuple[pa.Table, list[Bad], int]:
    """Return the items, what could not be indexed, and the number of lines."""
    lines, bad = read_lines(path)
    num_lines, kept, codes = len(lines) + len(bad), list[Line](), list[np.ndarray]()
    for start in progress(range(0, len(lines), AT_ONCE), "texts", "batches"):
        batch = lines[start : start + AT_ONCE]
        found, has_words = encoders.texts([line.text for line in batch])
        bad += [
            Bad(path.name, line.number, NO_WORD, line.text)
            for line, known in zip(batch, has_words, strict=True)
            if not known
        ]
        kept += [line for line, known in zip(batch, has_words, strict=True) if known]
        codes.append(found[has_words])
    every = np.concatenate(codes) if codes else np.empty((0, 1), np.float32)
    return items_of([line.id for line in kept], [line.text for line in kept], every), bad, num_lines


def items_of(names: Sequence[str], texts: Sequence[str], codes: np.ndarray) -> pa.Table:
    """Return items as `schemas.INDEXED`, sorted by id."""
    columns = [pa.array(names, pa.string()), pa.array(texts, pa.string()), as_lists(codes.astype(np.float32))]
    return pa.Table.from_arrays(columns, schema=INDEXED).sort_by("id")


def write_index(output: Path, kind: str, params: EncoderParams, items: pa.Table, bad: Sequence[Bad]) -> None:
    """Write the folder of an index."""
    rows = [(*row, 1) for row in sorted(bad, key=lambda row: (row.file, row.row))]
    columns = [[row[place] for row in rows] for place in range(len(QUARANTINE))]
    with whole_directory(output, holds=FILES) as folder:
        write_table(items, folder / FILES[0])
        write_table(pa.table(columns, schema=QUARANTINE), folder / FILES[1])
        write_json({"kind": kind, "encoders": params.model_dump(mode="json")}, folder / FILES[2])


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a model folder of systems.dckt.train")
    parser.add_argument("--data", type=Path, required=True, help="folder of the domains' folders")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--images", type=Path, help="a folder of image files, also in folders below it")
    what.add_argument("--texts", type=Path, help="a file with a text on each line, perhaps after an id and a tab")
    parser.add_argument("--output", type=Path, required=True, help="folder to write, the index")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage("index") as closing:
        params = EncoderParams(
            model=str(arguments.model),
            data=str(arguments.data),
            digest=weights_digest(arguments.model, arguments.data),
            segment=load_section(SegmentParams, "segment", arguments.params),
            features=load_section(FeatureParams, "dckt.features", arguments.params),
        )
        encoders = Encoders(params)
        if arguments.images is not None:
            kind, (items, bad, read) = "images", index_images(encoders, arguments.images)
        else:
            kind, (items, bad, read) = "texts", index_texts(encoders, arguments.texts)
        reasons: dict[str, int] = {}
        for row in bad:
            reasons[row.reason] = reasons.get(row.reason, 0) + 1
        rows_add_up(read, len(items), reasons, f"{kind} to index")
        if not len(items):
            raise UserError(f"none of {read} {kind} could be indexed: {reasons}")
        write_index(arguments.output, kind, params, items, bad)
        closing.counts = {f"{kind} read": read, f"{kind} indexed": len(items)}
        closing.counts |= {f"quarantined: {reason}": number for reason, number in sorted(reasons.items())}
        closing.wrote[str(arguments.output)] = "an index"
        closing.next_command = f"python -m systems.dckt.search --index {arguments.output} --text ..."


if __name__ == "__main__":
    main()
