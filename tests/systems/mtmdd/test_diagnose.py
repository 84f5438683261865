import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from training_runs import train_methods

from model.data.images import centre_crop
from model.training import trainer
from model.training.trainer import PhaseTraining
from systems.mtmdd.click_diagnostics import choose_samples
from systems.mtmdd.config import LossTerm
from systems.mtmdd.diagnose import DiagnoseParams, main, observe, predicted_clicks, significant, up_to, without_position
from systems.mtmdd.examples import Examples
from systems.mtmdd.gradients import GradientRecorder
from systems.mtmdd.predictor import Model
from systems.mtmdd.recipes import build_recipe

SECTION = "mtmdd: {diagnose: {methods: [TDL], points: [], every: 3, shares: [0.0, 0.5], samples: 4, words: 3}}\n"
FILES = {
    "diagnostics.json", "gradients.csv", "gradients.png", "gradient_ratios.csv", "sigmoid_inputs.csv",
    "click_features.csv", "click_features.png",
}  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory, tiny_data, network_params, objective_params, train_params):
    """Train methods for two epochs each; return the folders by method."""
    params = train_params.model_copy(update={"epochs": 2})
    methods = ("VGGsrc", "TDL", "TDL7", "MTMDD-VM")
    return train_methods(
        tmp_path_factory.mktemp("models"), methods, tiny_data, network_params, objective_params, params
    )


def diagnose(model, data, output, split=None, section=SECTION):
    """Run the stage in the working folder; return its output."""
    Path("params.yaml").write_text(section)
    arguments = {
        "model": model, "images": data.images, "split": split or data.split, "features": data.features,
        "output": output,
    }  # fmt: skip
    main([f"--{name}={value}" for name, value in arguments.items()])
    return output


@pytest.fixture
def run(tmp_path, monkeypatch, models, tiny_data):
    monkeypatch.chdir(tmp_path)
    return lambda method, output="diagnostics", split=None: diagnose(
        models / method, tiny_data, tmp_path / output, split
    )


