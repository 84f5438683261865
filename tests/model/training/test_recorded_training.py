"""Whole trainings, recorded step by step and compared with recipe, data and seed: each setting must have its effect.

A comparison of two runs can't find errors that both runs have, so these tests don't compare two runs of the trainer,
except where the seed must make a difference.
"""

import json
import math
import os
import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from training_runs import Killed, read_curve, train_recipe

from base.console import UserError
from model.data.images import ImageStore
from model.losses.count import CountLoss
from model.losses.position import PositionLoss
from model.nets.backbones import build_backbone
from model.training import learner as learner_module
from model.training import trainer
from model.training.params import ScheduleParams
from systems.mtmdd import task
from systems.mtmdd.config import Recipe
from systems.mtmdd.measures import Outcome
from systems.mtmdd.network import Prediction
from systems.mtmdd.predictor import Model

pytestmark = pytest.mark.usefixtures("own_folder")

CONSTANT = ScheduleParams(kind="constant", warm_up=0.0)


@dataclass
class Step:
    """The state when a step began, with the step's gradients and loss."""

    phase: str
    number: int
    places: dict[str, list[int]]
    images: dict[str, Tensor]
    modes: dict[str, bool]  # whether each part of the network is in training mode
    dropout_seed: int
    rates: dict[str, float]
    weights: dict[str, Tensor]
    gradients: dict[str, Tensor] = field(default_factory=dict)
    objective: float = math.nan


@pytest.fixture
def record(monkeypatch) -> Callable[..., list[Step]]:
    """Return a function that trains and returns the recorded steps; it stops after `stop_after` steps if set."""

    def record(recipe: Recipe, examples, seed: int = 0, stop_after: int = 0) -> list[Step]:
        steps: list[Step] = []
        step, update = task.PhaseTask.step, learner_module.Learner.update

        def recorded(self, learner) -> dict[str, Tensor]:
            if stop_after and len(steps) == stop_after:
                raise Killed
            network = learner.network
            parts = list(learner._loaded)
            steps.append(
                Step(
                    phase=self.name,
                    number=learner.step,
                    places={d: [row for part in parts for row in part.rows[d]] for d in parts[0].rows},
                    images={d: torch.cat([part.batch[d].images for part in parts]) for d in parts[0].batch},
                    modes={name: child.training for name, child in network.named_children()},
                    dropout_seed=torch.initial_seed(),
                    rates={g["part"]: g["lr"] for g in learner.optimizers[0].param_groups},
                    weights=copies(network.state_dict()),
                )
            )
            means = step(self, learner)
            steps[-1].objective = means["objective"].item()
            return means

        def recorded_update(self, number: int = 0) -> None:
            named = self.network.named_parameters()
            steps[-1].gradients = copies({name: p.grad for name, p in named if p.grad is not None})
            update(self, number)

        with monkeypatch.context() as patch:
            patch.setattr(task.PhaseTask, "step", recorded)
            patch.setattr(learner_module.Learner, "update", recorded_update)
            try:
                train_recipe(recipe, examples, seed, Path("model"), "recorded")
            except Killed:
                shutil.rmtree(".state")
        return steps

    return record


def copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in tensors.items()}


def begins_of(steps: list[Step], phase: str) -> dict[str, Tensor]:
    return next(step.weights for step in steps if step.phase == phase)


# --- which weights are saved


@pytest.mark.parametrize("ema", [None, 0.6])
@pytest.mark.parametrize("best", [1, 2, 3])
def test_the_weights_that_are_saved_are_those_of_the_best_epoch(recipe, examples, monkeypatch, best, ema):
    validated: list[dict[str, Tensor]] = []

    def measure(self, learner, domain, rows):
        validated.append(copies(learner.network.state_dict()))
        accuracy = 90.0 if len(validated) == best else 10.0 * len(validated)
        return {"accuracy": accuracy, "recognition": 0.0}

    monkeypatch.setattr(task.PhaseTask, "_measure", measure)
    whole = recipe("VGGimg", ema=ema)
    only = whole.model_copy(update={"phases": whole.phases[1:]})
    (chosen,) = train_recipe(only, examples, 0, Path("model"), "run")
    assert (chosen.epoch, chosen.value) == (best, 90.0)
    saved = load_file("model/target.safetensors")
    for number, weights in enumerate(validated, start=1):
        assert all(torch.equal(saved[name], value) for name, value in weights.items()) == (number == best)


RANKS = {
    # for each epoch: recognised images of four, and the logit of their right category; then the epoch to be chosen
    "accuracy before cross-entropy": ([(2, 9.0), (3, 0.1), (2, 5.0)], 2),
    "ties by cross-entropy": ([(3, 1.0), (3, 4.0), (3, 2.0)], 2),
    "of what is equal the first": ([(2, 1.0), (3, 4.0), (3, 4.0)], 2),
}


