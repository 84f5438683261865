"""The study of rate and pair weight: its trainings, and its table by hand."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from siamese_runs import recipe

from benchmarks.studies.pair_weight import Setting, main, mean_distances, settings_of, table
from systems.siamese.task import PairTask


def evaluation(folder: Path, right: dict[str, list[int]], validation: dict[str, float]) -> Path:
    """Write an evaluation whose test images are right or not."""
    rows = [
        {"metric": metric, "unit": f"i{image}", "numerator": float(value), "denominator": 1.0}
        for phase, values in right.items()
        for metric in (f"accuracy_{phase}", f"pair_auc_{phase}")
        for image, value in enumerate(values)
    ]
    folder.mkdir()
    pl.DataFrame(rows).write_parquet(folder / "units.parquet")
    metrics = {
        "chosen": {phase: {"value": value} for phase, value in validation.items()},
        "distances": {phase: {"train": [0.25, 1.5], "test": [0.5, 1.0]} for phase in validation},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def test_the_table_by_hand(tmp_path: Path) -> None:
    control, pairs = settings_of([0.1], [0.0, 2.0], [1.4])
    validation = {"softmax": 50.0, control.phase: 60.0, pairs.phase: 70.0}
    right = {"softmax": [1, 0, 0, 0], control.phase: [1, 1, 0, 0], pairs.phase: [1, 1, 1, 0]}
    one = evaluation(tmp_path / "0", right, validation)
    other = evaluation(tmp_path / "1", right, {name: value + 1 for name, value in validation.items()})
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table([one, other], [control, pairs])]
    distances = ["0.25, 1.50", "0.50, 1.00"]
    assert lines[2] == ["softmax", "–", "–", "50.5", "25.0", "25.0", "–", "–", *distances]
    assert lines[3][:6] == ["0.1", "0", "–", "60.5", "50.0", "50.0"]
    assert lines[4][:6] == ["0.1", "2", "1.4", "70.5", "75.0", "75.0"]
    assert [cell.split(" ")[0] for cell in lines[3][6:8]] == ["+25.0", "–"]
    assert [cell.split(" ")[0] for cell in lines[4][6:8]] == ["+50.0", "+25.0"]
    assert lines[4][8:] == distances


def test_one_control_of_each_rate_for_all_margins() -> None:
    found = settings_of([0.1, 1.0], [0.0, 0.5], [1.0, 1.4])
    assert found == [Setting(rate, *of_pair) for rate in (0.1, 1.0) for of_pair in ((0.0, 1.0), (0.5, 1.0), (0.5, 1.4))]


def test_mean_distances_by_hand() -> None:
    g = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    root = 2**0.5  # of neighbours; opposite ones are 2 apart
    assert mean_distances(g, np.array([0, 0, 0, 1])) == pytest.approx(((2 * root + 2) / 3, (2 * root + 2) / 3))
    assert mean_distances(g, np.array([0, 1, 0, 1])) == pytest.approx((2, root))


@pytest.mark.usefixtures("own_folder")
def test_all_settings_start_from_one_softmax_and_a_repeated_call_trains_nothing(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = request.getfixturevalue("tiny_data")
    Path("given").mkdir()
    Path("given.json").write_text(recipe(request, "given").model_dump_json())
    is_used = (pl.col("domain") == "source") | (pl.col("split") == "test")
    for seed in (0, 1):
        pl.read_parquet(data.split).filter(is_used).write_parquet(f"given/seed-{seed}.parquet")
    given = ["--recipe=given.json", f"--images={data.images}", "--work=work", "--rates", "0.5"]
    main([*given, "--weights", "0", "2", "--seeds", "0", "1"])
    first = capsys.readouterr().out
    assert len(first.splitlines()) == 5
    names = {path.stem for path in Path("work/seed-1/model").glob("*.safetensors")}
    assert names == {"softmax", "rate-0.5-weight-0-margin-1", "rate-0.5-weight-2-margin-1"}

    def trains(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(PairTask, "loss", trains)
    main([*given, "--weights", "0", "2", "--seeds", "0", "1"])
    assert capsys.readouterr().out == first
    with pytest.raises(SystemExit):
        main([*given, "--weights", "2"])
    assert "control" in capsys.readouterr().err
