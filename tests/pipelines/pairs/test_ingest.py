import hashlib
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from pair_sets import SIZES, pair_rows, picture, write_jsonl, write_parquet, write_tsv

from base import schemas
from base.artifacts import read_json, read_tables, shard_of
from base.console import UserError
from pipelines.pairs.ingest import PairIngestParams, main, plain_text, run
from pipelines.pairs.layouts import PairsParams, find_pairs

PARAMS = PairIngestParams(shards=3, longest_side=None, duplicate_distance=48)
DATA = Path(__file__).parents[4] / "shared" / "data"


def ingest(path: Path, output: Path, **source: Any) -> dict[str, Any]:
    return run(find_pairs(PairsParams(pairs=str(path), layout="table", **source)), output, PARAMS)


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def broken_rows() -> list[dict[str, Any]]:
    """Return a row for each of the reasons, and three more of existing ids."""
    good = {"id": "x", "text": "a text", "category": "boats", "split": "train", "image": picture(50)}
    changed = [{"id": ""}, {"category": None}, {"text": " "}, {"image": None}, {"split": "?"}, {"image": b"no"}]
    again = [{"id": "p00", "image": picture(51)}, {"id": "p07", "image": picture(1)}, {"id": "p00", "text": "b"}]
    return [{**good, **change} for change in changed + again]


def test_the_same_pairs_give_the_same_bytes_in_every_form_and_order(tmp_path: Path) -> None:
    rows = pair_rows()
    forms = [
        write_parquet(tmp_path / "p.parquet", rows, group=4),
        write_tsv(tmp_path / "p.tsv", rows[::-1]),
        write_jsonl(tmp_path / "p.jsonl", rows),
    ]
    summaries = [ingest(path, tmp_path / path.suffix[1:]) for path in forms]
    assert summaries[0]["pairs"] == {"rows_read": 12, "rows_kept": 12, "quarantined": {}}
    assert summaries[0]["categories"] == dict(sorted(SIZES.items()))
    assert summaries[0]["given_splits"] == {"test": 4, "train": 8}
    assert summaries[0]["duplicates"] == dict.fromkeys(summaries[0]["duplicates"], 0)
    of_form = [files(tmp_path / path.suffix[1:]) for path in forms]
    assert of_form[0] == of_form[1] == of_form[2]

    output = tmp_path / "parquet"
    for path in (output / "pairs").iterdir():
        assert pq.read_schema(path).equals(schemas.PAIRS)
        ids = pq.read_table(path)["pair_id"].to_pylist()
        assert ids == sorted(ids)
        assert {f"part-{shard_of(pair_id, 3):05d}.parquet" for pair_id in ids} <= {path.name}
    found = {row["pair_id"]: row for row in read_tables(output / "pairs").to_pylist()}
    expected = {row["id"]: row for row in rows}
    assert set(found) == set(expected)
    for pair_id, row in found.items():
        assert row["image"] == {"bytes": expected[pair_id]["image"], "path": f"{pair_id}.jpg"}
        assert (row["category"], row["split"], row["text"], row["width"], row["height"]) == (
            *(expected[pair_id][name] for name in ("category", "split", "text")), 24, 20,
        )  # fmt: skip
    texts = pl.DataFrame(read_tables(output / "texts"))
    assert dict(texts.select("image_id", "query").iter_rows()) == {key: row["text"] for key, row in expected.items()}
    assert set(texts["clicks"]) == {1}


def test_bad_pairs_are_quarantined_with_reasons_and_rows_add_up(tmp_path: Path) -> None:
    rows = pair_rows() + broken_rows()
    summary = ingest(write_parquet(tmp_path / "p.parquet", rows), tmp_path / "out")
    reasons = {
        "empty pair id": 1, "empty text": 1, "no category": 1, "no image": 1, "not an image": 1,
        "second pair of the id": 2, "second text of the id": 1, "unknown split": 1,
    }  # fmt: skip
    assert summary["pairs"] == {"rows_read": 21, "rows_kept": 12, "quarantined": reasons}
    refused = pl.DataFrame(read_tables(tmp_path / "out" / "quarantine")).sort("row")
    assert refused.select("row", "reason").rows() == [
        (13, "empty pair id"), (14, "no category"), (15, "empty text"), (16, "no image"), (17, "unknown split"),
        (18, "not an image"), (19, "second pair of the id"), (20, "second text of the id"),
        (21, "second pair of the id"),
    ]  # fmt: skip
    assert set(refused["file"]) == {"p.parquet"}
    assert refused["raw"][2] == "x\tboats\t "
    assert files(tmp_path / "out" / "pairs") == files(ingested_alone(tmp_path) / "pairs")


