"""The control's shuffled log is fair: the same images have clicks, but those of another image."""

import gzip
from pathlib import Path

import polars as pl
import pyarrow as pa

from base.schemas import CLICKS
from benchmarks.click_control import exchange_images, link_with_log
from pipelines.beam.shards import read_shard, shard_files, write_shard
from pipelines.ingest.click_data import find_click_logs
from pipelines.ingest.log_slices import plan_slices

NAMES = ["a", "b", "c", "d", "e", "f", "g"]
# Each image has a query of its own, and some have a second one; "gone" is no image, "t" is a target image.
FIRST = [(name, f"q{name}", number) for number, name in enumerate(NAMES, start=1)]
SECOND = [("a", "fox", 9), ("c", "fox", 2), ("gone", "fox", 50), ("gone", "wolf", 3), ("t", "wolf", 4)]


def ingested(folder: Path) -> Path:
    for name in ("clicks", "images"):
        (folder / name).mkdir(parents=True)
    for number, rows in enumerate((FIRST, SECOND)):
        columns = [list(column) for column in zip(*rows, strict=True)]
        write_shard((number, pa.record_batch(columns, schema=CLICKS)), folder / "clicks")
    images = pl.DataFrame({"image_id": [*NAMES, "never", "t"], "domain": ["source"] * 8 + ["target"]})
    images.write_parquet(folder / "images/part-00000.parquet")
    return folder


def logs_by_image(rows: list[tuple[str, str, int]]) -> dict[str, set[tuple[str, int]]]:
    return {name: {row[1:] for row in rows if row[0] == name} for name in {row[0] for row in rows}}


def test_source_images_exchange_their_logs_and_nothing_else_changes(tmp_path):
    exchange_images(ingested(tmp_path / "ingested"), tmp_path / "shuffled")
    shards = [read_shard(shard, CLICKS).to_pylist() for shard in shard_files(tmp_path / "shuffled/clicks")]
    first, second = ([tuple(row.values()) for row in rows] for rows in shards)
    for rows, before in ((first, FIRST), (second, SECOND)):
        assert sorted(row[1:] for row in rows) == sorted(row[1:] for row in before)
        assert rows == sorted(rows, key=lambda row: (row[1], row[0]))
    before, after = logs_by_image([*FIRST, *SECOND]), logs_by_image([*first, *second])
    assert (after.pop("gone"), after.pop("t")) == (before.pop("gone"), before.pop("t"))
    assert set(after) == set(before) == set(NAMES)
    assert sorted(map(sorted, after.values())) == sorted(map(sorted, before.values()))
    assert after != before


def test_a_log_of_ones_own_is_the_only_one(tmp_path):
    raw, own = tmp_path / "raw", tmp_path / "own.tsv.gz"
    (raw / "source/clicks").mkdir(parents=True)
    for name in ("labels.tsv", "clicks.tsv.gz", "clicks/day.tsv"):
        (raw / "source" / name).write_bytes(b"")
    (raw / "target").mkdir()
    own.write_bytes(gzip.compress(b"a\tfox\t1\n"))
    link_with_log(raw, own, tmp_path / "linked")
    assert sorted(path.name for path in (tmp_path / "linked/source").iterdir()) == ["clicks.tsv", "labels.tsv"]
    [log] = find_click_logs(tmp_path / "linked")
    assert [part.form for part in plan_slices(log)] == ["stream"]
