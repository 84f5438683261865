"""The ingest job: the rows of every table add up, bad rows are in quarantine, and the bytes are always the same."""

import base64
import gzip
import io
import json
import os
import random
import struct
import zipfile
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from odd_files import ODD, time_limit
from PIL import Image

from base import schemas
from base.artifacts import read_tables, shard_of
from pipelines.ingest import checked_images, image_shards
from pipelines.ingest.click_data import IngestParams, main, run
from pipelines.ingest.image_archives import Place
from pipelines.ingest.image_catalogue import Entry
from pipelines.ingest.image_shards import ROW_GROUP_IMAGES, plan_shards
from pipelines.ingest.log_format import LogParams

REAL_DATA = Path(__file__).parents[3].parent / "shared" / "data"
PARAMS = IngestParams(click_shards=3, image_shards=2, longest_side=None, duplicate_distance=48, name_encoding=None)


def jpeg(number: int, width: int = 12, height: int = 9) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


IMAGES = {"s1": jpeg(1), "s2": jpeg(2, 30, 10), "s3": jpeg(3), "s4": jpeg(4)}
LABELS = {"s1": "red fox", "s2": "Red_Fox", "s3": "coyote", "s4": "coyote"}
CLICKS = [
    ("s1", "red fox", 5),
    ("s2", "红狐的照片", 3),
    ("s1", "fox", 1),
    ("s3", "fox", 7),
    ("s1", "red fox", 2),
    ("gone", "fox", 4),
]


def write_raw(raw: Path, images: dict[str, bytes] = IMAGES, clicks: list[tuple[str, str, int]] = CLICKS) -> Path:
    """Write a small, good data set: coyotes are only in the source, grey wolves only in the target."""
    for folder in ("source", "target/001.Red_Fox", "target/grey_wolf"):
        (raw / folder).mkdir(parents=True)
    lines = [f"{image_id}\t{base64.b64encode(data).decode()}\n" for image_id, data in images.items()]
    (raw / "source/images.tsv").write_text("".join(lines))
    (raw / "source/labels.tsv").write_text("".join(f"{image_id}\t{name}\n" for image_id, name in LABELS.items()))
    (raw / "source/clicks.tsv").write_text("".join(f"{i}\t{q}\t{n}\n" for i, q, n in clicks), encoding="utf-8")
    (raw / "target/001.Red_Fox/f1.jpg").write_bytes(jpeg(11))
    (raw / "target/001.Red_Fox/f2.jpg").write_bytes(jpeg(12, 20, 31))
    (raw / "target/grey_wolf/w1.jpg").write_bytes(jpeg(13))
    return raw


def write_params(path: Path, **changes: Any) -> None:
    """Write the `ingest` section of a parameter file: `PARAMS` with some values changed."""
    path.write_text(json.dumps({"ingest": PARAMS.model_dump() | changes}))


def content(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def quarantine(output: Path) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in read_tables(output / "quarantine").to_pylist()]


def test_shards_are_a_stable_hash_of_the_id_and_sorted() -> None:
    entries = [
        Entry(name, "source", "dog", Place("source/a\udcff.tar", number, f"é\udc80/{name}", "stored", 7 * number, 4, 5))
        for number, name in enumerate(("c", "a", "d", "b", "e"), start=1)
    ]
    plans = plan_shards(entries, 3)
    assert [plan.shard for plan in plans] == [0, 1, 2]
    assert sorted(entry for plan in plans for entry in plan.entries) == sorted(entries)
    for plan in plans:
        assert list(plan.entries) == sorted(plan.entries)
        assert all(shard_of(entry.image_id, 3) == plan.shard for entry in plan.entries)


def test_a_log_in_several_files_is_the_log_in_one(tmp_path: Path) -> None:
    whole = write_raw(tmp_path / "whole")
    parts = write_raw(tmp_path / "parts", clicks=CLICKS[:2])
    later = parts / "source/clicks"
    later.mkdir()
    with gzip.open(later / "day-1.tsv.gz", "wt", encoding="utf-8") as day:
        day.writelines(f"{i}\t{q}\t{n}\n" for i, q, n in CLICKS[2:5])
    columns = zip(*CLICKS[5:], strict=True)
    (later / "2026").mkdir()
    pq.write_table(
        pa.table(dict(zip(("image_id", "query", "clicks"), map(list, columns), strict=True))), later / "2026/d.parquet"
    )
    (later / ".day-2.tsv.partial").write_text("half a row")
    summaries = [run(raw, tmp_path / f"{raw.name}-ingested", PARAMS) for raw in (whole, parts)]
    assert summaries[0] == summaries[1]
    assert content(tmp_path / "whole-ingested") == content(tmp_path / "parts-ingested")
    (parts / "source/clicks.tsv").unlink()
    assert run(parts, tmp_path / "later-only", PARAMS)["tables"]["clicks"]["rows_kept"] == len(CLICKS) - 2


