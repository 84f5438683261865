"""Annotate images with a trained run: labels with probabilities, and how many.

    python -m systems.annotation.predict --model data/annotation/models/MS-CNN/seed-0 --images pictures \\
        --tags tags.tsv --evaluation data/annotation/evaluations/MS-CNN/seed-0 --output annotations.jsonl

In: a model folder; a folder or archive of image files; optionally tags (``image_id``, ``tag``; an image's id is its
path below the folder without the suffix), and the run's evaluation, whose calibration is then used.
Out: a line of JSON for each file in name order: ``image``, ``number`` (the predicted number of labels, or null) and
``labels``, as many of the most probable ones with their ``probability``; or ``image`` and ``error``. A run without
tags, or that predicts no number, gives as many labels as its recipe's `top`.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from base.artifacts import read_json, whole_file
from base.console import UserError, progress, stage
from model.data.images import centre_crop, decode
from model.measures.calibration import Platt
from model.measures.label_sets import nearest_counts
from pipelines.annotations.source import folder_of_images, read_rows
from pipelines.annotations.tag_words import tag_word
from pipelines.ingest.decoding import BadImageError
from pipelines.ingest.image_archives import Place, PlaceReader
from systems.annotation.config import BASE, CHAIN, RECURRENT
from systems.annotation.measures import PREDICTED_BY, main_phase, probabilities_of
from systems.annotation.model import AnnotationModel, load_model
from systems.annotation.rules import most_probable

BATCH = 64  # images; no result depends on it


def read_tags(path: Path | None, model: AnnotationModel) -> tuple[dict[str, list[int]], int]:
    """Return the tags of each image as numbers of the model's tags, and the number of rows with other tags."""
    number = {tag: j for j, tag in enumerate(model.tags)}
    found: dict[str, list[int]] = {}
    unknown = 0
    if path is not None:
        for image_id, tag in read_rows(path, ("image_id", "tag")).select("image_id", "tag").iter_rows():
            j = number.get(tag_word(tag or ""))
            unknown += j is None
            if j is not None:
                found.setdefault(image_id, []).append(j)
    return found, unknown


def read_calibration(folder: Path | None, phase: str) -> Platt | None:
    """Return the calibration of a phase in an evaluation.

    Raises:
        UserError: the folder is no evaluation of such a run.
    """
    if folder is None:
        return None
    try:
        known = read_json(folder / "metrics.json")["calibration"][phase]
        return Platt(float(known["a"]), float(known["b"]))
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{folder}: no calibration of {phase!r}; give the folder of this run's evaluation") from None


def annotate(
    model: AnnotationModel, images: Sequence[tuple[str, np.ndarray]], tags: dict[str, list[int]], scaling: Platt | None
) -> list[dict[str, Any]]:
    """Return the lines of some images.

    Args:
        model: the trained run.
        images: ids and pixels, uint8 (S, S, 3).
        tags: of images, as numbers of the model's tags.
        scaling: calibrates the probabilities; None: they stay.
    """
    pixels = torch.from_numpy(np.stack([image for _, image in images])).permute(0, 3, 1, 2).contiguous()
    tagged = torch.zeros(len(images), len(model.tags))
    for row, (name, _) in zip(tagged, images, strict=True):
        row[tags.get(name, [])] = 1
    said = model.say(iter([(pixels, tagged)]))
    phase = main_phase(list(said.logits))
    logits = said.logits[phase]
    probabilities = probabilities_of(logits, model.recipe.loss) if scaling is None else scaling.probabilities(logits)
    quantity = said.quantities.get(PREDICTED_BY[phase])
    counts = None if quantity is None else nearest_counts(quantity, len(model.labels))
    given = most_probable(probabilities, model.recipe.top if counts is None else counts)
    lines = []
    for row, (name, _) in enumerate(images):
        mine = np.flatnonzero(given[row])
        mine = mine[np.argsort(-probabilities[row, mine], kind="stable")]
        labels = [{"label": model.labels[j], "probability": round(float(probabilities[row, j]), 4)} for j in mine]
        lines.append({"image": name, "number": None if counts is None else int(counts[row]), "labels": labels})
    return lines


def read_images(
    raw: Path, places: Sequence[tuple[str, Place]], model: AnnotationModel
) -> Iterator[tuple[str, np.ndarray | str]]:
    """Yield id and pixels of each image, or why it can't be read."""
    network = model.recipe.network
    with PlaceReader(raw) as reader:
        for name, place in progress(places, "annotate", "images", len(places)):
            try:
                yield name, centre_crop(decode(reader.read(place), network.resize), network.image_size)
            except (BadImageError, UserError) as error:
                yield name, str(error)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="the model folder")
    parser.add_argument("--images", type=Path, required=True, help="a folder or archive of image files")
    parser.add_argument("--tags", type=Path, help="tags: tab-separated, with the columns image_id and tag")
    parser.add_argument("--evaluation", type=Path, help="the run's evaluation, for calibrated probabilities")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    arguments = parser.parse_args(argv)
    with stage(f"annotate {arguments.images}") as closing:
        model = load_model(arguments.model)
        if CHAIN in model.phases:
            raise UserError(f"{arguments.model}: {RECURRENT} gives labels without probabilities; use a run of {BASE}")
        scaling = read_calibration(arguments.evaluation, main_phase(list(model.phases)))
        tags, unknown = read_tags(arguments.tags, model)
        folder = arguments.images.absolute()
        found = folder_of_images(folder.parent, folder.name)
        counts: Counter[str] = Counter()
        with whole_file(arguments.output) as output, output.open("w", encoding="utf-8", newline="\n") as lines:
            waiting: list[tuple[str, np.ndarray]] = []

            def write(content: Sequence[dict[str, Any]]) -> None:
                lines.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in content)

            for name, image in read_images(found.root, found.places, model):
                counts["images"] += 1
                if isinstance(image, str):
                    counts["images that can't be read"] += 1
                    write(annotate(model, waiting, tags, scaling) if waiting else [])  # lines stay in name order
                    waiting = []
                    write([{"image": name, "error": image}])
                    continue
                waiting.append((name, image))
                if len(waiting) == BATCH:
                    write(annotate(model, waiting, tags, scaling))
                    waiting = []
            write(annotate(model, waiting, tags, scaling) if waiting else [])
        closing.counts = {**counts, "rows with a tag that the model doesn't know": unknown}
        closing.wrote[str(arguments.output)] = f"annotations of {counts['images']:,} images"


if __name__ == "__main__":
    main()
