"""Files that call themselves pictures and are none that can be used."""

import io
import zipfile

from PIL import Image
from PIL.PngImagePlugin import PngInfo

RED, GREEN, BLUE = ((200, 0, 0), (0, 200, 0), (0, 0, 200))


def encoded(colour: tuple[int, ...], size: tuple[int, int] = (40, 30), form: str = "PNG", mode: str = "RGB", **save):
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, form, **save)
    return buffer.getvalue()


def zip_named_jpg() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.png", encoded(RED))
    return buffer.getvalue()


def text_bomb() -> bytes:
    """A small picture with a comment that is much longer when it is unpacked."""
    comment = PngInfo()
    comment.add_text("comment", "x" * 3_000_000, zip=True)
    return encoded(RED, pnginfo=comment)


HOSTILE = {
    "text": (b"text, not a picture", "not an image"),
    "a zip named .jpg": (zip_named_jpg(), "not an image"),
    "a polyglot that begins as another format": (b"%PDF-1.4 " + encoded(RED), "not an image"),
    "cut off": (encoded(RED, form="JPEG")[:-200], "truncated image"),
    "a bomb": (encoded(RED, (10_000, 9_000), optimize=True), "too many pixels"),
    "a bomb in its comment": (text_bomb(), "corrupt image"),
    "10,000 pixels wide": (encoded(RED, (10_000, 100)), "too narrow"),
    "floats": (encoded((1.5,), mode="F", form="TIFF"), "unsupported pixel mode F"),
}  # each with the reason
