import hashlib
import json
import logging
import re
import shutil
import statistics
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import nn
from training_runs import Killed, contents, read_curve, train_recipe
from unnormalised import build_network_without_norms, largest_difference, unnormalised_recipe

from base.console import UserError
from model.nets.backbones import build_backbone
from model.training import trainer
from model.training.checkpoints import Checkpoints
from model.training.params import ScheduleParams
from model.training.trainer import PhaseTraining
from systems.mtmdd import task
from systems.mtmdd.config import EmbeddingParams, LossTerm, Phase, Recipe, TrainParams
from systems.mtmdd.examples import Examples
from systems.mtmdd.methods import METHODS
from systems.mtmdd.recipes import build_recipe
from systems.mtmdd.task import training_run

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains(method, recipe, examples, tmp_path):
    chosen = train_recipe(recipe(method, epochs=1), examples, 0, tmp_path / "model", "run")
    names = [phase.name for phase in METHODS[method].phases]
    assert [epoch.phase for epoch in chosen] == names
    for name in names:
        weights = load_file(tmp_path / "model" / f"{name}.safetensors")
        assert all(torch.isfinite(value).all() for value in weights.values())
        assert (tmp_path / "model" / "curves" / name / "metrics.json").is_file()


def test_two_runs_have_the_same_bytes_and_leave_nothing(recipe, examples, tmp_path):
    for name in ("one", "two"):
        train_recipe(recipe("MTMDD-VM", epochs=2), examples, 0, tmp_path / name, name)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert not list((tmp_path / ".state" / "checkpoints").iterdir())


def test_seeds_differ(recipe, examples, tmp_path):
    for seed in (0, 1):
        train_recipe(recipe("VGGsrc", epochs=1), examples, seed, tmp_path / str(seed), "run")
    one, other = (load_file(tmp_path / str(seed) / "target.safetensors") for seed in (0, 1))
    assert not torch.equal(one["recogniser.heads.target.weight"], other["recogniser.heads.target.weight"])


OPTIONS = {"accumulation": 2, "ema": 0.8, "early_stopping": 3, "channels_last": True}


@pytest.mark.parametrize("options", [{}, OPTIONS], ids=["plain", "options"])
@pytest.mark.parametrize("stop_at", [3, 10, 17, 25])  # 3 epochs of 6 steps for the source, then 4 steps per epoch
def test_an_interrupted_run_ends_with_the_same_bytes(recipe, examples, tmp_path, monkeypatch, caplog, stop_at, options):
    whole = recipe("MTTDL", **options)
    parts = options.get("accumulation", 1)
    train_recipe(whole, examples, 0, tmp_path / "whole", "whole")
    real, steps = task.objective, []

    def objective(*arguments):
        steps.append(arguments)
        if len(steps) == stop_at * parts:
            raise Killed
        return real(*arguments)

    monkeypatch.setattr(task, "objective", objective)
    with pytest.raises(Killed):
        train_recipe(whole, examples, 0, tmp_path / "model", "run")
    assert not (tmp_path / "model").exists()
    caplog.set_level(logging.INFO, logger="clicksight")
    train_recipe(whole, examples, 0, tmp_path / "model", "run")
    assert contents(tmp_path / "whole") == contents(tmp_path / "model")
    total = 3 * 6 + 3 * 4
    again = {3: 2, 10: 3, 17: 4, 25: 2}[stop_at]  # steps since the last whole epoch; below, + 1 for the killed step
    assert len(steps) == (total + again + 1) * parts
    assert ("continues after epoch" in caplog.text) == (stop_at in (10, 17, 25))


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory, examples, network_params, objective_params, train_params):
    """Return a folder with a run that was killed in the second epoch of its second phase, and with a whole run."""
    folder = tmp_path_factory.mktemp("interrupted")
    params = train_params.model_copy(update={"epochs": 2, "ema": 0.9})
    recipe = build_recipe("VGGsrc", network_params, objective_params, params)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train_recipe(recipe, examples, 0, folder / "whole", "run")
        step, calls = task.PhaseTask.step, []

        def killed(self, of_learner):
            calls.append(of_learner.step)
            if len(calls) == 2 * 6 + 4 + 2:
                raise Killed
            return step(self, of_learner)

        patch.setattr(task.PhaseTask, "step", killed)
        with pytest.raises(Killed):
            train_recipe(recipe, examples, 0, folder / "model", "run")
    return folder, recipe


