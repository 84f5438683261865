from pathlib import Path

import numpy as np
import pytest

from base.artifacts import write_json, write_table
from base.console import UserError
from base.schemas import UNITS
from model.measures.evaluations import read_evaluations
from model.measures.units import units_of


def write(folder: Path, numerators: list[float], stated: float) -> None:
    folder.mkdir(parents=True)
    units = units_of("accuracy", ["a", "b", "c", "d"], np.array(numerators), 1.0)
    write_table(units.to_arrow().cast(UNITS), folder / "units.parquet")
    write_json({"accuracy": stated, "note": "x"}, folder / "metrics.json")


def test_runs_and_seeds_keep_their_order_and_folders(tmp_path: Path) -> None:
    write(tmp_path / "frozen/b/seed-3", [1, 0, 1, 1], 75.0)
    write(tmp_path / "a/seed-3", [0, 0, 1, 0], 25.0)
    found = read_evaluations({"b": tmp_path / "frozen/b", "a": tmp_path / "a"}, [3], "the plan", 100)
    assert found.metrics == {("b", 3): {"accuracy": 75.0, "note": "x"}, ("a", 3): {"accuracy": 25.0, "note": "x"}}
    assert found.units["run"].to_list() == ["b"] * 4 + ["a"] * 4
    assert found.units["seed"].unique().to_list() == [3]
    assert found.units["numerator"].to_list() == [1, 0, 1, 1, 0, 0, 1, 0]


def test_without_runs_there_are_no_rows(tmp_path: Path) -> None:
    found = read_evaluations({}, [0], "the plan")
    assert found.units.is_empty()
    assert {"metric", "unit", "run", "seed"} <= set(found.units.columns)


def test_a_missing_file_and_a_metric_of_other_units_are_errors(tmp_path: Path) -> None:
    write(tmp_path / "a/seed-0", [1, 0, 1, 1], 75.1)
    with pytest.raises(UserError, match=r"a/seed-0: .*accuracy.*; evaluate the run again"):
        read_evaluations({"a": tmp_path / "a"}, [0], "the plan", 100)
    assert len(read_evaluations({"a": tmp_path / "a"}, [0], "the plan", 100, tolerance=0.2).units) == 4
    (tmp_path / "a/seed-0/units.parquet").unlink()
    message = r"a/seed-0: no units.parquet, but the plan lists this run and seed; run `dvc repro`"
    with pytest.raises(UserError, match=message):
        read_evaluations({"a": tmp_path / "a"}, [0], "the plan")
