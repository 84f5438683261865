"""Image ids are compared in NFC wherever they enter."""

import base64
import io
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from base.artifacts import read_tables
from base.console import UserError
from pipelines.build_click_features import main
from pipelines.ingest.click_data import IngestParams, run
from pipelines.ingest.image_ids import composed_ids
from pipelines.words.image_sets import source_images

NFC, NFD = "caf\u00e9", "cafe\u0301"
PARAMS = IngestParams(click_shards=2, image_shards=2, longest_side=None, duplicate_distance=48, name_encoding=None)


def jpeg(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


@given(st.lists(st.text(st.sampled_from("ae\u0301\u00e9\u1e69s\u0323\u0307\uac00\u1100\u1161\u212b"))))
def test_ids_are_in_pythons_nfc(ids):
    assert composed_ids(pa.array(ids, pa.string())).to_pylist() == [unicodedata.normalize("NFC", name) for name in ids]


@pytest.mark.parametrize("text", [True, False], ids=["text", "Parquet"])
def test_clicks_of_both_spellings_are_one_images(tmp_path, monkeypatch, text):
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")
    rows = [(NFC, "red cat", 3), (NFD, "red cat", 4), ("other", "dog", 1), (NFD, "dog", 2)]
    log = tmp_path / ("log.tsv" if text else "log.parquet")
    if text:
        log.write_text("".join(f"{i}\t{q}\t{n}\n" for i, q, n in rows), encoding="utf-8")
    else:
        pl.DataFrame(rows, ("image_id", "query", "clicks"), orient="row").write_parquet(log)
    pq.write_table(pa.table({"image_id": [NFD]}), tmp_path / "images.parquet")
    for options, images in (([], [NFC, "other"]), (["--images", str(tmp_path / "images.parquet")], [NFC])):
        main(["--clicks", str(log), "--output", str(tmp_path / "features"), *options])
        features = {row["image_id"]: row for row in read_tables(tmp_path / "features/click_features").to_pylist()}
        assert sorted(features) == images
        assert sorted(features[NFC]["clicks"]) == [2, 7, 7]


def test_a_list_of_images_with_both_spellings(tmp_path):
    pq.write_table(pa.table({"image_id": ["b", NFD, "a"]}), tmp_path / "images.parquet")
    assert source_images(tmp_path / "images.parquet").to_pylist() == ["a", "b", NFC]
    pq.write_table(pa.table({"image_id": [NFC, NFD]}), tmp_path / "images.parquet")
    with pytest.raises(UserError, match=r"image 'café' occurs more than once"):
        source_images(tmp_path / "images.parquet")


def write_raw(raw: Path, log: str, label: str, image: str, folders: tuple[str, str], source: str) -> Path:
    """Write a data set that spells one id in three ways, and the two folders of a category."""
    (raw / "source/images").mkdir(parents=True)
    (raw / "source/clicks.tsv").write_text(f"{log}\tred cat\t3\n", encoding="utf-8")
    (raw / "source/labels.tsv").write_text(f"{label}\tcat\nplain\tcat\n", encoding="utf-8")
    (raw / "source/images/plain.jpg").write_bytes(jpeg(1))
    if source == "table":
        text = base64.b64encode(jpeg(2)).decode()
        (raw / "source/images.tsv").write_text(f"{image}\t{text}\n", encoding="utf-8")
    elif source == "folder":
        (raw / f"source/images/{image}.jpg").write_bytes(jpeg(2))
    else:
        with zipfile.ZipFile(raw / "source/images.zip", "w") as archive:
            archive.writestr(f"{image}.jpg", jpeg(2))
    for number, folder in enumerate(folders, start=3):
        (raw / "target" / folder).mkdir(parents=True, exist_ok=True)
        (raw / "target" / folder / f"{number}{image}.jpg").write_bytes(jpeg(number))
    return raw


@pytest.mark.parametrize("source", ["table", "folder", "archive"])
@pytest.mark.parametrize("spellings", [(NFC, NFC, NFD), (NFD, NFC, NFC), (NFC, NFD, NFC), (NFD, NFD, NFC)])
def test_log_labels_and_images_match_in_any_spelling(tmp_path, source, spellings):
    raw = write_raw(tmp_path / "raw", *spellings, folders=(NFC, NFD), source=source)
    summary = run(raw, tmp_path / "ingested", PARAMS)
    assert summary["clicks"]["pairs_of_unknown_images"] == 0
    assert {table: rows["quarantined"] for table, rows in summary["tables"].items() if rows["quarantined"]} == {}
    rows = read_tables(tmp_path / "ingested/images").to_pylist()
    assert {(row["image_id"], row["domain"], row["category"]) for row in rows} == {
        (NFC, "source", "cat"),
        ("plain", "source", "cat"),
        (f"{NFC}/3{NFC}", "target", NFC),
        (f"{NFC}/4{NFC}", "target", NFC),
    }


def test_two_spellings_of_an_image_are_a_second_image(tmp_path):
    raw = write_raw(tmp_path / "raw", NFC, NFC, NFD, folders=("a", "a"), source="folder")
    (raw / f"source/images/{NFC}.jpg").write_bytes(jpeg(9))
    (raw / "source/labels.tsv").write_text(f"{NFC}\tcat\nplain\tcat\n{NFD}\tdog\n", encoding="utf-8")
    for output in ("one", "two"):
        tables = run(raw, tmp_path / output, PARAMS)["tables"]
        assert tables["source images"]["quarantined"] == {"second image of the id": 1}
        assert tables["labels"]["quarantined"] == {"second label of the image": 1}
        refused = [row["raw"] for row in read_tables(tmp_path / output / "quarantine").to_pylist()]
        assert refused == [f"{NFC}.jpg", f"{NFD}\tdog"]
