import pkgutil
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import polars as pl
import pytest
import torch
from phase_tasks import Adversarial, MostConfident, NowAndThen
from safetensors.torch import load_file
from torch import nn
from training_runs import Killed, contents, read_curve, train_recipe

from base.console import UserError
from model.data.batches import draws_of_step
from model.losses.count import CountLoss
from model.training.learner import Learner
from model.training.params import ScheduleParams
from model.training.schedules import rate_factor
from systems.mtmdd import network as network_module
from systems.mtmdd import task as task_module
from systems.mtmdd.baselines.methods import COMPARED
from systems.mtmdd.config import LossTerm, Phase, Recipe, TrainParams
from systems.mtmdd.network import build_network
from systems.mtmdd.predictor import Model
from systems.mtmdd.recipes import build_recipe
from systems.mtmdd.task import PhaseTask, category_means, parameter_groups, training_run

pytestmark = pytest.mark.usefixtures("own_folder")


# --- tasks with other kinds of steps


@pytest.mark.parametrize("kind", [Adversarial, MostConfident, NowAndThen])
@pytest.mark.parametrize("stop_at", [2, 6, 11])  # steps: 4 per epoch of the target, 3 epochs
def test_an_interrupted_run_ends_with_the_same_bytes(kind, recipe, examples, tmp_path, monkeypatch, stop_at):
    train_recipe(recipe(), examples, 0, tmp_path / "whole", "whole", kind=kind)
    real, steps = kind.step, []

    def interrupted(self, learner):
        steps.append(learner.step)
        if len(steps) == stop_at:
            raise Killed
        return real(self, learner)

    monkeypatch.setattr(kind, "step", interrupted)
    with pytest.raises(Killed):
        train_recipe(recipe(), examples, 0, tmp_path / "model", "run", kind=kind)
    train_recipe(recipe(), examples, 0, tmp_path / "model", "run", kind=kind)
    assert contents(tmp_path / "whole") == contents(tmp_path / "model")
    assert steps == [*range(stop_at), *range((stop_at - 1) // 4 * 4, 12)]


def test_alternating_steps_with_two_optimisers(recipe, examples, tmp_path, monkeypatch):
    critics = []

    class Seen(Adversarial):
        def step(self, learner):
            before = [[value.detach().clone() for value in learner.module.parameters()]]
            number = sum(1 for _ in learner.module.network.parameters())
            update = learner.update

            def watched(which: int) -> None:
                update(which)
                before.append([value.detach().clone() for value in learner.module.parameters()])
                moved = [not torch.equal(a, b) for a, b in zip(*before[-2:], strict=True)]
                critics.append((which, any(moved[:number]), any(moved[number:])))

            with monkeypatch.context() as patch:
                patch.setattr(learner, "update", watched)
                return super().step(learner)

    train_recipe(recipe(epochs=1), examples, 0, tmp_path / "model", "run", kind=Seen)
    # each optimiser changes only its own part
    assert critics == [(1, False, True), (0, True, False)] * 4
    curves = tmp_path / "model" / "curves" / "joint"
    for name in ("critic", "fooled", "objective", "target recognition", "learning rate critic"):
        assert len(read_curve(curves, f"train/{name}")) == 1
    weights = load_file(tmp_path / "model" / "joint.safetensors")  # only the network is saved, as for any method
    whole = recipe()
    expected = build_network(whole.network, whole.phases[0], examples.categories, 5, load_weights=False)
    assert set(weights) == set(expected.state_dict())


def test_deceiving_the_critic_changes_the_network(recipe, examples, tmp_path):
    class Honest(Adversarial):
        deceive = 0.0

    for kind in (Adversarial, Honest):
        train_recipe(recipe(epochs=1), examples, 0, tmp_path / kind.__name__, "run", kind=kind)
    found = {name: load_file(tmp_path / name / "joint.safetensors") for name in ("Adversarial", "Honest")}
    name = "backbone.features.0.weight"
    assert not torch.equal(found["Adversarial"][name], found["Honest"][name])


def test_images_are_chosen_anew_in_each_epoch(recipe, examples, tmp_path):
    chosen, seen = [], []

    class Seen(MostConfident):
        def choose(self, learner, epoch):
            chosen.append(super().choose(learner, epoch))
            seen.append({"source": [], "target": []})
            return chosen[-1]

        def step(self, learner):
            for loaded in learner._loaded:
                for domain, rows in loaded.rows.items():
                    seen[-1][domain] += rows
            return super().step(learner)

    train_recipe(recipe(), examples, 0, tmp_path / "model", "run", kind=Seen)
    assert [len(epoch["target"]) for epoch in chosen] == [5, 9, 13]
    for rows, of_epoch in zip(chosen, seen, strict=True):
        assert len(of_epoch["target"]) == 16  # four steps of four images, however many were chosen
        assert set(of_epoch["target"]) == set(rows["target"].tolist())
        assert set(of_epoch["source"]) <= set(rows["source"].tolist())
    assert read_curve(tmp_path / "model" / "curves" / "joint", "train/target images") == [5, 9, 13]
    assert read_curve(tmp_path / "model" / "curves" / "joint", "train/source images") == [21, 21, 21]


def test_random_choices_are_those_of_seed_phase_and_epoch(recipe, examples, tmp_path):
    chosen: dict[tuple, list[int]] = {}

    class Seen(NowAndThen):
        def choose(self, learner, epoch):
            rows = super().choose(learner, epoch)
            if rows is not None:
                chosen[self.seed, self.name, epoch] = rows["source"].tolist()
            return rows

        def step(self, learner):
            return {"objective": torch.tensor(0.0)}

    for seed in (0, 1):
        for method in ("MTTDL", "VGGimg"):
            whole = recipe(method)
            first = whole.model_copy(update={"phases": whole.phases[:1]})
            train_recipe(first, examples, seed, tmp_path / str(seed), "run", kind=Seen)
    assert set(chosen) == {(s, phase, epoch) for s in (0, 1) for phase in ("predict", "source") for epoch in (0, 2)}
    assert len({tuple(rows) for rows in chosen.values()}) == len(chosen)


def test_an_epoch_of_all_images_after_one_of_a_choice_draws_at_its_own_steps(recipe, examples, tmp_path):
    seen: list[list[int]] = []

    class Seen(NowAndThen):
        def step(self, learner):
            seen.append(learner._loaded[0].rows["target"])
            return {"objective": torch.tensor(0.0)}

    train_recipe(recipe(epochs=6), examples, 0, tmp_path / "model", "run", kind=Seen)
    rows = examples.row_numbers("target", "train")
    for epoch in (1, 3, 5):  # four steps each
        for step in range(4 * epoch, 4 * epoch + 4):
            assert seen[step] == [draw.row for draw in draws_of_step(rows, 4, step, 0, "joint/target")]


def test_validation_has_the_precision_of_training_whatever_is_around_the_network(
    recipe, examples, tmp_path, monkeypatch
):  # fmt: skip
    found = []
    forward = nn.Linear.forward

    def noted(self, values):
        result = forward(self, values)
        if self.out_features == 3:  # a recogniser's layer
            found.append((result.requires_grad, result.dtype))
        return result

    monkeypatch.setattr(nn.Linear, "forward", noted)
    once = recipe(epochs=1, mixed_precision="bf16")
    train_recipe(once, examples, 0, tmp_path / "m", "run", kind=Adversarial)
    assert set(found) == {(True, torch.bfloat16), (False, torch.bfloat16)}


@pytest.mark.parametrize("target", [{"target": np.array([], np.int64)}, {}])
def test_a_task_that_chooses_nothing_is_named(recipe, examples, tmp_path, target):
    class Choosy(PhaseTask):
        def choose(self, learner, epoch):
            return {"source": np.array([1]), **target}

    with pytest.raises(UserError, match="run, phase joint: no target image was chosen for epoch 1"):
        train_recipe(recipe(), examples, 0, tmp_path / "model", "run", kind=Choosy)


@pytest.mark.parametrize("kind", [PhaseTask, Adversarial, MostConfident, NowAndThen])
def test_every_parameter_of_a_step_gets_a_finite_gradient(kind, recipe, examples, tmp_path, monkeypatch):
    found: dict[str, torch.Tensor] = {}
    update = Learner.update

    def recorded(self, number: int = 0) -> None:
        if self.step:
            raise Killed
        trained = {id(weight) for group in self.optimizers[number].param_groups for weight in group["params"]}
        found.update(
            {
                name: w.grad.clone()
                for name, w in self.module.named_parameters()
                if id(w) in trained and w.grad is not None
            }
        )
        found.setdefault("module", self.module)
        update(self, number)

    monkeypatch.setattr(Learner, "update", recorded)
    with pytest.raises(Killed):
        train_recipe(recipe(), examples, 0, tmp_path / "model", "run", kind=kind)
    module = found.pop("module")
    assert set(found) == {name for name, _ in module.named_parameters()}
    for name, gradient in found.items():
        assert torch.isfinite(gradient).all(), name
        assert gradient.abs().sum() > 0, name


# --- the start of a phase, and its training parameters


class Begun(PhaseTask):
    """A task that records the weights at the start of each phase."""

    begun: ClassVar[dict[str, dict[str, torch.Tensor]]] = {}

    def network(self, earlier):
        network = super().network(earlier)
        self.begun[self.name] = {name: value.clone() for name, value in network.state_dict().items()}
        return network


def term(domain: str, kind: str = "recognition") -> LossTerm:
    return LossTerm(domain=domain, kind=kind, weight=1)


@pytest.fixture
def joined(network_params, train_params):
    """Return a function that makes a recipe of two independent phases, and a third that joins parts of them."""

    def joined(start, own: TrainParams | None = None, **values) -> Recipe:
        apart = [
            Phase(name="clicks", losses=[term("source", "count")], start="backbone", frozen=[]),
            Phase(name="source", losses=[term("source")], start="backbone", frozen=[], features="visual"),
        ]
        joint = Phase(name="joint", losses=[term("target")], start=start, frozen=[], features="visual+click", train=own)
        params = train_params.model_copy(update={"epochs": 1, **values})
        return Recipe(method="joined", network=network_params, train=params, phases=[*apart, joint])

    return joined


def weights_of_part(weights, part: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in weights.items() if name.startswith(f"{part}.")}


def is_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    assert set(one) == set(other) != set()
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize(
    ("start", "backbone", "embedding"),
    [
        ({"backbone": "source", "embedding": "clicks"}, "source", "clicks"),
        ({"backbone": "clicks", "embedding": "clicks"}, "clicks", "clicks"),
        ({"embedding": "clicks"}, None, "clicks"),
        ({"backbone": "backbone", "embedding": "clicks"}, None, "clicks"),
        ({"backbone": "source"}, "source", None),
        ("clicks", "clicks", "clicks"),
        ("source", "source", None),
        ("backbone", None, None),
    ],
)
def test_a_phase_joins_parts_of_earlier_ones(joined, examples, tmp_path, monkeypatch, start, backbone, embedding):
    real, started = network_module.build_backbone, []

    def with_start_weights(network, load_weights):
        made = real(network, load_weights=False)
        started.append(load_weights)
        if load_weights:
            made.features[0].weight.data.fill_(0.25)
        return made

    monkeypatch.setattr(network_module, "build_backbone", with_start_weights)
    chosen = train_recipe(joined(start), examples, 0, tmp_path / "model", "run", kind=Begun)
    assert [epoch.phase for epoch in chosen] == ["clicks", "source", "joint"]
    saved = {name: load_file(tmp_path / "model" / f"{name}.safetensors") for name in ("clicks", "source")}
    begun = Begun.begun["joint"]
    for name, weights in saved.items():
        assert is_same(weights_of_part(begun, "backbone"), weights_of_part(weights, "backbone")) == (name == backbone)
    same = is_same(weights_of_part(begun, "embedding"), weights_of_part(saved["clicks"], "embedding"))
    assert same == (embedding == "clicks")
    assert started == [True, True, backbone is None]
    assert (begun["backbone.features.0.weight"] == 0.25).all() == (backbone is None)


def test_a_run_of_joined_phases_is_used_as_any_other(joined, examples, tmp_path):
    whole = joined({"backbone": "source", "embedding": "clicks"})
    train_recipe(whole, examples, 0, tmp_path / "model", "run")
    model = Model.read(tmp_path / "model")
    assert model.recipe == whole
    assert model.phase_that_recognises("target").starts_from == ["source", "clicks"]
    network = model.network(model.recipe.phases[2])
    assert is_same(network.state_dict(), load_file(tmp_path / "model" / "joint.safetensors"))


def test_a_phase_has_rates_and_epochs_of_its_own(joined, train_params, examples, tmp_path):
    own = train_params.model_copy(update={"epochs": 2, "learning_rate": 0.3, "batch_size": 5, "mirrored": []})
    whole = joined("source", own, learning_rate=0.01, schedule=ScheduleParams(kind="constant", warm_up=0.0))
    chosen = train_recipe(whole, examples, 0, tmp_path / "model", "run")
    assert [(epoch.phase, epoch.of) for epoch in chosen] == [("clicks", 1), ("source", 1), ("joint", 2)]
    rates = {
        name: read_curve(tmp_path / "model" / "curves" / name, "train/learning rate backbone")
        for name in ("clicks", "source", "joint")
    }
    assert rates["clicks"] == rates["source"] == [0.01]
    assert len(rates["joint"]) == 2
    # the rate at the third of six steps (15 images, five per step) of the phase's own schedule
    assert rates["joint"][0] == pytest.approx(0.3 * rate_factor(own.schedule, 2, 6))
    assert Model.read(tmp_path / "model").recipe == whole
    tasks = training_run(whole, examples, 0, "run").tasks
    assert [task.loader.mirrored for task in tasks] == [["source", "target"], ["source", "target"], []]
    others = joined("source", own.model_copy(update={"momentum": 0.5}), learning_rate=0.01)
    assert training_run(others, examples, 0, "run").fingerprint != training_run(whole, examples, 0, "run").fingerprint


def test_a_phase_that_stops_early_by_itself_needs_images_to_stop_by(joined, train_params, examples, tmp_path):
    whole = joined("source", train_params.model_copy(update={"early_stopping": 2}))
    is_target = pl.col("domain") == "target"
    rows = examples.rows.with_columns(split=pl.when(is_target).then(pl.lit("train")).otherwise("split"))
    with pytest.raises(UserError, match=r"early_stopping = 2, but phase joint has no validation images of the target"):
        train_recipe(whole, replace(examples, rows=rows), 0, tmp_path / "model", "run")
    train_recipe(joined("source"), replace(examples, rows=rows), 0, tmp_path / "model", "run")


# --- runs that are continued


def test_other_start_weights_at_the_same_place_do_not_continue_a_run(recipe, examples, tmp_path):
    whole, path = recipe("VGGsrc"), tmp_path / "start.safetensors"
    named = whole.model_copy(update={"network": whole.network.model_copy(update={"weights": str(path)})})
    fingerprints = {training_run(named, examples, 0, "run").fingerprint}  # a missing file is no error yet
    for content in (b"one", b"two"):
        path.write_bytes(content)
        fingerprints.add(training_run(named, examples, 0, "run").fingerprint)
    assert len(fingerprints) == 3


def test_a_run_is_not_continued_by_tasks_of_another_kind(recipe, examples):
    kinds = (PhaseTask, Adversarial, NowAndThen)
    runs = [training_run(recipe(), examples, 0, "run", kind=kind) for kind in (*kinds, PhaseTask)]
    assert [type(run.tasks[0]) for run in runs] == [*kinds, PhaseTask]
    assert len({run.fingerprint for run in runs}) == 3
    assert runs[0].fingerprint == runs[-1].fingerprint


# --- the optimiser's groups


def test_each_part_learns_at_its_own_rate(recipe):
    tdl = recipe("TDL")
    categories = {"source": ["ant", "bee"], "target": ["ant", "bee"]}
    network = build_network(tdl.network, tdl.phases[0], categories, 5, load_weights=True)
    assert [group["peak"] for group in parameter_groups(network, tdl.train)] == [0.02, 0.06]
    assert [group["part"] for group in parameter_groups(network, tdl.train)] == ["backbone", "embedding"]
    network = build_network(tdl.network, tdl.phases[2], categories, 5, load_weights=True)
    groups = parameter_groups(network, tdl.train)
    assert [group["peak"] for group in groups] == [0.02, 0.04]
    assert len(groups[1]["params"]) == 2  # weight and bias of the recogniser; the predictor is frozen
    moving = tdl.phases[2].model_copy(update={"start": "predict", "frozen": ["embedding"]})
    network = build_network(tdl.network, moving, categories, 5, load_weights=True)
    assert [group["part"] for group in parameter_groups(network, tdl.train)] == ["backbone", "recogniser"]
    frozen = moving.model_copy(update={"frozen": ["backbone", "embedding"]})
    network = build_network(tdl.network, frozen, categories, 5, load_weights=True)
    assert [group["peak"] for group in parameter_groups(network, tdl.train)] == [0.04]


def test_biases_of_the_recognisers_learn_at_a_rate_of_their_own(recipe):
    whole = recipe("MTMDD-VM", recogniser_bias_multiplier=2.0)
    network = build_network(whole.network, whole.phases[0], {"source": ["a"], "target": ["a", "b"]}, 5, True)
    groups = parameter_groups(network, whole.train)
    # like the released definition's x10 and x20, here x2 and x4
    assert [group["peak"] for group in groups] == [0.02, 0.06, 0.04, 0.08]
    shapes = [sorted(tuple(weight.shape) for weight in group["params"]) for group in groups[2:]]
    inputs = network.recogniser.heads["target"].in_features
    assert shapes == [[(1, inputs), (2, inputs)], [(1,), (2,)]]


def test_a_head_that_nothing_trains_is_not_in_the_optimiser(recipe, network_params, objective_params, train_params):
    alone = objective_params.model_copy(update={"lambda_": 1.0})
    whole = build_recipe("MTMDD-VM", network_params, alone, train_params)
    network = build_network(whole.network, whole.phases[0], {"source": ["a"], "target": ["a", "b"]}, 5, True)
    of_recogniser = parameter_groups(network, whole.train)[-1]["params"]
    assert [len(weight) for weight in of_recogniser] == [2, 2]


def test_the_embedding_has_a_weight_decay_of_its_own(recipe):
    for multiplier in (1.0, 20.0, 0.0):
        whole = recipe("MTMDD-VM", embedding_decay_multiplier=multiplier)
        network = build_network(whole.network, whole.phases[0], {"source": ["a"], "target": ["a", "b"]}, 5, True)
        (optimizer,) = PhaseTask.optimizers(
            SimpleNamespace(params=whole.train, sgd=lambda _, groups: torch.optim.SGD(groups, weight_decay=5e-4)),
            network,
        )
        decays = {group["part"]: group["weight_decay"] for group in optimizer.param_groups}
        assert decays == pytest.approx({"backbone": 5e-4, "embedding": 5e-4 * multiplier, "recogniser": 5e-4})


# --- soft targets, and the start of E3


def test_category_means_are_those_of_pandas_like_grouping():
    rng = np.random.default_rng(3)
    clicks, labels = rng.random((9, 4)).astype(np.float32), np.array([2, 0, 2, 2, 0, 4, 4, 2, 0])
    frame = pl.DataFrame({"label": labels, **{str(word): clicks[:, word] for word in range(4)}})
    grouped = frame.group_by("label").mean().sort("label")
    expected = np.zeros((5, 4))
    expected[grouped["label"].to_numpy()] = grouped.drop("label").to_numpy()
    np.testing.assert_allclose(category_means(clicks, labels, 5), expected, rtol=1e-6)


def seen_by_the_loss(monkeypatch, recipe: Recipe, examples, folder) -> list:
    """Train one epoch; return the parts of each step as the objective got them, and as they were loaded."""
    seen = []
    real = task_module.objective

    def noted(terms, predictions, batch):
        seen.append(batch)
        return real(terms, predictions, batch)

    with monkeypatch.context() as patch:
        patch.setattr(task_module, "objective", noted)
        train_recipe(recipe, examples, 0, folder, "run")
    return seen


def test_soft_targets_mix_each_click_feature_with_its_categorys_mean(
    examples, network_params, objective_params, train_params, tmp_path, monkeypatch
):
    soft = objective_params.model_copy(update={"soft_targets": 0.3})
    params = train_params.model_copy(update={"epochs": 1})
    plain, mixed = (
        seen_by_the_loss(
            monkeypatch, build_recipe("TDL", network_params, of, params), examples, tmp_path / f"{of.soft_targets}"
        )
        for of in (objective_params, soft)
    )
    train = examples.rows.with_row_index("row").filter(domain="source", split="train")
    steps = [batch["source"] for batch in plain if batch.get("source") and batch["source"].clicks is not None]
    assert len(steps) == 6  # of the first step: its second step has no click loss
    for before, after in zip(steps, [batch["source"] for batch in mixed[:6]], strict=True):
        assert torch.equal(before.images, after.images)
        for label, v, found in zip(before.labels.tolist(), before.clicks, after.clicks, strict=True):
            ids = train.filter(category=examples.categories["source"][label])["image_id"].to_list()
            mean = torch.from_numpy(examples.clicks.vectors(ids)).mean(dim=0)
            torch.testing.assert_close(found, 0.7 * v + 0.3 * mean)
    # the epoch is chosen by the true features: the same measure in both trainings, of different weights
    curve = tmp_path / "0.3" / "curves" / "predict"
    model = Model.read(tmp_path / "0.3")
    rows = examples.row_numbers("source", "validation")
    batches = [examples.images.crop(int(row), 16, 0, None) for row in rows]
    pixels = torch.from_numpy(np.stack(batches).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        clicks = model.network(model.recipe.phases[0])({"source": pixels})["source"].clicks
    true = torch.from_numpy(examples.clicks.vectors(examples.rows["image_id"][rows.tolist()].to_list()))
    assert read_curve(curve, "validation/source count") == [
        pytest.approx(CountLoss()(true, clicks).mean().item(), rel=1e-4)
    ]


def test_e3_starts_with_the_training_images_clicks_in_a_first_step_alone(
    examples, network_params, objective_params, train_params, tmp_path
):
    embedding = network_params.embedding.model_copy(update={"rank": 2, "click_start": True})
    network = network_params.model_copy(update={"embedding": embedding, "second_step": "one ConvNet"})
    recipe = build_recipe("TDL", network, objective_params, train_params.model_copy(update={"epochs": 1}))
    train_recipe(recipe, examples, 0, tmp_path / "model", "run", kind=Begun)
    rows = examples.rows.filter(domain="source", split="train")
    true = examples.clicks.vectors(rows["image_id"].to_list()).astype(np.float64)
    lengths = np.linalg.norm(true, axis=1, keepdims=True)
    unit = np.divide(true, lengths, out=np.zeros_like(true), where=lengths > 0)
    values, vectors = np.linalg.eigh(unit.T @ unit)  # the squared singular values and the directions, ascending
    assert values[-1] > values[-2] + 0.1
    columns = Begun.begun["predict"]["embedding.layers.8.weight"].double().numpy()
    cosines = np.abs((columns / np.linalg.norm(columns, axis=0)).T @ vectors[:, ::-1][:, :2])
    np.testing.assert_allclose(cosines, np.eye(2), atol=1e-5)
    # the second step goes on with the weights of the first
    saved = load_file(tmp_path / "model" / "predict.safetensors")
    assert torch.equal(Begun.begun["target"]["embedding.layers.8.weight"], saved["embedding.layers.8.weight"])


# --- a target without labels


def task_of(method: str):
    """Return what makes the tasks of a method's phases."""
    command = COMPARED[method].train
    return PhaseTask if command is None else pkgutil.resolve_name(f"{command}:task_of")


@pytest.mark.parametrize("method", ["MTMDD-VM-star", "DAN", "DANN"])
def test_without_target_labels_no_label_of_it_changes_a_weight(
    method, examples, network_params, objective_params, train_params, tmp_path
):
    params = train_params.model_copy(update={"epochs": 2})
    recipe = build_recipe(method, network_params, objective_params, params, unlabelled=True)
    is_target = pl.col("domain") == "target"
    others = pl.col("category").shuffle(seed=5).over("domain")
    shuffled = examples.rows.with_columns(category=pl.when(is_target).then(others).otherwise("category"))
    assert not shuffled.equals(examples.rows)
    for name, rows in (("true", examples.rows), ("shuffled", shuffled)):
        train_recipe(recipe, replace(examples, rows=rows), 0, tmp_path / name, "run", kind=task_of(method))
    found = [(tmp_path / name / "joint.safetensors").read_bytes() for name in ("true", "shuffled")]
    assert found[0] == found[1]
    whole = build_recipe(method, network_params, objective_params, params)
    train_recipe(whole, examples, 0, tmp_path / "labelled", "run", kind=task_of(method))
    assert found[0] != (tmp_path / "labelled" / "joint.safetensors").read_bytes()


def test_the_targets_images_are_seen_without_labels(examples, network_params, objective_params, train_params, tmp_path):
    params = train_params.model_copy(update={"epochs": 2})
    recipe = build_recipe("MTMDD-VM-star", network_params, objective_params, params, unlabelled=True)
    train_recipe(recipe, examples, 0, tmp_path / "model", "run")
    weights = load_file(tmp_path / "model" / "joint.safetensors")
    means = [weights[f"recogniser.visual_norms.{domain}.running_mean"] for domain in ("source", "target")]
    assert means[1].abs().sum() > 0
    assert not torch.equal(*means)
    (chosen,) = Model.read(tmp_path / "model").chosen
    labelled = build_recipe("MTMDD-VM-star", network_params, objective_params, params)
    train_recipe(labelled, examples, 0, tmp_path / "labelled", "run")
    (with_labels,) = Model.read(tmp_path / "labelled").chosen
    assert chosen["seen"] == with_labels["seen"]  # as many steps, and images, as with labels
    assert (chosen["chosen_on"], with_labels["chosen_on"]) == (
        "source validation accuracy", "target validation accuracy",
    )  # fmt: skip


def test_a_target_without_labels_needs_the_sources_categories(examples, network_params, objective_params, train_params):
    recipe = build_recipe("VGGsrc", network_params, objective_params, train_params, unlabelled=True)
    other = replace(examples, categories={**examples.categories, "target": ["ant", "bee", "yak"]})
    message = r"a target without labels needs the same categories in both domains \(.*yak.*remove unlabelled=VGGsrc"
    with pytest.raises(UserError, match=message):
        training_run(recipe, other, 0, "run")
