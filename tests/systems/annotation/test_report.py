"""The report: evaluations read and checked, claims with verdicts, tables, and a system that was not run."""

import html
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from base.artifacts import write_json, write_table
from base.console import UserError
from base.schemas import ANNOTATIONS
from model.measures.label_sets import quantity_units, set_units
from report.sections import read_part
from systems.annotation import report
from systems.annotation.claims import Annotator, claims_of
from systems.annotation.measures import stated
from systems.annotation.report import claims_table, h_f1_rows, noise_of, read_results, results_table

LABELS = ["blue", "dark", "red"]
NAMES = [f"i{number:03}" for number in range(120)]


def visible_text(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", " ", page))


PARAMS = """\
seeds: [0, 1]
annotation:
  plan: {sets: [toy], data_set: toy, runs: RUNS, baselines: []}
  evaluate: {batch_size: 2, top: 2, thresholds: [0.5], bins: 4}
  report: {data_set: tiny <set>, note: made for tests}
"""
ANNOTATORS = (
    *(f"{phase}_top" for phase in ("cnn", "fused", "tags", "labels")),
    *(f"fused_{rule}" for rule in ("predicted", "threshold=0.5", "tuned", "true")),
    *("labels_predicted", "labels_true"),
)


def write_evaluation(folder: Path, seed: int, wrong: dict[str, float], pictures: bool = True) -> None:
    """Write units of annotators that are wrong in a share of all decisions."""
    random = np.random.default_rng(seed)
    true = random.random((len(NAMES), 3)) < 0.4
    true[:, 0] |= ~true.any(axis=1)
    sets = {name: true ^ (random.random(true.shape) < share) for name, share in wrong.items()}
    tables = [set_units(f"_{name}", NAMES, given, true) for name, given in sets.items()]
    for phase, noise in (("quantity", 0.2), ("quantity_visual", 1.0)):
        estimated = true.sum(axis=1) + random.normal(0, noise, len(NAMES))
        tables.append(quantity_units(f"_{phase}", NAMES, estimated, true.sum(axis=1), 3))
    units = pl.concat(tables).sort("metric", "unit")
    write_json({**stated(units), "labels": LABELS}, folder / "metrics.json")
    write_table(units.to_arrow(), folder / "units.parquet")
    rows = {
        "image_id": NAMES,
        "labels": [[LABELS[j] for j in np.flatnonzero(row)] for row in true],
        "probabilities": np.where(true, 0.7, 0.2).tolist(),
        "quantity": true.sum(axis=1) + 0.1,
    }
    if pictures:
        write_table(
            pl.DataFrame(rows, schema=pl.Schema(ANNOTATIONS)).to_arrow().cast(ANNOTATIONS),
            folder / "predictions.parquet",
        )
        (folder / "samples.png").write_bytes(b"\x89PNG no picture")


@pytest.fixture
def evaluations(tmp_path: Path) -> Path:
    wrong = dict.fromkeys(ANNOTATORS, 0.3) | {"labels_predicted": 0.05, "fused_predicted": 0.15, "labels_top": 0.2}
    for seed in (0, 1):
        write_evaluation(tmp_path / f"MS-CNN/seed-{seed}", seed, wrong)
    return tmp_path


def test_claims_are_judged_by_paired_differences(evaluations: Path) -> None:
    results = read_results(evaluations, ["MS-CNN"], [0, 1])
    table = claims_table(results, [0.5], noise_of(results))
    rows = {row["says"]: row for row in table.iter_rows(named=True)}
    metrics = [results.metrics["MS-CNN", seed] for seed in (0, 1)]
    wanted = np.mean([m["h_f1_labels_predicted"] - m["h_f1_labels_top"] for m in metrics])
    assert rows["predicted number > top, with tags"]["difference"] == pytest.approx(wanted, abs=0.01)
    assert rows["predicted number > top, with tags"]["verdict"] == "holds"
    assert rows["MS-CNN > CNN"]["verdict"] == "open"
    errors = np.mean([m["squared_errors"]["quantity_visual"] - m["squared_errors"]["quantity"] for m in metrics])
    assert rows["tags lower the squared error of the number"]["difference"] == pytest.approx(errors, abs=1e-3)
    assert not [says for says in rows if "word vectors" in says]  # that run is not declared


def test_results_have_means_and_intervals(evaluations: Path) -> None:
    results = read_results(evaluations, ["MS-CNN"], [0, 1])
    found = {metric: (mean, low, high) for _, metric, mean, low, high in results_table(results).iter_rows()}
    for name in ("h_f1_labels_predicted", "i_p_cnn_top"):
        mean, low, high = found[name]
        assert mean == pytest.approx(np.mean([results.metrics["MS-CNN", seed][name] for seed in (0, 1)]), abs=1e-3)
        assert low < mean < high
    assert found["quantity_mse_quantity"][0] == pytest.approx(0.04, abs=0.02)  # not in percent


def test_a_missing_or_changed_evaluation_is_an_error(evaluations: Path) -> None:
    with pytest.raises(UserError, match=r"seed-2: no metrics.json and units.parquet, but the parameter file lists"):
        read_results(evaluations, ["MS-CNN"], [0, 2])
    path = evaluations / "MS-CNN/seed-0/metrics.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"h_f1_cnn_top": 99.0}))
    with pytest.raises(UserError, match=r"h_f1_cnn_top is stated as 99\.0, its units give"):
        read_results(evaluations, ["MS-CNN"], [0, 1])


def test_every_row_and_claim_is_of_a_run_that_can_be_declared() -> None:
    runs = ["MS-CNN", "MS-CNN_joint", "MS-CNN_fusion=average", "MS-CNN_fusion=maximum", "MS-CNN_first=2",
            "MS-CNN_first=3", "MS-CNN_tags=shuffled", "MS-CNN_tags=vectors", "MS-CNN_quantity=classes",
            "MS-CNN_loss=softmax", "MS-CNN_loss=warp", "MS-CNN_loss=asymmetric", "CNN-RNN",
            "baselines/MS-CNN"]  # fmt: skip
    assert {run for _, run, _ in h_f1_rows(runs)} == set(runs)
    claims = claims_of(runs, [0.1])
    assert sorted({claim.number for claim in claims}, key=int) == [str(number) for number in range(1, 12)]
    assert {claim.better.run for claim in claims} | {claim.worse.run for claim in claims} == set(runs)
    [control, _] = [claim for claim in claims if claim.number == "11"]
    assert control.worse == Annotator("MS-CNN_tags=shuffled", "h_f1_fused_top")
    assert control.at_most == 1.0
    assert claims_of(["MS-CNN_first=2"], []) == []


def test_the_page_shows_the_tables(evaluations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(PARAMS.replace("RUNS", "[MS-CNN]"))
    monkeypatch.setattr("sys.argv", ["report"])
    report.main([f"--evaluations={evaluations}", f"--output={tmp_path / 'out'}", f"--params={params}"])
    text = visible_text(read_part(tmp_path / "out").html)
    for expected in (
        "tiny <set>",
        "MS-CNN + tags + quantity",
        "74.47",
        "labels with a probability of at least 0.5",
        "holds",
    ):
        assert expected in text
    assert {"results.csv", "claims.csv", "quantities.png", "reliability.png", "samples.png", "part.json"} == {
        path.name for path in (tmp_path / "out").iterdir()
    }
    params.write_text(PARAMS.replace("RUNS", "[]"))
    report.main([f"--evaluations={evaluations}", f"--output={tmp_path / 'none'}", f"--params={params}"])
    assert "lists no run" in visible_text(read_part(tmp_path / "none").html)
