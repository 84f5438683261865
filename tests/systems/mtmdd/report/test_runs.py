"""The runs that a report covers, and the evaluations that it refuses."""

import json
from pathlib import Path

import pytest
from report_data import IMAGES, image_ids, write_ratios, write_run

from base.console import UserError
from systems.mtmdd.report.runs import read_runs, read_studies
from systems.mtmdd.runs import Point


def test_only_declared_runs_are_read(tmp_path: Path) -> None:
    point = Point("methods", "TDL")
    write_run(tmp_path / "TDL/seed-0", 0, {"source": 4, "target": 5})
    write_run(tmp_path / "TDL/seed-1", 1, {"source": 9, "target": 16})
    write_run(tmp_path / "left over/seed-0", 0, {"target": 1})
    runs = read_runs(tmp_path, [point], [0])
    assert list(runs.metrics) == [(point, 0)]
    assert runs.of(point, "source")["unit"].to_list() == image_ids("source", 0)
    assert runs.of(point, "source")["value"].to_list() == [True] * 4 + [False] * 5
    assert int(runs.of(point, "target")["value"].sum()) == 5


def test_methods_and_values_of_studies_are_found_by_name(tmp_path: Path) -> None:
    write_run(tmp_path / "TDL/seed-0", 0, {"target": 4})
    point = Point("methods", "TDL")
    (tmp_path / "studies.json").write_text(json.dumps({"tau": {"0": "TDL"}}))
    runs = read_runs(tmp_path, [point], [0], read_studies(tmp_path / "studies.json", [point]))
    assert runs.find("TDL") == runs.find("tau=0") == point
    birds, cats = (Point("cross_object", "TDL", source=source) for source in ("birds", "cats"))
    for cross in (birds, cats):
        write_run(tmp_path / cross.name / "seed-0", 0, {"target": 4})
    assert read_runs(tmp_path, [point, cats, birds], [0]).find("cross_object=TDL") == cats
    assert runs.find("cross_object=TDL") is None
    assert runs.find("TDL7") is runs.find("tau=0.1") is runs.find("mu=shared-1") is None


def test_a_missing_study_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"studies\.json: no such file; run the stage that writes it"):
        read_studies(tmp_path / "studies.json", [])


def test_every_missing_run_is_named(tmp_path: Path) -> None:
    write_run(tmp_path / "TDL/seed-0", 0, {"target": 5})
    (tmp_path / "TDL/seed-0/predictions.parquet").unlink()
    with pytest.raises(UserError) as error:
        read_runs(tmp_path, [Point("methods", "TDL")], [0, 3])
    assert "3 files of evaluations that the parameters declare are missing" in str(error.value)
    assert f"{tmp_path}/TDL/seed-0/predictions.parquet" in str(error.value)
    assert f"{tmp_path}/TDL/seed-3/metrics.json" in str(error.value)
    assert f"{tmp_path}/TDL/seed-0/metrics.json" not in str(error.value)


@pytest.mark.parametrize(
    ("domain", "stated", "message"),
    [
        ("target", 100 * 6 / IMAGES["target"], r"accuracy_target = 37.5, predictions.parquet gives 31.25"),
        ("target", None, r"accuracy_target = None, predictions.parquet gives 31.25"),
        ("source", 44.4444, r"accuracy_source = 44.4444, predictions.parquet gives None"),
    ],
)
def test_an_accuracy_that_is_not_that_of_the_predictions_is_refused(
    tmp_path: Path, domain: str, stated: float | None, message: str
) -> None:
    write_run(tmp_path / "TDL/seed-0", 0, {"target": 5})
    path = tmp_path / "TDL/seed-0/metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {f"accuracy_{domain}": stated}))
    with pytest.raises(UserError, match=message):
        read_runs(tmp_path, [Point("methods", "TDL")], [0])


@pytest.mark.parametrize(("rmse", "stated", "found"), [(0.7, 0.71, "0.7"), (0.7, None, "0.7"), (None, 0.7, "None")])
def test_an_rmse_that_is_not_that_of_the_predictions_is_refused(
    tmp_path: Path, rmse: float | None, stated: float | None, found: str
) -> None:
    write_run(tmp_path / "TDL/seed-0", 0, {"source": 4, "target": 5}, rmse)
    path = tmp_path / "TDL/seed-0/metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rmse_source": stated}))
    with pytest.raises(UserError, match=rf"rmse_source = {stated}, predictions.parquet gives {found}"):
        read_runs(tmp_path, [Point("methods", "TDL")], [0])


def test_click_errors_are_those_of_the_source(tmp_path: Path) -> None:
    errors = [0.25 * i for i in range(IMAGES["source"])]
    write_run(tmp_path / "TDL/seed-0", 0, {"source": 4, "target": 5}, errors=errors)
    write_run(tmp_path / "VGGsrc/seed-0", 0, {"source": 4, "target": 5})
    points = [Point("methods", "VGGsrc"), Point("methods", "TDL")]
    runs = read_runs(tmp_path, points, [0])
    assert runs.click_errors(points[1])["unit"].to_list() == image_ids("source", 0)
    assert runs.click_errors(points[1])["value"].to_list() == errors
    assert runs.click_errors(points[0]).is_empty()


def test_measured_ratios_are_read_and_missed(tmp_path: Path) -> None:
    point = Point("components", "tau=0.4")
    write_run(tmp_path / point.name / "seed-0", 0, {"target": 5})
    assert read_runs(tmp_path, [point], [0]).ratios == {}
    with pytest.raises(UserError, match=r"tau=0\.4/ratios\.json"):
        read_runs(tmp_path, [point], [0], measured=[point])
    write_ratios(tmp_path / point.name, [0.5, 2.5])
    found = read_runs(tmp_path, [point], [0], measured=[point]).ratios[point]
    assert [row["position_over_count"] for row in found["gradient_ratios"]] == [0.5, 2.5]


def test_the_noise_of_training_is_that_of_all_target_accuracies(tmp_path: Path) -> None:
    # 4, 8; 8, 4; 4, 8 of 16 with two seeds. Without the seeds' means (16/3, 20/3) they are -4/3, 4/3; 8/3, -8/3; -4/3,
    # 4/3 of 16: 25/3 and 50/3 points to both sides
    points = [Point("methods", name) for name in ("VGGsrc", "TDL", "TDL7")]
    for point, counts in zip(points, ((4, 8), (8, 4), (4, 8)), strict=True):
        for seed, number in enumerate(counts):
            write_run(tmp_path / point.name / f"seed-{seed}", seed, {"target": number})
    write_run(tmp_path / "MTTDL/seed-0", 0, {"source": 4})
    write_run(tmp_path / "MTTDL/seed-1", 1, {"source": 4})
    noise = read_runs(tmp_path, [*points, Point("methods", "MTTDL")], [0, 1]).noise
    assert noise is not None
    small, large = (25 / 3 * 2) ** 2 / 2, (25 / 3 * 4) ** 2 / 2
    assert noise.variance == pytest.approx(1.5 * (2 * small + large) / 3)
    assert noise.most_degrees == 2
    assert read_runs(tmp_path, points, [0]).noise is None