@pytest.mark.parametrize(
    ("folder", "file", "kind", "steps"),
    [
        # the steps left to train: two epochs of six steps for the source, two of four for the target
        ("", "", "", 4),
        ("target-epoch-00001", "random_states_0.pkl", "cut", 8),
        ("target-epoch-00001", "model.safetensors", "changed", 8),
        ("target-epoch-00001", "optimizer.bin", "changed", 8),
        ("target-epoch-00001", "custom_checkpoint_0.pkl", "lost", 8),
        ("target-epoch-00001", "custom_checkpoint_2.pkl", "changed", 8),
        ("source-finished", "weights.safetensors", "changed", 20),
        ("source-finished", "result.json", "cut", 20),
    ],
)
def test_a_damaged_checkpoint_is_never_used(
    interrupted, examples, tmp_path, monkeypatch, caplog, folder, file, kind, steps
):
    made, recipe = interrupted
    shutil.copytree(made / ".state", tmp_path / ".state")
    if file:
        (path,) = (tmp_path / ".state" / "checkpoints").glob(f"run-*/{folder}/{file}")
        content = path.read_bytes()
        middle = len(content) // 2
        if kind == "lost":
            path.unlink()
        else:
            rest = bytes([content[middle] ^ 0xFF]) + content[middle + 1 :] if kind == "changed" else b""
            path.write_bytes(content[:middle] + rest)
    real, taken = task.PhaseTask.step, []
    monkeypatch.setattr(task.PhaseTask, "step", lambda self, of_learner: taken.append(1) or real(self, of_learner))
    train_recipe(recipe, examples, 0, tmp_path / "model", "run")
    assert contents(tmp_path / "model") == contents(made / "whole")
    assert len(taken) == steps
    assert ("this checkpoint is damaged; it is deleted and trained again" in caplog.text) == bool(file)
    assert not file or re.search(rf"{folder}: {re.escape(file)} (is missing|has changed): ", caplog.text)


def test_other_parameters_do_not_continue_a_run(recipe, examples):
    def folder(values: dict, seed: int, fingerprint: str) -> Path:
        run = training_run(recipe("TDL", **values), replace(examples, fingerprint=fingerprint), seed, "run")
        return Checkpoints(run.name, run.fingerprint).folder

    cases = [({}, 0, "a"), ({"momentum": 0.8}, 0, "a"), ({}, 1, "a"), ({}, 0, "b")]
    paths = {folder(*case) for case in cases}
    assert len(paths) == 4
    assert folder({}, 0, "a") in paths


def test_a_loss_that_is_nan_stops_with_step_and_images(recipe, examples, tmp_path, monkeypatch):
    real, step, steps = task.objective, task.PhaseTask.step, []

    def recorded(self, of_learner):
        steps.append(of_learner._loaded[0].rows)
        return step(self, of_learner)

    def objective(*arguments):
        total, means = real(*arguments)
        return (total * float("nan") if len(steps) == 6 else total), means

    monkeypatch.setattr(task.PhaseTask, "step", recorded)
    monkeypatch.setattr(task, "objective", objective)
    with pytest.raises(UserError) as error:
        train_recipe(recipe("MTMDD-VM"), examples, 0, tmp_path / "model", "some/run")
    lines = str(error.value).splitlines()
    ids = examples.rows["image_id"]
    assert lines[0].startswith("some/run, phase joint: the loss is nan at step 5 (epoch 2): source recognition ")
    assert list(steps[-1]) == ["source", "target"]
    for name, rows in steps[-1].items():
        assert f"'{name}': {[ids[row] for row in rows]}" in lines[1]
    assert lines[2].startswith("Last good checkpoint: .state/checkpoints/some-run-")
    assert lines[2].endswith("/joint-epoch-00001")
    assert "Lower train.learning_rate" in lines[3]
    assert not (tmp_path / "model").exists()


def spoil(monkeypatch, number: int) -> None:
    """Make a weight NaN in the update of a step, after its loss has passed the check."""
    real = task.PhaseTask.step

    def step(self, of_learner):
        means = real(self, of_learner)
        if of_learner.step == number:
            of_learner.network.backbone.features[0].weight.data[0] = float("nan")
        return means

    monkeypatch.setattr(task.PhaseTask, "step", step)


