"""Single images: kept as they are, converted, or refused with a reason."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pipelines.images import MOST_PIXELS, BadImageError, check_image


def picture(width: int = 23, height: int = 17, mode: str = "RGB") -> Image.Image:
    """Return a picture without any symmetry."""
    y, x = np.mgrid[:height, :width]
    channels = np.stack([x * 9, y * 13, x * 3 + y * 5], axis=2) % 256
    return Image.fromarray(channels.astype(np.uint8)).convert(mode)


def encode(image: Image.Image, form: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def decode(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def claim_size(png: bytes, width: int, height: int) -> bytes:
    """Return a PNG whose header claims another size."""
    header = b"IHDR" + struct.pack(">II", width, height) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30}, {"subsampling": 0}])
def test_rgb_jpeg_keeps_its_bytes(options: dict[str, object]) -> None:
    data = encode(picture(), **options)
    assert check_image(data) == (data, 23, 17)
    assert check_image(data, longest_side=23).data is data


@pytest.mark.parametrize(
    ("mode", "form"),
    [("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "PNG"), ("RGBA", "PNG"), ("P", "GIF"), ("1", "PNG"), ("LA", "PNG")],
)
def test_others_become_rgb_jpeg(mode: str, form: str) -> None:
    original = picture(mode=mode)
    checked = check_image(encode(original, form))
    image = decode(checked.data)
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (23, 17))
    assert (checked.width, checked.height) == (23, 17)
    if mode != "1":  # a dithered picture is all edges, of which JPEG is bad
        difference = np.asarray(image, float) - np.asarray(original.convert("RGB"), float)
        assert np.abs(difference).mean() < 8  # levels; a picture turned or with swapped channels is 60 and more away


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it turned by 90 degrees clockwise
    checked = check_image(encode(picture(), exif=exif))
    turned = decode(checked.data)
    assert (checked.width, checked.height) == turned.size == (17, 23)
    assert turned.getexif().get(0x0112, 1) == 1
    expected = np.asarray(picture().transpose(Image.Transpose.ROTATE_270), float)
    assert np.abs(np.asarray(turned, float) - expected).mean() < 8


@pytest.mark.parametrize(("longest_side", "size"), [(16, (16, 8)), (40, (40, 20)), (41, (40, 20)), (None, (40, 20))])
def test_longest_side(longest_side: int | None, size: tuple[int, int]) -> None:
    checked = check_image(encode(picture(40, 20)), longest_side)
    assert (checked.width, checked.height) == decode(checked.data).size == size


def test_conversion_gives_the_same_bytes_again() -> None:
    data = encode(picture(), "PNG")
    assert check_image(data, 16) == check_image(data, 16)


JPEG = encode(picture(64, 48))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty image"),
        (b"this is no image", "not an image"),
        (b"\xff\xd8\xff", "not an image"),
        (JPEG[: len(JPEG) // 2], "truncated image"),
        (encode(picture(), "PNG")[:-40], "truncated image"),
        (encode(picture().convert("L").convert("I;16"), "PNG"), "unsupported pixel mode I;16"),
        (claim_size(encode(picture(), "PNG"), 10_000, MOST_PIXELS // 10_000 + 1), "too many pixels"),
        (claim_size(encode(picture(), "PNG"), 60_000, 60_000), "too many pixels"),
    ],
    ids=["empty", "text", "start only", "half a jpeg", "cut png", "16 bit", "large", "bomb"],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bad_images(data: bytes, reason: str) -> None:
    with pytest.raises(BadImageError) as error:
        check_image(data)
    assert str(error.value) == reason


def test_a_jpeg_that_ends_too_soon_is_refused_wherever_it_is_cut() -> None:
    reasons = set()
    for length in range(1, len(JPEG) - 1):  # decoders do without the end mark's last byte
        with pytest.raises(BadImageError) as error:
            check_image(JPEG[:length])
        reasons.add(str(error.value))
    assert reasons == {"not an image", "truncated image"}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")
@pytest.mark.parametrize("seed", range(60))
def test_damaged_bytes_are_refused_or_decoded_but_never_crash(seed: int) -> None:
    stream = np.random.default_rng(seed)
    form = ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP")[seed % 6]
    data = bytearray(encode(picture(), form))
    for place in stream.integers(0, len(data), size=6):
        data[place] = int(stream.integers(256))
    try:
        checked = check_image(bytes(data))
    except BadImageError:
        return
    assert decode(checked.data).size == (checked.width, checked.height)
