"""All pairs of methods: order, correction and texts, on accuracies that are known by construction."""

from pathlib import Path

import pytest
from report_data import write_run

from report.verdicts import holm
from systems.mtmdd.report.pairs import pairs_plot, pairs_table, pairs_texts
from systems.mtmdd.report.runs import Runs, read_runs
from systems.mtmdd.report.tables import paired
from systems.mtmdd.runs import Point

SEEDS = [0, 1, 2]
RIGHT = {"VGGimg": (8, 9, 8), "TDL": (2, 1, 2), "MTMDD-VM": (16, 15, 16), "DAN": (8, 8, 9)}


def runs_of(folder: Path, seeds: list[int] = SEEDS) -> Runs:
    points = [Point("methods", name) for name in RIGHT]
    points.append(Point("one_shot", "TDL", 0.4, "target"))  # a study's run is no method
    for point in points:
        for seed in seeds:
            number = 16 if point.domain else RIGHT[point.method][seed]
            write_run(folder / point.name / f"seed-{seed}", seed, {"source": 3, "target": number})
    return read_runs(folder, points, seeds)


def test_each_pair_once_the_better_first_corrected_for_all(tmp_path: Path) -> None:
    runs = runs_of(tmp_path)
    table = pairs_table(runs)
    assert list(zip(table["better"], table["worse"], strict=True)) == [
        ("MTMDD-VM", "VGGimg"), ("MTMDD-VM", "DAN"), ("MTMDD-VM", "TDL"),
        ("VGGimg", "DAN"), ("VGGimg", "TDL"), ("DAN", "TDL"),
    ]  # fmt: skip
    assert (table["difference"] >= 0).all()
    one, other = (Point("methods", name) for name in ("MTMDD-VM", "TDL"))
    assert table["difference"][2] == pytest.approx(100 * (47 - 5) / 48, abs=1e-2)
    assert table["p"][2] == paired(runs, one, other).p_value()
    assert table["p_holm"].to_list() == pytest.approx(holm(table["p"].to_list()))
    assert table["decided"].to_list() == [p < 0.05 for p in table["p_holm"]]
    assert table.row(3, named=True)["decided"] is False  # VGGimg and DAN are alike
    assert table.row(2, named=True)["decided"] is True


def test_texts_name_who_beats_whom(tmp_path: Path) -> None:
    runs = runs_of(tmp_path)
    table = pairs_table(runs)
    texts = pairs_texts(table, runs)
    assert [row[0] for row in texts.rows] == ["MTMDD-VM", "VGGimg", "DAN", "TDL"]
    by_method = {row[0]: row for row in texts.rows}
    assert "TDL" in by_method["MTMDD-VM"][2]
    assert by_method["MTMDD-VM"][3] == "none"
    assert "MTMDD-VM" in by_method["TDL"][3]
    assert by_method["TDL"][2] == "none"
    assert pairs_plot(table) == pairs_plot(table)


def test_one_seed_decides_nothing(tmp_path: Path) -> None:
    assert pairs_table(runs_of(tmp_path, [0])).is_empty()
