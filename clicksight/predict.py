"""Apply a trained model to pictures: what they show, the words that people would click for, labels, tags, or texts.

    clicksight predict data/mtmdd/models/MTMDD-VM-star/seed-0 holiday.jpg pictures/ 'more/*.png' archive.zip
    clicksight predict MODEL pictures --output predictions.parquet
    clicksight predict MODEL - < picture.jpg
    clicksight predict data/tagging/models/A6/seed-0 pictures --history "beach,sea,sea"
    clicksight predict data/tagging/models/A6/seed-0 pictures --user ID --tag-log DIR --tag-splits DIR

In: a model folder, written by a train stage of mtmdd, siamese, annotation, tagging or dckt; picture files, folders,
archives (.zip, .tar, .tar.gz), patterns, Parquet tables with a column of pictures, or ``-`` for one picture on standard
input.
Out: a line for each picture, in the order of the inputs and of their names: a table on standard output, or a file with
--output, JSON Lines or Parquet (`schemas.PICTURE_PREDICTIONS`) by its suffix.

With --explain there is also a PNG for each picture, the picture beside a map of where the most probable category (or
the first word, label, tag or text; or what --category or --word names) comes from, by `clicksight.explain`; it takes
some hundred looks at each picture.

With the cut-offs of the model's words (--cut-offs FILE, from `clicksight cut-offs`, or cut_offs.parquet in the model
folder) a picture's words are those that fit it, perhaps none; --all shows the largest ones whether they fit or not.

A picture that can't be used has its reason instead, and is counted; with --strict the exit code is then 3.
"""

import argparse
import json
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from PIL import Image

from base import schemas
from base.artifacts import table_writer, whole_directory, whole_file
from base.console import UserError, progress, stage
from base.terminal import printable
from clicksight.cut_offs import FILE as CUT_OFFS
from clicksight.cut_offs import CutOffs
from clicksight.explain import best_of, file_name, importance, score_of, write_map
from clicksight.models import load_model
from clicksight.pictures import Picture, Pictures, decoded, squares_of
from model.folder import model_digest
from model.prediction import Context, KnowsUsers, Prediction, Predictor
from pipelines.annotations.source import read_rows

LISTS = ("categories", "words", "labels", "tags", "texts")  # of `Prediction`
FORMATS = ("table", "jsonl")
BAD = 3  # exit code with --strict
AT_ONCE = 1024  # rows of a Parquet row group


def predictions(
    predictor: Predictor,
    pictures: Iterable[Picture],
    context: Callable[[str], Context] = lambda _: Context(),
    batch_size: int = 32,
    top: int | None = None,
    cut_offs: CutOffs | None = None,
) -> Iterator[tuple[Picture, Prediction | None]]:
    """Yield the pictures in their order, each with its prediction; None for unusable ones.

    Args:
        predictor: the model.
        pictures: decoded for the model's sizes.
        context: returns what is known of a picture with this id.
        batch_size: pictures that the network sees at once; the result depends on it by rounding errors only.
        top: entries of each list at most; None: all, or as many as the model says.
        cut_offs: of the model's words; words that are not above theirs are left out. None: no word is.
    """
    waiting: list[Picture] = []

    def said() -> Iterator[tuple[Picture, Prediction | None]]:
        usable = [picture for picture in waiting if picture.pixels is not None]
        found: Iterator[Prediction] = iter(())
        if usable:
            known = [context(picture.id) for picture in usable]
            found = iter(predictor.predict(squares_of(usable), known, top if cut_offs is None else None))
            if cut_offs is not None:  # a word that fits needn't be among the largest
                found = (shortened(one, cut_offs, top) for one in found)
        for picture in waiting:
            yield picture, None if picture.pixels is None else next(found)
        waiting.clear()

    for picture in pictures:
        waiting.append(picture)
        if sum(one.pixels is not None for one in waiting) == batch_size:
            yield from said()
    yield from said()


def shortened(prediction: Prediction, cut_offs: CutOffs, top: int | None) -> Prediction:
    """Return a whole prediction with the words that fit, and the first entries of each list."""
    kept = {name: getattr(prediction, name)[:top] for name in LISTS if name != "words"}
    return replace(prediction, **kept, words=cut_offs.fitting(prediction.words)[:top])


def as_row(picture: Picture, prediction: Prediction | None) -> dict[str, Any]:
    """Return what a line of the output says of a picture; lists have a name and a value each."""
    said = prediction or Prediction()
    lists = {name: [one._asdict() for one in getattr(said, name)] for name in LISTS}
    return {"image": picture.name, "error": picture.reason or None, "number": said.number, **lists}


