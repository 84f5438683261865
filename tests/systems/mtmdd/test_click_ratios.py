import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch
from training_runs import contents, train_methods

from systems.mtmdd import click_ratios
from systems.mtmdd.click_ratios import main
from systems.mtmdd.diagnose import main as diagnose
from systems.mtmdd.examples import Examples
from systems.mtmdd.predictor import Model

SECTION = "mtmdd: {diagnose: {methods: [], points: [], every: 2, shares: [0.15], samples: 2, words: 2}}\n"


@pytest.fixture(scope="module")
def train(tmp_path_factory, tiny_data, network_params, objective_params, train_params):
    """Return a function that trains methods with given values in the section objective and returns their folder."""
    params = train_params.model_copy(update={"epochs": 8})  # 15 % of the steps are more than one epoch

    def train(*methods: str, **values) -> Path:
        # with B = 0.01 none of these few inputs lies in [0, B], and the gradient is zero
        objective = objective_params.model_copy(update={"bandwidth": 1.0, **values})
        return train_methods(tmp_path_factory.mktemp("models"), methods, tiny_data, network_params, objective, params)

    return train


@pytest.fixture(scope="module")
def models(train):
    return train("VGGsrc", "TDL", "TDL7", "MTMDD-VM")


@pytest.fixture
def run(tmp_path, monkeypatch, tiny_data):
    """Return a function that runs this stage, or another with the same arguments, and returns its output."""
    monkeypatch.chdir(tmp_path)

    def run(model: Path, output: str = "ratios.json", stage=main, every: int = 2) -> Path:
        Path("params.yaml").write_text(SECTION.replace("every: 2", f"every: {every}"))
        stage(
            [
                f"--model={model}",
                f"--images={tiny_data.images}",
                f"--split={tiny_data.split}",
                f"--features={tiny_data.features}",
                f"--output={output}",
            ]
        )
        return tmp_path / output

    return run


@pytest.mark.parametrize("method", ["TDL", "MTMDD-VM"])
def test_the_ratios_are_those_of_the_whole_diagnosis(run, models, tmp_path, method):
    found = json.loads(run(models / method).read_text())
    folder = run(models / method, "diagnostics", diagnose)
    table = pl.read_csv(folder / "gradient_ratios.csv").select("step", "position_over_count")
    # every second step, and 15 % of 8 epochs of 6 steps (TDL: 21 source images, 4 per step) or 4 (15 target images)
    last = {"TDL": 7, "MTMDD-VM": 5}[method]
    assert [row["step"] for row in found["gradient_ratios"]] == [*range(0, last, 2), last]
    assert all(row["position_over_count"] > 0 for row in found["gradient_ratios"])
    assert found["gradient_ratios"] == table.filter(pl.col("step") <= last).to_dicts()
    inputs = pl.read_csv(folder / "sigmoid_inputs.csv").row(by_predicate=pl.col("bandwidth") == 1.0, named=True)
    names = ("bandwidth", "true_percent", "predicted_percent")
    assert found["sigmoid_inputs"] == {"images": 9, **{name: inputs[name] for name in names}}


def test_no_more_is_trained_than_is_read(run, models, tmp_path, caplog):
    caplog.set_level("INFO", logger="clicksight")
    before = contents(models / "TDL")
    first = run(models / "TDL").read_bytes()
    assert "done, epoch" not in caplog.text  # the trainer logs this at the end of a phase
    assert not list((tmp_path / ".state" / "checkpoints").iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"params.yaml", "ratios.json", ".state"}
    assert run(models / "TDL", "again.json").read_bytes() == first
    assert contents(models / "TDL") == before


def test_the_position_loss_alone_has_no_count_loss_to_be_compared_with(run, train):
    found = json.loads(run(train("TDL", tau=1.0, bandwidth=2.0) / "TDL").read_text())
    assert found["gradient_ratios"] == []
    assert 0 < found["sigmoid_inputs"]["predicted_percent"] < 100


def test_raw_inputs_are_counted_as_they_are(run, train, tiny_data, tiny_rows):
    folder = train("TDL", position_input="raw", bandwidth=0.5) / "TDL"
    found = json.loads(run(folder).read_text())["sigmoid_inputs"]
    model = Model.read(folder)
    examples = Examples.read(tiny_data.images, tiny_rows, tiny_data.features, model.recipe.network, cache=False)
    rows = tiny_rows.filter(domain="source", split="validation")
    true = torch.from_numpy(examples.clicks.vectors(rows["image_id"].to_list()))
    inside = sum(0 <= value <= 0.5 for row in true.tolist() for value in row)
    assert found["true_percent"] == round(100 * inside / true.numel(), 4)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("VGGsrc", "VGGsrc trains no click loss, so there is nothing to diagnose"),
        ("TDL7", "the model's click loss is the count loss alone, so there is no ratio to measure"),
    ],
)
def test_models_without_a_ratio_are_refused(run, models, tmp_path, caplog, method, message):
    with pytest.raises(SystemExit):
        run(models / method)
    assert f"{message}; remove it from mtmdd.diagnose.points" in caplog.text
    assert not (tmp_path / "ratios.json").exists()


def test_torch_has_the_threads_of_the_training(run, models, monkeypatch):
    found, before = [], torch.get_num_threads()

    def measure(model, examples, every, run):
        found.append((torch.get_num_threads(), every))
        raise KeyboardInterrupt

    monkeypatch.setattr(click_ratios, "measure", measure)
    torch.set_num_threads(3)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(models / "TDL", every=7)
    finally:
        torch.set_num_threads(before)
    assert found == [(1, 7)]  # the recipe's threads


def test_what_is_trained_again_is_of_the_models_seed(models, examples, monkeypatch):
    seeds = []
    monkeypatch.setattr(click_ratios, "observe", lambda recipe, recorder, examples, seed, *others: seeds.append(seed))
    model = replace(Model.read(models / "TDL"), seed=6)
    assert click_ratios.gradient_ratios(model, model.recipe.phases[0], examples, 2, "run") == []
    assert seeds == [6]


def test_table_v_looks_at_iteration_1500_of_10_000(models, examples, monkeypatch):
    shares = []
    monkeypatch.setattr(click_ratios, "observe", lambda recipe, recorder, *others: shares.append(recorder.shares))
    model = Model.read(models / "TDL")
    click_ratios.gradient_ratios(model, model.recipe.phases[0], examples, 2, "run")
    assert [[round(share * 10_000) for share in of_call] for of_call in shares] == [[1500]]
