"""Check single images by decoding them, and convert those that are not plain RGB JPEG.

How unusual images are converted: an animation or a file with several pictures becomes its first picture, which is what
a page of search results showed to those who clicked; transparency is laid on white, the ground of such a page; of 16
bits a channel the upper 8 are kept; CMYK in JPEG is read as inverted, as Adobe writes it and every browser reads it.
Other deep pixels (32-bit integers, floats) have no agreed white, so these images are refused.
"""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

ORIENTATION = 0x0112  # EXIF tag; 1 is upright
MOST_PIXELS = 89_478_485  # Pillow's own limit: 256 MiB of RGB
JPEG_QUALITY = 95
THUMBNAIL_SIDE = 32  # pixels
# PostScript is not among them, because Pillow would start a program to draw it. JPEG includes MPO.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO")
CONVERTIBLE = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
DEEP_GREY = ("I;16", "I;16B", "I;16L")  # 16-bit RGB needs no conversion: Pillow reads only its upper 8 bits


class BadImageError(ValueError):
    """An image that cannot be used; the message is the reason, in the same words for the same defect."""


class CheckedImage(NamedTuple):
    """An RGB JPEG that has been decoded once without an error.

    Attributes:
        data: the file.
        width: pixels.
        height: pixels.
        conversion: why the file differs from the input, the first reason that applies; empty if it does not.
        thumbnail: 32 x 32 grey levels by row, whatever the image's shape; for :mod:`pipelines.ingest.duplicates`.
    """

    data: bytes
    width: int
    height: int
    conversion: str
    thumbnail: bytes


def check_image(data: bytes, longest_side: int | None = None) -> CheckedImage:
    """Decode an image; return it as an RGB JPEG, with unchanged bytes if it already is one.

    Other formats and pixel modes, images that EXIF turns, and images larger than ``longest_side`` are converted.

    Args:
        data: the encoded image.
        longest_side: pixels, > 0; larger images are scaled down to it. None keeps the size.

    Raises:
        BadImageError: it is empty, no image, truncated, corrupt, has too many pixels, or pixels of 32 bits a channel.
    """
    if not data:
        raise BadImageError("empty image")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return _checked(image, data, longest_side)
    except UnidentifiedImageError:
        raise BadImageError("not an image") from None
    except Image.DecompressionBombError:
        raise BadImageError("too many pixels") from None
    except (BadImageError, MemoryError):  # a lack of memory is not the image's fault
        raise
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise BadImageError("truncated image" if "truncated" in str(error).lower() else "corrupt image") from error


def _checked(image: Image.Image, data: bytes, longest_side: int | None) -> CheckedImage:
    if image.width * image.height > MOST_PIXELS:
        raise BadImageError("too many pixels")
    if image.mode not in CONVERTIBLE + DEEP_GREY:
        raise BadImageError(f"unsupported pixel mode {image.mode}")
    too_large = longest_side is not None and max(image.size) > longest_side
    upright = image.getexif().get(ORIENTATION, 1) in (0, 1)
    if image.format == "JPEG" and image.mode == "RGB" and upright and not too_large:
        width, height = image.size
        # The whole file is decoded, as a reader will decode it, but only the pixels that the thumbnail needs are
        # computed: grey, and as little as every eighth in each direction. This takes a half to two thirds of the time.
        image.draft("L", (2 * THUMBNAIL_SIDE, 2 * THUMBNAIL_SIDE))
        image.load()
        return CheckedImage(data, width, height, "", _thumbnail(image))
    several = getattr(image, "n_frames", 1) > 1
    image.load()
    # In PNG, EXIF may follow the pixels; a TIFF is turned while it is read, and its EXIF is adapted to that.
    upright = upright and image.getexif().get(ORIENTATION, 1) in (0, 1)
    conversion = (
        "first of several pictures" if several
        else "16 bits a channel" if image.mode in DEEP_GREY
        else "transparency" if image.has_transparency_data
        else "turned by EXIF" if not upright
        else f"pixel mode {image.mode}" if image.mode != "RGB"
        else f"format {image.format}" if image.format != "JPEG"
        else "scaled down"
    )  # fmt: skip
    picture = _opaque_rgb(ImageOps.exif_transpose(image))
    if too_large and longest_side is not None:
        picture.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return CheckedImage(buffer.getvalue(), picture.width, picture.height, conversion, _thumbnail(picture))


def _opaque_rgb(image: Image.Image) -> Image.Image:
    """Return an image in RGB, 8 bits a channel, with white where it is transparent."""
    if image.mode in DEEP_GREY:
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    picture = image.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def _thumbnail(image: Image.Image) -> bytes:
    # First average whole blocks, down to twice the side: this takes a third of the time of one exact step, and other
    # sizes of the same picture still give nearly the same greys.
    side = THUMBNAIL_SIDE
    blocks = (max(image.width // (2 * side), 1), max(image.height // (2 * side), 1))
    grey = image if image.mode == "L" else image.convert("L")
    return (grey if blocks == (1, 1) else grey.reduce(blocks)).resize((side, side), Image.Resampling.BILINEAR).tobytes()