def in_columns(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of `schemas.PICTURE_PREDICTIONS`, which has lists of names and of values."""
    flat = {name: value for name, value in row.items() if name not in LISTS}
    for name in LISTS:
        flat[name] = [one["name"] for one in row[name]]
        flat[f"{name}_values"] = [one["value"] for one in row[name]]
    return flat


def as_line(row: dict[str, Any], judged: bool = False) -> str:
    """Return a row as a line of JSON, without what the model doesn't predict.

    Args:
        row: of a picture.
        judged: whether words without any entry mean that none fits.
    """
    kept = {name: value for name, value in row.items() if value not in (None, [])}
    if judged and row["error"] is None:
        kept["words"] = row["words"]
    for name in LISTS:
        if name in kept:
            kept[name] = [{"name": one["name"], "value": round(one["value"], 6)} for one in kept[name]]
    return json.dumps(kept, ensure_ascii=False) + "\n"


def as_text(row: dict[str, Any], judged: bool = False) -> str:
    """Return a row as lines for a terminal; control characters of names are escaped; `judged` as for `as_line`."""

    def listed(found: Sequence[dict[str, Any]]) -> str:
        return ", ".join(f"{printable(one['name'])} {one['value']:.2f}" for one in found) or "none"

    if row["error"] is not None:
        return f"{printable(row['image'])}\n  unusable: {printable(row['error'])}\n"
    lines = [f"  {name}: {listed(row[name])}" for name in LISTS if row[name] and name != "texts"]
    if judged and not row["words"]:
        lines.append("  words: none fits")
    if row["number"] is not None:
        lines.append(f"  number of labels: {row['number']}")
    if row["texts"]:  # each on its own line, since texts have commas
        lines += ["  texts:", *(f"    {one['value']:.2f} {printable(one['name'])}" for one in row["texts"])]
    return "\n".join([printable(row["image"]), *lines]) + "\n"


def write(rows: Iterable[dict[str, Any]], output: Path, judged: bool = False) -> None:
    """Write rows to a file, JSON Lines or Parquet by its suffix; whole or not at all; `judged` as for `as_line`.

    Raises:
        UserError: the suffix is another one.
    """
    if output.suffix not in (".jsonl", ".parquet"):
        raise UserError(f"--output {output}: the suffix says the format; expected .jsonl or .parquet")
    if output.suffix == ".jsonl":
        with whole_file(output) as path, path.open("w", encoding="utf-8", newline="\n") as lines:
            lines.writelines(as_line(row, judged) for row in rows)
        return
    schema = schemas.PICTURE_PREDICTIONS
    with table_writer(output, schema) as file:
        remaining = iter(rows)
        while group := list(islice(remaining, AT_ONCE)):
            file.write_table(pa.Table.from_pylist([in_columns(row) for row in group], schema))


def split_tags(text: str) -> tuple[str, ...]:
    """Return the tags of a text, separated by commas."""
    return tuple(tag for tag in text.split(",") if tag.strip())


def contexts(tags: Path | None, history: Sequence[str]) -> Callable[[str], Context]:
    """Return a function from a picture's id to what is known of it.

    Args:
        tags: a table with the columns image_id and tag; None: there is none.
        history: tags of the user.
    """
    by_id: dict[str, list[str]] = {}
    if tags is not None:
        for image_id, tag in read_rows(tags, ("image_id", "tag")).select("image_id", "tag").iter_rows():
            by_id.setdefault(image_id, []).append(tag or "")
    return lambda id_: Context(tuple(by_id.get(id_, ())), tuple(history))


def known_history(predictor: Predictor, tags: Path | None, splits: Path | None, user: str) -> Sequence[str]:
    """Return the tags that a user of the model's tag log gave.

    Raises:
        UserError: the model knows no users, a folder is missing, or nobody of this id has a history.
    """
    if not isinstance(predictor, KnowsUsers):
        raise UserError(f"--user: models of {predictor.system} know no users; leave it out")
    if tags is None or splits is None:
        raise UserError("--user needs --tag-log and --tag-splits, where the user's history is; or give --history")
    return predictor.history_of(tags, splits, user)


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the model folder")
    parser.add_argument("pictures", nargs="+", metavar="PICTURES", help="files, folders, archives, patterns, tables, -")
    parser.add_argument("--top", type=int, default=5, help="entries of each list (default: %(default)s)")
    parser.add_argument("--format", choices=FORMATS, default="table", help="on standard output")
    parser.add_argument("--output", type=Path, help="write a .jsonl or .parquet file instead")
    parser.add_argument("--column", default="image", help="of the pictures in a Parquet table (default: %(default)s)")
    parser.add_argument("--tags", type=Path, help="annotation: a table of image_id and tag, separated by tabs")
    parser.add_argument("--evaluation", type=Path, help="annotation: the run's evaluation, which calibrates")
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--history", metavar="TAGS", help='tagging: tags that the user gave, as in "beach,sea,sea"')
    whose.add_argument("--user", metavar="ID", help="tagging: a user of the log; needs --tag-log and --tag-splits")
    parser.add_argument("--tag-log", type=Path, help="posts and vocabulary, from clicksight tags")
    parser.add_argument("--tag-splits", type=Path, help="splits and histories, from pipelines.tags.split")
    parser.add_argument("--cut-offs", type=Path, metavar="FILE", help="of words, below which they don't fit")
    parser.add_argument("--all", action="store_true", help="show the largest words, whether they fit or not")
    parser.add_argument("--batch-size", type=int, default=32, help="pictures at once (default: %(default)s)")
    parser.add_argument("--explain", type=Path, metavar="FOLDER", help="write a map of where it comes from, as PNG")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--category", metavar="NAME", help="with --explain: the category to explain")
    what.add_argument("--word", help="with --explain: the word to explain")
    parser.add_argument("--strict", action="store_true", help=f"exit with {BAD} if a picture can't be used")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    arguments = build_parser().parse_args(argv)
    counts: Counter[str] = Counter()
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # such a picture is refused with a reason
    with stage("predict") as closing:
        for option, value in (("--top", arguments.top), ("--batch-size", arguments.batch_size)):
            if value < 1:
                raise UserError(f"{option} {value}: at least 1 expected")
        if (arguments.category or arguments.word) and arguments.explain is None:
            raise UserError("--category and --word say what --explain FOLDER explains; give it, too")
        predictor = load_model(arguments.model, arguments.evaluation)
        for name, value in (("tags", arguments.tags), ("history", arguments.history)):
            if value is not None and name not in predictor.reads:
                raise UserError(f"--{name}: {predictor.system} {predictor.run} reads no {name}; leave it out")
        pictures = Pictures(arguments.pictures, arguments.column)
        history: Sequence[str] = split_tags(arguments.history or "")
        if arguments.user is not None:
            history = known_history(predictor, arguments.tag_log, arguments.tag_splits, arguments.user)
        context = contexts(arguments.tags, history)
        file = arguments.cut_offs or arguments.model / CUT_OFFS
        cut_offs: CutOffs | None = None
        if not arguments.all and (arguments.cut_offs is not None or file.exists()):
            cut_offs = CutOffs.read(file, model_digest(arguments.model))

        maps: Path | None = None
        named = (("word", arguments.word), ("category", arguments.category))
        asked = next(((kind, name) for kind, name in named if name), None)

        def rows() -> Iterator[dict[str, Any]]:
            encoded = iter(progress(pictures, "predict", "pictures", len(pictures)))
            squares = decoded(encoded, predictor.resize, predictor.image_size, finely=predictor.finely)
            for picture, said in predictions(
                predictor, squares, context, arguments.batch_size, arguments.top, cut_offs
            ):
                counts["pictures"] += 1
                counts[f"unusable: {picture.reason}" if said is None else "predicted"] += 1
                if maps is not None and said is not None and picture.pixels is not None:
                    square = torch.from_numpy(picture.pixels.transpose(2, 0, 1).copy())
                    kind, name = asked or best_of(said)
                    score = score_of(predictor, kind, name, context(picture.id))
                    write_map(maps / file_name(counts["pictures"], picture.name), square, importance(square, score))
                yield as_row(picture, said)

        with ExitStack() as stack:
            if arguments.explain is not None:
                maps = stack.enter_context(whole_directory(arguments.explain, holds=("*.png",)))
            if arguments.output is not None:
                write(rows(), arguments.output, cut_offs is not None)
                closing.wrote[str(arguments.output)] = f"{counts['pictures']:,} pictures"
            else:
                for row in rows():
                    line = as_line if arguments.format == "jsonl" else as_text
                    sys.stdout.write(line(row, cut_offs is not None))
        if arguments.explain is not None:
            closing.wrote[str(arguments.explain)] = f"{counts['predicted']:,} maps"
        closing.counts = dict(counts)
        if cut_offs is not None:
            closing.counts["words with a cut-off"] = cut_offs.number
    if arguments.strict and counts["predicted"] < counts["pictures"]:
        sys.exit(BAD)


if __name__ == "__main__":
    main()
