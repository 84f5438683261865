"""Pictures from every kind of input, in order, each once; unusable ones with their reasons, in bounded memory."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hostile_pictures import BLUE, GREEN, HOSTILE, RED, encoded, zip_named_jpg
from PIL import Image

from base.console import UserError
from base.cores import CORES
from clicksight.pictures import NARROWEST, Encoded, Pictures, decoded, middle_square, picture_of
from model.data.images import centre_crop, decode
from pipelines.ingest.decoding import BadImageError, check_image


def colours(pictures: Pictures) -> list[tuple[str, str, str]]:
    """Return name, id and the strongest colour of each picture, or the reason why it is unusable."""
    found = []
    for picture in decoded(iter(pictures), 20, 16):
        if picture.pixels is None:
            found.append((picture.name, picture.id, picture.reason))
        else:
            assert picture.pixels.shape == (16, 16, 3)
            found.append((picture.name, picture.id, "RGB"[int(picture.pixels.mean(axis=(0, 1)).argmax())]))
    return found


@pytest.mark.usefixtures("own_folder")
def test_all_kinds_of_inputs_in_their_order() -> None:
    Path("some/deep").mkdir(parents=True)
    Path("some/b.png").write_bytes(encoded(RED))
    Path("some/deep/a.JPG").write_bytes(encoded(GREEN, form="JPEG"))
    Path("some/notes.txt").write_text("no picture, and not named as one")
    Path("one.dat").write_bytes(encoded(BLUE))  # a named file is tried, whatever its suffix
    with zipfile.ZipFile("box.zip", "w", zipfile.ZIP_DEFLATED) as box:
        box.writestr("in/x.png", encoded(BLUE))
        box.writestr("../out.png", encoded(RED))
    with tarfile.open("box.tar.gz", "w:gz") as tar:
        tar.add("some/b.png", "y.png")
    pl.DataFrame({"item_id": ["t1", "t2"], "picture": [encoded(GREEN), None]}).write_parquet("table.parquet")
    inputs = ["one.dat", "some", "box.zip", "box.tar.gz", "table.parquet", "some/*.png", "-"]
    pictures = Pictures(inputs, "picture", io.BytesIO(encoded(RED)))
    assert len(pictures) == 10
    assert colours(pictures) == [
        ("one.dat", "one", "B"),
        ("some/b.png", "b", "R"),
        ("some/deep/a.JPG", "deep/a", "G"),
        ("box.zip/../out.png", "../out", "name leads out of the archive"),
        ("box.zip/in/x.png", "in/x", "B"),
        ("box.tar.gz/y.png", "y", "R"),
        ("table.parquet/t1", "t1", "G"),
        ("table.parquet/t2", "t2", "no image in this row"),
        ("some/b.png", "b", "R"),
        ("standard input", "-", "R"),
    ]


@pytest.mark.usefixtures("own_folder")
def test_what_is_not_there_is_an_error() -> None:
    Path("empty").mkdir()
    os.mkfifo("pipe")
    pl.DataFrame({"x": [1]}).write_parquet("table.parquet")
    Path("broken.parquet").write_bytes(b"no table")
    for name, text in (
        ("none.jpg", "none.jpg: no such file or folder"),
        ("*.jpg", "matches nothing"),
        ("empty", "empty: no picture in it or below it"),
        ("pipe", "a named pipe"),
        ("broken.parquet", "broken.parquet"),
    ):
        with pytest.raises(UserError, match=text.replace("*", r"\*")):
            Pictures([name])
    with pytest.raises(UserError, match="no column 'image' of images; it has x"):
        list(Pictures(["table.parquet"]))


def animated(form: str) -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (24, 24), colour) for colour in (GREEN, RED, RED)]
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:], duration=50, loop=0)
    return buffer.getvalue()


def turned() -> bytes:
    """A JPEG that EXIF turns by 90 degrees: green on its left, so on top when upright."""
    picture = Image.new("RGB", (60, 30), RED)
    picture.paste(GREEN, (0, 0, 30, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty image"), *HOSTILE.values()])
def test_hostile_pictures_have_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(BadImageError, match=reason):
        middle_square(data, 20, 16)


@pytest.mark.parametrize(
    ("data", "channel"),
    [
        (encoded(GREEN, (1, 1)), 1),
        (encoded(BLUE, (NARROWEST, 1)), 2),
        (animated("GIF"), 1),
        (animated("WEBP"), 1),
        (animated("PNG"), 1),
        (encoded((255, 0, 255, 0), form="TIFF", mode="CMYK"), 1),
        (encoded(RED, form="JPEG") + zip_named_jpg(), 0),  # a polyglot that is a whole picture
    ],
)
def test_unusual_pictures_are_seen_as_the_ingest_sees_them(data: bytes, channel: int) -> None:
    square = middle_square(data, 20, 16)
    assert square.shape == (16, 16, 3)
    assert int(square.mean(axis=(0, 1)).argmax()) == channel
    expected = centre_crop(decode(check_image(data).data, 20), 16)
    assert np.array_equal(square, expected)


def test_models_on_frozen_features_see_pictures_decoded_finely() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (170, 131, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    with Image.open(buffer) as opened:
        image = opened.convert("RGB").resize((20, round(170 * 20 / 131)), Image.Resampling.BICUBIC)
    top = (image.height - 16) // 2
    expected = np.asarray(image.crop((2, top, 18, top + 16)))
    assert np.array_equal(middle_square(buffer.getvalue(), 20, 16, finely=True), expected)
    given = Encoded("a", "a", buffer.getvalue())
    for picture in (picture_of(given, 20, 16, finely=True), *decoded(iter([given]), 20, 16, finely=True)):
        assert picture.pixels is not None
        assert np.array_equal(picture.pixels, expected)
    assert not np.array_equal(middle_square(buffer.getvalue(), 20, 16), expected)


def test_exif_turns_a_picture() -> None:
    square = middle_square(turned(), 20, 16)
    assert int(square[:6].mean(axis=(0, 1)).argmax()) == 1
    assert int(square[-6:].mean(axis=(0, 1)).argmax()) == 0


def test_few_pictures_wait_at_a_time() -> None:
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield Encoded("x", "x", encoded(RED))

    squares = decoded(endless(), 20, 16)
    for _ in range(3):
        next(squares)
    squares.close()
    assert taken <= 3 + 2 * CORES
