"""The images that methods have seen, and their results with equally many, against numbers worked out by hand."""

import json
from pathlib import Path

import polars as pl
import pytest
from report_data import write_run

from base.console import UserError
from systems.mtmdd.report.budgets import budgets_table, budgets_texts
from systems.mtmdd.report.runs import Runs, read_runs
from systems.mtmdd.runs import Point, read_run

JOINT, ALONE = (Point("methods", name) for name in ("MTMDD-VM", "VGGimg"))
SHORT = read_run("equal_images=VGGimg-24")
OTHER = read_run("equal_images=VGGimg-5")
STUDIES = {"equal_images": {"VGGimg-24": SHORT, "MTMDD-VM-24": JOINT, "VGGimg-5": OTHER}}


def chosen(of: int, ended_by: str) -> dict:
    return {"epoch": 1, "of": of, "chosen_on": "x", "value": 1.0, "ended_by": ended_by, "drops": [], "seen": {}}


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    points = {JOINT: 12, ALONE: 9, SHORT: 14, OTHER: 3}
    for point, right in points.items():
        for seed in (0, 3):
            folder = tmp_path / point.name / f"seed-{seed}"
            write_run(folder, seed, {"target": right + (seed > 0)} | ({"source": 4} if point == JOINT else {}))
            metrics = json.loads((folder / "metrics.json").read_text())
            seen = {"source": 700 + seed, "target": 100} if point == JOINT else {"source": 0, "target": 50 + seed}
            metrics["seen"] = {"target": seen} | ({"source": {"source": 40, "target": 2}} if point == JOINT else {})
            metrics["chosen"] = {
                "one": chosen(8 + seed, "plateau"), "two": chosen(5, "cap" if seed else "plateau"),
            }  # fmt: skip
            (folder / "metrics.json").write_text(json.dumps(metrics))
    return read_runs(tmp_path, list(points), [0, 3], STUDIES)


def test_rows_are_the_methods_and_the_runs_of_each_budget(runs: Runs) -> None:
    table = budgets_table(runs)
    assert table.select("budget", "method", "run").rows() == [
        (None, "MTMDD-VM", "MTMDD-VM"),
        (None, "VGGimg", "VGGimg"),
        (24, "VGGimg", "equal_images=VGGimg-24"),
        (24, "MTMDD-VM", "MTMDD-VM"),  # its own epochs are this budget
        (5, "VGGimg", "equal_images=VGGimg-5"),
    ]
    joint, alone, short, again, _ = table.to_dicts()
    assert (joint["seen_source"], joint["seen_target"]) == (42.0, 801.5)
    assert (joint["seen_target_of_source"], joint["seen_target_of_target"]) == (701.5, 100.0)
    assert (alone["seen_source"], alone["seen_target"]) == (None, 51.5)
    assert joint["epochs"] == "one 9.5, two 5"
    assert joint["ended_by"] == "1 cap, 3 plateau"
    # 12 and 13 of 16 images against 9 and 10, and against 14 and 15
    assert (joint["gain"], again["gain"]) == (18.75, -12.5)
    assert joint["gain_low"] < 18.75 < joint["gain_high"]
    assert alone["gain"] is short["gain"] is None


def test_a_budget_stands_beside_the_own_training(runs: Runs) -> None:
    texts = budgets_texts(budgets_table(runs))
    assert texts.groups == [
        ("", 1),
        ("as the parameters say", 8),
        ("equal images: 24 epochs of the joint network", 7),
        ("equal images: 5 epochs of the joint network", 7),
    ]
    joint, alone = texts.rows
    assert [len(row) for row in texts.rows] == [len(texts.columns)] * 2
    assert joint[:6] == ["MTMDD-VM", "one 9.5, two 5", "42", "44.4 ± 0.0", "802", "78.1 ± 4.4"]
    assert joint[8] == "1 cap, 3 plateau"
    assert (joint[6], joint[14]) == ("+18.8", "-12.5")
    assert joint[16:] == ["–"] * 7
    assert (alone[2], alone[4], alone[13], alone[20]) == ("–", "52", "90.6 ± 4.4", "21.9 ± 4.4")


def test_without_a_method_there_is_no_row(tmp_path: Path) -> None:
    point = Point("components", "tau=0.4")
    write_run(tmp_path / point.name / "seed-0", 0, {"target": 4})
    table = budgets_table(read_runs(tmp_path, [point], [0]))
    assert table.is_empty()
    assert isinstance(table, pl.DataFrame)


def test_evaluations_without_these_numbers_are_named(runs: Runs) -> None:
    del runs.metrics[ALONE, 3]["seen"]
    with pytest.raises(UserError, match=r"VGGimg: its metrics\.json has no numbers of images; run the stage"):
        budgets_table(runs)
