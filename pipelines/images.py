"""Checks single images by decoding them, and converts only those that are no plain RGB JPEG."""

import io
from typing import NamedTuple

from PIL import Image, ImageOps, UnidentifiedImageError

ORIENTATION = 0x0112  # EXIF tag; 1 is upright
MOST_PIXELS = 89_478_485  # Pillow's own limit: 256 MiB of RGB
JPEG_QUALITY = 95
CONVERTIBLE = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # 8 bits a channel and below


class BadImageError(ValueError):
    """An image that cannot be used; the message is the reason, the same words for the same defect."""


class CheckedImage(NamedTuple):
    """An RGB JPEG that has been decoded once without complaint."""

    data: bytes
    width: int  # pixels
    height: int


def check_image(data: bytes, longest_side: int | None = None) -> CheckedImage:
    """Decode an image; return it as RGB JPEG, its bytes unchanged where it is one already.

    Converted are other formats and pixel modes, images that EXIF turns, and images larger than ``longest_side``.

    Args:
        data: the encoded image.
        longest_side: pixels, > 0; larger images are scaled down to it. None leaves sizes alone.

    Raises:
        BadImageError: empty, not an image, truncated, corrupt, too many pixels, or more than 8 bits a channel.
    """
    if not data:
        raise BadImageError("empty image")
    try:
        with Image.open(io.BytesIO(data)) as image:
            return _checked(image, data, longest_side)
    except UnidentifiedImageError:
        raise BadImageError("not an image") from None
    except Image.DecompressionBombError:
        raise BadImageError("too many pixels") from None
    except (BadImageError, MemoryError):  # short of memory is no fault of the image
        raise
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise BadImageError("truncated image" if "truncated" in str(error).lower() else "corrupt image") from error


def _checked(image: Image.Image, data: bytes, longest_side: int | None) -> CheckedImage:
    if image.width * image.height > MOST_PIXELS:
        raise BadImageError("too many pixels")
    if image.mode not in CONVERTIBLE:
        raise BadImageError(f"unsupported pixel mode {image.mode}")
    image.load()
    too_large = longest_side is not None and max(image.size) > longest_side
    upright = image.getexif().get(ORIENTATION, 1) in (0, 1)
    if image.format == "JPEG" and image.mode == "RGB" and upright and not too_large:
        return CheckedImage(data, image.width, image.height)
    picture = ImageOps.exif_transpose(image).convert("RGB")
    if too_large and longest_side is not None:
        picture.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return CheckedImage(buffer.getvalue(), picture.width, picture.height)
