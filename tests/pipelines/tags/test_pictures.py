"""Pictures of tables, folders and archives; bad ones are quarantined, and the rows add up."""

import json
import zipfile
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_images import jpeg, write_jpeg

from base.artifacts import read_tables
from base.schemas import DUPLICATES, IMAGES, QUARANTINE
from pipelines.tags.pictures import main

INGEST = {
    "click_shards": 1,
    "image_shards": 2,
    "longest_side": 24,
    "duplicate_distance": 8,
    "name_encoding": None,
    "log": {},
}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")


def ingest(raw: Path | str, output: str = "out", image_id: str = "id", image: str = "picture") -> dict:
    params = {"pictures": {"image_id": image_id, "image": image}, "ingest": INGEST}
    Path("params.yaml").write_text(json.dumps(params))
    main([f"--raw={raw}", f"--output={output}"])
    return json.loads(Path(output, "summary.json").read_text())


def write_items(folder: Path) -> Path:
    folder.mkdir()
    ids = pa.array([7, 8, 9, 7, None, 10, 11])
    pictures = pa.array([jpeg(1), None, b"no image", jpeg(2), jpeg(3), jpeg(1), jpeg(4)])
    pq.write_table(pa.table({"id": ids, "picture": pictures}), folder / "items.parquet")
    return folder


def test_a_table(tmp_path: Path) -> None:
    summary = ingest(write_items(tmp_path / "raw"))
    assert summary["pictures"] == {
        "rows_read": 7,
        "rows_kept": 3,
        "quarantined": {"empty image id": 1, "no image": 1, "not an image": 1, "second image of the id": 1},
    }
    images = read_tables(Path("out/images"))
    assert images.schema.equals(IMAGES)
    assert sorted(images["image_id"].to_pylist()) == ["10", "11", "7"]
    assert set(images["domain"].to_pylist()) == {"source"}
    assert max(images["width"].to_pylist()) == 24
    bad = read_tables(Path("out/quarantine"))
    assert bad.schema.equals(QUARANTINE)
    assert sorted(bad["row"].to_pylist()) == [2, 3, 4, 5]
    duplicates = read_tables(Path("out/duplicates.parquet"))
    assert duplicates.schema.equals(DUPLICATES)
    assert set(duplicates["image_id"].to_pylist()) == {"7", "10"}


def test_a_folder_and_an_archive_give_the_same(tmp_path: Path) -> None:
    for number, name in enumerate(["a.jpg", "b/c.jpg"]):
        write_jpeg(tmp_path / "one/images" / name, number)
    ingest("one", "of_folder")
    (tmp_path / "two").mkdir()
    with zipfile.ZipFile(tmp_path / "two/images.zip", "w") as archive:
        for name in ("a.jpg", "b/c.jpg"):
            archive.write(tmp_path / "one/images" / name, name)
    ingest("two", "of_archive")
    one, two = (pl.DataFrame(read_tables(Path(name, "images"))) for name in ("of_folder", "of_archive"))
    assert one["image_id"].sort().to_list() == ["a", "b/c"]
    assert one.equals(two)


def test_what_is_no_set_of_pictures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def refuses(message: str, *arguments: str, **columns: str) -> None:
        with pytest.raises(SystemExit):
            ingest(*arguments, **columns)
        assert message in caplog.text

    (tmp_path / "none").mkdir()
    refuses("none: no pictures: expected items.parquet, or a folder or archive images", "none")
    raw = str(write_items(tmp_path / "raw"))
    refuses("no column 'name' (pictures.image_id); it has id, picture", raw, image_id="name")
    refuses("no column 'photo' of images", raw, image="photo")
    pq.write_table(pa.table({"id": ["x"], "picture": pa.array([b"no"])}), tmp_path / "raw/items.parquet")
    refuses("no usable picture: 1 read, quarantined: not an image 1", raw)
    assert not Path("out").exists()