@pytest.mark.parametrize("case", RANKS)
def test_the_epoch_is_chosen_by_the_target(recipe, examples, monkeypatch, case):
    epochs, best = RANKS[case]
    calls: dict[str, int] = {"source": 0, "target": 0}

    def predicted(self, learner, domain, rows):
        correct, logit = epochs[calls[domain]] if domain == "target" else (4, float(calls[domain]))  # the last is best
        calls[domain] += 1
        labels = torch.zeros(4, dtype=torch.int64)
        logits = torch.zeros(4, 3)
        logits[:correct, 0] = logit
        logits[correct:, 1] = 0.01
        clicks = torch.ones(4, 5)
        return Outcome(Prediction(logits, clicks), labels, clicks)

    monkeypatch.setattr(task.PhaseTask, "predict", predicted)
    (chosen,) = train_recipe(recipe("MTMDD-VM"), examples, 0, Path("model"), "run")
    assert (chosen.epoch, chosen.of, chosen.value) == (best, 3, 25.0 * epochs[best - 1][0])


def test_one_split_trains_and_the_other_chooses(recipe, examples, monkeypatch, record):
    validated = []
    run = learner_module.Learner.run
    monkeypatch.setattr(
        learner_module.Learner,
        "run",
        lambda self, domain, rows, look: validated.append((domain, rows.tolist())) or run(self, domain, rows, look),
    )
    steps = record(recipe("MTMDD-VM", epochs=2), examples)
    for domain in ("source", "target"):
        trained = {place for step in steps for place in step.places[domain]}
        assert trained == set(examples.row_numbers(domain, "train").tolist())
        expected = examples.row_numbers(domain, "validation").tolist()
        assert [places for of, places in validated if of == domain] == [expected] * 2


def test_what_is_validated_is_measured_on_all_images_at_once(recipe, examples, monkeypatch):
    monkeypatch.setattr(learner_module, "EVALUATION_BATCH", 4)  # 9 source images: the last batch has one
    train_recipe(recipe("MTMDD-VM", epochs=1), examples, 0, Path("model"), "run")
    model = Model.read(Path("model"))
    network = model.network(model.recipe.phases[0])
    found = {}
    for domain in ("source", "target"):
        places = examples.row_numbers(domain, "validation")
        pixels = np.stack([examples.images.crop(int(place), 16, 0, None) for place in places]).transpose(0, 3, 1, 2)
        with torch.no_grad():
            prediction = network({domain: torch.from_numpy(pixels)})[domain]
        names = examples.rows["category"][places.tolist()].to_list()
        labels = torch.tensor([examples.categories[domain].index(name) for name in names])
        found[f"{domain} recognition"] = functional.cross_entropy(prediction.logits, labels).item()
        right = (prediction.logits.argmax(1) == labels).float().mean().item()
        found[f"{domain} accuracy"] = round(100 * right, 4)
        if domain == "source":
            true = torch.from_numpy(examples.clicks.vectors(examples.rows["image_id"][places.tolist()].to_list()))
            found["source count"] = CountLoss()(true, prediction.clicks).mean().item()
            found["source rmse"] = math.sqrt(found["source count"])
            position_loss = PositionLoss(bandwidth=0.01, threshold=0.16)
            found["source position"] = position_loss(true, prediction.clicks).mean().item()
    for name, value in found.items():
        curve = read_curve(Path("model/curves/joint"), f"validation/{name}")
        # at B = 0.01, the last bit of v^ changes the position loss
        assert curve == [pytest.approx(value, rel=2e-2 if name == "source position" else 1e-4)], name


# --- how a step moves the weights


@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_steps_are_those_of_sgd_with_momentum_decay_and_rates_of_each_part(recipe, examples, record, accumulation):
    values = {
        "momentum": 0.7, "weight_decay": 0.3, "learning_rate": 0.01, "embedding_multiplier": 5.0,
        "recogniser_multiplier": 4.0, "recogniser_bias_multiplier": 3.0, "schedule": CONSTANT, "epochs": 1,
        "accumulation": accumulation,
    }  # fmt: skip
    steps = record(recipe("MTMDD-VM", **values), examples)
    velocity: dict[str, Tensor] = {}
    for before, after in pairwise(steps):
        for name, gradient in before.gradients.items():
            part = name.split(".")[0]
            rate = 0.01 * {"backbone": 1, "embedding": 5, "recogniser": 12 if name.endswith("bias") else 4}[part]
            weight = before.weights[name]
            velocity[name] = 0.7 * velocity.get(name, torch.zeros(())) + gradient + 0.3 * weight
            torch.testing.assert_close(after.weights[name], weight - rate * velocity[name], rtol=1e-4, atol=1e-6)
            assert gradient.abs().sum() > 0
    assert len(steps) == 4
    assert {name.split(".")[0] for name in velocity} == {"backbone", "embedding", "recogniser"}


