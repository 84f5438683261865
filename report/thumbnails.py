"""Small pictures of images, with captions, which a page holds in itself."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image

QUALITY = 80  # of the JPEG


class Thumbnail(NamedTuple):
    """A small picture.

    Attributes:
        encoded: a JPEG file in base64.
        width, height: its size, pixels.
    """

    encoded: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Example:
    """An image as the macro `gallery` of page_parts.html.jinja shows it.

    Attributes:
        image_id: shown when somebody points at the picture.
        picture: the image.
        alt: the text in place of the picture, for those who don't see it.
        title: the first line of the caption.
        lines: the other lines.
    """

    image_id: str
    picture: Thumbnail
    alt: str
    title: str
    lines: Sequence[str] = ()


def thumbnail(image: Image.Image, longest: int) -> Thumbnail:
    """Return an RGB image as a small picture, whose longer side has at most `longest` pixels."""
    small = image.copy()
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return Thumbnail(base64.b64encode(buffer.getvalue()).decode("ascii"), small.width, small.height)