def ingested_alone(folder: Path) -> Path:
    """Ingest the good pairs alone."""
    ingest(write_parquet(folder / "good.parquet", pair_rows()), folder / "good")
    return folder / "good"


def test_one_category_is_an_error_that_names_it_and_leaves_the_quarantine(tmp_path: Path) -> None:
    rows = [row for row in pair_rows() if row["category"] == "boats"] + [{**pair_rows()[-1], "text": ""}]
    path = write_parquet(tmp_path / "p.parquet", rows)
    with pytest.raises(UserError, match=r"one category, 'boats': 6 rows read, 5 kept, quarantined: empty text 1"):
        ingest(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert read_tables(tmp_path / "out.quarantine")["reason"].to_pylist() == ["empty text"]


def test_the_command_reads_a_raw_set_with_captions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = tmp_path / "raw"
    for n, name in enumerate(("Fox/1", "Fox/2", "Wolf/1")):
        (raw / "target" / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / "target" / f"{name}.jpg").write_bytes(picture(n))
    (raw / "source" / "images").mkdir(parents=True)
    (raw / "source" / "labels.tsv").write_text("")
    rows = ["Fox/1\ten\ta fox", "Wolf/1\tzh\t一只狼", "Wolf/1\ten\t", "s\ten\tx"]
    (raw / "captions.tsv").write_text("\n".join(["image_id\tlanguage\tsentence", *rows]), encoding="utf-8")
    output = tmp_path / "out"
    main(["--pairs", str(raw), "--layout", "raw", "--domain", "target", "--shards", "2", "--output", str(output)])
    summary = read_json(output / "summary.json")
    assert summary["pairs"] == {"rows_read": 3, "rows_kept": 2, "quarantined": {"empty text": 1}}
    assert summary["texts"] == {
        "rows_read": 4, "rows_kept": 2, "left_out": {"of an image elsewhere": 1}, "quarantined": {"empty sentence": 1},
    }  # fmt: skip
    assert sorted(read_tables(output / "quarantine")["reason"].to_pylist()) == ["empty sentence", "empty text"]
    assert dict(pl.DataFrame(read_tables(output / "pairs", ["pair_id", "text"])).iter_rows()) == {
        "Fox/1": "a fox", "Wolf/1": "一只狼",
    }  # fmt: skip
    with pytest.raises(SystemExit):
        main(["--pairs", str(raw), "--layout", "table", "--columns", "id", "--output", str(output)])
    with pytest.raises(SystemExit):
        main(["--pairs", str(raw), "--layout", "tables", "--output", str(output)])


def test_texts_are_compared_as_words_are() -> None:
    assert plain_text(" Ａ\tGolden  Straße\n") == "a golden strasse"


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "columns", "read", "kept"),
    [
        ("fashion_en/pairs.parquet", {"id": "pair_id"}, 2200, 2200),
        ("movies_en/items.parquet", {"id": "item_id"}, 2238, 1711),
        ("openclipart/items.parquet", {"id": "item_id", "text": "title", "category": "labels"}, 2195, 2085),
    ],
)
def test_real_sets_add_up(tmp_path: Path, name: str, columns: dict[str, str], read: int, kept: int) -> None:
    if not (DATA / name).is_file():
        pytest.skip(f"{name} is not beside the repository")
    summary = ingest(DATA / name, tmp_path / "out", columns=columns)
    quarantined = summary["pairs"]["quarantined"]
    assert (summary["pairs"]["rows_read"], summary["pairs"]["rows_kept"]) == (read, kept)
    assert quarantined == ({"empty text": read - kept} if read > kept else {})
    assert sum(summary["categories"].values()) == kept
