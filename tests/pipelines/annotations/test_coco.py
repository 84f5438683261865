"""COCO's own files, in a small copy of its folders."""

import json
from pathlib import Path

import pytest
from small_images import write_jpeg

from base.console import UserError
from pipelines.annotations.coco import read_coco

CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 37, "name": "sports ball"}]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for part, numbers, pairs in (("train2014", (9, 12), ((9, 37), (9, 18), (9, 37))), ("val2014", (5,), ((5, 18),))):
        content = {
            "images": [{"id": number, "file_name": f"COCO_{part}_{number}.jpg"} for number in numbers],
            "categories": CATEGORIES,
            "annotations": [{"image_id": image, "category_id": category} for image, category in pairs],
        }
        path = tmp_path / "annotations" / f"instances_{part}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
        for number in numbers:
            write_jpeg(tmp_path / part / f"COCO_{part}_{number}.jpg", number)
    write_jpeg(tmp_path / "val2014/other.jpg", 1)
    return tmp_path


def test_labels_splits_and_images(raw: Path) -> None:
    (raw / "tags.tsv").write_text("image_id\ttag\nCOCO_val2014_5\tcute\n")
    source = read_coco(raw)
    assert source.labels.rows() == [
        ("instances_train2014.json", 1, "COCO_train2014_9", "sports ball"),
        ("instances_train2014.json", 2, "COCO_train2014_9", "dog"),
        ("instances_val2014.json", 1, "COCO_val2014_5", "dog"),
    ]
    assert sorted(source.given.rows()) == [
        ("COCO_train2014_12", "train"), ("COCO_train2014_9", "train"), ("COCO_val2014_5", "test"),
    ]  # fmt: skip
    assert sorted(name for name, _ in source.images.places) == [
        "COCO_train2014_12",
        "COCO_train2014_9",
        "COCO_val2014_5",
    ]
    assert [(row.file, row.reason) for row in source.images.refused] == [
        ("val2014/other.jpg", "image without annotations")
    ]
    assert [log.name for log in source.tags] == ["tags.tsv"]


def test_other_files_are_refused(raw: Path) -> None:
    path = raw / "annotations/instances_val2014.json"
    path.write_text(json.dumps({"images": [{"id": 5}], "categories": [], "annotations": []}))
    with pytest.raises(
        UserError, match=r"instances_val2014.json: not as COCO's format describes it \(KeyError: 'file_n"
    ):
        read_coco(raw)
    path.rename(path.with_name("instances_dev.json"))
    with pytest.raises(UserError, match="the part 'dev' begins neither with train nor with val"):
        read_coco(raw)
    with pytest.raises(UserError, match=r"no instances_<part>.json"):
        read_coco(raw / "annotations")
