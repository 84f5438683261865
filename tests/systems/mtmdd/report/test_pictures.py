"""Small pictures of ingested images, decoded again."""

import base64
import io
from pathlib import Path

import pytest
from PIL import Image
from report_data import write_pictures

from base.console import UserError
from systems.mtmdd.report.pictures import read_pictures


def test_each_picture_is_its_image(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images", {"source": ["a", "b"], "target": ["a", "b", "c"]})
    found = read_pictures(tmp_path / "images", "target", ["c", "b"], 15)
    assert [(name, one.width, one.height) for name, one in found.items()] == [("c", 15, 10), ("b", 10, 15)]
    for name, number in (("c", 2), ("b", 1)):
        with Image.open(io.BytesIO(base64.b64decode(found[name].encoded))) as picture:
            red, green, blue = picture.getpixel((5, 5))  # type: ignore[misc]
        assert (red, green, blue) == pytest.approx((7 * number, 90, 200 - 7 * number), abs=4)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images", {"source": ["a"], "target": ["b"]})
    with pytest.raises(UserError, match="1 of 2 images are not there, as 'a'"):
        read_pictures(tmp_path / "images", "target", ["b", "a"], 15)


def test_without_images_nothing_is_read(tmp_path: Path) -> None:
    assert read_pictures(tmp_path / "nothing", "target", [], 15) == {}
