"""Differences between the arms of a benchmark, on faked evaluations."""

from pathlib import Path

import pytest
from report_data import REFERENCES, write_run

from benchmarks.click_control import ARMS, point_of, table
from benchmarks.project import differences, noise_of
from systems.mtmdd.report.runs import Runs, read_runs
from systems.mtmdd.runs import Point

POINT = Point("methods", "TDL")
COUNTS = {"one": (12, 9, 13), "other": (4, 5, 9), "third": (8, 8, 2)}


@pytest.fixture
def arms(tmp_path: Path) -> dict[str, Runs]:
    for arm, counts in COUNTS.items():
        for seed, number in enumerate(counts):
            write_run(tmp_path / arm / POINT.name / f"seed-{seed}", seed, {"target": number})
    return {arm: read_runs(tmp_path / arm, [POINT], [0, 1, 2]) for arm in COUNTS}


def test_differences_are_by_seed_and_the_interval_is_moderated(arms: dict[str, Runs]) -> None:
    plain, each = differences(arms["one"], arms["other"], POINT, POINT, None)
    assert each == pytest.approx([100 * number / 16 for number in (8, 4, 4)])
    assert plain.mean == pytest.approx(100 / 3)
    noise = noise_of((runs, POINT) for runs in arms.values())
    assert noise is not None
    # the third arm varies much more than the difference does by itself
    assert noise.variance > 100
    moderated, same = differences(arms["one"], arms["other"], POINT, POINT, noise)
    assert same == each
    assert moderated.mean == plain.mean
    assert moderated != plain


def test_the_control_shows_lines_of_reference_for_both_logs(tmp_path: Path) -> None:
    for arm in ARMS:
        point = point_of(arm, "MTMDD-VM-star")
        for seed in (0, 1):
            rmse = None if arm == "target" else 1.1
            counts = {"source": 5, "target": 9 + seed}
            write_run(tmp_path / arm / "evaluations" / point.name / f"seed-{seed}", seed, counts, rmse)
    lines = [line.strip("| ").split(" | ") for line in table(tmp_path, "MTMDD-VM-star", [0, 1, 7])]
    assert lines[0][0] == "MTMDD-VM-star, seeds 0, 1"
    assert [line[0] for line in lines[2:6]] == list(ARMS)
    assert [len(line) for line in lines[2:]] == [7] * (4 + 8)
    found = {line[0]: line[4] for line in lines[6:]}
    assert found["reference, true log: the category means"] == f"{REFERENCES['category_means'] + 0.01:.3f}"
    assert found["reference, shuffled log: predicting nothing"] == "1.010"
