"""The cost model: coefficients and predictions by hand, steps on many workers by hand, and what a build sends."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.scale import cluster, cost_model, model

TERMS = ("start", "rows", "images", "queries")
TRUE = {"start": 2.0, "rows": 1.5e-6, "images": 0.0, "queries": 4e-6}
LOGS = [(1e6, 4e4, 3e5), (3e6, 1.3e5, 9e5), (1e7, 4.3e5, 2.9e6), (3e6, 5e5, 9e5), (3e6, 1.3e5, 2e5)]
RECORDS = [{"rows": rows, "images": images, "queries": queries} for rows, images, queries in LOGS]


def cost(rows: float, images: float, queries: float) -> float:
    return 2.0 + 1.5e-6 * rows + 4e-6 * queries


def test_the_coefficients_of_an_exact_model_are_found() -> None:
    found = model.fit(RECORDS, [cost(*log) for log in LOGS], TERMS)
    assert found == pytest.approx(TRUE, rel=1e-6, abs=1e-12)
    held_out = {"rows": 5e7, "images": 2e6, "queries": 1.4e7}
    assert model.predict(found, held_out) == pytest.approx(cost(5e7, 2e6, 1.4e7))


def test_no_coefficient_is_negative() -> None:
    found = model.fit(RECORDS, [cost(*log) - 1e-7 * log[1] for log in LOGS], TERMS)
    assert found["images"] == 0
    assert min(found.values()) >= 0


def test_relative_errors_are_minimised() -> None:
    """One coefficient c for figures y: the c with the smallest sum of (c x / y - 1)^2, by a search over many."""
    rows, figures = np.array([1.0, 10.0, 100.0]), np.array([1.2, 9.0, 130.0])
    found = model.fit([{"rows": row} for row in rows], figures.tolist(), ["rows"])["rows"]
    candidates = np.linspace(0.5, 2.0, 150_001)
    errors = ((candidates[:, None] * rows / figures - 1) ** 2).sum(axis=1)
    assert found == pytest.approx(candidates[errors.argmin()], abs=1e-5)


def test_logs_of_one_kind_cannot_tell_the_terms_apart() -> None:
    alike = [{"rows": n, "images": n / 23, "queries": 0.3 * n * (1 + 1e-4 * i)} for i, n in enumerate([1e6, 3e6, 1e7])]
    terms = ("rows", "images", "queries")
    assert model.condition(alike[:3], terms) > 1e3
    assert model.condition(RECORDS, terms) < 20


def test_error_is_positive_if_the_prediction_is_too_large() -> None:
    assert model.error(12.0, 10.0) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("workers", "seconds"),
    [(1, 80 + 2e9 / 1e8), (8, 80 / 8 + 2e9 / 8e8), (16, 80 / 16 + 2e9 / 16e8), (1000, 80 / 16 + 2e9 / 16e8)],
)
def test_a_step_of_16_parts(workers: int, seconds: float) -> None:
    step = cluster.Step("images", 80.0, 2e9, 16)
    assert cluster.step_seconds(step, workers, 1e8) == pytest.approx(seconds)


def test_the_longest_step_changes_with_the_workers() -> None:
    steps = [cluster.Step("launcher", 5.0, 0, 1), cluster.Step("rows", 100.0, 0, 50), cluster.Step("images", 60, 0, 4)]
    assert [cluster.bottleneck(steps, workers, 1e8).name for workers in (1, 8, 100)] == ["rows", "images", "images"]
    assert cluster.job_seconds(steps, 8, 1e8) == pytest.approx(5 + 12.5 + 15)
    assert cluster.job_seconds(cluster.with_parts(steps, 100), 100, 1e8) == pytest.approx(0.05 + 1 + 0.6)


def test_bucket_images_are_the_pairs_that_occur() -> None:
    """Against a draw: 600 images with 20 rows each, in 7 buckets."""
    draw = np.random.default_rng(3).integers(0, 7, (600, 20))
    pairs = sum(len(set(row)) for row in draw.tolist())
    assert cluster.bucket_images(12_000, 600, 7) == pytest.approx(pairs, rel=0.01)
    assert cluster.bucket_images(12_000, 600, 1) == pytest.approx(600)


def test_a_log_of_four_buckets() -> None:
    """100 MiB of text: four buckets of 32 MiB; 3 rows an image fall on 4 (1 - (3/4)^3) = 37/16 of them."""
    log = cluster.with_buckets({"rows": 3_000, "images": 1_000, "log_bytes": 100 << 20})
    assert log["buckets"] == 4
    assert log["bucket_images"] == pytest.approx(1_000 * 37 / 16)
    assert (log["rows_per_bucket"], log["images_per_bucket"]) == (750, pytest.approx(1_000 * 37 / 64))


def test_logs_are_described_by_their_numbers() -> None:
    assert cost_model.log_of("2_300") == (2_300, 100, 1_150)
    assert cost_model.log_of("2_300:50") == (2_300, 50, 1_150)
    assert cost_model.log_of("2_300::7") == (2_300, 100, 7)


def test_measured_once_and_fitted_from_the_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One tiny log is built; records of larger ones, of one bucket too, are made up with costs in proportion."""
    cost_model.main(["--work", str(tmp_path), "--logs", "20_000", "--others", "--held-out", "20_000"])
    (line,) = (tmp_path / "records.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert record["rows"] == 20_000
    assert record["steps"]["query buckets"]["rows"] == 20_000  # every row is sent to its bucket once
    assert record["steps"]["query buckets"]["bytes"] > 20_000 * 10
    assert record["steps"]["image shards"]["rows"] == record["images"]  # one bucket: each image once
    assert record["steps"]["words"]["rows"] == record["words"]
    assert record["steps"]["top words"]["elements"] == 16
    assert record["disk_bytes"] >= record["spill_bytes"]
    with (tmp_path / "records.jsonl").open("a") as file:
        for times in (2, 7, 10):
            file.write(json.dumps(scaled(record, times)) + "\n")
    capsys.readouterr()
    logs = ["--logs", "20_000", "40_000:1_738", "140_000:6_083:70_000", "--held-out", "200_000:8_690:100_000"]
    cost_model.main(["--work", str(tmp_path), *logs, "--others"])
    printed = capsys.readouterr().out
    (cpu,) = (line for line in printed.splitlines() if line.startswith("| CPU s |"))
    assert cpu.split("|")[-2].strip() in ("+0.0%", "-0.0%")
    assert "Clickture-Full, extrapolated" in printed


def scaled(record: dict, times: int) -> dict:
    """Return a record with all numbers multiplied."""
    return {
        name: {step: {key: times * number for key, number in sums.items()} for step, sums in value.items()}
        if name == "steps" else times * value
        for name, value in record.items()
    }  # fmt: skip
