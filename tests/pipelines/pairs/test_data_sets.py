import base64
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from coloured_images import image_table, write_images
from pair_sets import picture

from base import schemas
from base.console import UserError
from pipelines.pairs.data_sets import ingested_pieces, raw_pieces


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two source images (a third has no label, a fourth label no image), three target images."""
    (tmp_path / "source").mkdir()
    lines = [f"{name}\t{base64.b64encode(picture(n)).decode()}\n" for n, name in enumerate(("s1", "s2", "s9"))]
    (tmp_path / "source" / "images.tsv").write_text("".join(lines))
    (tmp_path / "source" / "labels.tsv").write_text("s1\tred fox\ns2\tgrey wolf\ns3\tred fox\n")
    for n, name in enumerate(("Red_fox/1", "Red_fox/2", "Grey_wolf/1")):
        path = tmp_path / "target" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(5 + n))
    captions = [("s1", "a fox"), ("Red_fox/1", "fox one"), ("Grey_wolf/1", "a wolf"), ("Red_fox/1", "it runs")]
    rows = "".join(f"{image}\ten\t{text}\n" for image, text in captions)
    (tmp_path / "captions.tsv").write_text(f"image_id\tlanguage\tsentence\n{rows}")
    return tmp_path


def test_the_images_of_a_raw_domain_are_pairs_with_its_captions(raw: Path) -> None:
    pieces, texts = raw_pieces(raw, ["target"], None, None, None)
    found = {pair.pair_id: (pair.category, pair.text, pair.reason) for piece in pieces for pair in piece.read()}
    assert found == {
        "Red_fox/1": ("red fox", "fox one it runs", ""),
        "Red_fox/2": ("red fox", "", ""),
        "Grey_wolf/1": ("grey wolf", "a wolf", ""),
    }
    assert (texts.read, texts.kept, dict(texts.left_out)) == (4, 3, {"of an image elsewhere": 1})


def test_what_the_catalogue_refuses_is_a_refused_pair_of_its_domain(raw: Path) -> None:
    (raw / "target" / "notes.txt").write_text("x")
    of_source, _ = raw_pieces(raw, ["source"], None, None, None)
    found = [(pair.pair_id, pair.text, pair.reason) for piece in of_source for pair in piece.read()]
    assert sorted(found) == [
        ("", "", "image without label"), ("", "", "label without image"), ("s1", "a fox", ""), ("s2", "", ""),
    ]  # fmt: skip
    of_target, _ = raw_pieces(raw, ["target"], None, None, None)
    assert [p.reason for piece in of_target for p in piece.read() if p.reason] == ["not in a category folder"]
    of_both, texts = raw_pieces(raw, ["source", "target"], None, None, 1)
    assert len([pair for piece in of_both for pair in piece.read()]) == 8
    assert dict(texts.left_out) == {"more texts than are used": 1}


def test_without_captions_a_raw_set_is_an_error(raw: Path) -> None:
    (raw / "captions.tsv").unlink()
    with pytest.raises(UserError, match=r"captions.tsv: no such file"):
        raw_pieces(raw, ["target"], None, None, None)


def test_ingested_images_get_captions_or_the_queries_clicked_for_them(tmp_path: Path) -> None:
    write_images(tmp_path / "images", image_table(), num_shards=3)
    (tmp_path / "clicks").mkdir()
    rows = [("s-red-0", "red", 1), ("s-red-0", "scarlet", 4), ("t-blue-1", "azure", 2), ("gone", "x", 1)]
    clicks = pa.Table.from_pylist([dict(zip(schemas.CLICKS.names, row, strict=True)) for row in rows])
    pq.write_table(clicks.cast(schemas.CLICKS), tmp_path / "clicks" / "part-00000.parquet")
    pieces, texts = ingested_pieces(tmp_path, ["source", "target"], None, None, None)
    pairs = [pair for piece in pieces for pair in piece.read()]
    assert {pair.pair_id: pair.text for pair in pairs if pair.text} == {"s-red-0": "scarlet red", "t-blue-1": "azure"}
    assert len(pairs) == image_table().num_rows
    images = {row["image_id"]: row["image"]["bytes"] for row in image_table().to_pylist()}
    assert all(pair.image == images[pair.pair_id] for pair in pairs)
    assert texts.kept == 3

    (tmp_path / "c.tsv").write_text("image_id\tsentence\nt-blue-0\tthe sea\ns-red-1\ta rose\n")
    pieces, _ = ingested_pieces(tmp_path, ["target"], tmp_path / "c.tsv", None, None)
    pairs = [pair for piece in pieces for pair in piece.read()]
    assert [(pair.pair_id, pair.text) for pair in pairs if pair.text] == [("t-blue-0", "the sea")]
    assert {pair.pair_id for pair in pairs} == {"t-blue-0", "t-blue-1", "t-blue-2"}
