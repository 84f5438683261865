"""Tests of reading and comparing evaluations."""

import json
from pathlib import Path

import pytest
from dckt_evaluations import write_evaluations

from base.console import UserError
from systems.dckt.report.results import read_results


def test_runs_are_read_and_compared(tmp_path: Path) -> None:
    results = read_results(write_evaluations(tmp_path, {"before": 0.4, "DCKT": 0.45, "CCA": 0.3, "CCA_pairs=10": 0.2}))
    assert results.runs == ["before", "DCKT", "CCA", "CCA_pairs=10"]
    assert results.levels == [None, 10]
    found = results.interval("DCKT")
    assert found.low < found.mean < found.high
    assert found.mean == pytest.approx(45, abs=2)
    forth, back = (results.interval("DCKT", f"map_{name}").mean for name in ("image_to_text", "text_to_image"))
    assert forth - back == pytest.approx(4, abs=0.5)
    difference = results.difference("DCKT", "CCA", results.noise())
    assert difference is not None
    means = [results.interval(run).mean for run in ("DCKT", "CCA")]
    assert difference.mean == pytest.approx(means[0] - means[1])
    # queries are equally hard for both runs, so the paired interval is far narrower than one run's
    known = difference.interval()
    assert known.high - known.low < (found.high - found.low) / 2
    assert results.difference("DCKT", "KCCA", None) is None


def test_iterations_begin_before_the_transfer(tmp_path: Path) -> None:
    results = read_results(write_evaluations(tmp_path, {"before": 0.4, "DCKT": 0.45}, seeds=[0, 3]))
    table = results.iterations("DCKT")
    assert table["iteration"].to_list() == [0, 1, 2, 3, 4, 5] * 2
    assert table.filter(seed=3)["map"].to_list() == [33.0, 34.0, 40.0, 44.0, 45.0, 44.5]
    assert table.filter(seed=0)["chosen"].to_list() == [None, 10.0, 12.0, 14.0, 15.0, 16.0]
    assert results.iterations("before").is_empty()
    assert results.chosen_iteration("DCKT") == 5.5
    assert results.chosen_iteration("before") is None


def test_a_missing_evaluation_is_named(tmp_path: Path) -> None:
    folder = write_evaluations(tmp_path, {"DCKT": 0.4}, seeds=[0, 1])
    (folder / "DCKT" / "seed-1" / "units.parquet").unlink()
    with pytest.raises(UserError, match=r"DCKT/seed-1: no units.parquet, but .*runs.json lists this run and seed"):
        read_results(folder)


def test_metrics_that_are_not_those_of_the_units(tmp_path: Path) -> None:
    folder = write_evaluations(tmp_path, {"DCKT": 0.4}, seeds=[0])
    path = folder / "DCKT" / "seed-0" / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"map": 0.9}))
    with pytest.raises(UserError, match=r"DCKT/seed-0: map is stated as 0.9"):
        read_results(folder)


def test_no_plan(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"runs.json: no such file"):
        read_results(tmp_path)