def test_a_good_data_set(tmp_path: Path) -> None:
    output = tmp_path / "ingested"
    summary = run(write_raw(tmp_path / "raw"), output, PARAMS)
    assert summary == json.loads((output / "summary.json").read_text(encoding="utf-8"))
    assert summary == {
        "tables": {
            "clicks": {"rows_read": 6, "rows_kept": 6, "quarantined": {}},
            "labels": {"rows_read": 4, "rows_kept": 4, "quarantined": {}},
            "source images": {"rows_read": 4, "rows_kept": 4, "quarantined": {}},
            "target images": {"rows_read": 3, "rows_kept": 3, "quarantined": {}},
        },
        "clicks": {
            "image_query_pairs": 5,
            "clicks": 22,
            "distinct_queries": 3,
            "clicked_images": 4,
            "pairs_of_unknown_images": 1,
        },
        "images": {"source": 4, "target": 3},
        "converted": {"source images": {}, "target images": {}},
        "categories": {
            "source": 2,
            "target": 2,
            "only_in_source": ["coyote"],
            "only_in_target": ["grey wolf"],
            "renamed": {"source": {}, "target": {}},
            "aliases_without_category": [],
        },
        "duplicates": {},
    }
    assert sorted(path.name for path in output.iterdir()) == [
        *("clicks", "duplicates.parquet", "images", "quarantine", "summary.json"),
    ]
    images = {row["image_id"]: row for row in read_tables(output / "images").to_pylist()}
    assert {name: (row["domain"], row["category"], row["width"], row["height"]) for name, row in images.items()} == {
        "s1": ("source", "red fox", 12, 9),
        "s2": ("source", "red fox", 30, 10),
        "s3": ("source", "coyote", 12, 9),
        "s4": ("source", "coyote", 12, 9),
        "001.Red_Fox/f1": ("target", "red fox", 12, 9),
        "001.Red_Fox/f2": ("target", "red fox", 20, 31),
        "grey_wolf/w1": ("target", "grey wolf", 12, 9),
    }
    assert {name: images[name]["image"]["bytes"] for name in IMAGES} == IMAGES
    assert images["grey_wolf/w1"]["image"] == {"bytes": jpeg(13), "path": "grey_wolf/w1.jpg"}
    pairs = {(row["image_id"], row["query"]): row["clicks"] for row in read_tables(output / "clicks").to_pylist()}
    assert pairs == {
        ("s1", "red fox"): 7, ("s2", "红狐的照片"): 3, ("s1", "fox"): 1, ("s3", "fox"): 7, ("gone", "fox"): 4,
    }  # fmt: skip


def test_clicks_are_of_source_images_only(tmp_path: Path) -> None:
    clicks = [*CLICKS, ("grey_wolf/w1", "wolf", 6), ("grey_wolf/w1", "fox", 1)]  # clicks of a target image
    summary = run(write_raw(tmp_path / "raw", clicks=clicks), tmp_path / "ingested", PARAMS)
    assert summary["clicks"] == {
        **{"image_query_pairs": 7, "clicks": 29, "distinct_queries": 4, "clicked_images": 5},
        "pairs_of_unknown_images": 3,
    }


def test_schemas_and_hugging_face(tmp_path: Path) -> None:
    output = tmp_path / "ingested"
    run(write_raw(tmp_path / "raw"), output, PARAMS)
    for name, schema in (("clicks", schemas.CLICKS), ("images", schemas.IMAGES), ("quarantine", schemas.QUARANTINE)):
        for shard in (output / name).iterdir():
            assert pq.read_schema(shard).equals(schema, check_metadata=False), shard
    loaded = datasets.Dataset.from_parquet(
        sorted(map(str, (output / "images").iterdir())), cache_dir=str(tmp_path / "cache")
    )
    assert isinstance(loaded.features["image"], datasets.Image)
    images = {row["image_id"]: row["image"] for row in loaded}
    assert images["001.Red_Fox/f2"].size == (20, 31)
    expected = Image.open(io.BytesIO(IMAGES["s2"]))
    assert np.array_equal(np.asarray(images["s2"]), np.asarray(expected))


