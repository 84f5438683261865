"""The report's tables from made units: intervals and differences against the house's own, and what is missing."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click_data import write_params

from base.artifacts import write_json, write_table
from base.schemas import UNITS
from model.measures.units import reduce_units, units_of
from report.intervals import estimate, unit_values
from systems.dckt.clicks.config import CELLS, MEASURES, metric_of
from systems.dckt.clicks.report import differences_table, main, read_units, results_table

LEVELS = {"weighted": 0.6, "unweighted": 0.59, "shuffled": 0.2}


def write_evaluations(folder: Path, seeds: list[int]) -> None:
    """Write evaluations of all runs; 40 queries, of which each is as hard in all runs."""
    write_json(
        {"queries": 90, "without a known word": 2, "train": 50, "validation": 8, "test": 30}, folder / "queries.json"
    )
    names = [f"q{number:02d}" for number in range(40)]
    for run, level in LEVELS.items():
        for seed in seeds:
            random, hardness = (
                np.random.default_rng([seed, len(run)]),
                np.random.default_rng(seed).uniform(-0.2, 0.2, 40),
            )
            tables = [
                units_of(
                    metric_of(measure, *cell), names, np.clip(level + hardness + random.normal(0, 0.05, 40), 0, 1), 1.0
                )
                for cell in CELLS
                for measure in MEASURES
            ]
            units = pl.concat(tables).sort("metric", "unit")
            write_json(dict(reduce_units(units)), folder / run / f"seed-{seed}" / "metrics.json")
            write_table(units.to_arrow().cast(UNITS), folder / run / f"seed-{seed}" / "units.parquet")


@pytest.fixture
def evaluations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_params()
    write_evaluations(tmp_path / "evaluations", [0, 1, 2])
    return tmp_path / "evaluations"


def test_results_are_means_with_their_intervals(evaluations: Path) -> None:
    units = read_units(evaluations, list(LEVELS), [0, 1, 2])
    table = results_table(units, list(LEVELS))
    assert len(table) == 3 * 4 * 2
    row = table.filter(run="shuffled", queries="new", images="seen", measure="map").row(0, named=True)
    expected = estimate(unit_values(units.filter(run="shuffled", metric="map_new_seen"))).interval()
    assert [row["mean"], row["low"], row["high"]] == pytest.approx([100 * value for value in expected], abs=0.006)
    assert row["measured"] == 40


def test_differences_are_paired_and_judged(evaluations: Path) -> None:
    units = read_units(evaluations, list(LEVELS), [0, 1, 2])
    table = differences_table(units)
    assert len(table) == 8
    control = table.filter(worse="shuffled")
    assert set(control["verdict"]) == {"holds"}
    assert control["difference"].to_list() == pytest.approx([40] * 4, abs=2)
    assert (control["p_holm"] >= control["p"]).all()
    for row in table.iter_rows(named=True):
        means = [
            units.filter(run=run, metric=metric_of("ndcg", row["queries"], row["images"]))["numerator"]
            .to_numpy()
            .mean()
            for run in (row["better"], row["worse"])
        ]
        assert row["difference"] == pytest.approx(100 * (means[0] - means[1]), abs=0.006)
        assert row["low"] < row["difference"] < row["high"]


def test_only_differences_of_declared_runs(evaluations: Path) -> None:
    units = read_units(evaluations, ["weighted", "shuffled"], [0, 1, 2])
    assert set(differences_table(units)["worse"]) == {"shuffled"}
    assert differences_table(read_units(evaluations, ["unweighted"], [0])).is_empty()


def test_the_part_of_the_page(evaluations: Path) -> None:
    main(["--evaluations=evaluations", "--output=report"])
    html = json.loads(Path("report/part.json").read_text())["html"]
    assert "weighted &gt; shuffled" in html
    assert "50 queries are trained on" in html
    assert "2 have" in html
    assert "40 (new queries, new images)" in html
    write_params(runs=["weighted"])
    main(["--evaluations=evaluations", "--output=report"])
    assert "Differences" not in json.loads(Path("report/part.json").read_text())["html"]


def test_without_runs_the_part_is_empty(evaluations: Path) -> None:
    write_params(runs=[])
    main(["--evaluations=evaluations", "--output=report"])
    assert json.loads(Path("report/part.json").read_text())["html"] == ""


@pytest.mark.parametrize("kind", ["missing", "other metrics"])
def test_bad_evaluations_are_named(kind: str, evaluations: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = evaluations / "unweighted/seed-0/metrics.json"
    if kind == "missing":
        path.unlink()
    else:
        path.write_text(json.dumps({"ndcg_new_new": 0.9}))
    with pytest.raises(SystemExit) as ended:
        main(["--evaluations=evaluations", "--output=report"])
    assert ended.value.code == 2
    assert ("no metrics.json" if kind == "missing" else "ndcg_new_new is stated as 0.9") in caplog.text
    assert "evaluations/unweighted/seed-0" in caplog.text
    assert not Path("report").exists()
