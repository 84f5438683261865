import json
from pathlib import Path

import polars as pl
import pytest
from huggingface_hub import ModelCard, parse_eval_result_entries
from ruamel.yaml import YAML

from base.console import UserError
from base.schemas import UNITS
from clicksight.card import CardOptions, check_evaluated, read_evaluated, write_card
from report.intervals import wilson

CONFIG = {
    "system": "mtmdd", "run": "tiny", "seed": 0, "outputs": {"probabilities": {"names": ["cat", "dog"]}},
    "preprocessing": {"outside": "cut it", "inside": "normalised"},
}  # fmt: skip
CHOSEN = {"phase": "joint", "epoch": 3, "of": 8, "chosen_on": "validation accuracy", "value": 61.5, "seen": {"a": 4096}}
RUN = {"seed": 0, "chosen": [CHOSEN]}


def evaluations(folder: Path, right: dict[int, list[int]]) -> Path:
    """Write an evaluation of each seed: whether each of some images was recognised."""
    for seed, values in right.items():
        place = folder / f"seed-{seed}"
        place.mkdir(parents=True)
        metrics = {"accuracy": 100 * sum(values) / len(values), "chosen": {"joint": CHOSEN}}
        (place / "metrics.json").write_text(json.dumps(metrics))
        rows = [("accuracy", f"i{j}", float(value), 1.0) for j, value in enumerate(values)]
        pl.DataFrame(rows, pl.Schema(UNITS), orient="row").write_parquet(place / "units.parquet")
    return folder


def test_one_seed_has_wilsons_interval_and_several_have_their_mean(tmp_path: Path) -> None:
    one = read_evaluated(evaluations(tmp_path / "one", {0: [1, 1, 1, 0, 1, 0, 0, 1]})).metrics[0]
    assert (one.mean, one.low, one.high) == pytest.approx([100 * value for value in wilson(5 / 8, 8)])
    several = read_evaluated(evaluations(tmp_path / "more", {0: [1, 1, 0, 1], 3: [1, 0, 0, 0]}))
    assert several.seeds == [0, 3]
    assert several.metrics[0].mean == pytest.approx(50)


def test_the_card_and_the_results_are_read_by_the_hubs_own_parsers(tmp_path: Path) -> None:
    evaluated = read_evaluated(evaluations(tmp_path / "runs", {0: [1, 1, 0, 1], 3: [1, 0, 0, 0]}))
    folder = tmp_path / "card"
    folder.mkdir()
    write_card(folder, CONFIG, RUN, evaluated, CardOptions("cc-by-4.0", "Pictures of pets.", "me/pets:default"))
    card = ModelCard.load(folder / "README.md")
    assert card.data.license == "cc-by-4.0"
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value) == ("accuracy", 50.0)
    assert "seeds 0, 3" in result.metric_name
    assert "95 % interval" in result.metric_name
    assert "| joint | 3 of 8 | validation accuracy | 61.5 | a: 4,096 |" in card.text
    assert "Pictures of pets." in card.text
    (entry,) = parse_eval_result_entries(YAML().load(folder / ".eval_results" / "clicksight.yaml"))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("me/pets", "default", 50.0)
    assert entry.notes == result.metric_name


def test_without_an_evaluation_the_card_claims_nothing_and_no_licence(tmp_path: Path) -> None:
    write_card(tmp_path, CONFIG, RUN, None, CardOptions())
    card = ModelCard.load(tmp_path / "README.md")
    assert not card.data.eval_results
    assert card.data.license is None
    assert "no metric is known" in card.text
    assert "None is stated." in card.text
    assert not (tmp_path / ".eval_results").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"seed": 2}, "seed 2 is not among"), ({"chosen": [{**CHOSEN, "epoch": 5}]}, "kept at epoch 5 .* epoch 3")],
)
def test_evaluations_of_another_run_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    evaluated = read_evaluated(evaluations(tmp_path, {0: [1, 0]}))
    check_evaluated(evaluated, RUN, tmp_path)
    with pytest.raises(UserError, match=message):
        check_evaluated(evaluated, {**RUN, **change}, tmp_path)


@pytest.mark.parametrize("benchmark", ["me/pets", "me/pets:", ":default"])
def test_a_benchmark_needs_data_set_and_task(tmp_path: Path, benchmark: str) -> None:
    evaluated = read_evaluated(evaluations(tmp_path / "runs", {0: [1, 0]}))
    with pytest.raises(UserError, match="DATASET:TASK"):
        write_card(tmp_path, CONFIG, RUN, evaluated, CardOptions(benchmark=benchmark))


def test_a_folder_without_evaluations_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no seed-N"):
        read_evaluated(tmp_path)
