"""The siamese system's part of the report: accuracies, differences on common images, claims and verdicts."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from html_page import Page
from siamese_data import table

from base import schemas
from base.artifacts import write_json, write_table
from base.console import UserError
from model.measures.units import reduce_units, units_of
from report.index import main as write_page
from report.intervals import Estimate, paired
from report.training_noise import moderated, training_noise
from systems.siamese.claims import Trained, claims_of
from systems.siamese.config import CONTROL, FROZEN, PHASES, SIAMESE, SOFTMAX, read_run
from systems.siamese.report import (
    claims_table,
    difference,
    main,
    noise_of,
    read_results,
    results_table,
)

SEEDS = [0, 1, 2, 3, 4]
# share of 200 test images recognised, by run and phase
SHARES = {
    "given": {SOFTMAX: 0.5, CONTROL: 0.5, SIAMESE: 0.5},
    "clicks": {SOFTMAX: 0.3, CONTROL: 0.3, SIAMESE: 0.45},
    "clicks-denoised": {SOFTMAX: 0.6, CONTROL: 0.6, SIAMESE: 0.8},
    "clicks-denoised_pairs=shuffled": {SOFTMAX: 0.6, SIAMESE: 0.4},
}
FROZEN_SHARES = {
    "given_frozen": 0.5, "clicks-denoised_frozen": 0.7, "truth_frozen": 0.66, "given_frozen_targets=all": 0.9,
    "clicks-denoised_frozen_soft_targets=1": 0.8, "given-cleaned_frozen": 0.6, "given-most-clicked_frozen": 0.4,
}  # fmt: skip


def write_evaluation(folder: Path, shares: dict[str, float], seed: int, lacking: int = 0) -> None:
    names, units = [f"image {number:03d}" for number in range(200 - lacking)], []
    for phase, share in shares.items():
        # the same image is as difficult for every run; each training has a little luck
        luck = np.random.default_rng([seed, round(1000 * share), (*PHASES, FROZEN).index(phase)]).normal(0, 0.02)
        right = (np.arange(200)[: len(names)] * 0.618034 % 1 < share + luck).astype(float)
        g = np.random.default_rng(seed).uniform(size=len(names))
        units += [units_of(f"{name}_{phase}", names, right, 1.0) for name in ("accuracy", "top5", "nearest_mean")]
        units += [units_of(f"category_accuracy_{phase}", ["ant", "bee"], np.array([share, share]), 1.0)]
        units += [units_of(f"pair_auc_{phase}", names, g * 6, 6.0)]
    rows = pl.concat(units).sort("metric", "unit")
    write_table(rows.to_arrow().cast(schemas.UNITS), folder / "units.parquet")
    metrics = {name: None if value is None else round(100 * value, 4) for name, value in reduce_units(rows).items()}
    counted = {"tested": len(names), "of categories that the source lacks": lacking}
    chosen = {phase: {"value": 40.0 + 10 * seed} for phase in shares if phase != FROZEN}
    write_json({**metrics, "images": counted, "chosen": chosen}, folder / "metrics.json")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for run, shares in SHARES.items():
        for seed in SEEDS:
            write_evaluation(tmp_path / "siamese/evaluations" / run / f"seed-{seed}", shares, seed)
    reliable = [("<ant>", 9, 0.9, 8, 0.95, 0.8, "bee"), ("bee", 7, None, 0, None, None, None)]
    write_table(table(reliable, schemas.RELIABILITY), tmp_path / "siamese/labels/denoised-clicks/categories.parquet")
    words = [("ant", ["<ant>"], ["ant", "ants"], 70, 1.0, 0.9), ("red", ["<ant>", "bee"], ["red"], 90, 0.5, 0.2)]
    write_table(table(words, schemas.NAME_WORDS), tmp_path / "words.parquet")
    write_params(list(SHARES), SEEDS)
    return tmp_path


def write_params(runs: list[str], seeds: list[int], frozen: Sequence[str] = ()) -> None:
    plan = {"data_set": "toy", "truth": "key.tsv", "denoised": ["clicks"], "runs": runs, "frozen": list(frozen)}
    report = {"data_set": "made up & drawn", "note": "A note.", "names": 1}
    Path("params.yaml").write_text(json.dumps({"seeds": seeds, "siamese": {"plan": plan, "report": report}}))


def part(root: Path) -> dict:
    main(["--system", "siamese", "--words", "words.parquet", "--output", "report"])
    return dict(json.loads((root / "report/part.json").read_text(encoding="utf-8")))


def test_the_page_has_accuracies_claims_and_names(root: Path) -> None:
    found = part(root)
    page = Page(found["html"])
    assert found["title"] == "Siamese fine-tuning on click-log images: made up & drawn"
    assert [anchor for anchor, _ in found["sections"]] == page.ids[1:]
    accuracies, measures, claims, names, words = page.tables
    assert [row[0] for row in accuracies[2:]] == list(SHARES)
    assert accuracies[-1][3:5] == ["–", "–"]  # shuffled pairs have no control
    assert [row[:2] for row in measures[1:4]] == [
        ["given", "softmax"],
        ["given", "softmax, as many steps"],
        ["given", "siamese"],
    ]
    assert len(measures) == 1 + sum(map(len, SHARES.values()))
    assert {row[-1] for row in measures[1:]} == {"60.0"}  # the mean over seeds of 40 to 80
    assert {row[-2] for row in claims[1:]} <= {"holds", "open", "contradicted"}
    assert all((row[-1] == "–") == (row[-2] != "open") for row in claims[1:])
    assert names[1] == ["clicks", "<ant>", "9", "90.0", "8", "95.0", "80.0", "bee"]
    assert names[2] == ["clicks", "bee", "7", "–", "0", "–", "–", "–"]
    assert words[1:] == [["red", "red", "2", "90", "0.20"]]  # the most clicked one
    write_page(["--systems", "report", "--output", "page"])
    assert "siamese_accuracies" in (root / "page/index.html").read_text(encoding="utf-8")


def test_verdicts_follow_the_made_up_differences(root: Path) -> None:
    part(root)
    claims = pl.read_csv("report/claims.csv")
    verdicts = dict(claims.select("says", "verdict").iter_rows())
    assert verdicts["softmax: clicks-denoised > clicks"] == "holds"
    assert verdicts["clicks-denoised: siamese > naive softmax"] == "holds"
    assert verdicts["siamese on clicks-denoised > naive softmax on clicks"] == "holds"
    assert verdicts["given: siamese > softmax of as many steps"] != "holds"
    assert verdicts["clicks-denoised: shuffled pairs gain at most 1 point over as many steps of softmax"] == "holds"
    assert verdicts["siamese: the log alone, denoised > the given labels"] == "holds"
    row = claims.filter(says="clicks: siamese > softmax of as many steps").row(0, named=True)
    assert row["difference"] == pytest.approx(15, abs=5)
    assert row["low"] < row["difference"] < row["high"]


def test_accuracies_are_the_means_of_the_evaluations(root: Path) -> None:
    results = read_results(Path("siamese/evaluations"), list(SHARES), SEEDS)
    rows = results_table(results).filter(run="clicks", phase=SIAMESE)
    for measure in ("accuracy", "category_accuracy", "pair_auc"):
        mean = np.mean([results.metrics["clicks", seed][f"{measure}_{SIAMESE}"] for seed in SEEDS])
        assert rows.filter(measure=measure)["mean"].item() == pytest.approx(mean, abs=0.006)


def test_differences_are_of_the_images_that_both_runs_were_tested_on(root: Path) -> None:
    for seed in SEEDS:  # this run's source lacks some categories
        folder = root / "siamese/evaluations/clicks" / f"seed-{seed}"
        write_evaluation(folder, SHARES["clicks"], seed, lacking=40)
    results = read_results(Path("siamese/evaluations"), list(SHARES), SEEDS)
    one, other = Trained("clicks-denoised", SIAMESE), Trained("clicks", SIAMESE)
    found = difference(results, one, other, {SIAMESE: noise_of(results, SIAMESE)})
    right = [results.of(trained).sort("seed", "unit") for trained in (one, other)]
    common = right[0].filter(pl.col("unit") < "image 160")
    expected = 100 * (common["numerator"].mean() - right[1]["numerator"].mean())
    assert found is not None
    assert found.mean == pytest.approx(expected)
    assert "Up to 40 test images are of categories that the source lacks" in part(root)["html"]


def test_phases_from_the_same_weights_need_no_noise_of_other_trainings(root: Path) -> None:
    results = read_results(Path("siamese/evaluations"), list(SHARES), SEEDS)
    noise = {phase: noise_of(results, phase) for phase in (CONTROL, SOFTMAX)}

    def unmoderated(one: Trained, other: Trained) -> Estimate:
        return paired(results.of(one), results.of(other)).scaled(100)

    for run in ("clicks-denoised", "clicks-denoised_pairs=shuffled"):
        pair = Trained(run, SIAMESE), Trained("clicks-denoised", CONTROL)
        assert difference(results, *pair, noise) == unmoderated(*pair)
    pair = Trained("clicks-denoised", SIAMESE), Trained("clicks", SOFTMAX)
    assert difference(results, *pair, noise) == moderated(unmoderated(*pair), noise[SOFTMAX])
    assert difference(results, *pair, noise) != unmoderated(*pair)
    first = [[results.metrics[run, seed][f"accuracy_{SOFTMAX}"] for seed in SEEDS] for run in list(SHARES)[:3]]
    assert noise[SOFTMAX] == training_noise(np.array(first)[::-1])  # the run with shuffled pairs is no further training


def test_every_claim_is_of_declared_runs_and_trained_phases(root: Path) -> None:
    for run in SHARES:
        read_run(run)
    numbers = [claim.number for claim in claims_of(list(SHARES))]
    assert numbers.count("5") == 4
    assert set(numbers) == {"1", "3", "4", "5", "6", "log"}
    results = read_results(Path("siamese/evaluations"), list(SHARES), SEEDS)
    table = claims_table(results)
    assert len(table) == len(numbers) - 1  # shuffled pairs have no control of their own
    assert claims_of(["given"])[0].number == "5"
    confusable = claims_of(["given", "given_pairs=confusable"])[-1]
    assert (confusable.number, confusable.better, confusable.worse) == (
        "7",
        Trained("given_pairs=confusable", SIAMESE),
        Trained("given", SIAMESE),
    )


def test_one_seed_gives_no_verdict(root: Path) -> None:
    write_params(["clicks", "clicks-denoised"], [2])
    page = Page(part(root)["html"])
    assert {tuple(row[-2:]) for row in page.tables[2][1:]} == {("one seed: no verdict", "–")}


def test_without_runs_the_part_says_so(root: Path) -> None:
    write_params([], SEEDS)
    assert "lists no run (siamese.plan: runs, frozen)" in part(root)["html"]


@pytest.fixture
def frozen(root: Path) -> Path:
    for run, share in FROZEN_SHARES.items():
        for seed in SEEDS:
            write_evaluation(root / "siamese/evaluations/frozen" / run / f"seed-{seed}", {FROZEN: share}, seed)
    return root


def test_frozen_runs_have_a_table_by_labels_and_target_images(frozen: Path) -> None:
    write_params(["clicks"], SEEDS, list(FROZEN_SHARES))
    accuracies, by_targets, measures, claims, *_ = Page(part(frozen)["html"]).tables
    assert [row[0] for row in accuracies[2:]] == ["clicks"]
    assert by_targets[0][1:] == ["no target labels", "1 a category", "all target images but the tests"]
    cells = {row[0]: row[1::2] for row in by_targets[2:]}
    assert list(cells) == [
        "given",
        "clicks-denoised",
        "truth",
        "clicks-denoised, soft",
        "given-cleaned",
        "given-most-clicked",
    ]
    shares = {name: ["–" if cell == "–" else round(float(cell)) for cell in row] for name, row in cells.items()}
    assert shares["given"] == [pytest.approx(50, abs=2), "–", pytest.approx(90, abs=2)]
    assert shares["clicks-denoised, soft"] == ["–", pytest.approx(80, abs=2), "–"]
    assert {row[-1] for row in measures[1:] if row[1] == "frozen ConvNet"} == {"–"}  # no epoch is chosen
    says = {row[1]: (row[0], row[-2]) for row in claims[1:]}
    assert says["frozen ConvNet: the log alone, denoised > the given labels"] == ("log", "holds")
    assert says["frozen ConvNet: the truth is at most 3 points above the log alone, denoised"] == ("log", "holds")
    assert says["frozen ConvNet: given-cleaned > given-most-clicked"] == ("2", "holds")
    assert says["frozen ConvNet: given-cleaned > given"] == ("1", "holds")


def test_frozen_runs_alone_are_a_report(frozen: Path) -> None:
    write_params([], SEEDS, ["truth_frozen"])
    found = Page(part(frozen)["html"])
    assert [row[0] for row in found.tables[0][2:]] == ["truth"]


def test_a_missing_or_changed_evaluation_is_named(root: Path) -> None:
    folder = root / "siamese/evaluations/given/seed-3"
    metrics = json.loads((folder / "metrics.json").read_text())
    write_json(metrics | {f"accuracy_{SIAMESE}": 99.0}, folder / "metrics.json")
    with pytest.raises(UserError, match=r"seed-3: accuracy_siamese is stated as 99\.0"):
        read_results(Path("siamese/evaluations"), list(SHARES), SEEDS)
    (folder / "units.parquet").unlink()
    with pytest.raises(UserError, match=r"given/seed-3: no units\.parquet, but the parameter file lists"):
        read_results(Path("siamese/evaluations"), list(SHARES), SEEDS)
    assert PHASES == (SOFTMAX, CONTROL, SIAMESE)
