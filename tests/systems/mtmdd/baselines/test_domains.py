"""DAN and DANN: losses between the domains."""

import re
from pathlib import Path

import polars as pl
import pytest
import torch
from torch import nn
from training_runs import read_curve, train_recipe

from base.console import UserError
from model.losses.domain import domain_loss
from model.losses.mmd import MultiKernelMMD
from model.nets.backbones import ConvNet
from model.training.task import Task
from systems.mtmdd.baselines.dan import DanTask
from systems.mtmdd.baselines.dann import DannTask, WithDomainClassifier
from systems.mtmdd.baselines.layers import WithLayers, hidden_layers
from systems.mtmdd.config import LossTerm, Recipe
from systems.mtmdd.examples import Examples
from systems.mtmdd.network import MultidomainNetwork, Recogniser
from systems.mtmdd.task import PhaseTask

pytestmark = pytest.mark.usefixtures("own_folder")
CATEGORIES = {"source": 3, "target": 3}


def network() -> MultidomainNetwork:
    """A small network in the shape of VGG: two fully connected layers before phi's, dropout between them."""
    torch.manual_seed(0)
    first = [nn.Flatten(), nn.Linear(4 * 36, 7), nn.ReLU(inplace=True), nn.Dropout(0.5)]
    head = nn.Sequential(*first, nn.Linear(7, 5), nn.ReLU(inplace=True))
    features = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.Sigmoid(), nn.MaxPool2d(2, ceil_mode=True))
    backbone = ConvNet(features, head, 24)
    recogniser = Recogniser("visual", (5, 0), CATEGORIES, True, 0.0)
    return MultidomainNetwork(backbone, None, recogniser, ["source", "target"], [])


def pixels(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        domain: torch.randint(0, 256, (number, 3, 24, 24), generator=generator, dtype=torch.uint8)
        for domain, number in (("source", 5), ("target", 3))
    }


def test_the_layers_are_fc6_after_its_activation_and_phi() -> None:
    net = network().eval()
    predictions, layers = WithLayers(net, hidden_layers(net))(pixels())
    assert list(layers) == ["fc6", "phi"]
    plain = net(pixels())
    for domain, images in pixels().items():
        visual = net.backbone(images)
        hidden = net.backbone.head[:3](visual.omega)
        assert torch.allclose(layers["fc6"][domain], hidden, atol=1e-6)
        assert (layers["fc6"][domain] >= 0).all()
        assert torch.allclose(layers["phi"][domain], visual.phi, atol=1e-6)
        assert torch.equal(predictions[domain].logits, plain[domain].logits)


def test_nothing_is_left_behind_in_the_network() -> None:
    net = network()
    WithLayers(net, hidden_layers(net))(pixels())
    assert not any(module._forward_hooks for module in net.modules())


def test_danns_gradient_is_minus_lambda_times_the_plain_one() -> None:
    def gradients(factor: float) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        torch.manual_seed(1)
        both = WithDomainClassifier(network()).eval()
        _, domains = both(pixels(), factor)
        domain_loss(domains["source"], domains["target"]).backward()
        convnet = [weight.grad for weight in both.network.network.backbone.parameters()]
        return convnet, [weight.grad for weight in both.classifier.parameters()]

    plain, of_classifier = gradients(-1.0)  # a factor of -1 times -1: no reversal
    assert all(gradient.abs().sum() > 0 for gradient in plain)
    for factor in (0.3, 1.0):
        reversed_, same = gradients(factor)
        for one, other in zip(plain, reversed_, strict=True):
            assert torch.allclose(other, -factor * one, rtol=1e-5, atol=1e-9)
        for one, other in zip(of_classifier, same, strict=True):
            assert torch.allclose(one, other)  # the classifier itself learns to tell the domains apart


def with_one_domain(recipe: Recipe) -> Recipe:
    (phase,) = recipe.phases
    one = [LossTerm(domain="target", kind="recognition", weight=1.0)]
    return recipe.model_copy(update={"phases": [phase.model_copy(update={"losses": one, "shared_head": False})]})


@pytest.mark.parametrize(
    ("method", "kind", "message"),
    [
        ("DAN", DanTask, "DAN compares the features of both domains, but phase joint has only ['target']"),
        ("DANN", DannTask, "DANN tells both domains apart, but phase joint has only ['target']"),
    ],
)
def test_one_domain_is_refused(method: str, kind: type[PhaseTask], message: str, recipe, examples: Examples) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        train_recipe(with_one_domain(recipe(method)), examples, 0, Path("model"), "run", kind=kind)


@pytest.mark.parametrize(("method", "kind"), [("DAN", DanTask), ("DANN", DannTask)])
def test_a_split_without_source_images_is_refused(method: str, kind: type[Task], recipe, examples: Examples) -> None:
    rows = examples.rows.with_columns(
        split=pl.when(pl.col("domain") == "source").then(pl.lit("test")).otherwise(pl.col("split"))
    )
    without = Examples(
        rows, examples.categories, examples.images, examples.clicks, examples.epoch_images, examples.fingerprint
    )
    with pytest.raises(UserError, match="the source domain has no training images in the split file"):
        train_recipe(recipe(method), without, 0, Path("model"), "run", kind=kind)


def test_the_curves_have_each_layers_mmd_and_the_domain_classifiers_loss(recipe, examples: Examples) -> None:
    train_recipe(recipe("DAN", epochs=2), examples, 0, Path("dan"), "dan", kind=DanTask)
    train_recipe(recipe("DANN", epochs=2), examples, 0, Path("dann"), "dann", kind=DannTask)
    names = {path.stem for path in Path("dan/curves/joint/plots/metrics/train").iterdir()}
    assert {"mmd phi", "mmd logits", "source recognition", "target recognition"} <= names
    values = read_curve(Path("dann/curves/joint"), "train/domain")
    assert len(values) == 2
    assert all(0 < value < 3 for value in values)


def test_mmd_is_added_to_the_objective(recipe, examples: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    added = []
    plain = MultiKernelMMD.__call__

    def spied(self: MultiKernelMMD, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        value = plain(self, one, other)
        value.register_hook(lambda gradient: added.append(gradient.item()))
        return value

    monkeypatch.setattr(MultiKernelMMD, "__call__", spied)
    train_recipe(recipe("DAN", epochs=1), examples, 0, Path("model"), "run", kind=DanTask)
    assert added == [1.0] * 8  # phi and logits in four steps, each with the weight 1
