"""The whole chain from a log to the report: towers learn, the control doesn't, equal bytes, and bad input."""

import json
from pathlib import Path

import polars as pl
import pytest
from click_data import CLICKS, write_click_data, write_params

from model.measures.units import check_reduces
from systems.dckt.clicks import evaluate, queries, report, train
from systems.dckt.clicks.config import CELLS

LOG = ["--data=data", "--features=embedded", "--queries=q.parquet"]


def train_run(run: str, output: str | None = None) -> None:
    train.main([f"--run={run}", "--seed=0", *LOG, f"--output={output or f'models/{run}/seed-0'}"])


def evaluate_run(run: str) -> dict[str, float]:
    evaluate.main([f"--model=models/{run}/seed-0", *LOG, f"--output=evaluations/{run}/seed-0"])
    return json.loads(Path(f"evaluations/{run}/seed-0/metrics.json").read_text())


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_click_data(tmp_path)
    write_params()
    queries.main(["--queries=data/features/queries", "--counts=evaluations/queries.json", "--output=q.parquet"])
    return tmp_path


@pytest.mark.slow
def test_from_a_log_to_the_report(root: Path) -> None:
    long = {**CLICKS["train"], "train": {**CLICKS["train"]["train"], "epochs": 30}}
    write_params(train=long)
    found = {}
    for run in CLICKS["runs"]:
        train_run(run)
        found[run] = evaluate_run(run)
        units = pl.read_parquet(f"evaluations/{run}/seed-0/units.parquet")
        check_reduces(found[run], units)
        assert units["metric"].n_unique() == 8
    for query, image in CELLS:  # new queries are of known words
        assert found["weighted"][f"ndcg_{query}_{image}"] > found["shuffled"][f"ndcg_{query}_{image}"] + 0.2
        assert found["weighted"][f"map_{query}_{image}"] > 0.6
    report.main(["--evaluations=evaluations", "--output=report"])
    part = json.loads(Path("report/part.json").read_text())
    assert 'id="dckt_clicks"' in part["html"]
    assert "one seed: no verdict" in part["html"]
    results = pl.read_csv("report/results.csv")
    assert len(results) == 3 * 4 * 2
    row = results.filter(run="weighted", queries="new", images="seen", measure="ndcg")
    assert row["mean"].item() == pytest.approx(100 * found["weighted"]["ndcg_new_seen"], abs=0.01)
    differences = pl.read_csv("report/differences.csv").filter(worse="shuffled", queries="new", images="new")
    expected = 100 * (found["weighted"]["ndcg_new_new"] - found["shuffled"]["ndcg_new_new"])
    assert differences["difference"].item() == pytest.approx(expected, abs=0.01)
    assert differences["low"].item() > 0
    # the same bytes once more
    train_run("weighted", "models/again/seed-0")
    first, again = (Path(f"models/{run}/seed-0/towers.safetensors").read_bytes() for run in ("weighted", "again"))
    assert first == again


def failing(call: object, *arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        call(list(arguments))
    assert ended.value.code == 2


def test_other_features_than_the_trainings(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    train_run("weighted")
    write_params(queries={**CLICKS["queries"], "most_words": 3})
    queries.main(["--queries=data/features/queries", "--counts=evaluations/queries.json", "--output=q.parquet"])
    failing(evaluate.main, "--model=models/weighted/seed-0", *LOG, "--output=e")
    assert "trained on other features" in caplog.text
