"""The contract of tasks, tested with the smallest possible task: a line through points, without images."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from training_runs import Killed, contents, read_curve

from base.console import UserError
from model.data.batches import draws_of_step
from model.training.params import ScheduleParams, TrainParams
from model.training.task import Run, Task, Validation, add
from model.training.trainer import train

pytestmark = pytest.mark.usefixtures("own_folder")

X = np.array([-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5])
Y = 3 * X - 1


class Points(NamedTuple):
    """B points of a line."""

    x: Tensor  # float32 (B, 1)
    y: Tensor  # float32 (B, 1)


class Line(Task):
    """Learns y = 3 x - 1 from ten points; it defines only the required methods."""

    def __init__(self, params: TrainParams, name: str = "line", seed: int = 0, rows=None, **given) -> None:
        super().__init__(name, seed, params, {"points": np.arange(10)} if rows is None else rows, "points", **given)

    def network(self, earlier) -> nn.Module:
        return nn.Linear(1, 1)

    def load(self, stream, draws) -> Points:
        rows = [draw.row for draw in draws]
        return Points(*(torch.tensor(values[rows], dtype=torch.float32)[:, None] for values in (X, Y)))

    def loss(self, module, batch) -> tuple[Tensor, dict[str, Tensor]]:
        of_points = batch["points"]
        found = functional.mse_loss(module(of_points.x), of_points.y)
        return found, {"square": found}

    def validate(self, learner) -> Validation:
        return Validation()


@pytest.fixture
def params(train_params):
    """Return the parameters that every task has, without parameters of a system."""
    known = {name: getattr(train_params, name) for name in TrainParams.model_fields}
    plain = {"schedule": ScheduleParams(kind="constant", warm_up=0.0), "weight_decay": 0.0, "momentum": 0.0}

    def params(**values) -> TrainParams:
        return TrainParams.model_validate({**known, **plain, **values})

    return params


def run(*tasks: Task, name: str = "run") -> Run:
    return Run(name, tasks, {"what": "a line"}, "fingerprint")


def weights_of(phase: str, folder: str = "model") -> dict[str, Tensor]:
    return load_file(Path(folder) / f"{phase}.safetensors")


# --- the defaults


@pytest.mark.parametrize(
    ("accumulation", "bias_decay"), [(1, None), (2, None), (1, True), (1, False)], ids=["1", "2", "decay", "no decay"]
)
def test_the_default_is_one_sgd_over_the_mean_loss(params, accumulation, bias_decay):
    settings = {"learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.01, "epochs": 2, "accumulation": accumulation}
    settings |= {} if bias_decay is None else {"weight_decay_on_biases": bias_decay}
    of_bias = 0.0 if bias_decay is False else 0.01
    begun = []

    class Begun(Line):
        def network(self, earlier) -> nn.Module:
            line = nn.Linear(1, 1)
            begun.append({name: value.clone() for name, value in line.state_dict().items()})
            return line

    train(run(Begun(params(**settings))), Path("model"))
    weight, bias = (begun[0][name].double().item() for name in ("weight", "bias"))
    velocity = [0.0, 0.0]
    for step in range(6):  # ten points, four per step: three steps per epoch
        rows = [draw.row for draw in draws_of_step(np.arange(10), 4, step, 0, "line/points")]
        errors = weight * X[rows] + bias - Y[rows]
        gradients = (2 * (errors * X[rows]).mean() + 0.01 * weight, 2 * errors.mean() + of_bias * bias)
        velocity = [0.5 * old + gradient for old, gradient in zip(velocity, gradients, strict=True)]
        weight, bias = weight - 0.1 * velocity[0], bias - 0.1 * velocity[1]
    found = weights_of("line")
    assert [found["weight"].item(), found["bias"].item()] == pytest.approx([weight, bias], rel=1e-5)
    rates = read_curve(Path("model/curves/line"), "train/learning rate network")
    assert rates == pytest.approx([0.1, 0.1])


def test_biases_keep_their_parts_rate_without_decay(params):
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1, bias=False), nn.PReLU())
    groups = [
        {"params": list(module[:2].parameters()), "peak": 0.1, "part": "first"},
        {"params": list(module[2:].parameters()), "peak": 0.3, "part": "last"},
    ]
    for decay in (True, False):
        task = Line(params(weight_decay=0.01, weight_decay_on_biases=decay))
        found = [
            (group["part"], group["peak"], group["weight_decay"], [tuple(weight.shape) for weight in group["params"]])
            for group in task.sgd(module, groups).param_groups
        ]
        if decay:
            shapes = [[(3, 2), (3,), (3,), (3,)], [(1, 3), (1,)]]
            assert found == [("first", 0.1, 0.01, shapes[0]), ("last", 0.3, 0.01, shapes[1])]
        else:
            assert found == [
                ("first", 0.1, 0.01, [(3, 2), (3,)]),  # with the scale of the normalisation
                ("first", 0.1, 0.0, [(3,), (3,)]),  # with its shift
                ("last", 0.3, 0.01, [(1, 3), (1,)]),
            ]


def test_what_needs_no_gradient_is_not_trained(params):
    class Frozen(Line):
        def network(self, earlier) -> nn.Module:
            line = nn.Linear(1, 1)
            line.bias.requires_grad_(False)
            line.bias.data.fill_(7.0)
            return line

    train(run(Frozen(params(epochs=1, weight_decay=0.1))), Path("model"))
    assert weights_of("line")["bias"].item() == 7.0


def test_it_learns_the_line(params):
    train(run(Line(params(epochs=30, learning_rate=0.1))), Path("model"))
    found = weights_of("line")
    assert [found["weight"].item(), found["bias"].item()] == pytest.approx([3.0, -1.0], abs=1e-3)


def test_every_parameter_gets_a_finite_gradient(params):
    task = Line(params())
    network = task.network(lambda phase: {})
    loss, _ = task.loss(network, {"points": task.load("points", list(draws_of_step(np.arange(10), 4, 0, 0, "x")))})
    loss.backward()
    for name, parameter in network.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


# --- which epoch is kept


def watched(task: type[Task]) -> tuple[type[Task], list[dict[str, Tensor]]]:
    """Return a subclass that records the weights at each validation, and the list of these weights."""
    seen: list[dict[str, Tensor]] = []

    class Watched(task):
        def validate(self, learner) -> Validation:
            seen.append({name: value.clone() for name, value in learner.network.state_dict().items()})
            return super().validate(learner)

    return Watched, seen


def test_without_a_rank_the_last_epoch_is_kept(params):
    kind, seen = watched(Line)
    (chosen,) = train(run(kind(params(epochs=3))), Path("model"))
    assert (chosen.epoch, chosen.of) == (3, 3)
    assert (chosen.chosen_on, chosen.value) == ("last epoch (no validation images)", None)
    assert len(seen) == 3
    assert all(torch.equal(value, seen[2][name]) for name, value in weights_of("line").items())
    assert not torch.equal(seen[1]["weight"], seen[2]["weight"])


def test_a_rank_is_compared_number_by_number(params):
    ranks = [(1.0, 5.0), (2.0, -3.0), (2.0, -1.0), (2.0, -1.0), (1.0, 9.0)]

    class Ranked(Line):
        def validate(self, learner) -> Validation:
            rank = ranks[learner.epoch]
            return Validation({"measure": rank[1]}, rank, "a measure", -rank[0])

    kind, seen = watched(Ranked)
    (chosen,) = train(run(kind(params(epochs=5))), Path("model"))
    assert vars(chosen) == {
        **{"phase": "line", "epoch": 3, "of": 5, "chosen_on": "a measure", "value": -2.0},
        **{"ended_by": "all epochs", "drops": [], "seen": {"points": 60}},  # five epochs of three steps of four points
    }
    assert all(torch.equal(value, seen[2][name]) for name, value in weights_of("line").items())
    assert read_curve(Path("model/curves/line"), "validation/measure") == [rank[1] for rank in ranks]


def test_nothing_can_stop_early_without_a_rank(params):
    with pytest.raises(UserError, match=r"run, phase line: train.early_stopping = 2, but without validation"):
        train(run(Line(params(early_stopping=2))), Path("model"))


def test_a_validation_that_is_not_finite_is_named(params):
    class Broken(Line):
        def validate(self, learner) -> Validation:
            return Validation({"measure": math.nan if learner.epoch else 1.0, "other": 2.0})

    with pytest.raises(
        UserError, match=r"run, phase line: the validation after epoch 2 found measure nan, other 2\.\n.*epoch-00001"
    ):
        train(run(Broken(params())), Path("model"))


# --- log lines and messages


def test_a_loss_that_is_not_finite_names_its_rows(params):
    class Named(Line):
        def names(self, stream: str, rows: Sequence[int]) -> list[str]:
            return [f"{stream} at {X[row]:g}" for row in rows]

    rows = [draw.row for draw in draws_of_step(np.arange(10), 4, 1, 0, "line/points")]
    for kind, names in ((Line, [str(row) for row in rows]), (Named, [f"points at {X[row]:g}" for row in rows])):

        class Broken(kind):
            def loss(self, module, batch) -> tuple[Tensor, dict[str, Tensor]]:
                found, means = super().loss(module, batch)
                return (found * math.inf if self.calls else found), means | {"other": torch.tensor(0.5)}

            def step(self, learner) -> dict[str, Tensor]:
                self.calls = learner.step
                return super().step(learner)

        with pytest.raises(UserError) as error:
            train(run(Broken(params())), Path("model"))
        lines = str(error.value).splitlines()
        assert lines[0].startswith("run, phase line: the loss is inf at step 1 (epoch 1): square ")
        assert lines[0].endswith(", other 0.5.")
        assert lines[1] == f"Its images: {{'points': {names}}}"


def test_a_stream_without_rows_is_named(params):
    rows = {"points": np.arange(10), "others": np.arange(0)}
    with pytest.raises(UserError, match="phase line: stream others has no training images"):
        train(run(Line(params(), rows=rows)), Path("model"))


def test_run_json_has_what_run_and_tasks_say_of_themselves(params):
    class Described(Line):
        def describe(self) -> dict:
            return {"points": 10}

    train(run(Line(params(epochs=1), "plain"), Described(params(epochs=2), "described")), Path("model"))
    found = json.loads(Path("model/run.json").read_text())
    assert found["what"] == "a line"
    assert found["phases"] == {"described": {"points": 10}}
    assert [(chosen["phase"], chosen["of"]) for chosen in found["chosen"]] == [("plain", 1), ("described", 2)]
    train(run(Line(params(epochs=1), "plain")), Path("other"))
    assert "phases" not in json.loads(Path("other/run.json").read_text())


# --- streams and rows


class TwoStreams(Line):
    """Has a second stream with fewer points, whose passes are independent; records the rows of each step."""

    def __init__(self, params: TrainParams, **given) -> None:
        super().__init__(params, rows={"others": np.array([3, 5, 8]), "points": np.arange(10)}, **given)
        self.seen: list[dict[str, list[int]]] = []

    def step(self, learner) -> dict[str, Tensor]:
        self.seen.append({stream: list(rows) for stream, rows in learner._loaded[0].rows.items()})
        return super().step(learner)

    def loss(self, module, batch) -> tuple[Tensor, dict[str, Tensor]]:
        means = {stream: functional.mse_loss(module(part.x), part.y) for stream, part in batch.items()}
        return means["points"] + 0.5 * means["others"], means


def test_each_stream_runs_out_on_its_own(params):
    task = TwoStreams(params(epochs=2))
    train(run(task), Path("model"))
    assert len(task.seen) == 6  # ten points, four per step: three steps per epoch
    for stream, rows in task.rows.items():
        expected = [[draw.row for draw in draws_of_step(rows, 4, step, 0, f"line/{stream}")] for step in range(6)]
        assert [step[stream] for step in task.seen] == expected
    curves = Path("model/curves/line")
    parts = zip(*(read_curve(curves, f"train/{name}") for name in ("points", "others")), strict=True)
    expected = [points + 0.5 * others for points, others in parts]
    assert read_curve(curves, "train/objective") == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("epoch_rows", "steps"), [(None, 3), (4, 1), (17, 5)])
def test_an_epoch_is_as_long_as_the_task_says(params, epoch_rows, steps):
    task = TwoStreams(params(epochs=2), epoch_rows=epoch_rows)
    train(run(task), Path("model"))
    assert len(task.seen) == 2 * steps


def test_rows_of_an_epochs_choice(params):
    class Choosy(TwoStreams):
        def choose(self, learner, epoch: int):
            return None if epoch == 1 else {"points": np.array([1, 2 + epoch]), "others": self.rows["others"]}

    task = Choosy(params(epochs=3))
    train(run(task), Path("model"))
    by_epoch = [{row for step in task.seen[first : first + 3] for row in step["points"]} for first in (0, 3, 6)]
    assert by_epoch[0] == {1, 2}
    assert by_epoch[2] == {1, 4}
    assert len(by_epoch[1]) > 2
    for step in (3, 4, 5):  # an epoch of all rows draws what its step numbers give
        expected = [draw.row for draw in draws_of_step(np.arange(10), 4, step, 0, "line/points")]
        assert task.seen[step]["points"] == expected


def test_the_number_of_chosen_rows_is_a_curve(params):
    class Growing(TwoStreams):
        def choose(self, learner, epoch: int):
            return {"points": np.arange(2 + 3 * epoch), "others": self.rows["others"]}

    train(run(Growing(params(epochs=3))), Path("model"))
    assert read_curve(Path("model/curves/line"), "train/points images") == [2, 5, 8]
    assert read_curve(Path("model/curves/line"), "train/others images") == [3, 3, 3]


def test_the_network_is_run_over_rows_in_their_order_without_learning(params):
    found = []

    class Looking(Line):
        def network(self, earlier) -> nn.Module:
            return nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 1))

        def validate(self, learner) -> Validation:
            before = {name: value.clone() for name, value in learner.network.state_dict().items()}
            rows = np.array([7, 0, 3])
            modes = []
            looked = learner.run("points", rows, lambda network, batch: modes.append(network.training) or batch.x)
            found.append((torch.cat(looked)[:, 0].tolist(), modes, learner.network.training))
            assert all(torch.equal(value, before[name]) for name, value in learner.network.state_dict().items())
            return Validation()

    train(run(Looking(params(epochs=1))), Path("model"))
    assert found == [([1.5, -2.0, -0.5], [False], True)]


# --- more than one optimiser, and state of its own


class Turns(Line):
    """Weight and bias have separate optimisers, which alternate; the task counts its steps."""

    def __init__(self, params: TrainParams) -> None:
        super().__init__(params)
        self.steps = 0

    def optimizers(self, module) -> list[torch.optim.Optimizer]:
        weight = [{"params": [module.weight], "peak": 0.1, "part": "weight"}]
        return [
            self.sgd(module, weight),
            torch.optim.Adam([{"params": [module.bias], "peak": 0.02, "part": "bias"}], lr=0.0),
        ]

    def step(self, learner) -> dict[str, Tensor]:
        means: dict[str, Tensor] = {}
        self.steps += 1
        for part in learner.parts():
            loss, components = self.loss(learner.module, part)
            add(means, learner.backward(loss, part, components))
        learner.update(self.steps % 2)
        return means | {"steps": torch.tensor(float(self.steps))}

    def state_dict(self) -> dict:
        return {"steps": self.steps}

    def load_state_dict(self, state) -> None:
        self.steps = state["steps"]


def test_optimisers_take_turns(params, monkeypatch):
    moved = []
    step = Turns.step

    def recorded(self, learner) -> dict[str, Tensor]:
        before = [value.detach().clone() for value in (learner.network.weight, learner.network.bias)]
        means = step(self, learner)
        after = (learner.network.weight, learner.network.bias)
        moved.append([not torch.equal(a, b) for a, b in zip(before, after, strict=True)])
        return means

    monkeypatch.setattr(Turns, "step", recorded)
    train(run(Turns(params(epochs=2))), Path("model"))
    assert moved == [[False, True], [True, False]] * 3
    curves = Path("model/curves/line")
    assert read_curve(curves, "train/learning rate weight") == [0.1] * 2
    assert read_curve(curves, "train/learning rate bias") == [0.02] * 2


@pytest.mark.parametrize("stop_at", [2, 5, 8])  # three steps per epoch
def test_a_killed_run_goes_on_with_all_optimisers_and_the_tasks_state(params, monkeypatch, stop_at):
    settings = params(momentum=0.9)
    train(run(Turns(settings)), Path("whole"))
    step, taken = Turns.step, []

    def killed(self, learner) -> dict[str, Tensor]:
        taken.append(learner.step)
        if len(taken) == stop_at:
            raise Killed
        return step(self, learner)

    with monkeypatch.context() as patch:
        patch.setattr(Turns, "step", killed)
        with pytest.raises(Killed):
            train(run(Turns(settings)), Path("model"))
    train(run(Turns(settings)), Path("model"))
    assert contents(Path("model")) == contents(Path("whole"))
    assert read_curve(Path("model/curves/line"), "train/steps") == [2, 5, 8]  # the mean of each epoch


# --- phases


def test_each_phase_has_parameters_of_its_own(params):
    first, second = params(epochs=1, learning_rate=0.1), params(epochs=3, learning_rate=0.01, batch_size=5)
    assert [chosen.of for chosen in train(run(Line(first, "a"), Line(second, "b")), Path("model"))] == [1, 3]
    rates = [read_curve(Path("model/curves") / name, "train/learning rate network") for name in ("a", "b")]
    assert rates == [[0.1], [0.01] * 3]


class Joined(Line):
    """Starts with the weight of one phase and the bias of another."""

    def network(self, earlier) -> nn.Module:
        line = nn.Linear(1, 1)
        line.weight.data.copy_(earlier("a")["weight"])
        line.bias.data.copy_(earlier("b")["bias"])
        self.begun = {name: value.clone() for name, value in line.state_dict().items()}
        return line


def test_several_phases_join(params):
    last = Joined(params(epochs=1), "c", starts_from=["a", "b"])
    train(run(Line(params(epochs=1), "a"), Line(params(epochs=2), "b"), last), Path("model"))
    assert torch.equal(last.begun["weight"], weights_of("a")["weight"])
    assert torch.equal(last.begun["bias"], weights_of("b")["bias"])
    assert not torch.equal(weights_of("a")["bias"], weights_of("b")["bias"])


@pytest.mark.parametrize(("damaged", "again"), [("a", {"a": 3, "c": 3}), ("b", {"b": 3, "c": 3}), ("c", {"c": 3})])
def test_what_began_from_a_damaged_phase_is_trained_again(params, monkeypatch, damaged, again):
    """If one of two joined phases is damaged, only this phase and the later phase are trained again."""
    settings = params(epochs=1)
    tasks = [Line(settings, "a"), Line(settings, "b"), Joined(settings, "c", starts_from=["a", "b"])]
    step, taken = Task.step, []

    def killed(self, learner) -> dict[str, Tensor]:
        if self.name == "d":
            raise Killed
        taken.append(self.name)
        return step(self, learner)

    monkeypatch.setattr(Task, "step", killed)
    whole = run(*tasks, Line(settings, "d"))
    with pytest.raises(Killed):
        train(whole, Path("model"))
    assert taken == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    (path,) = Path(".state/checkpoints").glob(f"run-*/{damaged}-finished/weights.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    taken.clear()
    with pytest.raises(Killed):
        train(whole, Path("model"))
    assert {name: taken.count(name) for name in taken} == again