@pytest.fixture(scope="module")
def of_tdl(tmp_path_factory, models, tiny_data):
    folder = tmp_path_factory.mktemp("of_tdl")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return diagnose(models / "TDL", tiny_data, folder / "diagnostics")


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_model_with_recognition_and_both_click_losses(run, tmp_path, caplog):
    caplog.set_level("INFO", logger="clicksight")
    folder = run("MTMDD-VM")
    assert "the observed training gave the same bytes as" in caplog.text
    assert set(contents(folder)) == FILES
    found = json.loads((folder / "diagnostics.json").read_text())
    assert (found["method"], found["phase"]) == ("MTMDD-VM", "joint")
    assert set(found["rmse_source"]) == {
        "model", "without_position", "zero", "untrained", "constant", "category_means",
    }  # fmt: skip
    assert found["rmse_source"]["model"] != found["rmse_source"]["without_position"]

    gradients = pl.read_csv(folder / "gradients.csv")
    assert set(gradients["loss"]) == {"recognition", "count", "position", "click", "objective"}
    ratios = pl.read_csv(folder / "gradient_ratios.csv")
    assert set(gradients["step"]) == set(ratios["step"])
    for step, ratio in ratios.select("step", "position_over_count").iter_rows():
        of_step = gradients.filter(step=step, layer="all")
        position, count = (of_step.filter(loss=loss)["norm"][0] for loss in ("position", "count"))
        assert ratio == pytest.approx(position / count, rel=1e-5)
    num_steps = 2 * math.ceil(3 * 5 / 4)  # two epochs of the target's training images, four per step
    assert [row["step"] for row in found["gradient_ratios"]] == [0, num_steps // 2]
    assert found["gradient_ratios"][1].items() >= ratios.row(by_predicate=pl.col("step") == 4, named=True).items()

    for picture in ("gradients.png", "click_features.png"):
        assert min(Image.open(folder / picture).size) > 100
    assert not list((tmp_path / ".state" / "checkpoints").iterdir())
    assert contents(run("MTMDD-VM", "again")) == contents(folder)


def test_the_features_shown_are_the_networks(of_tdl, models, tiny_data, tiny_rows):
    found = pl.read_csv(of_tdl / "click_features.csv")
    assert found.columns == ["image_id", "category", "word", "true", "predicted", "predicted_without_position"]
    ids = found["image_id"].unique(maintain_order=True)
    assert len(ids) == 4
    assert len(found) == 4 * 3
    chosen = tiny_rows.filter(pl.col("image_id").is_in(ids.implode()))
    assert set(chosen["split"]) == {"validation"}
    assert set(chosen["category"]) == {"ant", "bee", "cat"}
    model = Model.read(models / "TDL")
    network = model.network(model.recipe.phases[0])
    examples = Examples.read(tiny_data.images, tiny_rows, tiny_data.features, model.recipe.network, cache=False)
    words = pl.read_parquet(tiny_data.features / "vocabulary.parquet")["word"].to_list()
    for image_id in ids:
        place = examples.rows["image_id"].to_list().index(image_id)
        pixels = torch.from_numpy(np.ascontiguousarray(centre_crop(examples.images[place], 16).transpose(2, 0, 1)))
        with torch.no_grad():
            predicted = network({"source": pixels[None]})["source"].clicks[0].numpy()
        true = examples.clicks.vectors([image_id])[0]
        for word, of_true, of_predicted in found.filter(image_id=image_id).select("word", "true", "predicted").rows():
            number = words.index(word)
            assert of_true == pytest.approx(true[number] / np.linalg.norm(true), abs=1e-4)
            assert of_predicted == pytest.approx(predicted[number] / np.linalg.norm(predicted), abs=1e-4)


def test_what_is_measured_is_of_this_model_its_seed_and_its_parameters(
    tmp_path, monkeypatch, caplog, tiny_data, tiny_rows, network_params, objective_params, train_params
):
    """Use other values than the other tests: seed, raw inputs, numbers of steps, words and samples."""
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO", logger="clicksight")
    objective = objective_params.model_copy(update={"position_input": "raw", "bandwidth": 0.02})
    params = train_params.model_copy(update={"epochs": 1})
    section = "mtmdd: {diagnose: {methods: [TDL], points: [], every: 4, shares: [0.9], samples: 3, words: 2}}\n"
    given = (tiny_data, network_params, objective, params, 4)
    train_methods(tmp_path, ["TDL"], *given)
    caplog.clear()
    folder = diagnose(tmp_path / "TDL", tiny_data, tmp_path / "found", section=section)
    assert "the observed training gave the same bytes as" in caplog.text
    found = json.loads((folder / "diagnostics.json").read_text())

    examples = Examples.read(tiny_data.images, tiny_rows, tiny_data.features, network_params, cache=False)
    row_numbers = {split: examples.row_numbers("source", split) for split in ("train", "validation")}
    ids = {split: examples.rows["image_id"][of_split.tolist()].to_list() for split, of_split in row_numbers.items()}
    true = {split: examples.clicks.vectors(of_split).astype(float) for split, of_split in ids.items()}
    assert found["seed"] == 4
    assert found["images"] == {
        "train": 21, "validation": 9, "without_clicks": int((true["validation"].sum(axis=1) == 0).sum())
    }  # fmt: skip
    still = sum(len(set(column)) == 1 for column in true["validation"].T)
    assert found["words"] == {"all": 5, "without_variation": still}

    # predictors that use no pixel
    def unit(vectors: np.ndarray) -> np.ndarray:
        return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)

    def rmse(predicted: np.ndarray) -> float:
        return math.sqrt(((unit(true["validation"]) - unit(predicted)) ** 2).sum(axis=1).mean())

    category = {split: np.array([image_id[4:] for image_id in of_split]) for split, of_split in ids.items()}
    means = np.stack([unit(true["train"])[category["train"] == name].mean(axis=0) for name in category["validation"]])
    for name, predicted in {
        "constant": np.broadcast_to(unit(true["train"]).mean(axis=0), (9, 5)),
        "category_means": means,
        "zero": np.zeros((9, 5)),
    }.items():
        assert found["rmse_source"][name] == pytest.approx(rmse(predicted), abs=2e-6), name

    # without the position loss: the result of a training with the count loss alone
    count_alone = objective.model_copy(update={"tau": 0.0})
    (tmp_path / "plain").mkdir()
    train_methods(tmp_path / "plain", ["TDL"], *given[:2], count_alone, *given[3:])
    plain = Model.read(tmp_path / "plain" / "TDL")
    predicted = predicted_clicks(plain, plain.recipe.phases[0], examples).prediction.clicks.double().numpy()
    assert found["rmse_source"]["without_position"] == pytest.approx(rmse(predicted), abs=1e-5)

    inputs = pl.read_csv(folder / "sigmoid_inputs.csv").row(by_predicate=pl.col("bandwidth") == 0.02, named=True)
    inside = ((true["validation"] >= 0) & (true["validation"] <= 0.02)).mean()
    assert inputs["true_percent"] == pytest.approx(100 * inside, abs=1e-4)
    # six steps: every fourth step, and the step at a share of 0.9
    assert pl.read_csv(folder / "gradient_ratios.csv")["step"].to_list() == [0, 4, 5]
    samples = pl.read_csv(folder / "click_features.csv")
    rows = examples.rows[row_numbers["validation"].tolist()]
    chosen = choose_samples(rows, true["validation"].any(axis=1).tolist(), 3, seed=4)
    assert samples["image_id"].unique(maintain_order=True).to_list() == rows["image_id"][chosen].to_list()
    assert samples.height == 3 * 2


