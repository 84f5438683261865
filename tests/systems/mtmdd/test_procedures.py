from collections.abc import Mapping

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from training_runs import Killed, contents, read_curve

from systems.mtmdd import procedures
from model.data.batches import drawn
from systems.mtmdd.config import Domain, Recipe
from model.training.learner import Learner
from systems.mtmdd.objective import objective
from systems.mtmdd.network import build_network
from systems.mtmdd.procedures import Procedure, add, parameter_groups
from systems.mtmdd.recipes import build_recipe
from model.training.trainer import train
from base.console import UserError

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def recipe(network_params, objective_params, train_params):
    """A recipe whose phases all learn by a procedure."""

    def recipe(procedure: str, options: dict | None = None, method: str = "MTMDD-VM", **values) -> Recipe:
        made = build_recipe(method, network_params, objective_params, train_params.model_copy(update=values))
        phases = [phase.model_copy(update={"procedure": procedure, "options": options}) for phase in made.phases]
        return made.model_copy(update={"phases": phases})

    return recipe


class WithCritic(nn.Module):
    """A network, and a critic that tells the domains apart by phi."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.critic = nn.Sequential(nn.Linear(network.backbone.num_features, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, images: Mapping[Domain, Tensor], of_critic: bool) -> tuple[dict, Tensor]:
        phi = []
        hook = self.network.backbone.register_forward_hook(lambda module, inputs, visual: phi.append(visual.phi))
        predictions = self.network(images)
        hook.remove()
        return predictions, self.critic(phi[0].detach() if of_critic else phi[0])[:, 0]


class Adversarial(Procedure):
    """Alternates: the critic learns which domain an image is of, then the network to recognise and to deceive it."""

    def __init__(self, task, *, deceive: float) -> None:
        super().__init__(task)
        self.deceive = deceive
        self.num_fooled = 0.0

    def module(self, network):
        return WithCritic(network)

    def optimizers(self, module):
        critic = [{"params": list(module.critic.parameters()), "peak": 0.05, "part": "critic"}]
        return [*super().optimizers(module.network), torch.optim.Adam(critic, lr=0.0)]

    def step(self, learner: Learner) -> dict[str, Tensor]:
        means: dict[str, Tensor] = {}
        for part in learner.parts():
            logits = learner.module(images_of(part), of_critic=True)[1]
            learned = functional.binary_cross_entropy_with_logits(logits, is_target(part))
            added = learner.backward(learned, part, {"critic": learned})
            add(means, {"critic": added["critic"]})
        learner.update(1)
        for part in learner.parts():
            predictions, logits = learner.module(images_of(part), of_critic=False)
            loss, components = objective(self.task.phase.losses, predictions, part, self.task.position)
            fooled = functional.binary_cross_entropy_with_logits(logits, 1 - is_target(part))
            self.num_fooled += float(((logits > 0) != is_target(part).bool()).sum())
            add(means, learner.backward(loss + self.deceive * fooled, part, {**components, "fooled": fooled}))
        learner.update(0)
        add(means, {"fooled so far": torch.tensor(self.num_fooled)})
        return means

    def state_dict(self):
        return {"num_fooled": self.num_fooled}

    def load_state_dict(self, state):
        self.num_fooled = state["num_fooled"]


def images_of(part) -> dict[Domain, Tensor]:
    return {domain: of_domain.images for domain, of_domain in part.items()}


def is_target(part) -> Tensor:
    return torch.cat([torch.full((len(p.labels),), float(domain == "target")) for domain, p in part.items()])


class MostConfident(Procedure):
    """Each epoch draws the target images that the network is surest of, more of them each time."""

    def choose_images(self, learner: Learner, epoch: int):
        task = self.task
        places = {domain: task.examples.places(domain, "train") for domain in task.phase.domains}
        logits = learner.predict("target", places["target"]).prediction.logits
        surest = functional.softmax(logits, dim=1).amax(dim=1).argsort(descending=True, stable=True)
        return {**places, "target": np.sort(places["target"][surest[: 5 + 4 * epoch].numpy()])}


class NowAndThen(Procedure):
    """Every second epoch draws from a few random images of each domain, the others from all."""

    def choose_images(self, learner: Learner, epoch: int):
        if epoch % 2:
            return None
        places = {domain: self.task.examples.places(domain, "train") for domain in self.task.phase.domains}
        return {domain: of_domain[torch.randperm(len(of_domain))[:7]] for domain, of_domain in places.items()}


@pytest.fixture(autouse=True)
def known_procedures(monkeypatch):
    monkeypatch.setitem(procedures.PROCEDURES, "adversarial", Adversarial)
    monkeypatch.setitem(procedures.PROCEDURES, "most-confident", MostConfident)
    monkeypatch.setitem(procedures.PROCEDURES, "now-and-then", NowAndThen)


CASES = {"adversarial": {"deceive": 0.3}, "most-confident": None, "now-and-then": None}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("stop_at", [2, 6, 11])  # steps: 4 per epoch of the target, 3 epochs
def test_an_interrupted_run_ends_with_the_same_bytes(name, recipe, examples, tmp_path, monkeypatch, stop_at):
    chosen = recipe(name, CASES[name])
    train(chosen, examples, 0, tmp_path / "whole", "whole")
    kind, steps = procedures.PROCEDURES[name], []

    class Interrupted(kind):
        def step(self, learner):
            steps.append(learner.step)
            if len(steps) == stop_at:
                raise Killed
            return super().step(learner)

    monkeypatch.setitem(procedures.PROCEDURES, name, Interrupted)
    with pytest.raises(Killed):
        train(chosen, examples, 0, tmp_path / "model", "run")
    train(chosen, examples, 0, tmp_path / "model", "run")
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

            monkeypatch.setattr(learner, "update", watched)
            means = super().step(learner)
            monkeypatch.undo()
            return means

    monkeypatch.setitem(procedures.PROCEDURES, "adversarial", Seen)
    train(recipe("adversarial", {"deceive": 0.3}, epochs=1), examples, 0, tmp_path / "model", "run")
    # each moves its own part, and leaves the other's alone
    assert critics == [(1, False, True), (0, True, False)] * 4
    curves = tmp_path / "model" / "curves" / "joint"
    for name in ("critic", "fooled", "objective", "target recognition", "learning rate critic"):
        assert len(read_curve(curves, f"train/{name}")) == 1
    weights = load_file(tmp_path / "model" / "joint.safetensors")  # what is saved is the network, as of any method
    expected = build_network(
        recipe("adversarial").network, recipe("adversarial").phases[0], examples.categories, 5, load_weights=False
    )
    assert set(weights) == set(expected.state_dict())


def test_deceiving_the_critic_changes_the_network(recipe, examples, tmp_path):
    for deceive in (0.0, 0.3):
        options = {"deceive": deceive}
        train(recipe("adversarial", options, epochs=1), examples, 0, tmp_path / str(deceive), "run")
    found = {name: load_file(tmp_path / name / "joint.safetensors") for name in ("0.0", "0.3")}
    name = "backbone.features.0.weight"
    assert not torch.equal(found["0.0"][name], found["0.3"][name])


def test_images_are_chosen_anew_in_each_epoch(recipe, examples, tmp_path, monkeypatch):
    chosen, seen = [], []

    class Seen(MostConfident):
        def choose_images(self, learner, epoch):
            chosen.append(super().choose_images(learner, epoch))
            seen.append({"source": [], "target": []})
            return chosen[-1]

        def step(self, learner):
            for part in learner.parts():
                for domain, of_domain in part.items():
                    seen[-1][domain] += of_domain.places.tolist()
            return super().step(learner)

    monkeypatch.setitem(procedures.PROCEDURES, "most-confident", Seen)
    train(recipe("most-confident"), examples, 0, tmp_path / "model", "run")
    assert [len(epoch["target"]) for epoch in chosen] == [5, 9, 13]
    for places, of_epoch in zip(chosen, seen, strict=True):
        assert len(of_epoch["target"]) == 16  # four steps of four, whatever was chosen
        assert set(of_epoch["target"]) == set(places["target"].tolist())
        assert set(of_epoch["source"]) <= set(places["source"].tolist())
    assert read_curve(tmp_path / "model" / "curves" / "joint", "train/target images") == [5, 9, 13]
    assert read_curve(tmp_path / "model" / "curves" / "joint", "train/source images") == [21, 21, 21]


def test_random_choices_are_those_of_seed_phase_and_epoch(recipe, examples, tmp_path, monkeypatch):
    chosen: dict[tuple, list[int]] = {}

    class Seen(NowAndThen):
        def choose_images(self, learner, epoch):
            places = super().choose_images(learner, epoch)
            if places is not None:
                chosen[seed, self.task.phase.name, epoch] = places["source"].tolist()
            return places

    monkeypatch.setitem(procedures.PROCEDURES, "now-and-then", Seen)
    monkeypatch.setattr(Seen, "step", lambda self, learner: {"objective": torch.tensor(0.0)})
    for seed in (0, 1):
        for method in ("MTTDL", "VGGimg"):
            whole = recipe("now-and-then", method=method)
            first = whole.model_copy(update={"phases": whole.phases[:1]})
            train(first, examples, seed, tmp_path / str(seed), "run")
    assert set(chosen) == {(s, phase, epoch) for s in (0, 1) for phase in ("predict", "source") for epoch in (0, 2)}
    assert len({tuple(places) for places in chosen.values()}) == len(chosen)


def test_an_epoch_of_all_images_after_one_of_a_choice_draws_at_its_own_steps(recipe, examples, tmp_path, monkeypatch):
    seen: list[list[int]] = []

    class Seen(NowAndThen):
        def step(self, learner):
            seen.append(learner._batches[0]["target"].places.tolist())
            return {"objective": torch.tensor(0.0)}

    monkeypatch.setitem(procedures.PROCEDURES, "now-and-then", Seen)
    train(recipe("now-and-then", epochs=6), examples, 0, tmp_path / "model", "run")
    places = examples.places("target", "train")
    for epoch in (1, 3, 5):  # four steps each
        for step in range(4 * epoch, 4 * epoch + 4):
            assert seen[step] == [place for place, _ in drawn(places, 4, step, 0, "joint/target")]


def test_validation_has_the_precision_of_training_whatever_is_around_the_network(
    recipe, examples, tmp_path, monkeypatch
):  # fmt: skip
    found = []
    forward = nn.Linear.forward

    def noted(self, values):
        result = forward(self, values)
        if self.out_features == 3:  # a recogniser's
            found.append((result.requires_grad, result.dtype))
        return result

    monkeypatch.setattr(nn.Linear, "forward", noted)
    train(recipe("adversarial", {"deceive": 0.3}, epochs=1, mixed_precision="bf16"), examples, 0, tmp_path / "m", "run")
    assert set(found) == {(True, torch.bfloat16), (False, torch.bfloat16)}


@pytest.mark.parametrize("target", [{"target": np.array([], np.int64)}, {}])
def test_a_procedure_that_chooses_nothing_is_named(recipe, examples, tmp_path, monkeypatch, target):
    class Choosy(Procedure):
        def choose_images(self, learner, epoch):
            return {"source": np.array([1]), **target}

    monkeypatch.setitem(procedures.PROCEDURES, "choosy", Choosy)
    with pytest.raises(UserError, match="run, phase joint: 'choosy' chose no target image for epoch 1"):
        train(recipe("choosy"), examples, 0, tmp_path / "model", "run")


@pytest.mark.parametrize(
    ("procedure", "options", "message"),
    [
        ("adverserial", None, "phase joint: unknown procedure 'adverserial'; known: weighted-sum, adversarial, "),
        ("adversarial", None, r"phase joint: procedure 'adversarial' with options {}: .*'deceive'"),
        ("weighted-sum", {"deceive": 1}, r"procedure 'weighted-sum' with options {'deceive': 1}: .*'deceive'"),
    ],
)
def test_procedures_that_are_not_there_are_named(recipe, examples, tmp_path, procedure, options, message):
    with pytest.raises(UserError, match=message):
        train(recipe(procedure, options), examples, 0, tmp_path / "model", "run")


def test_each_part_learns_at_its_own_rate(recipe):
    tdl = recipe("weighted-sum", method="TDL")
    categories = {"source": ["ant", "bee"], "target": ["ant", "bee"]}
    network = build_network(tdl.network, tdl.phases[0], categories, 5, load_weights=True)
    assert [group["peak"] for group in parameter_groups(network, tdl.train)] == [0.02, 0.06]
    assert [group["part"] for group in parameter_groups(network, tdl.train)] == ["backbone", "embedding"]
    network = build_network(tdl.network, tdl.phases[2], categories, 5, load_weights=True)
    groups = parameter_groups(network, tdl.train)
    assert [group["peak"] for group in groups] == [0.02, 0.04]
    assert len(groups[1]["params"]) == 2  # the recogniser's; the embedding is frozen
    frozen = tdl.phases[2].model_copy(update={"frozen": ["backbone", "embedding"]})
    network = build_network(tdl.network, frozen, categories, 5, load_weights=True)
    assert [group["peak"] for group in parameter_groups(network, tdl.train)] == [0.04]


def test_biases_of_the_recognisers_learn_at_a_rate_of_their_own(recipe):
    whole = recipe("weighted-sum", method="MTMDD-VM", recogniser_bias_multiplier=2.0)
    network = build_network(whole.network, whole.phases[0], {"source": ["a"], "target": ["a", "b"]}, 5, True)
    groups = parameter_groups(network, whole.train)
    # the released definition's x10 and x20, here x2 and x4
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
