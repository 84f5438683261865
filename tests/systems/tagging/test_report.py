"""The report: tables, claims, plots, missing evaluations, and a system that was not run."""

import base64
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from base import schemas
from base.artifacts import write_json, write_table
from base.console import UserError
from report.plots import picture
from report.sections import read_part
from systems.tagging.config import PlanParams
from systems.tagging.evaluate import EvaluateParams
from systems.tagging.measures import Targets, all_units, metrics_of, units_at_k
from systems.tagging.report import at_k_texts, best_baseline, claims_table, main, read_results

pytestmark = pytest.mark.usefixtures("own_folder")
TAGS = [f"tag {n}" for n in range(12)]
EVALUATE = {
    "at": [3, 5],
    "category_at": 4,
    "lengths_at": 5,
    "lengths": [1, 9],
    "least_tags": 0,
    "batch_size": 9,
    "evolving": [0.5],
}
PARAMS = EvaluateParams.model_validate(EVALUATE)


def write_evaluation(folder: Path, strength: float, seed: int, has_history: bool) -> None:
    """Write an evaluation of forty posts; the larger the strength, the better the scores."""
    random = np.random.default_rng(5)
    labels = random.random((40, len(TAGS))) < 0.25
    tested = Targets([f"post {n}" for n in range(40)], TAGS, labels, random.integers(0, 20, 40))
    noise = np.random.default_rng([seed, int(10 * strength)]).normal(size=labels.shape)
    units = [all_units(tested, strength * labels + noise, PARAMS)]
    if has_history:
        for prefix, share in {"cold_": 0.2, "shuffled_": 0.1, "evolving_50_": 0.6}.items():
            units.append(units_at_k(prefix, tested, share * strength * labels + noise, [3, 5]))
    table = pl.concat(units).sort("metric", "unit")
    write_json(metrics_of(table, {"tested": 40, "tested without a tag": 3}) | {"chosen": {}}, folder / "metrics.json")
    write_table(table.to_arrow().cast(schemas.UNITS), folder / "units.parquet")


STRENGTHS = {"A1": 0.3, "A6": 3.0, "own": 1.0, "user_groups": 1.5}


@pytest.fixture
def plan() -> PlanParams:
    """Two runs and two baselines with two seeds, evaluated."""
    for name, strength in STRENGTHS.items():
        folder = Path("results/evaluations") / (name if name in ("A1", "A6") else f"baselines/{name}")
        for seed in (0, 1):
            write_evaluation(folder / f"seed-{seed}", strength, seed, name == "A6")
    made = {
        "data_set": "toy",
        "logged": ["toy"],
        "runs": ["A1", "A6"],
        "baselines": ["own", "user_groups"],
        "examples": [],
    }
    write_params(made)
    return PlanParams.model_validate(made)


def write_params(plan: dict) -> None:
    tagging = {"plan": plan, "evaluate": EVALUATE, "report": {"data_set": "drawn", "note": "A note."}}
    Path("params.yaml").write_text(json.dumps({"seeds": [0, 1], "tagging": tagging}))


def test_claims_are_judged_by_paired_differences(plan) -> None:
    results = read_results(Path("results/evaluations"), plan, [0, 1])
    assert best_baseline(results, "precision5") == "user_groups"
    claims = claims_table(results, "precision5")
    found = {(row["claim"], row["says"].split(",")[0]): row for row in claims.iter_rows(named=True)}
    better = found["best", "A6 > user_groups"]
    means = {
        name: results.metrics[name, 0]["precision5"] + results.metrics[name, 1]["precision5"] for name in STRENGTHS
    }
    assert better["difference"] == pytest.approx((means["A6"] - means["user_groups"]) / 2, abs=0.01)
    assert better["low"] <= better["difference"] <= better["high"]
    assert better["p"] <= better["p_holm"]
    assert better["verdict"] in ("holds", "open")
    assert all(row["difference"] > 0 for key, row in found.items() if key[1].startswith("A6 >"))
    assert found["9", "own histories > others'"]["difference"] > 0


def test_the_published_numbers_stand_beside_their_rows(plan) -> None:
    table = at_k_texts(read_results(Path("results/evaluations"), plan, [0, 1]), PARAMS)
    rows = {row[0]: row for row in table.rows}
    assert list(rows) == ["A1", "A6", "A6, empty histories", "own", "user_groups"]
    assert rows["A6"][-4:] == ["46", "39", "66", "52"]
    assert rows["A6, empty histories"][-4:] == ["31", "26", "18", "14"]  # A4
    assert rows["own"][-4:] == ["–"] * 4


def test_the_report_is_written_whole(plan) -> None:
    main(["--results=results", "--output=report"])
    names = {path.name for path in Path("report").iterdir()}
    assert names == {"part.json", "results.csv", "claims.csv", "precision.png", "evolving.png"}
    part = read_part(Path("report"))
    for anchor, _ in part.sections:
        assert f'id="{anchor}"' in part.html
    assert "user_groups" in part.html
    assert part.html.count("data:image/png;base64,") == 2
    table = pl.read_csv("report/results.csv")
    row = table.filter(run="A6", metric="precision5").row(0, named=True)
    assert row["low"] < row["mean"] < row["high"]
    assert "precision5_history_1-8" in table["metric"].to_list()


def test_an_example_is_shown_and_a_missing_one_is_an_error(plan) -> None:
    write_params(plan.model_dump() | {"examples": ["A6"]})
    with pytest.raises(SystemExit):
        main(["--results=results", "--output=report"])
    assert not Path("report").exists()
    drawn = picture(lambda figure: figure.text(0, 0, "two users") and None, 1, 1)
    Path("results/examples/A6").mkdir(parents=True)
    Path("results/examples/A6/example.png").write_bytes(drawn)
    main(["--results=results", "--output=report"])
    assert Path("report/example_A6.png").read_bytes() == drawn
    assert base64.b64encode(drawn).decode() in read_part(Path("report")).html


def test_missing_and_wrong_evaluations_are_refused(plan) -> None:
    path = Path("results/evaluations/A6/seed-1/metrics.json")
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "precision5": 99.0}))
    with pytest.raises(UserError, match=r"precision5 is stated as 99\.0"):
        read_results(Path("results/evaluations"), plan, [0, 1])
    path.unlink()
    with pytest.raises(UserError, match=r"seed-1: no metrics.json, but the parameter file lists this run"):
        read_results(Path("results/evaluations"), plan, [0, 1])


def test_a_system_that_was_not_run_says_so() -> None:
    write_params({"data_set": "toy", "logged": [], "runs": [], "baselines": [], "examples": []})
    Path("results").mkdir()
    main(["--results=results", "--output=report"])
    assert "lists no run" in read_part(Path("report")).html