def test_an_epoch_that_ends_with_broken_weights_is_no_good_checkpoint(recipe, examples, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        spoil(patch, 7)  # four steps per epoch
        with pytest.raises(UserError) as error:
            train_recipe(recipe("MTMDD-VM"), examples, 0, tmp_path / "model", "run")
    lines = str(error.value).splitlines()
    assert lines[0].startswith("run, phase joint: after step 7 (epoch 2), the last of its epoch, ")
    assert "backbone.features.0.weight" in lines[0]
    assert lines[1].endswith("/joint-epoch-00001")
    train_recipe(recipe("MTMDD-VM"), examples, 0, tmp_path / "model", "run")  # the remaining checkpoint is good
    train_recipe(recipe("MTMDD-VM"), examples, 0, tmp_path / "whole", "whole")
    assert contents(tmp_path / "model") == contents(tmp_path / "whole")


def test_without_validation_images_broken_weights_are_seen_too(recipe, examples, tmp_path, monkeypatch):
    spoil(monkeypatch, 11)
    only_train = replace(examples, rows=examples.rows.with_columns(split=pl.lit("train")))
    with pytest.raises(UserError, match=r"phase source: after step 11 \(epoch 2\)"):
        train_recipe(recipe("VGGsrc", epochs=2), only_train, 0, tmp_path / "model", "run")
    assert not (tmp_path / "model").exists()


def test_what_cannot_be_validated_stops_the_run(recipe, examples, tmp_path, monkeypatch):
    real = task.PhaseTask._measure

    def measure(self, of_learner, domain, rows):
        values = real(self, of_learner, domain, rows)
        return values | ({"recognition": float("inf")} if domain == "source" else {})

    monkeypatch.setattr(task.PhaseTask, "_measure", measure)
    message = r"(?s)run, phase joint: the validation after epoch 1 found source recognition inf, .*none yet"
    with pytest.raises(UserError, match=message):
        train_recipe(recipe("MTMDD-VM"), examples, 0, tmp_path / "model", "run")


def test_mixed_precision_trains_and_continues_with_the_same_bytes(recipe, examples, tmp_path, monkeypatch):
    values = {"mixed_precision": "bf16", "ema": 0.8, "accumulation": 2, "channels_last": True}
    train_recipe(recipe("MTMDD-VM", **values), examples, 0, tmp_path / "whole", "whole")
    with monkeypatch.context() as patch:
        real, calls = task.PhaseTask.step, []

        def step(self, of_learner):
            calls.append(of_learner.step)
            if len(calls) == 6:  # in the second epoch
                raise Killed
            return real(self, of_learner)

        patch.setattr(task.PhaseTask, "step", step)
        with pytest.raises(Killed):
            train_recipe(recipe("MTMDD-VM", **values), examples, 0, tmp_path / "model", "run")
    train_recipe(recipe("MTMDD-VM", **values), examples, 0, tmp_path / "model", "run")
    assert contents(tmp_path / "whole") == contents(tmp_path / "model")
    train_recipe(recipe("MTMDD-VM", **values | {"mixed_precision": "no"}), examples, 0, tmp_path / "single", "single")
    one, other = (load_file(tmp_path / name / "joint.safetensors") for name in ("whole", "single"))
    assert {weight.dtype for weight in one.values()} == {torch.float32, torch.int64}
    # a bf16 number has 8 significant bits; nearly equal weights would mean that single precision was used
    assert largest_difference(one, other) > 1e-3


def test_the_environment_has_no_say_in_accumulation(recipe, examples, tmp_path, monkeypatch):
    train_recipe(recipe("VGGsrc", epochs=1), examples, 0, tmp_path / "plain", "run")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    train_recipe(recipe("VGGsrc", epochs=1), examples, 0, tmp_path / "model", "run")
    assert contents(tmp_path / "plain") == contents(tmp_path / "model")


def test_early_stopping_needs_images_to_stop_by(recipe, examples, tmp_path):
    unvalidated = replace(examples, rows=examples.rows.with_columns(split=pl.lit("train")))
    with pytest.raises(UserError, match=r"train.early_stopping = 2, but phase source has no validation images of"):
        train_recipe(recipe("VGGsrc", early_stopping=2), unvalidated, 0, tmp_path / "model", "run")


def test_the_chosen_epoch_is_the_best_on_validation(recipe, examples, tmp_path):
    train_recipe(recipe("TDL", epochs=5), examples, 0, tmp_path / "model", "run")
    run = json.loads((tmp_path / "model" / "run.json").read_text())
    chosen = {epoch["phase"]: epoch for epoch in run["chosen"]}

    def curve(phase: str, name: str) -> list[float]:
        return read_curve(tmp_path / "model" / "curves" / phase, f"validation/{name}")

    accuracy = curve("target", "target accuracy")
    assert chosen["target"]["chosen_on"] == "target validation accuracy"
    assert chosen["target"]["value"] == max(accuracy) == accuracy[chosen["target"]["epoch"] - 1]
    clicks = [
        0.9 * c + 0.1 * p
        for c, p in zip(curve("predict", "source count"), curve("predict", "source position"), strict=True)
    ]
    assert chosen["predict"]["chosen_on"] == "source validation click loss"
    assert chosen["predict"]["value"] == pytest.approx(min(clicks))
    assert chosen["predict"]["epoch"] == clicks.index(min(clicks)) + 1
    assert len(accuracy) == len(clicks) == 5


def test_without_validation_images_the_last_epoch_is_taken(
    recipe, examples, tmp_path, tiny_data, tiny_rows, network_params
):
    rows = tiny_rows.filter(tiny_rows["split"] == "train")
    only_train = Examples.read(tiny_data.images, rows, None, network_params, cache=True)
    chosen = train_recipe(recipe("VGGsrc", epochs=2), only_train, 0, tmp_path / "model", "run")
    assert [(c.epoch, c.chosen_on, c.value) for c in chosen] == [(2, "last epoch (no validation images)", None)] * 2


def test_run_json_says_what_was_done(recipe, examples, tmp_path):
    train_recipe(recipe("TDL7", epochs=1), examples, 7, tmp_path / "model", "run")
    run = json.loads((tmp_path / "model" / "run.json").read_text())
    assert run["method"] == "TDL7"
    assert run["seed"] == 7
    assert run["categories"] == {"source": ["ant", "bee", "cat"], "target": ["ant", "bee", "cat"]}
    assert len(run["words"]) == 5
    assert run["images"] == {"source": {"train": 21, "validation": 9}, "target": {"train": 15, "validation": 6}}
    assert run["recipe"]["network"]["embedding"] == {"kind": "FC"}
    assert run["versions"]["torch"] == torch.__version__.split("+")[0]
    assert Recipe.model_validate_json(json.dumps(run["recipe"])) == recipe("TDL7", epochs=1)


def test_it_learns(recipe, examples, tmp_path):
    # three colours, each clicked for its own word: a working network can distinguish them
    embedding = EmbeddingParams(kind="CONV+biFC", kernel_size=3, kernels=16, hidden=32, dropout=0.1)
    values = {
        "epochs": 30,
        "batch_size": 8,
        "learning_rate": 0.05,
        "embedding_multiplier": 1.0,
        "recogniser_multiplier": 1.0,
    }
    one = recipe("MTMDD-VM-star", **values)
    wide = one.model_copy(update={"network": one.network.model_copy(update={"embedding": embedding})})
    found = []
    for seed in range(3):  # a single run's error is between 0.1 and 0.3, by the seed and by how the processor rounds
        train_recipe(wide, examples, seed, tmp_path / f"model-{seed}", f"run-{seed}")
        path = tmp_path / f"model-{seed}" / "curves" / "joint" / "metrics.json"
        found.append(json.loads(path.read_text())["validation"])
    assert [one["target accuracy"] for one in found] == [100] * 3
    assert statistics.median(one["source rmse"] for one in found) < 0.25


def test_what_does_not_fit_is_said(recipe, examples, tiny_data, tiny_rows, network_params, tmp_path):
    source_only = tiny_rows.filter(tiny_rows["domain"] == "source")
    lacking = Examples.read(tiny_data.images, source_only, tiny_data.features, network_params, cache=False)
    with pytest.raises(UserError, match="phase joint: the target domain has no training images"):
        train_recipe(recipe("MTMDD-VM"), lacking, 0, tmp_path / "model", "run")
    unclicked = Examples.read(tiny_data.images, tiny_rows, None, network_params, cache=False)
    with pytest.raises(UserError, match="phase predict uses the click branch, but no click features were given"):
        train_recipe(recipe("TDL"), unclicked, 0, tmp_path / "model", "run")


def test_clicks_are_learned_alone_without_target(network_params, train_params, examples, tmp_path):
    phase = Phase(
        name="clicks", losses=[LossTerm(domain="source", kind="count", weight=1)], start="backbone", frozen=[]
    )
    only = Recipe(method="clicks", network=network_params, train=train_params, phases=[phase])
    assert train_recipe(only, examples, 0, tmp_path / "model", "run")[0].chosen_on == "source validation click loss"


@pytest.mark.parametrize(("batch_size", "accumulation"), [(8, 2), (7, 3)])
def test_accumulation_changes_nothing_where_nothing_is_computed_per_batch(
    examples, train_params, tmp_path, monkeypatch, batch_size, accumulation
):
    monkeypatch.setattr(task, "build_network", build_network_without_norms)
    found = {}
    for parts in (1, accumulation):
        recipe = unnormalised_recipe(train_params, batch_size=batch_size, accumulation=parts)
        train_recipe(recipe, examples, 0, tmp_path / str(parts), "run")
        found[parts] = load_file(tmp_path / str(parts) / "joint.safetensors")
        found[f"curves of {parts}"] = read_curve(tmp_path / str(parts) / "curves" / "joint", "train/objective")
    # the sums have another order, in single precision; a forgotten part would change the weights by a share of 0.1
    assert largest_difference(found[1], found[accumulation]) < 1e-4
    assert found[f"curves of {accumulation}"] == pytest.approx(found["curves of 1"], rel=1e-5)


def test_parts_too_small_for_batch_normalisation_are_refused(recipe):
    with pytest.raises(ValidationError, match="gives parts of fewer than 2 draws of a stream"):
        TrainParams.model_validate({**recipe("TDL").train.model_dump(), "batch_size": 5, "accumulation": 3})


@pytest.mark.parametrize(
    ("method", "factors", "num_phases"),
    [("MTMDD-VM", {}, 1), ("MTMDD-VM", {"recogniser_gradient": 0.1, "click_gradient": 10.0}, 1), ("MTTDL", {}, 2)],
)
def test_a_compiled_network_learns_the_same(
    method, factors, num_phases, recipe, examples, network_params, objective_params, tmp_path, monkeypatch
):
    real, compiled = nn.Module.compile, []

    def compile_without_a_compiler(module: nn.Module) -> None:
        compiled.append(type(module).__name__)
        real(module, backend="eager")  # traced as usual, but run without compilation

    monkeypatch.setattr(nn.Module, "compile", compile_without_a_compiler)
    objective = objective_params.model_copy(update=factors)
    for name, value in (("plain", False), ("compiled", True)):
        whole = build_recipe(method, network_params, objective, recipe(method, compile=value, epochs=2).train)
        train_recipe(whole, examples, 0, tmp_path / name, "run")
    assert compiled == ["MultidomainNetwork"] * num_phases
    plain, other = (contents(tmp_path / name) for name in ("plain", "compiled"))
    assert plain.pop("run.json") != other.pop("run.json")
    assert plain == other


def test_without_a_compiler_there_is_one_clear_error(recipe, examples, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr("sysconfig.get_path", lambda name: "/no/such/folder")
    whole = recipe("MTMDD-VM", compile=True)
    with pytest.raises(UserError, match=r"; no-such-compiler and /no/such/folder/Python\.h not found: install"):
        train_recipe(whole, examples, 0, tmp_path / "run", "run")
    assert not (tmp_path / "run").exists()


def test_channels_last_is_a_matter_of_memory(recipe, examples, tmp_path, monkeypatch):
    strides = []
    real = task.objective

    def objective(terms, predictions, *others):
        strides.append(networks[-1].backbone.features[3].weight.stride()[1])
        return real(terms, predictions, *others)

    networks = []
    built = task.build_network
    monkeypatch.setattr(task, "objective", objective)
    monkeypatch.setattr(task, "build_network", lambda *a, **b: networks.append(built(*a, **b)) or networks[-1])
    for value in (False, True):
        train_recipe(recipe("MTMDD-VM", channels_last=value, epochs=1), examples, 0, tmp_path / str(value), "run")
    assert strides == [9] * 4 + [1] * 4  # between channels of a 3 x 3 kernel
    one, other = (load_file(tmp_path / str(value) / "joint.safetensors") for value in (False, True))
    assert largest_difference(one, other) < 1e-3


# (1 + t) / (10 + t), but at most the parameter
DECAYS = {0.5: [0.1, 2 / 11, 0.25, 4 / 13], 0.15: [0.1, 0.15, 0.15, 0.15]}


@pytest.mark.parametrize("ema", DECAYS)
def test_what_is_validated_and_saved_is_the_average(recipe, examples, tmp_path, monkeypatch, ema):
    seen, validated = [], []
    step, predict = task.PhaseTask.step, task.PhaseTask.predict

    def recorded_step(self, of_learner):
        if not seen:
            seen.append({name: value.double().clone() for name, value in of_learner.network.state_dict().items()})
        means = step(self, of_learner)
        seen.append({name: value.double().clone() for name, value in of_learner.network.state_dict().items()})
        return means

    def recorded_predict(self, of_learner, domain, rows):
        validated.append(of_learner.network.recogniser.heads["target"].weight.detach().clone())
        return predict(self, of_learner, domain, rows)

    monkeypatch.setattr(task.PhaseTask, "step", recorded_step)
    monkeypatch.setattr(task.PhaseTask, "predict", recorded_predict)
    train_recipe(recipe("MTMDD-VM", epochs=1, ema=ema), examples, 0, tmp_path / "model", "run")
    saved = load_file(tmp_path / "model" / "joint.safetensors")
    assert len(seen) == 5
    for name, start in seen[0].items():
        expected = start
        for decay, after in zip(DECAYS[ema], seen[1:], strict=True):
            expected = decay * expected + (1 - decay) * after[name]
        if "num_batches" not in name:
            assert torch.allclose(saved[name].double(), expected, rtol=1e-4, atol=1e-7), name
            assert name.endswith("running_mean") or not torch.equal(saved[name].double(), seen[-1][name]), name
    assert len(validated) == 2  # both domains
    assert all(torch.equal(weight, saved["recogniser.heads.target.weight"]) for weight in validated)


@pytest.mark.parametrize("killed", [False, True])
def test_a_phase_stops_when_it_gets_no_better(recipe, examples, tmp_path, monkeypatch, caplog, killed):
    scripted = {1: 30.0, 2: 50.0, 3: 40.0, 4: 50.0, 5: 20.0, 6: 90.0}  # the fourth is equal, not better
    stop = {"at": 4 if killed else None}

    def measure(self, of_learner, domain, rows):
        epoch = of_learner.epoch + 1
        if epoch == stop["at"]:
            stop["at"] = None
            raise Killed
        return {"accuracy": scripted[epoch], "recognition": 0.0}

    monkeypatch.setattr(task.PhaseTask, "_measure", measure)
    caplog.set_level(logging.INFO, logger="clicksight")
    patient = recipe("MTMDD-VM", epochs=6, early_stopping=3)
    if killed:
        with pytest.raises(Killed):
            train_recipe(patient, examples, 0, tmp_path / "model", "run")
    chosen = train_recipe(patient, examples, 0, tmp_path / "model", "run")
    assert [(epoch.epoch, epoch.of, epoch.value, epoch.ended_by) for epoch in chosen] == [
        (2, 5, 50.0, "early stopping")
    ]
    curve = read_curve(tmp_path / "model" / "curves" / "joint", "validation/target accuracy")
    assert curve == [30, 50, 40, 50, 20]
    assert ("continues after epoch 3 of 6" in caplog.text) == killed
    rates = read_curve(tmp_path / "model" / "curves" / "joint", "train/learning rate backbone")
    assert rates[-1] > 4e-6 * 0.02  # the schedule is still that of six epochs


PLATEAU = ScheduleParams(kind="plateau", warm_up=0.1, drop_factor=0.1, patience=2, drops=2)


@pytest.mark.parametrize(
    ("scripted", "epochs", "ended_by", "best", "drops"),
    [
        # epoch 3 is equal to epoch 2, which is not better: the rate drops after 4, and after 6 without a better epoch
        ([30, 50, 50, 40, 20, 20, 60, 10, 10, 90], 10, "plateau", 7, [4, 6]),
        ([30, 50, 50, 40, 20, 20, 10, 10, 90], 9, "plateau", 2, [4, 6]),
        ([30, 50, 50, 40, 20, 20, 60, 10, 10], 8, "cap", 7, [4, 6]),
        ([10, 20, 30, 40, 50], 5, "cap", 5, []),
    ],
)
@pytest.mark.parametrize("kills", [[], [3, 5], [4, 5, 6, 7]], ids=["whole", "killed", "often killed"])
def test_a_plateau_drops_the_rate_and_then_ends_the_phase(
    recipe, examples, tmp_path, monkeypatch, scripted, epochs, ended_by, best, drops, kills
):
    left = list(kills)

    def measure(self, of_learner, domain, rows):
        epoch = of_learner.epoch + 1
        if left and left[0] == epoch:
            left.pop(0)
            raise Killed
        return {"accuracy": float(scripted[epoch - 1]), "recognition": 0.0}

    monkeypatch.setattr(task.PhaseTask, "_measure", measure)
    whole = recipe("MTMDD-VM", epochs=epochs, schedule=PLATEAU, ema=0.8, batch_size=8)
    for _ in [kill for kill in kills if kill <= epochs]:
        with pytest.raises(Killed):
            train_recipe(whole, examples, 0, tmp_path / "model", "run")
    (chosen,) = train_recipe(whole, examples, 0, tmp_path / "model", "run")
    trained = 8 if (ended_by, best) == ("plateau", 2) else 9 if ended_by == "plateau" else epochs
    assert (chosen.epoch, chosen.of, chosen.ended_by, chosen.drops) == (best, trained, ended_by, drops)
    assert chosen.seen == {"source": trained * 16, "target": trained * 16}  # 15 target images: two steps of eight
    rates = read_curve(tmp_path / "model" / "curves" / "joint", "train/learning rate backbone")
    assert rates[1:] == pytest.approx(
        [0.02 * 0.1 ** sum(drop < epoch for drop in drops) for epoch in range(2, trained + 1)]
    )
    if kills:
        left = []
        train_recipe(whole, examples, 0, tmp_path / "again", "again")
        assert contents(tmp_path / "model") == contents(tmp_path / "again")


def test_a_plateau_needs_images_to_end_by_and_no_other_rule(recipe, examples, tmp_path):
    unvalidated = replace(examples, rows=examples.rows.with_columns(split=pl.lit("train")))
    message = r"train\.schedule\.kind = plateau, but phase source has no validation images of the source domain; choose"
    with pytest.raises(UserError, match=message):
        train_recipe(recipe("VGGsrc", schedule=PLATEAU), unvalidated, 0, tmp_path / "model", "run")
    settings = recipe("VGGsrc").train.model_dump() | {"schedule": PLATEAU.model_dump(), "early_stopping": 4}
    with pytest.raises(ValidationError, match="plateau ends a phase by itself, so early_stopping must be null, not 4"):
        TrainParams.model_validate(settings)


def test_curves_of_every_component_and_rate(recipe, examples, tmp_path):
    train_recipe(recipe("MTMDD-VM", epochs=2), examples, 0, tmp_path / "model", "some/run")
    found = json.loads((tmp_path / "model" / "curves" / "joint" / "metrics.json").read_text())
    assert set(found["train"]) == {
        "objective", "source recognition", "source count", "source position", "target recognition",
        "learning rate backbone", "learning rate embedding", "learning rate recogniser",
    }  # fmt: skip
    assert found["train"]["learning rate embedding"] == pytest.approx(3 * found["train"]["learning rate backbone"])
    assert "speed" not in found
    live = tmp_path / ".state" / "curves" / "some" / "run" / "joint"
    watched = json.loads((live / "metrics.json").read_text())
    speed = watched.pop("speed")
    assert watched == found
    assert set(speed) == {"images per second", "share of time waiting for data"}
    assert speed["images per second"] > 0
    assert all(0 < share < 1 for share in read_curve(live, "speed/share of time waiting for data"))


def test_curves_of_a_continued_run_are_whole(recipe, examples, tmp_path, monkeypatch):
    real, calls = trainer.PhaseTraining._validate, []

    def validate(self, epoch):
        calls.append(epoch)
        if len(calls) == 3:
            raise Killed
        return real(self, epoch)

    monkeypatch.setattr(PhaseTraining, "_validate", validate)
    with pytest.raises(Killed):
        train_recipe(recipe("MTMDD-VM"), examples, 0, tmp_path / "model", "run")
    train_recipe(recipe("MTMDD-VM"), examples, 0, tmp_path / "model", "run")
    assert calls == [1, 2, 3, 3]
    live = tmp_path / ".state" / "curves" / "run" / "joint"
    for name in ("train/objective", "speed/images per second"):
        assert len(read_curve(live, name)) == 3


def test_without_state_no_curve_can_be_watched(recipe, examples, tmp_path, monkeypatch):
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")
    train_recipe(recipe("VGGsrc", epochs=1), examples, 0, tmp_path / "model", "run")
    assert not (tmp_path / ".state" / "curves").exists()


def test_the_start_weights_are_named_by_their_content(recipe, examples, tmp_path, monkeypatch):
    start = build_backbone(recipe("VGGsrc").network)
    monkeypatch.setattr("systems.mtmdd.network.build_backbone", lambda network, load_weights: deepcopy(start))
    path = tmp_path / "start.safetensors"
    one = recipe("VGGsrc", epochs=1)
    named = one.model_copy(update={"network": one.network.model_copy(update={"weights": str(path)})})
    digests = []
    for content in (b"some weights", b"other weights"):
        path.write_bytes(content)
        train_recipe(named, examples, 0, tmp_path / "model", "run")
        digests.append(json.loads((tmp_path / "model" / "run.json").read_text())["start_weights"])
    assert digests == [hashlib.blake2b(b, digest_size=8).hexdigest() for b in (b"some weights", b"other weights")]


class Overflowing(trainer.Accelerator):
    """Scales the loss as in fp16, so much that single precision overflows until the scale has been halved."""

    scale = 2.0**127

    def __init__(self, **values) -> None:
        super().__init__(**values)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=self.scale, growth_interval=1000)


@pytest.mark.parametrize("killed", [False, True])
def test_overflowing_gradients_are_left_out_and_counted(recipe, examples, tmp_path, monkeypatch, killed):
    monkeypatch.setattr(trainer, "Accelerator", Overflowing)
    if killed:
        train_recipe(recipe("MTMDD-VM"), examples, 0, tmp_path / "whole", "whole")
        real, calls = task.PhaseTask.step, []

        def step(self, of_learner):
            calls.append(of_learner.step)
            if len(calls) == 10:
                raise Killed
            return real(self, of_learner)

        monkeypatch.setattr(task.PhaseTask, "step", step)
        with pytest.raises(Killed):
            train_recipe(recipe("MTMDD-VM"), examples, 0, tmp_path / "model", "run")
    train_recipe(recipe("MTMDD-VM"), examples, 0, tmp_path / "model", "run")
    skipped = read_curve(tmp_path / "model" / "curves" / "joint", "train/skipped steps")
    assert 0 < skipped[0] < 4
    assert skipped[1:] == [0, 0]
    if killed:
        assert contents(tmp_path / "whole") == contents(tmp_path / "model")


def test_an_epoch_without_a_step_is_an_error(recipe, examples, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "Accelerator", Overflowing)
    monkeypatch.setattr(Overflowing, "scale", float("inf"))
    with pytest.raises(
        UserError, match=r"every gradient of epoch 1 overflowed in fp16(.|\n)*Last good checkpoint: none"
    ):
        train_recipe(recipe("MTMDD-VM"), examples, 0, tmp_path / "model", "run")


def test_a_precision_that_is_not_there_is_said(recipe, examples, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("a GPU has fp16")
    with pytest.raises(UserError, match=r"train.mixed_precision = fp16: .*; use no or bf16"):
        train_recipe(recipe("MTMDD-VM", mixed_precision="fp16"), examples, 0, tmp_path / "model", "run")
