"""NUS-WIDE's own files, in a small copy of its folders."""

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from small_images import write_jpeg

from base.console import UserError
from pipelines.annotations.nus_wide import photo_id, read_nus_wide

TRAIN, TEST = ["actor\\0001_11.jpg", "dog\\0002_22.jpg", "dog\\0003_33.jpg"], ["sky\\0004_44.jpg"]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    raw = tmp_path / "nus"
    files = {
        "ImageList/TrainImagelist.txt": "\n".join(TRAIN) + "\n",
        "ImageList/TestImagelist.txt": "\n".join(TEST) + "\n",
        "Groundtruth/TrainTestLabels/Labels_dog_Train.txt": "0\n1\n1\n",
        "Groundtruth/TrainTestLabels/Labels_dog_Test.txt": "0\n",
        "Groundtruth/TrainTestLabels/Labels_night_sky_Train.txt": "1\n0\n1\n",
        "Groundtruth/TrainTestLabels/Labels_night_sky_Test.txt": "1\n",
        "NUS_WID_Tags/All_Tags.txt": "11    cute red\n22\n\n44\tblue  sky 2007\n",
    }
    for name, text in files.items():
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).write_text(text)
    for number, name in enumerate(["actor/0001_11.jpg", "dog/0003_33.jpg", "sky/0004_44.jpg", "readme.txt"]):
        write_jpeg(raw / "Flickr" / name, number)
    return raw


def test_labels_splits_tags_and_images(raw: Path, tmp_path: Path) -> None:
    source = read_nus_wide(raw, tmp_path)
    assert set(source.labels.select("file", "row", "image_id", "label").rows()) == {
        ("Labels_dog_Train.txt", 2, "22", "dog"),
        ("Labels_dog_Train.txt", 3, "33", "dog"),
        ("Labels_night_sky_Train.txt", 1, "11", "night_sky"),
        ("Labels_night_sky_Train.txt", 3, "33", "night_sky"),
        ("Labels_night_sky_Test.txt", 1, "44", "night_sky"),
    }
    assert dict(source.given.rows()) == {"11": "train", "22": "train", "33": "train", "44": "test"}
    assert [name for name, _ in source.images.places] == ["11", "33", "44"]
    assert [(row.reason, row.raw) for row in source.images.refused] == [("not a photo's name", "readme.txt")]
    [log] = source.tags
    assert pl.DataFrame(pq.read_table(log.path)).rows() == [
        ("11", "cute"), ("11", "red"), ("44", "blue"), ("44", "sky"), ("44", "2007"),
    ]  # fmt: skip


def test_files_that_do_not_fit_are_refused(raw: Path, tmp_path: Path) -> None:
    (raw / "Groundtruth/TrainTestLabels/Labels_dog_Test.txt").write_text("0\n1\n")
    with pytest.raises(UserError, match=r"Labels_dog_Test.txt: expected 0 or 1 for each of the 1 lines of TestImage"):
        read_nus_wide(raw, tmp_path)
    (raw / "ImageList/TestImagelist.txt").write_text("sky\\no number.jpg\n")
    with pytest.raises(UserError, match=r"TestImagelist.txt, line 1: .*expected a photo"):
        read_nus_wide(raw, tmp_path)
    (raw / "ImageList/TestImagelist.txt").unlink()
    with pytest.raises(UserError, match=r"0 files TestImagelist.txt in it; expected one"):
        read_nus_wide(raw, tmp_path)


def test_names_of_photos() -> None:
    assert [photo_id(name) for name in ("a\\0001_5.jpg", "a/0001_6.JPEG ", "7_8.jpg", "8.jpg", "x")] == [
        "5", "6", "8", None, None,
    ]  # fmt: skip
