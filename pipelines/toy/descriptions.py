"""Write what people write about the toys' pictures of both domains (captions, label sets and tags), and the true facts.

All are tab-separated tables with a header, and have a row for each statement, as logs do, so that a bad row affects no
other. The form of an image id shows which domain it belongs to, as in all tables.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from pipelines.toy.animals import Animals
from pipelines.toy.captions import CaptionParams, captions_of
from pipelines.toy.streams import random_stream
from pipelines.toy.tags import Tagged, TagParams, write_tags

CAPTIONS, LABEL_SETS, TAGS, FACTS = "captions.tsv", "label_sets.tsv", "tags.tsv", "truth/facts.tsv"


def write_descriptions(
    directory: Path,
    animals: Animals,
    pictures: Sequence[Tagged],
    captions: CaptionParams,
    tags: TagParams,
    seed: int,
) -> dict[str, int]:
    """Write the four tables; rows are in the given order of pictures, those of tags in order of time.

    Returns:
        The row counts by file.

    Raises:
        UserError: there are more users than tasks for them.
    """
    sentences = [
        (image_id, *caption)
        for image_id, view in pictures
        for caption in captions_of(view, animals, captions, random_stream(seed, "captions", image_id))
    ]
    labels = [(image_id, label) for image_id, view in pictures for label in view.labels()]
    facts = [
        (image_id, fact.group, fact.value, f"{fact.share:.3f}") for image_id, view in pictures for fact in view.facts()
    ]
    return {
        "captions": write_rows(directory / CAPTIONS, ("image_id", "language", "sentence"), sentences),
        "labels in sets": write_rows(directory / LABEL_SETS, ("image_id", "label"), labels),
        "tags": write_rows(
            directory / TAGS, ("user_id", "image_id", "tag", "time"), write_tags(pictures, animals, tags, seed)
        ),
        "facts": write_rows(directory / FACTS, ("image_id", "group", "value", "share"), facts),
    }


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str | int]]) -> int:
    """Write a table with a header; return the number of its rows."""
    number = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in (columns, *rows):
            file.write("\t".join(map(str, row)) + "\n")
            number += 1
    return number - 1
