"""The table of a target without labels against numbers worked out by hand, and its section of the page."""

from pathlib import Path

import pytest
from report_data import PARAMS, write_data, write_run

from systems.mtmdd.report import write
from systems.mtmdd.report.runs import read_runs
from systems.mtmdd.report.unlabelled import unlabelled_table, unlabelled_texts
from systems.mtmdd.runs import Point

POINTS = {
    "labelled": Point("methods", "VGGsrc"),
    "source": Point("unlabelled", "VGGsrc"),
    "DAN": Point("unlabelled", "DAN"),
}


def table_of(folder: Path, **right: int):
    for name, number in right.items():
        write_run(folder / POINTS[name].name / "seed-0", 0, {"source": 3, "target": number})
    return unlabelled_table(read_runs(folder, [POINTS[name] for name in right], [0]))


def test_what_labels_add_and_what_the_targets_images_add(tmp_path: Path) -> None:
    table = table_of(tmp_path, labelled=12, source=4, DAN=7)
    assert table["method"].to_list() == ["DAN", "VGGsrc"]  # best first
    dan, source = table.to_dicts()
    assert (dan["accuracy_target"], source["accuracy_target"]) == (43.75, 25.0)
    assert (dan["gain"], source["gain"]) == (18.75, None)
    assert dan["gain_low"] < 18.75 < dan["gain_high"]
    assert (source["labelled"], source["lost"]) == (75.0, 50.0)
    assert (dan["labelled"], dan["lost"], dan["lost_low"]) == (None, None, None)  # not run with labels
    assert dan["seen_target"] == 48.0
    texts = unlabelled_texts(table)
    assert [list(row)[:2] + list(row)[3:4] + list(row)[5:8] for row in texts.rows] == [
        ["DAN", "43.8", "+18.8", "48", "–", "–"],
        ["VGGsrc", "25.0", "–", "48", "75.0", "+50.0"],
    ]
    assert all(len(row) == len(texts.columns) for row in texts.rows)


def test_no_study_no_rows(tmp_path: Path) -> None:
    assert table_of(tmp_path, labelled=5).is_empty()


@pytest.mark.parametrize("has_study", [True, False])
def test_the_page_has_the_study_if_it_was_run(tmp_path: Path, has_study: bool) -> None:
    write_data(tmp_path)
    write_run(tmp_path / "system/evaluations/unlabelled=VGGsrc/seed-0", 0, {"target": 5})
    write_run(tmp_path / "system/evaluations/unlabelled=VGGsrc/seed-1", 1, {"target": 6})
    runs = "VGGimg, unlabelled=VGGsrc, VGGsrc" if has_study else "VGGimg, VGGsrc"
    (tmp_path / "params.yaml").write_text(PARAMS.replace("[VGGimg, VGGsrc", f"[{runs}", 1))
    write.main([
        "--data", str(tmp_path / "data"), "--system", str(tmp_path / "system"), "--output", str(tmp_path / "report"),
        "--params", str(tmp_path / "params.yaml"),
    ])  # fmt: skip
    part = (tmp_path / "report/part.json").read_text(encoding="utf-8")
    assert ("A target without labels" in part) == has_study
    assert (tmp_path / "report/unlabelled.csv").is_file() == has_study