def test_an_observed_training_is_never_compiled(
    examples, network_params, objective_params, train_params, tmp_path, monkeypatch
):
    trained = []
    monkeypatch.setattr(trainer, "train", lambda run, output: trained.append(run))
    monkeypatch.setattr(Model, "read", lambda folder: folder)
    params = train_params.model_copy(update={"compile": True})
    recipe = build_recipe("TDL", network_params, objective_params, params)
    of_its_own = recipe.phases[0].model_copy(update={"train": params.model_copy(update={"epochs": 1})})
    recipe = recipe.model_copy(update={"phases": [of_its_own, *recipe.phases[1:]]})
    recorder = GradientRecorder(recipe.phases[0], 1, [])
    for observer in (recorder, None):
        observe(recipe, observer, examples, 9, tmp_path, "run")
    expected = build_recipe("TDL", network_params, objective_params, train_params)
    for run in trained:
        assert [(task.seed, task.recipe.train, task.params.compile) for task in run.tasks] == [
            (9, expected.train, False)
        ] * 3
        assert run.tasks[0].params == expected.train.model_copy(update={"epochs": 1})
    assert [run.tasks[-1].observer for run in trained] == [recorder, None]
    assert len(trained) == 2


def test_a_model_without_position_loss_has_no_other_to_compare(run):
    folder = run("TDL7")
    found = json.loads((folder / "diagnostics.json").read_text())
    assert found["rmse_source"]["without_position"] is None
    assert "predicted_without_position" not in pl.read_csv(folder / "click_features.csv").columns
    assert pl.read_csv(folder / "gradient_ratios.csv")["position_over_count"].null_count() > 1
    assert {row["position_over_count"] for row in found["gradient_ratios"]} == {None}


def test_an_interrupted_stage_reads_all_steps_when_it_is_run_again(run, monkeypatch):
    whole = contents(run("TDL7", "whole"))
    real, calls = GradientRecorder.__call__, []

    def killed(self, *arguments):
        calls.append(arguments)
        if len(calls) == 8:  # in the second epoch
            raise KeyboardInterrupt
        real(self, *arguments)

    monkeypatch.setattr(GradientRecorder, "__call__", killed)
    with pytest.raises(KeyboardInterrupt):
        run("TDL7")
    monkeypatch.setattr(GradientRecorder, "__call__", real)
    assert contents(run("TDL7")) == whole


