import math

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from training_runs import train_recipe

from systems.mtmdd.config import LossTerm, Phase
from systems.mtmdd.gradients import ALL, GradientRecorder, layers, plotted_layers
from systems.mtmdd.network import build_network
from systems.mtmdd.recipes import build_recipe


class TwoLayers(nn.Module):
    """A network v = w h + b with h = 2 x, w = (0.5, -1), b = (0, 1); at x = 3, h = 6 and v = (3, -5)."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(1, 1, bias=False)
        self.embedding = nn.Linear(1, 2)
        self.unused = nn.Linear(1, 1)
        with torch.no_grad():
            self.backbone.weight.fill_(2)
            self.embedding.weight.copy_(torch.tensor([[0.5], [-1]]))
            self.embedding.bias.copy_(torch.tensor([0.0, 1]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.embedding(self.backbone(x))


def term(kind: str, domain: str = "source") -> LossTerm:
    return LossTerm(domain=domain, kind=kind, weight=0.5)


def phase(*kinds: str) -> Phase:
    features = "visual+click" if "recognition" in kinds else None
    return Phase(name="one", losses=[term(kind) for kind in kinds], start="backbone", frozen=[], features=features)


# the gradient of each loss with respect to v
TOWARDS_V = {"count": (0.5, 0.0), "position": (0.0, 4.0), "recognition": (3.0, -1.0)}
BY_HAND = {
    # squared norms: backbone: ((dv . w) x)^2; embedding: |dv h|^2 + |dv|^2
    "count": (0.75**2, 3**2 + 0.5**2),
    "position": (12**2, 24**2 + 4**2),
    "recognition": (7.5**2, 18**2 + 6**2 + 3**2 + 1**2),
    "click": (11.25**2, 3**2 + 24**2 + 0.5**2 + 4**2),
    "objective": (3.75**2, 21**2 + 18**2 + 3.5**2 + 3**2),
}


def read(network: nn.Module, kinds: list[str]):
    v = network(torch.tensor([[3.0]]))[0]
    recorder = GradientRecorder(phase(*kinds), every=1, shares=[])
    recorder(0, 1, network, lambda kind: torch.tensor(TOWARDS_V[kind]) @ v)
    (reading,) = recorder.readings
    return reading


def test_norms_by_hand():
    reading = read(TwoLayers(), ["recognition", "count", "position"])
    assert set(reading.norms) == set(BY_HAND)
    for loss, (backbone, embedding) in BY_HAND.items():
        norms = reading.norms[loss]
        assert list(norms) == ["backbone", "embedding", "unused", ALL]
        assert norms["backbone"] == pytest.approx(math.sqrt(backbone), rel=1e-6)
        assert norms["embedding"] == pytest.approx(math.sqrt(embedding), rel=1e-6)
        assert norms["unused"] == 0
        assert norms[ALL] == pytest.approx(math.sqrt(backbone + embedding), rel=1e-6)


def test_ratios_by_hand():
    reading = read(TwoLayers(), ["count", "position", "recognition"])
    assert reading.position_over_count == pytest.approx(math.sqrt(736 / 9.8125), rel=1e-6)
    assert reading.recognition_over_click == pytest.approx(math.sqrt(370 / 601.25), rel=1e-6)
    dot = 18 * 3 - 6 * 24 + 3 * 0.5 - 1 * 4
    assert reading.recognition_click_cosine == pytest.approx(dot / math.sqrt(370 * 601.25), rel=1e-6)


def test_a_phase_without_a_loss_has_no_ratio_of_it():
    reading = read(TwoLayers(), ["count"])
    assert set(reading.norms) == {"count", "click", "objective"}
    assert (reading.position_over_count, reading.recognition_over_click) == (None, None)


def test_no_ratio_to_a_gradient_of_zero():
    network = TwoLayers()
    recorder = GradientRecorder(phase("count", "position"), every=1, shares=[])
    v = network(torch.tensor([[3.0]]))[0]
    recorder(0, 1, network, lambda kind: v.sum() * (kind == "position"))
    assert recorder.readings[0].norms["count"][ALL] == 0
    assert recorder.readings[0].position_over_count is None


def test_frozen_parameters_are_left_out_and_no_gradient_is_kept():
    network = TwoLayers()
    network.backbone.requires_grad_(False)
    reading = read(network, ["count"])
    assert list(reading.norms["count"]) == ["embedding", "unused", ALL]
    assert reading.norms["count"][ALL] == pytest.approx(math.sqrt(9.25), rel=1e-6)
    assert all(weight.grad is None for weight in network.parameters())


@pytest.mark.parametrize(
    ("every", "shares", "num_steps", "steps"),
    [
        (4, [], 11, [0, 4, 8]),
        (4, [0.15, 1.0], 11, [0, 2, 4, 8, 10]),  # 1.65 is rounded to step 2; the last step is 10
        (100, [0.5], 5, [0, 2]),
        (1000, [0.15], 10_000, [0, 1000, 1500, *range(2000, 10_000, 1000)]),  # the paper's values
    ],
)
def test_steps_that_are_read(every, shares, num_steps, steps):
    network = TwoLayers()
    recorder = GradientRecorder(phase("count"), every, shares)
    for step in range(num_steps):
        recorder(step, num_steps, network, lambda kind: network(torch.ones(1, 1)).sum())
    assert [reading.step for reading in recorder.readings] == steps
    assert set(recorder.marked.values()) <= set(steps)


@pytest.mark.parametrize("method", ["MTMDD-VM", "MTTDL"])
def test_an_observed_training_keeps_its_bytes(
    method, examples, network_params, objective_params, train_params, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    recipe = build_recipe(method, network_params, objective_params, train_params)
    recorder = GradientRecorder(recipe.phases[0], every=2, shares=[1.0])
    train_recipe(recipe, examples, 0, tmp_path / "alone", "alone")
    train_recipe(recipe, examples, 0, tmp_path / "observed", "observed", {recipe.phases[0].name: recorder})
    alone, observed = (
        {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
        for folder in (tmp_path / "alone", tmp_path / "observed")
    )
    assert alone == observed
    steps = [reading.step for reading in recorder.readings]
    assert steps == sorted({*range(0, steps[-1], 2), steps[-1]})
    assert len(steps) > 5


def test_the_objectives_norms_are_those_of_the_step(
    examples, network_params, objective_params, train_params, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    recipe = build_recipe("MTMDD-VM", network_params, objective_params, train_params.model_copy(update={"epochs": 1}))
    recorder = GradientRecorder(recipe.phases[0], every=1, shares=[])
    networks, stepped = [], []

    def observer(step, num_steps, network, loss_of):
        networks.append(network)
        recorder(step, num_steps, network, loss_of)

    def before_step(optimizer, *arguments):
        by_layer = layers(networks[-1])
        stepped.append({name: [weight.grad.clone() for weight in of_layer] for name, of_layer in by_layer.items()})

    hook = register_optimizer_step_pre_hook(before_step)
    train_recipe(recipe, examples, 0, tmp_path / "model", "run", {"joint": observer})
    hook.remove()
    assert len(stepped) > 2
    for reading, gradients in zip(recorder.readings, stepped, strict=True):
        assert set(reading.norms["objective"]) == {*gradients, ALL}
        for layer, of_layer in gradients.items():
            norm = torch.cat([gradient.flatten() for gradient in of_layer]).double().norm().item()
            # the sum of the terms' gradients equals the gradient of the sum up to single precision
            assert reading.norms["objective"][layer] == pytest.approx(norm, rel=1e-4, abs=1e-7)


def test_plotted_layers(network_params, objective_params, train_params):
    recipe = build_recipe("MTMDD-VM", network_params, objective_params, train_params)
    categories = {"source": ["ant", "bee"], "target": ["ant", "cat", "dog"]}
    network = build_network(recipe.network, recipe.phases[0], categories, 5, load_weights=False)
    plotted = plotted_layers(network)
    assert [name for name in plotted if name.startswith("embedding")] == [
        "embedding.layers.0", "embedding.layers.4", "embedding.layers.7",
    ]  # fmt: skip
    convolutions = [name for name, part in network.backbone.named_modules() if isinstance(part, nn.Conv2d)]
    assert plotted[:-3] == [f"backbone.{name}" for name in convolutions]
    assert plotted_layers(network, most=3) == [plotted[0], plotted[3], plotted[-1]]
