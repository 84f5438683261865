"""Index pictures by the words that people would click them for, as a trained model predicts them, for a search.

    clicksight index data/mtmdd/models/MTMDD-VM-star/seed-0 pictures/ archive.zip --output pictures.index
    clicksight search pictures.index "brown spotted dog"

In: a model folder of a run with a click branch, pictures as `clicksight predict` takes them, and perhaps the cut-offs
of the model's words (`clicksight cut-offs`), with which a search says that nothing fits.
Out: ``pictures.parquet`` (`schemas.PICTURE_INDEX`); ``unusable.jsonl``: the pictures that can't be used, each with its
reason; ``index.json``: the model's folder with the digest of its files, the words, and how queries become words;
``cut_offs.parquet``, if they were given; ``approximate.faiss`` (`clicksight.approximate`) with which a search needn't
compare every picture, if there are more than a million (--exact-up-to).

An index doesn't contain the model: a search for words needs the index alone, one by a picture needs the model, too.
It does contain a thumbnail of each picture, which `clicksight serve` shows, unless --no-thumbnails says otherwise.
"""

import argparse
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from base import schemas
from base.artifacts import table_writer, whole_directory, write_json
from base.console import UserError, log, progress, stage
from clicksight.approximate import FILE as APPROXIMATE
from clicksight.approximate import write_approximate
from clicksight.cut_offs import FILE as CUT_OFFS
from clicksight.cut_offs import CutOffs
from clicksight.entries import FILE as PICTURES
from clicksight.entries import Entries
from clicksight.models import load_model
from clicksight.pictures import Picture, Pictures, decoded, squares_of
from model.folder import model_digest
from model.frozen_features import as_lists
from model.prediction import Predictor
from pipelines.words.segmentation import Segmenter, add_segment_options, segment_params_of

FILES = (PICTURES, "unusable.jsonl", "index.json", CUT_OFFS, APPROXIMATE)
AT_ONCE = 1024  # pictures of a row group
EXACT_UP_TO = 1_000_000  # pictures; a search compares these in seconds
SIDE = 192  # of a thumbnail, pixels, the longer one


def click_features(
    predictor: Predictor, pictures: Iterator[Picture], batch_size: int
) -> Iterator[tuple[list[Picture], np.ndarray, list[Picture]]]:
    """Yield some usable pictures, their click features, and the unusable ones, in the pictures' order.

    Shape:
        click features: float32 (pictures, K)
    """
    usable: list[Picture] = []
    bad: list[Picture] = []

    def seen() -> tuple[list[Picture], np.ndarray, list[Picture]]:
        vectors = np.empty((0, len(predictor.words)), np.float32)
        if usable:
            vectors = predictor.click_features(squares_of(usable)).numpy()
        found = list(usable), vectors, list(bad)
        usable.clear()
        bad.clear()
        return found

    for picture in pictures:
        (bad if picture.pixels is None else usable).append(picture)
        if len(usable) == batch_size:
            yield seen()
    yield seen()


def write_index(
    predictor: Predictor,
    pictures: Iterator[Picture],
    about: dict[str, Any],
    output: Path,
    batch_size: int,
    cut_offs: Path | None = None,
    exact_up_to: int = EXACT_UP_TO,
) -> Counter[str]:
    """Write the folder of an index; return the numbers of pictures by what became of them.

    Args:
        predictor: the model.
        pictures: decoded for the model's sizes; with thumbnails, if the index shall have them.
        about: the content of index.json.
        output: the folder.
        batch_size: pictures that the network sees at once.
        cut_offs: of the model's words; the file becomes part of the index.
        exact_up_to: more pictures than that get an approximate index, too.

    Raises:
        UserError: no picture can be used.
    """
    counts: Counter[str] = Counter()
    with whole_directory(output, holds=FILES) as folder:
        _write_pictures(predictor, pictures, folder, batch_size, counts)
        if not counts["indexed"]:
            raise UserError(f"none of {counts.total()} pictures can be used: {', '.join(sorted(counts))}")
        if counts["indexed"] > exact_up_to:
            lists = write_approximate(Entries(folder, len(predictor.words)), folder / APPROXIMATE)
            log.info("index: more than %s pictures: approximate, in %s lists", f"{exact_up_to:,}", f"{lists:,}")
        write_json(about, folder / FILES[2])
        if cut_offs is not None:
            shutil.copyfile(cut_offs, folder / CUT_OFFS)
    return counts