def test_shares_are_of_the_steps_before_an_early_end(
    tmp_path, tiny_data, network_params, objective_params, train_params, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    end_after = {"predict": 2}  # of three epochs
    monkeypatch.setattr(
        PhaseTraining,
        "_ended_by",
        lambda self: "plateau" if self.progress.epoch >= end_after.get(self.task.name, 1) else None,
    )
    train_methods(tmp_path, ["TDL"], tiny_data, network_params, objective_params, train_params)
    found = json.loads((diagnose(tmp_path / "TDL", tiny_data, tmp_path / "found") / "diagnostics.json").read_text())
    # two epochs of six steps
    assert [(row["share"], row["step"]) for row in found["gradient_ratios"]] == [(0.0, 0), (0.5, 6)]


def test_errors_say_what_to_do(run, tiny_data, tmp_path, caplog):
    with pytest.raises(SystemExit):
        run("VGGsrc")
    message = "VGGsrc trains no click loss, so there is nothing to diagnose; remove it from mtmdd.diagnose.methods"
    assert message in caplog.text
    rows = pl.read_parquet(tiny_data.split)
    rows.filter(~((pl.col("domain") == "source") & (pl.col("split") == "validation"))).write_parquet(
        tmp_path / "none.parquet"
    )
    with pytest.raises(SystemExit):
        run("TDL", split=tmp_path / "none.parquet")
    assert "none.parquet: the source domain has no validation images to diagnose the model on" in caplog.text
    rows.filter(pl.col("category") != "bee").write_parquet(tmp_path / "fewer.parquet")
    with pytest.raises(SystemExit):
        run("TDL", split=tmp_path / "fewer.parquet")
    assert "fewer.parquet: its 2 source categories are not the 3 that" in caplog.text
    assert not (tmp_path / "diagnostics").exists()


def test_without_position_the_count_loss_has_the_whole_weight(network_params, objective_params, train_params):
    def recipe(method: str, **values):
        return build_recipe(method, network_params, objective_params.model_copy(update=values), train_params)

    changed = without_position(recipe("MTMDD-VM"))
    assert changed.position is None
    assert changed.phases[0].losses == [
        LossTerm(domain="source", kind="recognition", weight=0.6),
        LossTerm(domain="source", kind="count", weight=0.4),  # lambda
        LossTerm(domain="target", kind="recognition", weight=0.1),
    ]
    assert changed == recipe("MTMDD-VM", tau=0.0)
    assert without_position(recipe("TDL7")) is None
    assert without_position(recipe("TDL", tau=1.0)) is None


def test_a_recipe_is_cut_after_a_phase(network_params, objective_params, train_params):
    recipe = build_recipe("TDL", network_params, objective_params, train_params)
    assert [phase.name for phase in up_to(recipe, recipe.phases[1]).phases] == ["predict", "source"]


@pytest.mark.parametrize(
    ("value", "rounded"), [(None, None), (0.0, 0.0), (1234567.8, 1234570.0), (1 / 3e9, 3.33333e-10)]
)
def test_six_digits(value, rounded):
    assert significant(value) == rounded


@pytest.mark.parametrize(
    "values", [{"shares": [1.1]}, {"methods": ["SCDA"]}, {"points": ["tau"]}, {"every": 0}, {"samples": 0}]
)
def test_impossible_parameters(values):
    good = {"methods": ["TDL"], "points": ["tau=0.1"], "every": 3, "shares": [0.5], "samples": 4, "words": 3}
    assert DiagnoseParams.model_validate(good)
    with pytest.raises(ValueError, match=next(iter(values))):
        DiagnoseParams.model_validate(good | values)


def test_rmse_of_the_model_is_that_of_its_training(models, of_tdl):
    # the value that the trainer measured on the same images in the chosen epoch
    found = json.loads((of_tdl / "diagnostics.json").read_text())
    path = models / "TDL" / "curves" / "predict" / "plots" / "metrics" / "validation" / "source rmse.tsv"
    curve = [float(line.split("\t")[1]) for line in path.read_text().splitlines()[1:]]
    (chosen,) = (epoch for epoch in Model.read(models / "TDL").chosen if epoch["phase"] == "predict")
    assert found["rmse_source"]["model"] == pytest.approx(curve[chosen["epoch"] - 1], abs=1e-5)
