from pathlib import Path

import polars as pl
import pyarrow as pa
from pair_sets import pair_rows, picture

from base import schemas
from base.artifacts import read_json, write_table
from pipelines.ingest.decoding import check_image
from pipelines.pairs.check import GoodPair, checked_batch
from pipelines.pairs.overlap import main
from pipelines.pairs.records import RawPair


def write_fingerprints(folder: Path, rows: list[tuple[str, str, bytes, bytes]]) -> None:
    """Write the fingerprints of (id, category, image, digest of the text)."""
    pairs = [GoodPair(RawPair("f", 1), name, kind, None, "t", check_image(image)) for name, kind, image, _ in rows]
    checked = pa.Table.from_batches([checked_batch(pairs)])
    columns = {name: checked[name] for name in schemas.FINGERPRINTS.names[:-1]}
    columns["coarse"] = checked["coarse"].to_numpy().view("int64")
    columns["text"] = pa.array([text for *_, text in rows], pa.binary(32))
    write_table(pa.table(columns, schema=schemas.FINGERPRINTS), folder / "fingerprints.parquet")


def test_pairs_of_both_sets_are_listed_and_counted(tmp_path: Path) -> None:
    image = pair_rows()[0]["image"]
    write_fingerprints(tmp_path / "one", [("b", "boats", image, b"1" * 32), ("a", "bells", picture(70), b"2" * 32)])
    write_fingerprints(
        tmp_path / "two",
        [
            ("a", "boats", image, b"3" * 32),
            ("c", "birds", picture(71), b"2" * 32),
            ("d", "birds", picture(72), b"4" * 32),
        ],
    )
    arguments = ["--source", str(tmp_path / "one"), "--target", str(tmp_path / "two"), "--output", str(tmp_path / "o")]
    main(arguments)
    rows = pl.read_parquet(tmp_path / "o" / "pairs.parquet")
    assert rows.schema.names() == schemas.PAIR_OVERLAP.names
    assert rows.rows() == [
        ("source", "a", "bells", "c", "birds", "text", 0),
        ("source", "b", "boats", "a", "boats", "exact", 0),
        ("target", "a", "boats", "b", "boats", "exact", 0),
        ("target", "c", "birds", "a", "bells", "text", 0),
    ]
    summary = read_json(tmp_path / "o" / "summary.json")
    assert summary["shared_categories"] == ["boats"]
    assert summary["pairs"]["target"] == {
        "an exact copy of the picture": 1, "a near copy of the picture": 0, "the same text": 1,
        "a duplicate in another category": 1,
    }  # fmt: skip
