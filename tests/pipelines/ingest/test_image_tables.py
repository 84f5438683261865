"""Images in Parquet columns: every row's bytes are found again; nulls and wrong columns."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from base.console import UserError
from pipelines.ingest.image_archives import PlaceReader
from pipelines.ingest.image_tables import copy_images

IMAGES = [b"first", None, b"", b"a longer third \x00\xff", b"4"]


@pytest.mark.parametrize("kind", ["binary", "large", "struct"])
def test_every_row_is_read_again(tmp_path: Path, kind: str) -> None:
    if kind == "struct":
        column = pa.array([None if image is None else {"bytes": image, "path": "x.jpg"} for image in IMAGES])
    else:
        column = pa.array(IMAGES, pa.binary() if kind == "binary" else pa.large_binary())
    pq.write_table(pa.table({"id": list("abcde"), "picture": column}), tmp_path / "t.parquet", row_group_size=2)
    (tmp_path / "copies").mkdir()
    places = copy_images(tmp_path / "t.parquet", "picture", tmp_path / "copies")
    with PlaceReader(tmp_path / "copies") as reader:
        assert [None if place is None else reader.read(place) for place in reversed(places)] == IMAGES[::-1]
    assert [place.row for place in places if place is not None] == [1, 3, 4, 5]


def test_a_missing_or_wrong_column_and_a_damaged_file(tmp_path: Path) -> None:
    path, copies = tmp_path / "t.parquet", tmp_path / "copies"
    copies.mkdir()
    pq.write_table(pa.table({"id": ["a"], "image": pa.array([b"x"])}), path)
    with pytest.raises(UserError, match=r"t.parquet: no column 'picture' of images; it has id, image"):
        copy_images(path, "picture", copies)
    with pytest.raises(UserError, match=r"column 'id' is string; expected the bytes"):
        copy_images(path, "id", copies)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        copy_images(path, "image", copies)
