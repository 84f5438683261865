"""The whole job on a folder with every kind of bad input: rows add up, outputs are right and have the same bytes."""

import json
from pathlib import Path

import polars as pl
import pytest
from small_images import write_jpeg

from base.artifacts import read_tables
from base.console import UserError
from base.schemas import CLICKS, IMAGES, LABEL_SETS, QUERIES
from pipelines.annotations.ingest import IngestParams, run
from pipelines.annotations.plain import ColumnParams

PARAMS = IngestParams(
    layout="files",
    columns=ColumnParams(image_id="id", image="image", labels="labels", tags=None, split=None),
    image_shards=2,
    tag_shards=2,
    longest_side=None,
    longest_tag=50,
    duplicate_distance=48,
)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    raw = tmp_path / "raw"
    for number, name in enumerate(["a", "b", "c", "no_label", "d"]):
        write_jpeg(raw / f"images/{name}.jpg", number)
    write_jpeg(raw / "images/a.png", 0)  # a second image of the id
    write_jpeg(raw / "images/copy.jpg", 1)  # of b
    (raw / "images/broken.jpg").write_bytes(b"no picture")
    labels = [
        "a\tCat",
        "a\tred",
        "b\tcat",
        "c\tred",
        "c\tred",
        "d\tcat",
        "copy\tcat",
        "broken\tred",
        "gone\tcat",
        "a\t ",
    ]
    (raw / "label_sets.tsv").write_text("\n".join(["image_id\tlabel", *labels]) + "\n")
    tags = ["u\ta\tNew York", "v\ta\tNew York", "u\tb\tcute", "u\tb", f"u\tb\t{'x' * 60}", "u\tgone\tcute", "u\tc\t "]
    (raw / "tags.tsv").write_text("\n".join(["user_id\timage_id\ttag", *tags]) + "\n")
    return raw


def test_tables_and_sums(raw: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    summary = run(raw, output, PARAMS)
    assert json.loads((output / "summary.json").read_text()) == summary
    assert summary["tables"]["images"] == {
        "rows_read": 8,
        "rows_kept": 5,
        "quarantined": {"image without label": 1, "not an image": 1, "second image of the id": 1},
    }
    assert summary["tables"]["labels"] == {
        "rows_read": 10,
        "rows_kept": 7,
        "quarantined": {"empty label": 1, "label given twice": 1, "label without image": 1},
    }
    assert summary["tables"]["tags"] == {
        "rows_read": 8,
        "rows_kept": 4,
        "quarantined": {"empty query": 1, "header row": 1, "line too long": 1, "wrong number of fields": 1},
    }
    quarantine = pl.DataFrame(read_tables(output / "quarantine"))
    assert quarantine["rows"].sum() == 3 + 3 + 4
    labels = read_tables(output / "labels.parquet")
    assert labels.schema.equals(LABEL_SETS)
    assert pl.DataFrame(labels).rows() == [
        ("a", ["cat", "red"], None), ("b", ["cat"], None), ("c", ["red"], None), ("copy", ["cat"], None),
        ("d", ["cat"], None),
    ]  # fmt: skip
    images = read_tables(output / "images")
    assert images.schema.names == IMAGES.names
    assert sorted(images["image_id"].to_pylist()) == labels["image_id"].to_pylist()
    assert set(images["domain"].to_pylist()) == {"source"}
    duplicates = pl.DataFrame(read_tables(output / "duplicates.parquet"))
    assert set(duplicates.select("image_id", "duplicate_id", "kind").rows()) == {
        ("b", "copy", "exact"), ("copy", "b", "exact"),
    }  # fmt: skip


def test_tags_are_a_log_with_one_word_each(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "out", PARAMS)
    log, words = read_tables(tmp_path / "out/tags"), read_tables(tmp_path / "out/tag_words")
    assert (log.schema, words.schema) == (CLICKS, QUERIES)
    assert sorted(pl.DataFrame(log).rows()) == [("a", "New York", 2), ("b", "cute", 1), ("gone", "cute", 1)]
    assert sorted(pl.DataFrame(words).rows()) == [("New York", ["new york"]), ("cute", ["cute"])]
    shards = sorted(path.name for path in (tmp_path / "out/tags").iterdir())
    assert sorted(path.name for path in (tmp_path / "out/tag_words").iterdir()) == shards
    for shard in shards:  # the words lie in the same shards as their tags
        tags = set(pl.DataFrame(read_tables(tmp_path / "out/tags" / shard))["query"])
        assert tags == set(pl.DataFrame(read_tables(tmp_path / "out/tag_words" / shard))["query"])


def test_the_same_input_gives_the_same_bytes(raw: Path, tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        run(raw, tmp_path / name, PARAMS)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        contents.append({path.relative_to(tmp_path / name): path.read_bytes() for path in files})
    assert contents[0] == contents[1]


def test_what_cannot_be_used_is_an_error(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"items.parquet.*is annotation.ingest.layout 'table' right"):
        run(raw, tmp_path / "out", PARAMS.model_copy(update={"layout": "table"}))
    (raw / "label_sets.tsv").write_text("image_id\tlabel\nbroken\tred\n")
    with pytest.raises(
        UserError, match="no usable image has a label; quarantined: image without label 6, not an image 1"
    ):
        run(raw, tmp_path / "out", PARAMS)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="no such folder"):
        run(raw / "nowhere", tmp_path / "out", PARAMS)
