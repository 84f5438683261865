import io
import struct
import zlib

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from base.console import UserError
from model.data.images import ImageStore, centre_crop, decode, random_crop


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def ramp(height: int, width: int) -> np.ndarray:
    """Return an image whose pixels hold their row in channel 0, their column in channel 1, and 200 in channel 2."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, 200)], axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "resize", "expected"),
    [(40, 80, 20, (20, 40)), (81, 30, 30, (81, 30)), (7, 9, 18, (18, 23)), (1000, 800, 40, (50, 40))],
)
def test_shorter_side_becomes_resize(height, width, resize, expected):
    image = decode(encoded(np.full((height, width, 3), 90, np.uint8), "JPEG"), resize)
    assert image.shape == (*expected, 3)
    assert image.dtype == np.uint8
    assert abs(image.astype(int) - 90).max() <= 1


@pytest.mark.parametrize(("size", "resize"), [((300, 201), 40), ((64, 64), 64), ((50, 90), 48)])
def test_finely_decoded_images_are_those_of_pillow_without_its_draft(size, resize):
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    data = encoded(pixels, "JPEG")
    with Image.open(io.BytesIO(data)) as image:
        scale = resize / min(size)
        wanted = (max(resize, round(size[0] * scale)), max(resize, round(size[1] * scale)))
        expected = np.asarray(image.convert("RGB").resize(wanted, Image.Resampling.BICUBIC))
    assert np.array_equal(decode(data, resize, finely=True), expected)
    assert size == wanted or not np.array_equal(decode(data, resize), expected)


def test_no_resize_no_change():
    assert np.array_equal(decode(encoded(ramp(30, 50)), 30), ramp(30, 50))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_other_modes_become_rgb(mode):
    buffer = io.BytesIO()
    Image.new(mode, (12, 10), 1).save(buffer, "PNG")
    assert decode(buffer.getvalue(), 10).shape == (10, 12, 3)


def test_a_palette_and_transparency_keep_their_colours():
    pixels = np.zeros((12, 10, 3), np.uint8)
    pixels[:, :5], pixels[:, 5:] = (250, 10, 20), (10, 20, 250)
    for mode in ("P", "RGBA"):
        buffer = io.BytesIO()
        Image.fromarray(pixels).convert(mode, palette=Image.Palette.ADAPTIVE).save(buffer, "PNG")
        assert np.array_equal(decode(buffer.getvalue(), 10), pixels)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_what_is_made_smaller_is_averaged(kind):
    # stripes of 8 pixels, and each new pixel averages 4: the image keeps its stripes, each of two pixels
    stripes = np.where(np.arange(160)[None, :, None] // 8 % 2, 200, 50).astype(np.uint8)
    image = decode(encoded(np.broadcast_to(stripes, (160, 160, 3)).copy(), kind), 40).astype(int)
    assert image.shape == (40, 40, 3)
    assert image.min() < 90
    assert image.max() > 160
    # stripes of one pixel: a uniform grey at every pixel
    fine = np.where(np.arange(160)[None, :, None] % 2, 200, 50).astype(np.uint8)
    grey = decode(encoded(np.broadcast_to(fine, (160, 160, 3)).copy(), kind), 40)[:, 1:-1]
    assert abs(grey.astype(int) - 125).max() < 12


def test_what_is_no_image_is_said():
    with pytest.raises(UserError, match="cannot decode an image of 9 bytes"):
        decode(b"no image.", 10)


def test_an_image_too_large_to_be_one_is_said():
    png = bytearray(encoded(ramp(3, 2), "PNG"))
    png[16:24] = struct.pack(">II", 30_000, 30_000)  # width and height, then their checksum
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    with pytest.raises(UserError, match=r"cannot decode an image of [0-9]+ bytes: .*decompression bomb"):
        decode(bytes(png), 10)


def test_a_truncated_image_is_said():
    with pytest.raises(UserError, match="cannot decode"):
        decode(encoded(ramp(60, 60), "JPEG")[:700], 60)


def test_centre_crop():
    crop = centre_crop(ramp(30, 51), 10)
    assert crop[0, 0].tolist() == [10, 20, 200]
    assert crop[-1, -1].tolist() == [19, 29, 200]


@given(st.integers(0, 2**63 - 1))
def test_random_crop_is_a_window_or_its_mirror(seed):
    crop = random_crop(ramp(14, 19), 9, seed)
    assert crop.shape == (9, 9, 3)
    rows, columns = crop[:, 0, 0].astype(int), crop[0, :, 1].astype(int)
    assert set(np.diff(rows)) == {1}
    assert set(np.diff(columns)) in ({1}, {-1})
    assert rows.min() >= 0
    assert rows.max() < 14
    assert columns.min() >= 0
    assert columns.max() < 19


@given(st.integers(0, 2**63 - 1))
def test_without_mirroring_it_is_the_same_window(seed):
    mirrored, crop = (random_crop(ramp(14, 19), 9, seed, mirror) for mirror in (True, False))
    assert set(np.diff(crop[0, :, 1].astype(int))) == {1}
    assert np.array_equal(np.sort(mirrored, axis=1), np.sort(crop, axis=1))


def test_every_crop_and_its_mirror_occur_equally_often():
    found: dict[tuple, int] = {}
    for seed in range(2 * 3 * 4 * 50):  # 3 rows x 4 columns x (mirrored or not), 50 times
        crop = random_crop(ramp(5, 6), 3, seed)
        key = (*crop[0, 0, :2].tolist(), crop[0, 1, 1] > crop[0, 0, 1])
        found[key] = found.get(key, 0) + 1
    assert set(found.values()) == {50}
    assert len(found) == 24


def test_store_gives_each_row_its_image(tiny_data, tiny_rows):
    rows = tiny_rows.sample(fraction=1.0, shuffle=True, seed=3)
    store = ImageStore(tiny_data.images, rows, resize=18, cache=False)
    cached = ImageStore(tiny_data.images, rows, resize=18, cache=True)
    shards = pl.read_parquet(tiny_data.images)
    expected = {(row["domain"], row["image_id"]): row["image"]["bytes"] for row in shards.iter_rows(named=True)}
    assert len(store) == len(rows) == len(expected)
    for number, row in enumerate(rows.iter_rows(named=True)):
        image = decode(expected[row["domain"], row["image_id"]], 18)
        assert np.array_equal(store[number], image)
        assert np.array_equal(cached[number], image)


def test_training_crops_depend_on_seed_pass_and_image_only(tiny_data, tiny_rows):
    store = ImageStore(tiny_data.images, tiny_rows, resize=24, cache=True)
    part = ImageStore(tiny_data.images, tiny_rows[5:9], resize=24, cache=False)
    for row in range(4):
        assert np.array_equal(part.crop(row, 16, 7, 2), store.crop(row + 5, 16, 7, 2))
    crops = {store.crop(0, 16, seed, number).tobytes() for seed in range(3) for number in range(3)}
    assert len(crops) > 6
    assert np.array_equal(store.crop(0, 16, 7, None), centre_crop(store[0], 16))


def write_shard(folder, images: list[tuple[str, str, np.ndarray]]) -> pl.DataFrame:
    """Write images of (domain, image_id, pixels) as a shard; return their rows."""
    rows = [
        {"domain": domain, "image_id": image_id, "image": {"bytes": encoded(pixels), "path": "x"}}
        for domain, image_id, pixels in images
    ]
    folder.mkdir()
    pl.DataFrame(rows).write_parquet(folder / "part-00000.parquet")
    return pl.DataFrame(rows).select("domain", "image_id")


def test_an_image_of_each_domain_may_have_the_same_id(tmp_path):
    shades = [("source", "a", 10), ("source", "b", 60), ("target", "a", 110), ("target", "c", 160)]
    images = [(domain, name, np.full((20, 20, 3), shade, np.uint8)) for domain, name, shade in shades]
    rows = write_shard(tmp_path / "images", images)
    for wanted in (rows, rows[2:], rows[:1], rows.reverse()):
        store = ImageStore(tmp_path / "images", wanted, resize=20, cache=False)
        expected = [shade for row in wanted.rows() for *name, shade in shades if row == tuple(name)]
        assert [int(store[row].max()) for row in range(len(store))] == expected


def test_equal_images_of_other_names_or_domains_have_crops_of_their_own(tmp_path):
    names = [(domain, name) for domain in ("source", "target") for name in "abcdef"]
    rows = write_shard(tmp_path / "images", [(*name, ramp(40, 40)) for name in names])
    store = ImageStore(tmp_path / "images", rows, resize=40, cache=False)
    crops = [store.crop(row, 16, 7, 2).tobytes() for row in range(len(rows))]
    assert len(set(crops[:6])) > 4  # out of 25 x 25 possible windows
    assert all(one != other for one, other in zip(crops[:6], crops[6:], strict=True))
    unmirrored = [store.crop(row, 16, 7, 2, mirror=False) for row in range(len(rows))]
    assert {set(np.diff(crop[0, :, 1].astype(int))) == {1} for crop in unmirrored} == {True}


def test_missing_images_are_named(tmp_path, tiny_data, tiny_rows):
    rows = pl.concat([tiny_rows[:2], tiny_rows[:1].with_columns(image_id=pl.lit("lost"))])
    with pytest.raises(UserError, match=r"1 of 3 images are not there, as 'lost'; run the ingest"):
        ImageStore(tiny_data.images, rows, resize=18, cache=False)
    with pytest.raises(UserError, match="no image shards here; run the ingest stage"):
        ImageStore(tmp_path, rows, resize=18, cache=False)


def test_a_broken_image_is_named(tmp_path, tiny_data, tiny_rows):
    shards = pl.read_parquet(tiny_data.images)
    broken = shards[:1].with_columns(image=pl.struct(bytes=pl.lit(b"junk"), path=pl.lit("x")))
    broken.write_parquet(tmp_path / "part-00000.parquet")
    store = ImageStore(tmp_path, broken.select("domain", "image_id"), resize=18, cache=False)
    with pytest.raises(UserError, match=f"{broken['domain'][0]} image '{broken['image_id'][0]}': cannot decode"):
        store[0]
