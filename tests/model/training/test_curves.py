import threading
from pathlib import Path

import pytest

from model.training.curves import run_name, write_curves


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("data/models/methods/TDL/seed-0", "methods/TDL/seed-0"),
        ("data/models/one_shot/VGGsrc/source-0.4/seed-2", "one_shot/VGGsrc/source-0.4/seed-2"),
        ("elsewhere/mine", "mine"),
    ],
)
def test_run_name(output, expected):
    assert run_name(Path(output)) == expected


def test_run_name_below_another_folder():
    assert run_name(Path("data/sets/toy/cleaner"), "data") == "sets/toy/cleaner"


def test_curves_have_a_point_an_epoch_and_leave_no_thread_behind(tmp_path: Path) -> None:
    before = threading.active_count()
    write_curves({"joint": [{"validation/accuracy": 10.0}, {"validation/accuracy": 25.5}]}, tmp_path)
    assert threading.active_count() == before
    (curve,) = tmp_path.rglob("*.tsv")
    rows = [line.split("\t") for line in curve.read_text().splitlines()]
    assert [row[rows[0].index("accuracy")] for row in rows[1:]] == ["10.0", "25.5"]
