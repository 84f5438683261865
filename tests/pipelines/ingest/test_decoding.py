"""Single images: kept unchanged, converted, or refused with a reason."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pipelines.ingest.decoding import MOST_PIXELS, BadImageError, check_image


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
    """Return a PNG whose header states another size."""
    header = b"IHDR" + struct.pack(">II", width, height) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30}, {"subsampling": 0}])
def test_rgb_jpeg_keeps_its_bytes(options: dict[str, object]) -> None:
    data = encode(picture(), **options)
    checked = check_image(data)
    assert (checked.data, checked.width, checked.height, checked.conversion) == (data, 23, 17, "")
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
    if mode != "1":  # a dithered picture consists of edges, which JPEG renders badly
        difference = np.asarray(image, float) - np.asarray(original.convert("RGB"), float)
        assert np.abs(difference).mean() < 8  # levels; with a turn or swapped channels the difference is 60 or more


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: turn by 90 degrees clockwise to show it
    checked = check_image(encode(picture(), exif=exif))
    turned = decode(checked.data)
    assert (checked.width, checked.height) == turned.size == (17, 23)
    assert turned.getexif().get(0x0112, 1) == 1
    expected = np.asarray(picture().transpose(Image.Transpose.ROTATE_270), float)
    assert np.abs(np.asarray(turned, float) - expected).mean() < 8


TURNS = {  # EXIF orientation: the operation that turns the stored pixels upright
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def lit(width: int = 120, height: int = 72) -> Image.Image:
    """Return a smooth picture without any symmetry, larger than its thumbnail."""
    y, x = np.mgrid[:height, :width] / (height, width)[0]
    levels = 30 + 120 * x / x.max() + 70 * y**2 + 30 * np.sin(7 * x * y)
    return Image.fromarray(np.stack([levels, levels, levels], axis=2).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_thumbnail_is_of_the_picture_as_it_is_shown(orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = lit()
    turn = TURNS[orientation]
    shown = stored if turn is None else stored.transpose(turn)
    found = check_image(encode(stored, form, exif=exif))
    expected = np.asarray(shown.resize((32, 32), Image.Resampling.BOX).convert("L"), float).reshape(32, 32)
    thumbnail = np.frombuffer(found.thumbnail, np.uint8).reshape(32, 32)
    assert np.abs(thumbnail - expected).mean() < 4  # levels; turned or mirrored otherwise, the difference is 15 or more
    assert (found.width, found.height) == shown.size
    assert np.abs(colours(found.data) - np.asarray(shown, float)).mean() < 4
    assert found.conversion == ("turned by EXIF" if turn is not None else "" if form == "JPEG" else f"format {form}")


def test_an_orientation_that_says_nothing_turns_nothing() -> None:
    exif = Image.Exif()
    exif[0x0112] = 0  # some cameras write this if they do not know the orientation
    data = encode(picture(), exif=exif)
    assert check_image(data) == check_image(data)._replace(data=data, conversion="")


def test_what_is_converted_loses_little() -> None:
    # Pillow's own encoder gives this quality and full colour resolution with 95 and 4:4:4.
    converted = decode(check_image(encode(picture(64, 48), "PNG")).data)
    reference = decode(encode(picture(64, 48), quality=95, subsampling=0))
    assert converted.quantization == reference.quantization
    assert [layer[1:3] for layer in converted.layer] == [(1, 1)] * 3


@pytest.mark.parametrize(("longest_side", "size"), [(16, (16, 8)), (40, (40, 20)), (41, (40, 20)), (None, (40, 20))])
def test_longest_side(longest_side: int | None, size: tuple[int, int]) -> None:
    checked = check_image(encode(picture(40, 20)), longest_side)
    assert (checked.width, checked.height) == decode(checked.data).size == size


def test_conversion_gives_the_same_bytes_again() -> None:
    data = encode(picture(), "PNG")
    assert check_image(data, 16) == check_image(data, 16)


def colours(data: bytes) -> np.ndarray:
    return np.asarray(decode(data), int)


def test_transparency_is_laid_on_white() -> None:
    # The left half is opaque, the right half clear over red that must not show: black or red would be 255 levels away.
    alpha = Image.new("L", (32, 16), 0)
    alpha.paste(255, (0, 0, 16, 16))
    red = Image.new("RGB", (32, 16), (255, 0, 0))
    rgba, grey_alpha = red.copy(), Image.merge("LA", (Image.new("L", (32, 16), 90), alpha))
    rgba.putalpha(alpha)
    palette = Image.new("P", (32, 16), 1)
    palette.putpalette([255, 0, 0, 255, 0, 0])
    palette.paste(0, (0, 0, 16, 16))
    for data, left in (
        (encode(rgba, "PNG"), (255, 0, 0)),
        (encode(rgba, "WEBP", lossless=True), (255, 0, 0)),
        (encode(grey_alpha, "PNG"), (90, 90, 90)),
        (encode(palette, "PNG", transparency=1), (255, 0, 0)),
        (encode(palette, "GIF", transparency=1), (255, 0, 0)),
    ):
        checked = check_image(data)
        assert checked.conversion == "transparency"
        assert np.abs(colours(checked.data)[:, :15] - left).max() <= 4  # JPEG's error; it is larger at the border
        assert np.abs(colours(checked.data)[:, 17:] - 255).max() <= 4


def test_half_transparent_black_is_grey() -> None:
    checked = check_image(encode(Image.new("RGBA", (16, 16), (0, 0, 0, 102)), "PNG"))
    assert np.abs(colours(checked.data) - 153).max() <= 2  # 255 * (1 - 102 / 255)


def test_sixteen_bits_are_scaled_to_eight() -> None:
    levels = np.linspace(0, 65_535, 32 * 16).reshape(16, 32).astype(np.uint16)
    for data in (encode(Image.fromarray(levels), "PNG"), encode(Image.fromarray(levels), "TIFF")):
        checked = check_image(data)
        assert checked.conversion == "16 bits a channel"
        assert np.abs(colours(checked.data) - (levels // 256)[..., None]).max() <= 6


def png_of_16_bit_rgb(levels: np.ndarray) -> bytes:
    """Return a PNG of 16 bits a channel, encoded here because Pillow writes none. Levels are [height, width, 3]."""
    height, width, _ = levels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def test_sixteen_bits_of_rgb() -> None:
    checked = check_image(png_of_16_bit_rgb(np.full((16, 16, 3), (0x2040, 0x80FF, 0xE000))))
    assert np.abs(colours(checked.data) - (0x20, 0x80, 0xE0)).max() <= 3


def test_cmyk_is_read_as_adobe_writes_it() -> None:
    # Little ink is bright, whichever way the file stores it: in Adobe's files 255 means no ink.
    ink = Image.new("CMYK", (16, 16), (10, 200, 30, 0))
    data = encode(ink, quality=95)
    assert b"Adobe" in data[:200]
    checked = check_image(data)
    assert checked.conversion == "pixel mode CMYK"
    assert np.abs(colours(checked.data) - (245, 55, 225)).max() <= 4


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_pictures_the_first_is_taken(form: str) -> None:
    first, second = Image.new("RGB", (16, 12), (250, 250, 5)), Image.new("RGB", (16, 12), (5, 5, 250))
    options = {} if form == "TIFF" else {"duration": 40}
    checked = check_image(encode(first, form, save_all=True, append_images=[second], **options))
    assert (checked.conversion, checked.width, checked.height) == ("first of several pictures", 16, 12)
    assert np.abs(colours(checked.data) - (250, 250, 5)).max() <= 12


@pytest.mark.parametrize(
    ("image", "form", "reason"),
    [
        (picture(), "PNG", "format PNG"),
        (picture(mode="L"), "PNG", "pixel mode L"),
        (picture(mode="L"), "JPEG", "pixel mode L"),
        (picture(200, 90), "JPEG", "scaled down"),
    ],
)
def test_the_reason_of_a_conversion(image: Image.Image, form: str, reason: str) -> None:
    assert check_image(encode(image, form), longest_side=100).conversion == reason


@pytest.mark.parametrize("size", [(32, 32), (200, 90), (31, 400), (5, 3)])
def test_the_thumbnail_is_the_picture_in_32_by_32_greys(size: tuple[int, int]) -> None:
    image = picture(1, 1).resize(size)
    image.paste((255, 255, 255), (size[0] // 2, 0, size[0], size[1]))
    thumbnail = np.frombuffer(check_image(encode(image, quality=95)).thumbnail, np.uint8).reshape(32, 32)
    assert (thumbnail[:, 26:] > 245).all()
    assert (thumbnail[:, :6] < 10).all()


JPEG = encode(picture(64, 48))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty image"),
        (b"this is no image", "not an image"),
        (b"\xff\xd8\xff", "not an image"),
        (JPEG[: len(JPEG) // 2], "truncated image"),
        (encode(picture(), "PNG")[:-40], "truncated image"),
        (encode(picture().convert("F"), "TIFF"), "unsupported pixel mode F"),
        (encode(picture().convert("I"), "TIFF"), "unsupported pixel mode I"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "not an image"),
        (claim_size(encode(picture(), "PNG"), 0, 17), "not an image"),
        (claim_size(encode(picture(), "PNG"), 10_000, MOST_PIXELS // 10_000 + 1), "too many pixels"),
        (claim_size(encode(picture(), "PNG"), 60_000, 60_000), "too many pixels"),
    ],
    ids=[
        "empty",
        "text",
        "start only",
        "half a jpeg",
        "cut png",
        "floats",
        "32 bit",
        "PostScript",
        "SVG",
        "no width",
        "large",
        "bomb",
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bad_images(data: bytes, reason: str) -> None:
    with pytest.raises(BadImageError) as error:
        check_image(data)
    assert str(error.value) == reason


def test_a_jpeg_that_ends_too_soon_is_refused_wherever_it_is_cut() -> None:
    reasons = set()
    for length in range(1, len(JPEG) - 1):  # decoders accept a file without the end mark's last byte
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
    for position in stream.integers(0, len(data), size=6):
        data[position] = int(stream.integers(256))
    try:
        checked = check_image(bytes(data))
    except BadImageError:
        return
    assert decode(checked.data).size == (checked.width, checked.height)


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"subsampling": 0, "keep_rgb": True}, {"restart_marker_blocks": 4}],
    ids=["baseline", "progressive", "RGB in the file", "restart markers"],
)
def test_a_jpeg_is_kept_if_and_only_if_all_of_it_can_be_decoded(options: dict[str, object]) -> None:
    whole, kept = encode(picture(150, 110), **options), 0
    for seed in range(150):
        stream, data = np.random.default_rng(seed), bytearray(whole)
        for position in stream.integers(0, 700 if seed % 2 else len(data), size=1 + seed % 4):
            data[position] = int(stream.integers(256))
        try:
            decode(bytes(data)).convert("RGB")
            is_good = True
        except (OSError, SyntaxError, ValueError, struct.error):
            is_good = False
        try:
            check_image(bytes(data))
        except BadImageError:
            assert not is_good, seed
        else:
            assert is_good, seed
            kept += 1
    assert 20 < kept < 148  # both outcomes occur