def _write_pictures(
    predictor: Predictor, pictures: Iterator[Picture], folder: Path, batch_size: int, counts: Counter[str]
) -> None:
    """Write the usable pictures with their click features, and the unusable ones with their reasons; count them."""
    with (
        table_writer(folder / FILES[0], schemas.PICTURE_INDEX) as table,
        (folder / FILES[1]).open("w", encoding="utf-8", newline="\n") as unusable,
    ):
        waiting: list[pa.RecordBatch] = []

        def flush() -> None:
            if waiting:
                table.write_table(pa.Table.from_batches(waiting).combine_chunks(), row_group_size=2 * AT_ONCE)
                waiting.clear()

        for usable, vectors, bad in click_features(predictor, pictures, batch_size):
            counts.update({"indexed": len(usable)} if usable else {})
            for picture in bad:
                counts[f"unusable: {picture.reason}"] += 1
                line = {"image": picture.name, "error": picture.reason}
                unusable.write(json.dumps(line, ensure_ascii=False) + "\n")
            if usable:  # the last batch may be empty, and a row group without rows has no vectors to compare
                names = pa.array([picture.name for picture in usable], pa.string())
                thumbnails = pa.array([picture.thumbnail or None for picture in usable], pa.binary())
                columns = [names, as_lists(vectors), thumbnails]
                waiting.append(pa.RecordBatch.from_arrays(columns, schema=schemas.PICTURE_INDEX))
            if sum(batch.num_rows for batch in waiting) >= AT_ONCE:
                flush()
        flush()


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the model folder")
    parser.add_argument("pictures", nargs="+", metavar="PICTURES", help="files, folders, archives, patterns, tables, -")
    parser.add_argument("--output", type=Path, required=True, help="folder to write, the index")
    parser.add_argument("--column", default="image", help="of the pictures in a Parquet table (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=32, help="pictures at once (default: %(default)s)")
    parser.add_argument("--cut-offs", type=Path, metavar="FILE", help="of the model's words, from clicksight cut-offs")
    parser.add_argument(
        "--exact-up-to", type=int, default=EXACT_UP_TO, metavar="N",
        help="more pictures than that are searched approximately (default: a million)",
    )  # fmt: skip
    parser.add_argument("--no-thumbnails", action="store_true", help="a smaller index, which serve can't show")
    add_segment_options(parser)  # as for the click features of the training
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    arguments = build_parser().parse_args(argv)
    with stage("index") as closing:
        if arguments.batch_size < 1:
            raise UserError(f"--batch-size {arguments.batch_size}: at least 1 expected")
        segment = segment_params_of(arguments)
        Segmenter(segment)  # wrong files are reported before the work
        predictor = load_model(arguments.model)
        if not predictor.words:
            raise UserError(f"{arguments.model}: predicts no clicks; use a run of mtmdd with a click branch")
        digest = model_digest(arguments.model)
        if arguments.cut_offs is not None:
            CutOffs.read(arguments.cut_offs, digest)  # a wrong file is reported before the work
        about = {
            "model": str(arguments.model.absolute()),
            "digest": digest,
            "run": f"{predictor.system} {predictor.run}, seed {predictor.seed}",
            "segment": segment.model_dump(mode="json"),
            "words": list(predictor.words),
        }
        pictures = Pictures(arguments.pictures, arguments.column)
        encoded = iter(progress(pictures, "index", "pictures", len(pictures)))
        side = None if arguments.no_thumbnails else SIDE
        squares = decoded(encoded, predictor.resize, predictor.image_size, side, predictor.finely)
        counts = write_index(
            predictor,
            squares,
            about,
            arguments.output,
            arguments.batch_size,
            arguments.cut_offs,
            arguments.exact_up_to,
        )
        closing.counts = {"pictures": counts.total(), **counts}
        closing.wrote[str(arguments.output)] = f"{counts['indexed']:,} pictures"
        closing.next_command = f'clicksight search {arguments.output} "some words"'


if __name__ == "__main__":
    main()
