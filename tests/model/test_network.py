import pytest
import torch

from model.batches import DomainBatch
from model.config import LossTerm, Phase
from model.losses.objective import objective
from model.methods import METHODS
from model.network import Recogniser, build_network, check_same_categories, copy_parts
from model.recipes import build_recipe
from pipelines.console import UserError

CATEGORIES = {"source": ["ant", "bee", "cat"], "target": ["ant", "bee", "cat"]}
K = 11


def images(*sizes: int) -> dict:
    generator = torch.Generator().manual_seed(1)
    domains = ("source", "target")[-len(sizes) :] if len(sizes) == 1 else ("source", "target")
    return {
        domain: torch.randint(256, (size, 3, 16, 16), generator=generator, dtype=torch.uint8)
        for domain, size in zip(domains, sizes, strict=True)
    }


@pytest.fixture
def build(network_params, objective_params, train_params):
    def build(method: str, place: int = 0, categories=CATEGORIES):
        recipe = build_recipe(method, network_params, objective_params, train_params)
        torch.manual_seed(0)
        phase = recipe.phases[place]
        network = recipe.network
        return recipe, phase, build_network(network, phase, categories, K, load_weights=True)

    return build


@pytest.mark.parametrize("method", METHODS)
def test_every_trained_parameter_gets_a_finite_gradient(method, build):
    for place in range(len(METHODS[method].phases)):
        recipe, phase, network = build(method, place)
        pixels = {domain: part for domain, part in images(5, 4).items() if domain in phase.domains}
        clicks = torch.rand(5, K, generator=torch.Generator().manual_seed(1))
        batch = {
            domain: DomainBatch(
                part,
                torch.tensor([0, 1, 2, 0, 1][: len(part)]),
                clicks if domain == "source" else None,
                torch.arange(len(part)),
            )
            for domain, part in pixels.items()
        }
        network.train()
        total, _ = objective(phase.losses, network(pixels), batch, recipe.position)
        total.backward()
        for name, parameter in network.named_parameters():
            if name.startswith(tuple(phase.frozen)):
                assert parameter.grad is None, name
            else:
                assert torch.isfinite(parameter.grad).all(), name
                assert parameter.grad.abs().sum() > 0, name


def test_both_domains_share_all_but_statistics_and_heads(build):
    _, _, network = build("MTMDD-VM")
    network.eval()
    pixels = images(5, 4)
    same = network({"source": pixels["target"], "target": pixels["target"]})
    assert torch.equal(same["source"].clicks, same["target"].clicks)
    assert not torch.equal(same["source"].logits, same["target"].logits)
    names = [name for name, _ in network.named_parameters() if name.startswith("recogniser")]
    assert names == [f"recogniser.heads.{d}.{kind}" for d in ("source", "target") for kind in ("weight", "bias")]


def test_each_domain_is_normalised_by_itself():
    phi = {"source": torch.randn(40, 3) * 5 + 2, "target": torch.randn(30, 3) * 0.1 - 7}
    recogniser = Recogniser("visual", (3, 0), {"source": 2, "target": 2}, shared=True, dropout=0.0)
    seen = []
    recogniser.dropout.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for domain, of_domain in phi.items():
        recogniser(domain, of_domain, None)
        expected = (of_domain - of_domain.mean(0)) / (of_domain.var(0, unbiased=False) + 1e-5).sqrt()
        torch.testing.assert_close(seen[-1], expected)
        torch.testing.assert_close(recogniser.visual_norms[domain].running_mean, 0.1 * of_domain.mean(0))


@pytest.mark.parametrize(("features", "inputs"), [("visual", 3), ("click", 5), ("visual+click", 8)])
def test_features(features, inputs):
    recogniser = Recogniser(features, (3, 5), {"target": 2}, shared=False, dropout=0.0)
    assert recogniser.heads["target"].in_features == inputs
    assert recogniser("target", torch.randn(4, 3), torch.randn(4, 5)).shape == (4, 2)


def test_the_shared_head_is_one(build):
    _, _, network = build("MTMDD-VM-star")
    assert list(network.recogniser.heads) == ["shared"]
    assert set(network.recogniser.click_norms) == {"source", "target"}


def test_a_shared_head_needs_the_same_categories(build):
    with pytest.raises(UserError, match=r"only in the source: 1, as \['eel'\]; only in the target: 2, as \['bee', 'c"):
        check_same_categories({"source": ["ant", "eel"], "target": ["ant", "bee", "cat"]})
    with pytest.raises(UserError, match=r"use separate heads \(MTMDD-VM\)"):
        build("MTMDD-VM-star", categories={**CATEGORIES, "source": ["ant"]})
    _, _, network = build("MTMDD-VM", categories={**CATEGORIES, "source": ["ant"]})
    predictions = network.eval()(images(2, 3))
    assert [predictions[d].logits.shape for d in ("source", "target")] == [(2, 1), (3, 3)]


def test_without_a_recogniser_there_are_clicks_only(build):
    _, _, network = build("TDL")
    prediction = network.eval()({"source": images(3)["target"]})["source"]
    assert prediction.logits is None
    assert prediction.clicks.shape == (3, K)


def test_domains_do_not_look_at_each_other_in_evaluation(build):
    _, _, network = build("MTMDD-VM-star")
    network.eval()
    pixels = images(5, 4)
    together, alone = network(pixels)["target"], network({"target": pixels["target"]})["target"]
    torch.testing.assert_close(together.logits, alone.logits)
    torch.testing.assert_close(together.clicks, alone.clicks)


def test_a_later_phase_takes_over_backbone_and_embedding(build):
    _, _, first = build("TDL", 0)
    with torch.no_grad():
        for value in first.parameters():
            value.add_(1)
    _, phase, later = build("TDL", 2)
    assert copy_parts(later, first.state_dict()) == ["backbone", "embedding"]
    assert phase.frozen == ["embedding"]
    for name, value in first.state_dict().items():
        assert torch.equal(later.state_dict()[name], value), name


def test_frozen_parts_neither_learn_nor_drop_nor_move(network_params):
    phase = Phase(
        name="p",
        losses=[LossTerm(domain="target", kind="recognition", weight=1)],
        start="backbone",
        frozen=["backbone", "embedding"],
        features="click",
    )
    network = build_network(network_params, phase, CATEGORIES, K, load_weights=True).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pixels = images(6)
    one, other = network(pixels)["target"].clicks, network(pixels)["target"].clicks
    assert torch.equal(one, other)
    assert network.recogniser.training
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {
        f"recogniser.click_norms.target.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert not any(p.requires_grad for part in (network.backbone, network.embedding) for p in part.parameters())