def test_bad_rows_and_images_go_to_quarantine_with_the_reason(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw")
    good = base64.b64encode(IMAGES["s1"]).decode()
    with (raw / "source/images.tsv").open("a") as images:
        images.write(f"cut\t{base64.b64encode(IMAGES['s2'][:300]).decode()}\n")
        images.write("text\tbm8gaW1hZ2U=\nodd\t====AAAA\nnone\t\n")
        images.write(f"s1\t{good}\nstranger\t{good}\n")
    with (raw / "source/labels.tsv").open("a") as labels:
        labels.write("cut\tcoyote\ntext\tcoyote\nodd\tcoyote\nnone\tcoyote\nunseen\tcoyote\ns1\tcoyote\n")
    with (raw / "source/clicks.tsv").open("ab") as clicks:
        clicks.write(b"s1\tfox\tmany\ns1\tfox\ns1\t\t3\ns1\tf\xffx\t2\ns1\tfox\t0\n\tfox\t1\ns1\tfox\n")
    (raw / "target/grey_wolf/empty.jpg").touch()
    output = tmp_path / "ingested"
    summary = run(raw, output, PARAMS.model_copy(update={"log": LogParams(most_bad_rows=0.6)}))

    clicks_tsv, images_tsv, labels_tsv = "source/clicks.tsv", "source/images.tsv", "source/labels.tsv"
    cut = base64.b64encode(IMAGES["s2"][:300]).decode()
    records = [
        (clicks_tsv, 7, "clicks not an integer", "s1\tfox\tmany"),
        (clicks_tsv, 8, "wrong number of fields", "s1\tfox"),
        (clicks_tsv, 9, "empty query", "s1\t\t3"),
        (clicks_tsv, 10, "not UTF-8", "s1\tf\\xffx\t2"),
        (clicks_tsv, 11, "clicks below 1", "s1\tfox\t0"),
        (clicks_tsv, 12, "empty image id", "\tfox\t1"),
        (images_tsv, 5, "truncated image", f"cut\t{cut[:96]}…"),
        (images_tsv, 6, "not an image", "text\tbm8gaW1hZ2U="),
        (images_tsv, 7, "not base64", "odd\t====AAAA"),
        (images_tsv, 8, "empty image", "none\t"),
        (images_tsv, 9, "second image of the id", f"s1\t{good[:97]}…"),
        (images_tsv, 10, "image without label", f"stranger\t{good[:91]}…"),
        (labels_tsv, 9, "label without image", "unseen\tcoyote"),
        (labels_tsv, 10, "second label of the image", "s1\tcoyote"),
        ("target/grey_wolf/empty.jpg", 1, "empty image", "empty.jpg"),
    ]
    equal = {"s1\tfox": 2}
    assert quarantine(output) == [(*record, equal.get(record[3], 1)) for record in records]
    for table, rows in summary["tables"].items():
        assert rows["rows_read"] == rows["rows_kept"] + sum(rows["quarantined"].values()), table
    assert {table: rows["rows_read"] for table, rows in summary["tables"].items()} == {
        "clicks": 13,
        "labels": 10,
        "source images": 10,
        "target images": 4,
    }
    assert summary["images"] == {"source": 4, "target": 3}


def encoded(mode: str = "RGB", form: str = "JPEG", size: tuple[int, int] = (40, 30), **options: Any) -> bytes:
    """Return a picture of some hundred colours in any mode and format."""
    pixels = np.random.default_rng(len(mode + form)).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert("L" if mode.startswith("I") else "RGB").convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


def several(form: str) -> bytes:
    frames = [Image.new("RGB", (12, 12), colour) for colour in ("red", "lime", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 8
    return encoded(exif=exif)


def bomb(width: int, height: int) -> bytes:
    png = encoded(form="PNG")
    header = b"IHDR" + struct.pack(">II", width, height) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


ODD_IMAGES = {  # name: (file, expected treatment)
    "empty.jpg": (b"", "quarantined: empty image"),
    "corrupt.png": (encoded(form="PNG").replace(b"IDATx", b"IDAT?", 1), "quarantined: corrupt image"),
    "truncated.jpg": (encoded()[:700], "quarantined: truncated image"),
    "nothing_wide.png": (bomb(0, 5), "quarantined: not an image"),
    "bomb.png": (bomb(50_000, 50_000), "quarantined: too many pixels"),
    "page.jpg": (b"<html><body>404 Not Found</body></html>", "quarantined: not an image"),
    "drawing.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "quarantined: not an image"),
    "floats.tif": (encoded("F", "TIFF"), "quarantined: unsupported pixel mode F"),
    "animated.gif": (several("GIF"), "converted: first of several pictures"),
    "animated.webp": (several("WEBP"), "converted: first of several pictures"),
    "animated.png": (several("PNG"), "converted: first of several pictures"),
    "clear.png": (encoded("RGBA", "PNG"), "converted: transparency"),
    "ink.jpg": (encoded("CMYK"), "converted: pixel mode CMYK"),
    "grey.jpg": (encoded("L"), "converted: pixel mode L"),
    "deep.png": (encoded("I;16", "PNG"), "converted: 16 bits a channel"),
    "turned.jpg": (turned(), "converted: turned by EXIF"),
    "lossless.png": (encoded(form="PNG"), "converted: format PNG"),
    "good.jpg": (encoded(), ""),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_every_odd_image_is_converted_or_quarantined_with_its_reason(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw")
    folder, archive = raw / "target/oddities", raw / "target/more.zip"
    folder.mkdir()
    for name, (data, _) in ODD_IMAGES.items():
        (folder / name).with_name(name.replace(".", "_") + ".jpg").write_bytes(data)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as members:
        for name, (data, _) in ODD_IMAGES.items():
            members.writestr(f"images/007.Oddities_Archived/{name.replace('.', '_')}.jpg", data)
    with (raw / "source/images.tsv").open("a") as images, (raw / "source/labels.tsv").open("a") as labels:
        for name, (data, _) in ODD_IMAGES.items():
            images.write(f"{name}\t{base64.b64encode(data).decode()}\n")
            labels.write(f"{name}\toddity\n")
    one, two = tmp_path / "one", tmp_path / "two"
    summary = run(raw, one, PARAMS)
    fates = Counter(fate for _, fate in ODD_IMAGES.values())
    expected = {
        kind: {fate.removeprefix(f"{kind}: "): n for fate, n in fates.items() if fate.startswith(kind)}
        for kind in ("converted", "quarantined")
    }
    for table, times, others in (("source images", 1, 4), ("target images", 2, 3)):
        rows = summary["tables"][table]
        assert rows["quarantined"] == {reason: times * n for reason, n in expected["quarantined"].items()}
        assert summary["converted"][table] == {reason: times * n for reason, n in expected["converted"].items()}
        assert rows["rows_read"] == times * len(ODD_IMAGES) + others
        assert rows["rows_read"] == rows["rows_kept"] + sum(rows["quarantined"].values())
    images = {row["image_id"]: row["image"]["bytes"] for row in read_tables(one / "images").to_pylist()}
    for name, (data, fate) in ODD_IMAGES.items():
        flat = name.replace(".", "_")
        here = [images.get(i) for i in (name, f"oddities/{flat}", f"007.Oddities_Archived/{flat}")]
        if fate.startswith("quarantined"):
            assert here == [None] * 3
        else:
            assert here == [here[0]] * 3
            picture = Image.open(io.BytesIO(here[0] or b""))
            assert (picture.format, picture.mode) == ("JPEG", "RGB")
            assert (here[0] == data) == (not fate)
    named = {(row[0], row[2], row[3]) for row in quarantine(one)}
    assert ("target/more.zip", "too many pixels", "images/007.Oddities_Archived/bomb_png.jpg") in named
    assert ("target/oddities/bomb_png.jpg", "too many pixels", "bomb_png.jpg") in named
    run(raw, two, PARAMS)
    assert content(one) == content(two)


def test_duplicates_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raw = write_raw(tmp_path / "raw")
    (raw / "target/grey_wolf/copy.jpg").write_bytes(IMAGES["s3"])  # a coyote in the source
    photograph = Image.fromarray(np.random.default_rng(9).integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(
        (160, 120)
    )
    photograph.save(raw / "target/001.Red_Fox/large.jpg", quality=95)
    photograph.resize((96, 72)).save(raw / "target/001.Red_Fox/small.jpg", quality=70)
    write_params(tmp_path / "params.yaml", click_shards=1, image_shards=3)
    output = tmp_path / "ingested"
    with caplog.at_level("INFO", logger="clicksight"):
        main(["--raw", str(raw), "--output", str(output), "--params", str(tmp_path / "params.yaml")])
    table = pq.read_table(output / "duplicates.parquet")
    assert table.schema.equals(schemas.DUPLICATES)
    large, small, wolf = "001.Red_Fox/large", "001.Red_Fox/small", "grey_wolf/copy"
    rows = [tuple(row.values()) for row in table.drop_columns(["distance"]).to_pylist()]
    assert rows == [
        ("s3", "source", "coyote", wolf, "target", "grey wolf", "exact", None),
        (large, "target", "red fox", small, "target", "red fox", "near", large),
        (small, "target", "red fox", large, "target", "red fox", "near", large),
        (wolf, "target", "grey wolf", "s3", "source", "coyote", "exact", None),
    ]
    assert json.loads((output / "summary.json").read_text())["duplicates"] == {
        "source": {"target": {"exact": 1, "near": 0, "other_category": 1}},
        "target": {
            "source": {"exact": 1, "near": 0, "other_category": 1},
            "target": {"exact": 0, "near": 2, "other_category": 0},
        },
    }
    assert "source images with an exact duplicate in the target 1" in caplog.text
    assert "target images with a near duplicate in the target 2" in caplog.text


def test_every_parameter_reaches_the_job_and_a_turned_copy_is_a_duplicate(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw")
    folder = raw / "target/001.Red_Fox"
    photograph = Image.fromarray(np.random.default_rng(9).integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(
        (160, 120)
    )
    photograph.save(folder / "large.jpg", quality=90)
    exif = Image.Exif()
    exif[0x0112] = 6  # EXIF: turn by 90 degrees clockwise to show it
    photograph.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", quality=90, exif=exif)
    photograph.crop((0, 0, 157, 120)).resize((160, 120)).save(folder / "cropped.jpg", quality=90)
    (tmp_path / "params.yaml").write_text(
        "ingest: {click_shards: 5, image_shards: 4, longest_side: 100, duplicate_distance: 32, name_encoding: null}\n"
    )
    output = tmp_path / "ingested"
    main(["--raw", str(raw), "--output", str(output), "--params", str(tmp_path / "params.yaml")])
    assert len(list((output / "clicks").iterdir())) == 5
    assert len(list((output / "images").iterdir())) == 4
    sizes = {row["image_id"]: (row["width"], row["height"]) for row in read_tables(output / "images").to_pylist()}
    assert sizes["001.Red_Fox/large"] == sizes["001.Red_Fox/turned"] == (100, 75)
    # Some 22 of 256 bits differ in the turned copy, which was encoded again, and some 44 in the cropped copy.
    assert [
        (row["image_id"], row["duplicate_id"], row["kind"])
        for row in pq.read_table(output / "duplicates.parquet").to_pylist()
    ] == [
        ("001.Red_Fox/large", "001.Red_Fox/turned", "near"),
        ("001.Red_Fox/turned", "001.Red_Fox/large", "near"),
    ]


def test_aliases_and_plurals_align_the_domains(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw")
    (raw / "aliases.tsv").write_text("Coyote\tgrey wolf\nno such\tthing\n")
    (raw / "target/001.Red_Fox").rename(raw / "target/Red_Foxes")
    summary = run(raw, tmp_path / "ingested", PARAMS)
    assert summary["categories"] == {
        **{"source": 2, "target": 2, "only_in_source": [], "only_in_target": []},
        "renamed": {"source": {}, "target": {"red foxes": "red fox"}},
        "aliases_without_category": ["no such"],
    }


def test_large_images_are_scaled_down_by_option(tmp_path: Path) -> None:
    output = tmp_path / "ingested"
    run(write_raw(tmp_path / "raw"), output, PARAMS.model_copy(update={"longest_side": 16}))
    rows = {row["image_id"]: row for row in read_tables(output / "images").to_pylist()}
    sizes = {name: (row["width"], row["height"]) for name, row in rows.items()}
    assert (sizes["s1"], sizes["s2"], sizes["001.Red_Fox/f2"]) == ((12, 9), (16, 5), (10, 16))
    assert rows["s1"]["image"]["bytes"] == IMAGES["s1"]
    for row in rows.values():
        assert Image.open(io.BytesIO(row["image"]["bytes"])).size == (row["width"], row["height"])


def test_same_bytes_whatever_the_order_of_rows(tmp_path: Path) -> None:
    first, second, third = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    run(write_raw(tmp_path / "raw"), first, PARAMS)
    run(tmp_path / "raw", second, PARAMS)
    assert content(first) == content(second)
    shuffled = random.Random(5)
    images = dict(shuffled.sample(sorted(IMAGES.items()), len(IMAGES)))
    assert list(images) != list(IMAGES)
    run(write_raw(tmp_path / "shuffled", images, shuffled.sample(CLICKS, len(CLICKS))), third, PARAMS)
    assert content(first) == content(third)


@pytest.mark.slow
def test_same_bytes_with_two_worker_processes(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    run(write_raw(tmp_path / "raw"), one, PARAMS)
    run(tmp_path / "raw", two, PARAMS, ["--direct_num_workers=2", "--direct_running_mode=multi_processing"])
    assert content(one) == content(two)


def test_same_bytes_where_other_processes_check_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_here(*arguments: object) -> None:
        raise AssertionError("checked in this process")

    raw = write_raw(tmp_path / "raw", IMAGES | {"s3": b"no image", "s4": jpeg(4)[:300]})
    here = run(raw, tmp_path / "here", PARAMS)
    monkeypatch.setattr(checked_images, "MANY", 1)
    monkeypatch.setattr(checked_images, "CORES", 2)
    monkeypatch.setattr(image_shards, "check_image", not_here)
    assert run(raw, tmp_path / "there", PARAMS) == here
    assert content(tmp_path / "there") == content(tmp_path / "here")


def test_a_broken_image_in_an_archive_whose_name_is_not_unicode(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw")
    with zipfile.ZipFile(raw / "target" / os.fsdecode(b"more\xff.zip"), "w") as archive:
        archive.writestr("coyote/good.jpg", jpeg(7))
        archive.writestr("coyote/bad.jpg", b"no image")
    run(raw, tmp_path / "ingested", PARAMS)
    assert ("target/more\\xff.zip", 2, "not an image") in [row[:3] for row in quarantine(tmp_path / "ingested")]


def test_a_broken_link_among_the_images_is_one_bad_image(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw")
    folder = next(path for path in (raw / "target").iterdir() if path.is_dir())
    (folder / "broken.jpg").symlink_to(tmp_path / "moved.jpg")
    run(raw, tmp_path / "ingested", PARAMS)
    path = f"target/{folder.name}/broken.jpg"
    assert (path, 1, "cannot be read") in [row[:3] for row in quarantine(tmp_path / "ingested")]


def test_images_as_files_and_other_forms_of_the_log(tmp_path: Path) -> None:
    plain, other = write_raw(tmp_path / "plain"), write_raw(tmp_path / "other")
    (other / "source/images.tsv").unlink()
    (other / "source/images").mkdir()
    for image_id, data in IMAGES.items():
        (other / "source/images" / f"{image_id}.jpg").write_bytes(data)
    log = other / "source/clicks.tsv"
    (other / "source/clicks.tsv.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()
    run(plain, tmp_path / "a", PARAMS)
    run(other, tmp_path / "b", PARAMS)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_row_groups_bound_what_a_reader_holds(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw")
    data = jpeg(20)
    for number in range(ROW_GROUP_IMAGES + 3):
        (raw / "target/grey_wolf" / f"n{number:04d}.jpg").write_bytes(data)
    run(raw, tmp_path / "ingested", PARAMS.model_copy(update={"image_shards": 1}))
    metadata = pq.read_metadata(tmp_path / "ingested/images/part-00000.parquet")
    sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    assert sizes == [ROW_GROUP_IMAGES, len(IMAGES) + 3 + ROW_GROUP_IMAGES + 3 - ROW_GROUP_IMAGES]


def test_the_command(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    params = tmp_path / "params.yaml"
    write_params(params, click_shards=1, image_shards=5)
    output = tmp_path / "ingested"
    main(["--raw", str(write_raw(tmp_path / "raw")), "--output", str(output), "--params", str(params)])
    assert len(list((output / "images").iterdir())) == 5  # every shard has a file, though there are fewer images
    assert duckdb.sql(f"SELECT sum(clicks) FROM '{output}/clicks/*.parquet'").fetchall() == [(22,)]
    assert "categories only in the source: coyote 1" in caplog.text
    assert "click pairs of unknown images (kept) 1" in caplog.text


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            "source/clicks.tsv",
            "expected one click log, as clicks.tsv, clicks.csv, clicks.jsonl, clicks.parquet or clicks.tsv.gz, or a folder clicks/ of them; found none",  # noqa: E501
        ),
        ("source/labels.tsv", "no source/labels.tsv; a raw data set has"),
        ("source/images.tsv", "no source/images.tsv or source/images/; a raw data set has"),
    ],
)
def test_a_missing_file_ends_the_command_and_leaves_no_output(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str, message: str
) -> None:
    raw, params = write_raw(tmp_path / "raw"), tmp_path / "params.yaml"
    (raw / damage).unlink()
    write_params(params, click_shards=1, image_shards=1)
    with pytest.raises(SystemExit) as ended:
        main(["--raw", str(raw), "--output", str(tmp_path / "out"), "--params", str(params)])
    assert ended.value.code == 2
    assert message in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["params.yaml", "raw"]


@pytest.mark.parametrize("name", ["clicks.tsv", "clicks.parquet", "clicks", "clicks/day-1.tsv"])
def test_a_log_that_is_a_pipe_ends_the_command(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    raw, params = write_raw(tmp_path / "raw"), tmp_path / "params.yaml"
    (raw / "source/clicks.tsv").unlink()
    (raw / "source" / name).parent.mkdir(exist_ok=True)
    os.mkfifo(raw / "source" / name)
    write_params(params, click_shards=1, image_shards=1)
    with time_limit(60), pytest.raises(SystemExit) as ended:
        main(["--raw", str(raw), "--output", str(tmp_path / "out"), "--params", str(params)])
    assert ended.value.code == 2
    assert f"source/{name}: is a named pipe, and only regular files are read; " in caplog.text


@pytest.mark.parametrize("kind", ODD)
def test_odd_files_among_the_images_are_quarantined_and_rows_add_up(tmp_path: Path, kind: str) -> None:
    raw = write_raw(tmp_path / "raw")
    (raw / "source/images").mkdir()
    for name in ("source/images/s9.jpg", "target/grey_wolf/w0.jpg", "target/odd.tar.gz"):
        ODD[kind](raw / name)
    for name in ("one", "two"):
        (raw / "target" / name).symlink_to("../target")
    with time_limit(120):
        summary = run(raw, tmp_path / "out", PARAMS)
    assert summary["tables"]["source images"] == {
        "rows_read": 5,
        "rows_kept": 4,
        "quarantined": {"neither file nor folder": 1},
    }
    assert summary["tables"]["target images"] == {
        "rows_read": 7,
        "rows_kept": 3,
        "quarantined": {"link to a folder listed already": 2, "neither file nor folder": 2},
    }
    assert ("target/grey_wolf/w0.jpg", 1, "neither file nor folder", "w0.jpg", 1) in quarantine(tmp_path / "out")


def test_two_click_logs_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raw, params = write_raw(tmp_path / "raw"), tmp_path / "params.yaml"
    pq.write_table(pa.Table.from_pylist([], schema=schemas.CLICKS), raw / "source/clicks.parquet")
    write_params(params, click_shards=1, image_shards=1)
    with pytest.raises(SystemExit):
        main(["--raw", str(raw), "--output", str(tmp_path / "out"), "--params", str(params)])
    assert "found clicks.parquet, clicks.tsv" in caplog.text


def test_a_domain_without_usable_images_is_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raw, params = write_raw(tmp_path / "raw"), tmp_path / "params.yaml"
    for path in (raw / "target").rglob("*.jpg"):
        path.write_bytes(b"no image")
    write_params(params, click_shards=1, image_shards=1)
    with pytest.raises(SystemExit):
        main(["--raw", str(raw), "--output", str(tmp_path / "out"), "--params", str(params)])
    assert "no usable image in the target domain: 3 read, quarantined: not an image 3" in caplog.text
    assert not (tmp_path / "out").exists()


@pytest.mark.real_data
@pytest.mark.skipif(not (REAL_DATA / "birds50").is_dir(), reason="birds50 is not beside the repository")
def test_birds50_keeps_every_row(tmp_path: Path) -> None:
    raw = REAL_DATA / "birds50"
    output = tmp_path / "ingested"
    summary = run(raw, output, PARAMS)
    kept = {table: (rows["rows_read"], rows["rows_kept"]) for table, rows in summary["tables"].items()}
    assert kept == {
        "clicks": (25_164, 25_164),
        "labels": (1_585, 1_585),
        "source images": (1_585, 1_585),
        "target images": (1_304, 1_304),
    }
    assert summary["categories"] == {
        **{"source": 50, "target": 50, "only_in_source": [], "only_in_target": []},
        **{"renamed": {"source": {}, "target": {}}, "aliases_without_category": []},
    }
    # Checked by eye: a cowbird, a cuckoo and an albatross occur twice, the albatross once in another category.
    assert summary["duplicates"] == {"source": {"source": {"exact": 0, "near": 6, "other_category": 2}}}
    [oracle] = duckdb.sql(
        f"SELECT count(*), sum(n), count(DISTINCT q) FROM read_csv('{raw}/source/clicks.tsv', delim='\t', quote='', "
        "header=false, columns={'i': 'VARCHAR', 'q': 'VARCHAR', 'n': 'BIGINT'})"
    ).fetchall()
    clicks = summary["clicks"]
    assert (clicks["image_query_pairs"], clicks["clicks"], clicks["distinct_queries"]) == oracle
    images = {row["image_id"]: row["image"]["bytes"] for row in read_tables(output / "images").to_pylist()}
    path = min((raw / "target").rglob("*.jpg"))
    assert images[f"{path.parent.name}/{path.stem}"] == path.read_bytes()


LOG_FORMS: dict[str, tuple[str, str, dict[str, str]]] = {
    "clicks.csv": ("image_id,query,clicks\n", ",", {"format": "csv"}),
    "clicks.tsv.gz": ("", "\t", {}),
    "clicks.txt": ("", "|", {"delimiter": "|", "encoding": "utf-16"}),
    "clicks/day.csv": (
        "photo;word;n\n",
        ";",
        {"format": "csv", "delimiter": ";", "columns": "image_id=photo,query=word,clicks=n"},
    ),
}


@pytest.mark.parametrize("name", LOG_FORMS)
def test_a_log_in_another_form_gives_the_same_clicks(tmp_path: Path, name: str) -> None:
    plain, raw = write_raw(tmp_path / "plain"), write_raw(tmp_path / "raw")
    header, delimiter, form = LOG_FORMS[name]
    text = header + (raw / "source/clicks.tsv").read_text(encoding="utf-8").replace("\t", delimiter)
    (raw / "source/clicks.tsv").unlink()
    (raw / "source" / name).parent.mkdir(exist_ok=True)
    content = text.encode(form.get("encoding", "utf-8"))
    (raw / "source" / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    for folder, log in ((plain, {}), (raw, form)):
        params = tmp_path / f"{folder.name}.yaml"
        write_params(params, click_shards=2, image_shards=1, log=log)
        main(["--raw", str(folder), "--output", str(tmp_path / "out" / folder.name), "--params", str(params)])
    outputs = [content_of_clicks(tmp_path / "out" / folder.name) for folder in (plain, raw)]
    assert outputs[0] == outputs[1]


def content_of_clicks(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((output / "clicks").iterdir())}


def test_a_log_of_bad_rows_is_explained_with_keys_and_its_quarantine_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw, params = write_raw(tmp_path / "raw"), tmp_path / "params.yaml"
    log = raw / "source/clicks.tsv"
    log.write_text(log.read_text(encoding="utf-8").replace("\t", ","), encoding="utf-8")
    write_params(params, click_shards=1, image_shards=1)
    with pytest.raises(SystemExit) as ended:
        main(["--raw", str(raw), "--output", str(tmp_path / "out"), "--params", str(params)])
    assert ended.value.code == 2
    assert "too many rows are bad, more than ingest.log.most_bad_rows: 0.5 allows" in caplog.text
    assert "  6 wrong number of fields, as row 1 of source/clicks.tsv: 's1,red fox,5'" in caplog.text
    assert "have no tabs and are separated by ','; try ingest.log.format: csv" in caplog.text
    assert sum(read_tables(tmp_path / "out.quarantine")["rows"].to_pylist()) == 6
    assert not (tmp_path / "out").exists()
    write_params(params, click_shards=1, image_shards=1, log={"format": "csv"})
    main(["--raw", str(raw), "--output", str(tmp_path / "out"), "--params", str(params)])
    assert not (tmp_path / "out.quarantine").exists()


def test_more_clicks_than_64_bits_hold_are_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raw, params = write_raw(tmp_path / "raw"), tmp_path / "params.yaml"
    (raw / "source/clicks.tsv").unlink()
    number = 9_300_000  # in as many queries as shards: no sum of a row wraps, but that of the log
    queries = pa.DictionaryArray.from_arrays(pa.array(np.arange(number, dtype=np.int32) % 7), list("abcdefg"))
    ids = pa.DictionaryArray.from_arrays(pa.array(np.zeros(number, np.int32)), ["s1"])
    table = pa.table({"image_id": ids, "query": queries, "clicks": pa.repeat(10**12, number)})
    pq.write_table(table, raw / "source/clicks.parquet")
    write_params(params, click_shards=3, image_shards=1)
    with pytest.raises(SystemExit):
        main(["--raw", str(raw), "--output", str(tmp_path / "out"), "--params", str(params)])
    assert "the log has 9,300,000,000,000,000,000 clicks: sums of clicks must be below 2^63" in caplog.text