def test_the_curves_are_means_of_the_epoch_and_rates_of_its_last_step(recipe, examples, record):
    steps = record(recipe("MTMDD-VM", epochs=2), examples)
    curves = Path("model/curves/joint")
    means = [sum(step.objective for step in steps[first : first + 4]) / 4 for first in (0, 4)]
    assert read_curve(curves, "train/objective") == pytest.approx(means, rel=1e-6)
    assert read_curve(curves, "train/learning rate backbone") == [steps[n].rates["backbone"] for n in (3, 7)]
    # one cycle ends at 4e-6 of the peak, in the last step of the phase
    assert steps[-1].rates == pytest.approx({"backbone": 8e-8, "embedding": 24e-8, "recogniser": 16e-8})
    assert [step.number for step in steps] == list(range(8))


def test_only_what_is_not_frozen_is_in_training_mode(recipe, examples, record):
    steps = record(recipe("MTTDL", epochs=2), examples)
    first, second = ([step.modes for step in steps if step.phase == name] for name in ("predict", "target"))
    assert first == [{"backbone": True, "embedding": True, "recogniser": True}] * 12
    assert second == [{"backbone": True, "recogniser": True, "predictor": False}] * 8


# --- where a phase begins


def test_a_phase_begins_with_the_start_weights_or_with_what_an_earlier_one_has_saved(
    recipe, examples, record, monkeypatch
):
    made = build_backbone(recipe("VGGsrc").network)

    def with_start_weights(network, load_weights) -> nn.Module:
        backbone = deepcopy(made)
        backbone.features[0].weight.data.fill_(0.25 if load_weights else -1.0)
        return backbone

    monkeypatch.setattr("systems.mtmdd.network.build_backbone", with_start_weights)
    steps = record(recipe("VGGsrc", epochs=1), examples)
    name = "backbone.features.0.weight"
    assert (begins_of(steps, "source")[name] == 0.25).all()
    saved = load_file("model/source.safetensors")
    later = begins_of(steps, "target")
    for name, value in saved.items():
        if name.startswith("backbone"):
            assert torch.equal(later[name], value), name
    steps = record(recipe("VGGimg", epochs=1), examples)
    for phase in ("source", "target"):
        assert (begins_of(steps, phase)["backbone.features.0.weight"] == 0.25).all()


def test_the_seed_is_that_of_initialisation_batches_and_dropout(recipe, examples, record):
    once, again, other = (record(recipe("MTMDD-VM"), examples, seed, stop_after=1)[0] for seed in (3, 3, 4))
    for name, value in once.weights.items():
        assert torch.equal(value, again.weights[name]), name
        is_drawn = name.endswith("weight") and value.ndim > 1
        assert not is_drawn or not torch.equal(value, other.weights[name]), name
    assert once.places == again.places
    assert once.dropout_seed == again.dropout_seed
    assert once.dropout_seed != other.dropout_seed
    for domain in ("source", "target"):
        assert once.places[domain] != other.places[domain]
        assert torch.equal(once.images[domain], again.images[domain])


def test_each_pass_of_each_phase_has_its_own_order_crops_and_dropout(recipe, examples, record):
    steps = record(recipe("TDL", epochs=2, batch_size=7, mirrored=[]), examples)  # 21 source images: 3 steps per pass
    by_pass = {
        (phase, first): [step for step in steps if step.phase == phase][first : first + 3]
        for phase in ("predict", "source")
        for first in (0, 3)
    }
    orders = {key: tuple(place for step in of for place in step.places["source"]) for key, of in by_pass.items()}
    assert all(sorted(order) == examples.row_numbers("source", "train").tolist() for order in orders.values())
    assert len(set(orders.values())) == 4
    crops: dict[int, set[bytes]] = {}
    for step in (step for first in (0, 3) for step in by_pass["predict", first]):
        for place, image in zip(step.places["source"], step.images["source"], strict=True):
            crops.setdefault(place, set()).add(image.numpy().tobytes())
    assert sum(len(of_image) == 2 for of_image in crops.values()) > 21 / 2  # out of nine windows or more
    seeds = [step.dropout_seed for step in steps]
    assert len(set(seeds)) == 3 * 2  # phases, epochs


