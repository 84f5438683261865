"""Images become shards, quarantine and counts, and their duplicates a table."""

from collections import Counter
from pathlib import Path

import apache_beam as beam
import polars as pl
import pytest
from small_images import jpeg

from base.pool import processes
from pipelines.beam.runner import pipeline
from pipelines.beam.shards import WriteCounts, read_counts
from pipelines.beam.shuffle import packing
from pipelines.ingest import checked_images
from pipelines.ingest.checked_images import CheckImages, write_duplicates
from pipelines.ingest.image_archives import Place
from pipelines.ingest.image_catalogue import Entry

FILES = {"a": jpeg(1), "b": b"no image", "c": jpeg(2), "d": jpeg(1)}


def check(folder: Path) -> Counter[str]:
    raw, out = folder / "raw", folder / "out"
    for part in (raw, *(out / name for name in ("images", "fingerprints"))):
        part.mkdir(parents=True)
    entries = []
    for name, content in FILES.items():
        (raw / name).write_bytes(content)
        entries.append(Entry(name, "source", "", Place(name, 1, name, "file", 0, len(content))))
    with packing((), out) as packer, pipeline() as job:
        found = job | "Images" >> CheckImages(entries, raw, out, 2, None, packer, ())
        _ = found.counts | "Counts" >> WriteCounts(out / "counts.parquet")
        _ = found.quarantine | "Quarantine" >> beam.Map(
            lambda batch: (out / "bad.txt").write_text(str(batch.to_pylist()))
        )
    return Counter(read_counts(out / "counts.parquet"))


@pytest.mark.parametrize("many", [10_000, 1])
def test_good_and_bad_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    started = []
    monkeypatch.setattr(checked_images, "MANY", many)
    monkeypatch.setattr(checked_images, "CORES", 2)
    monkeypatch.setattr(checked_images, "processes", lambda: started.append(1) or processes())
    counts = check(tmp_path)
    assert counts == {"source images: rows kept": 3, "source images: quarantined: not an image": 1}
    assert bool(started) == (many == 1)  # few images are checked in this process
    assert sorted(pl.read_parquet(tmp_path / "out/images/*.parquet")["image_id"]) == ["a", "c", "d"]
    assert "'not an image'" in (tmp_path / "out/bad.txt").read_text()


def test_duplicates_are_found_and_fingerprints_go(tmp_path: Path) -> None:
    check(tmp_path)
    numbers = write_duplicates(tmp_path / "out", 0)
    assert numbers["source"]["source"]["exact"] == 2  # a and d
    assert set(pl.read_parquet(tmp_path / "out/duplicates.parquet")["image_id"]) == {"a", "d"}
    assert not (tmp_path / "out/fingerprints").exists()
