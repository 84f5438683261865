"""Small pictures, decoded again."""

import base64
import io

from PIL import Image

from report.thumbnails import thumbnail


def test_a_thumbnail_keeps_the_shape_and_never_grows() -> None:
    wide = Image.new("RGB", (300, 100), (10, 200, 30))
    found = thumbnail(wide, 60)
    with Image.open(io.BytesIO(base64.b64decode(found.encoded))) as small:
        assert small.format == "JPEG"
        assert small.size == (found.width, found.height) == (60, 20)
    assert thumbnail(Image.new("RGB", (9, 5)), 60)[1:] == (9, 5)
    assert wide.size == (300, 100)