def test_mirrored_images_are_those_of_the_recipe(recipe, examples, record):
    plain, mirrored = (
        record(recipe("MTMDD-VM", mirrored=domains), examples, stop_after=4) for domains in ([], ["target"])
    )
    flipped = {"source": 0, "target": 0}
    for one, other in zip(plain, mirrored, strict=True):
        for domain in flipped:
            for image, turned in zip(one.images[domain], other.images[domain], strict=True):
                assert torch.equal(image, turned) or torch.equal(image.flip(-1), turned)
                flipped[domain] += not torch.equal(image, turned)
    assert flipped["source"] == 0
    assert 2 < flipped["target"] < 14  # out of sixteen


# --- other settings of a training


@pytest.mark.forks
def test_as_many_processes_load_images_as_the_recipe_has_workers(recipe, examples, monkeypatch):
    crop = ImageStore.crop

    def noted(self, *arguments) -> Any:
        with Path(f"loaded-by-{os.getpid()}").open("a") as file:
            file.write(".")
        return crop(self, *arguments)

    monkeypatch.setattr(ImageStore, "crop", noted)
    whole = recipe("VGGimg", epochs=1, workers=2)
    only_source = whole.model_copy(update={"phases": whole.phases[:1]})
    measured = {"accuracy": 1.0, "recognition": 0.0}
    monkeypatch.setattr(task.PhaseTask, "_measure", lambda self, learner, domain, rows: measured)
    train_recipe(only_source, examples, 0, Path("model"), "run")
    loaders = {path.name for path in Path.cwd().glob("loaded-by-*")}
    assert len(loaders) == 2
    assert f"loaded-by-{os.getpid()}" not in loaders


def test_torch_has_the_threads_of_the_recipe_and_repeats_itself(recipe, examples, monkeypatch):
    before = torch.get_num_threads()
    torch.use_deterministic_algorithms(False)
    found = []

    def look(self, learner) -> None:
        found.append((torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()))
        raise Killed

    monkeypatch.setattr(task.PhaseTask, "step", look)
    try:
        for threads in (2, 3, None):
            with pytest.raises(Killed):
                train_recipe(recipe("VGGsrc", threads=threads), examples, 0, Path("model"), "run")
    finally:
        torch.set_num_threads(before)
    assert found == [(2, True), (3, True), (3, True)]


def test_mixed_precision_holds_in_training_and_in_validation(recipe, examples, monkeypatch):
    found: dict[str, list[tuple[bool, torch.dtype]]] = {"bf16": [], "no": []}
    forward = nn.Linear.forward

    def noted(self, values) -> Tensor:
        result = forward(self, values)
        if self.out_features == 3:  # the layer of a recogniser
            found[precision].append((result.requires_grad, result.dtype))
        return result

    monkeypatch.setattr(nn.Linear, "forward", noted)
    for precision in found:
        train_recipe(recipe("VGGsrc", epochs=1, mixed_precision=precision), examples, 0, Path("model"), "run")
    assert set(found["bf16"]) == {(True, torch.bfloat16), (False, torch.bfloat16)}
    assert set(found["no"]) == {(True, torch.float32), (False, torch.float32)}


def processes_of(monkeypatch, number: int) -> None:
    together = SimpleNamespace(num_processes=number, is_main_process=True, wait_for_everyone=lambda: None)
    monkeypatch.setattr(trainer, "training_processes", lambda: together)


def test_too_many_processes_for_a_batch_are_refused(recipe, examples, monkeypatch):
    processes_of(monkeypatch, 3)
    with pytest.raises(UserError, match=r"for 3 processes with train.accumulation = 1: .* set batch_size to 6"):
        train_recipe(recipe("VGGsrc", batch_size=5), examples, 0, Path("model"), "run")


def test_another_number_of_processes_does_not_continue_a_run(recipe, examples, monkeypatch, record):
    step, calls = task.PhaseTask.step, []

    def killed(self, learner) -> dict[str, Tensor]:
        calls.append(learner.step)
        if len(calls) == 8:
            raise Killed
        return step(self, learner)

    with monkeypatch.context() as patch:
        patch.setattr(task.PhaseTask, "step", killed)
        with pytest.raises(Killed):
            train_recipe(recipe("VGGsrc", epochs=2), examples, 0, Path("model"), "recorded")
    processes_of(monkeypatch, 2)
    assert [step.number for step in record(recipe("VGGsrc", epochs=2), examples, stop_after=2)] == [0, 1]


def test_what_is_written_down_is_of_this_run(recipe, examples):
    train_recipe(recipe("MTMDD-VM", epochs=1), examples, 11, Path("model"), "run")
    run = json.loads(Path("model/run.json").read_text())
    assert (run["method"], run["seed"], len(run["words"])) == ("MTMDD-VM", 11, 5)
    (chosen,) = run["chosen"]
    accuracy = read_curve(Path("model/curves/joint"), "validation/target accuracy")
    assert (chosen["phase"], chosen["epoch"], chosen["of"], chosen["value"]) == ("joint", 1, 1, accuracy[0])
