"""COCO's own files: ``annotations/instances_<part>.json`` and the images in ``<part>/``, with users' tags beside them.

A label is a category with at least one object in the image. Images of a part whose name begins with ``train`` are
training images; those of ``val`` are test images, as in the paper, because the labels of ``test`` are not published. An
image's id is the file's name without the suffix, as ``COCO_train2014_000000000009``. COCO has no tags; ``tags.tsv``
(``image_id``, ``tag``) may give them.

Reference: Lin et al., "Microsoft COCO: common objects in context" (ECCV 2014); cocodataset.org, data format.
"""

import json
from pathlib import Path
from typing import Any

import polars as pl

from base.console import UserError
from pipelines.annotations.plain import TAGS
from pipelines.annotations.source import LABEL_ROWS, Images, Source, files_of, given_splits
from pipelines.ingest.click_log import find_logs
from pipelines.ingest.image_catalogue import Refused, stem

PREFIX = "instances_"
SPLIT_OF = {"train": "train", "val": "test"}


def read_coco(raw: Path) -> Source:
    """Read COCO.

    Raises:
        UserError: there are no annotations, or a file is not as COCO describes it.
    """
    files = sorted((raw / "annotations").glob(f"{PREFIX}*.json"))
    if not files:
        raise UserError(f"{raw}/annotations: no {PREFIX}<part>.json, as in instances_train2014.json")
    labels, given, places, refused = [], [], [], []
    for path in files:
        part = path.stem.removeprefix(PREFIX)
        split = next((split for begin, split in SPLIT_OF.items() if part.startswith(begin)), None)
        if split is None:
            raise UserError(f"{path}: the part {part!r} begins neither with train nor with val")
        names, rows = _read(path)
        labels += rows
        given += [(name, split) for name in names]
        for name, listed in files_of(raw, part):
            image_id = stem(listed.name)
            if listed.reason or image_id not in names:
                reason = listed.reason or "image without annotations"
                refused.append(Refused(listed.place.file, listed.place.row, reason, name))
            else:
                places.append((image_id, listed.place))
    tags = find_logs([raw / TAGS], root=raw) if (raw / TAGS).is_file() else []
    return Source(
        Images(raw, places, refused),
        pl.DataFrame(labels, schema=LABEL_ROWS, orient="row"),
        given_splits(given, f"{raw}/annotations"),
        tags,
    )


def _read(path: Path) -> tuple[set[str], list[tuple[str, int, str, str]]]:
    """Return the ids of a part's images, and rows of labels: an image's category once, at its first object."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        names = {image["id"]: stem(image["file_name"]) for image in content["images"]}
        categories = {category["id"]: category["name"] for category in content["categories"]}
        rows: dict[tuple[str, str], int] = {}
        for number, one in enumerate(content["annotations"], start=1):
            rows.setdefault((names[one["image_id"]], categories[one["category_id"]]), number)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise UserError(f"{path}: not as COCO's format describes it ({problem}); fetch it again") from None
    return set(names.values()), [(path.name, row, name, label) for (name, label), row in rows.items()]
