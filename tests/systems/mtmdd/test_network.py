import pytest
import torch

from base.console import UserError
from systems.mtmdd.batches import DomainBatch
from systems.mtmdd.config import ClickBranchParams, LossTerm, NetworkParams, Phase
from systems.mtmdd.methods import METHODS
from systems.mtmdd.network import Prediction, Recogniser, build_network, check_same_categories, copy_parts
from systems.mtmdd.objective import build_terms, objective
from systems.mtmdd.recipes import build_recipe

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
    def build(method: str, place: int = 0, categories=CATEGORIES, objective=None, **network_values):
        network = network_params.model_copy(update=network_values)
        recipe = build_recipe(method, network, objective or objective_params, train_params)
        torch.manual_seed(0)
        phase = recipe.phases[place]
        network = build_network(recipe.network, phase, categories, K, True, recipe.click_branch)
        return recipe, phase, network

    return build


def with_lambda(objective, value: float):
    return objective.model_copy(update={"lambda_": value})


OPTIONS = {
    "paper": {},
    "lambda 1": {"lambda_": 1.0},
    "lambda 0": {"lambda_": 0.0},
    "affine normalisation": {"affine_normalisation": True},
    "lambda 1, affine normalisation": {"lambda_": 1.0, "affine_normalisation": True},
    "shared affine normalisation": {"shared_normalisation": True, "affine_normalisation": True},
    "one ConvNet": {"second_step": "one ConvNet"},
    "factors": {"recogniser_gradient": 0.1, "click_gradient": 10.0, "multitask_position": True},
    "released position loss": {"position_input": "raw", "position_scale": "1/sqrt(K)", "bandwidth": 1.0},
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(
    ("method", "place"), [(name, place) for name, method in METHODS.items() for place in range(len(method.phases))]
)
def test_every_trained_parameter_gets_a_finite_gradient(method, place, options, build, objective_params):
    values = OPTIONS[options]
    in_network = {name: value for name, value in values.items() if name in NetworkParams.model_fields}
    objective_values = {name: value for name, value in values.items() if name not in in_network}
    recipe, phase, network = build(
        method, place, objective=objective_params.model_copy(update=objective_values), **in_network
    )
    pixels = {domain: part for domain, part in images(5, 4).items() if domain in phase.domains}
    clicks = torch.rand(5, K, generator=torch.Generator().manual_seed(1))
    batch = {
        domain: DomainBatch(
            part,
            torch.tensor([0, 1, 2, 0, 1][: len(part)]),
            clicks if domain == "source" else None,
        )
        for domain, part in pixels.items()
    }
    network.train()
    total, _ = objective(build_terms(phase.losses, recipe.position), network(pixels), batch)
    total.backward()
    # these keep their weights: frozen parts, and modules that only a domain without a loss uses
    still = [*phase.frozen]
    if not phase.recognised:
        still.append("backbone.head.")  # phi is of no use then; its weights could be trained
    for domain in phase.unlearned or ():
        still += [f"recogniser.{part}.{domain}." for part in ("heads", "visual_norms", "click_norms")]
    for name, parameter in network.named_parameters():
        if name.startswith(tuple(still)):
            assert parameter.requires_grad == name.startswith("backbone.head."), name
            assert parameter.grad is None, name
        else:
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(("method", "head"), [("MTMDD-VM", "source"), ("MTMDD-VM-star", "shared")])
def test_with_prediction_alone_the_source_keeps_a_recogniser(method, head, build, objective_params):
    """Check MDD-VM and MDD-VM* of Table VII: lambda = 1."""
    _, phase, network = build(method, objective=with_lambda(objective_params, 1.0))
    assert [(term.domain, term.kind) for term in phase.losses] == [
        ("source", "count"),
        ("source", "position"),
        ("target", "recognition"),
    ]
    assert phase.recognised == ["source", "target"]
    assert set(network.recogniser.heads) == ({"shared"} if head == "shared" else {"source", "target"})
    weight = network.recogniser.heads[head].weight
    assert weight.requires_grad == (head == "shared")
    # N of the source follows only the source's images
    seen = []
    network.backbone.register_forward_hook(lambda _, __, visual: seen.append(visual.phi))
    predictions = network.train()(images(6, 4))
    of_source, of_target = (seen[0][:6].detach(), seen[0][6:].detach())
    norms = network.recogniser.visual_norms
    torch.testing.assert_close(norms["source"].running_mean, 0.1 * of_source.mean(0))
    torch.testing.assert_close(norms["target"].running_mean, 0.1 * of_target.mean(0))
    assert predictions["source"].logits.shape == (6, 3)


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
    recogniser({domain: (of_domain, None) for domain, of_domain in phi.items()})
    for (domain, of_domain), found in zip(phi.items(), seen, strict=True):
        expected = (of_domain - of_domain.mean(0)) / (of_domain.var(0, unbiased=False) + 1e-5).sqrt()
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(recogniser.visual_norms[domain].running_mean, 0.1 * of_domain.mean(0))


def test_shared_normalisation_sees_both_domains_as_one():
    phi = {"source": torch.randn(5, 3) * 5 + 2, "target": torch.randn(3, 3) * 0.1 - 7}
    clicks = {"source": torch.rand(5, 4), "target": torch.rand(3, 4) + 1}
    numbers = {"source": 2, "target": 4}
    recogniser = Recogniser("visual+click", (3, 4), numbers, shared=False, dropout=0.0, shared_normalisation=True)
    seen = []
    recogniser.dropout.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    logits = recogniser({domain: (phi[domain], clicks[domain]) for domain in phi})
    assert {domain: tuple(found.shape) for domain, found in logits.items()} == {"source": (5, 2), "target": (3, 4)}
    both = torch.cat([torch.cat([phi[domain], clicks[domain]], dim=1) for domain in phi])
    expected = (both - both.mean(0)) / (both.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(torch.cat(seen), expected)
    assert list(recogniser.visual_norms) == list(recogniser.click_norms) == ["shared"]
    # in evaluation a domain alone is normalised with the statistics of both
    recogniser.eval()
    alone = recogniser({"target": (phi["target"], clicks["target"])})["target"]
    together = recogniser({domain: (phi[domain], clicks[domain]) for domain in phi})["target"]
    torch.testing.assert_close(alone, together)


def test_affine_normalisation_scales_and_shifts():
    recogniser = Recogniser("visual", (2, 0), {"target": 2}, shared=False, dropout=0.0, affine=True)
    with torch.no_grad():
        recogniser.visual_norms["target"].weight.copy_(torch.tensor([3.0, 1.0]))
        recogniser.visual_norms["target"].bias.copy_(torch.tensor([0.0, -2.0]))
    seen = []
    recogniser.dropout.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    recogniser({"target": (torch.tensor([[1000.0, 5000.0], [3000.0, 1000.0]]), None)})
    torch.testing.assert_close(seen[0], torch.tensor([[-3.0, -1.0], [3.0, -3.0]]))


@pytest.mark.parametrize(("features", "inputs"), [("visual", 3), ("click", 5), ("visual+click", 8)])
def test_features(features, inputs):
    recogniser = Recogniser(features, (3, 5), {"target": 2}, shared=False, dropout=0.0)
    assert recogniser.heads["target"].in_features == inputs
    assert recogniser({"target": (torch.randn(4, 3), torch.randn(4, 5))})["target"].shape == (4, 2)


def test_a_head_sees_phi_before_clicks_less_what_dropout_takes(build):
    _, _, network = build("MTMDD-VM", dropout=0.375)
    seen, phi = [], []
    network.recogniser.heads["target"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network.backbone.register_forward_hook(lambda _, __, visual: phi.append(visual.phi))
    pixels = images(5, 60)
    network.train()(pixels)
    zero = (seen[0] == 0).float().mean().item()
    assert zero == pytest.approx(0.375, abs=0.03)  # share of 60 x 139 values
    norm = (phi[0][5:] - phi[0][5:].mean(0)) / (phi[0][5:].var(0, unbiased=False) + 1e-5).sqrt()
    kept = seen[0][:, :-K] != 0
    torch.testing.assert_close(seen[0][:, :-K][kept], (norm / 0.625)[kept], rtol=1e-3, atol=1e-5)
    network.eval()(pixels)
    assert (seen[1] == 0).float().mean() < 0.1


def test_each_domain_has_the_logits_of_its_own_head(build):
    _, _, network = build("MTMDD-VM", categories={**CATEGORIES, "source": ["ant", "eel", "bee"]})
    with torch.no_grad():
        for number, domain in enumerate(("source", "target")):
            network.recogniser.heads[domain].weight.zero_()
            network.recogniser.heads[domain].bias.copy_(torch.arange(3.0) + 10 * number)
    found = network.eval()(images(2, 4))
    assert found["source"].logits.tolist() == [[0, 1, 2]] * 2
    assert found["target"].logits.tolist() == [[10, 11, 12]] * 4


def test_normalisation_is_as_the_parameters_say(build):
    _, _, network = build("MTMDD-VM", affine_normalisation=True, shared_normalisation=True)
    assert [name for name, _ in network.recogniser.visual_norms.named_parameters()] == ["shared.weight", "shared.bias"]
    _, _, network = build("MTMDD-VM")
    assert not list(network.recogniser.visual_norms.parameters())
    assert set(network.recogniser.visual_norms) == {"source", "target"}


def test_a_later_phase_has_a_recogniser_of_its_own(build):
    _, _, first = build("MTTDL", 0)
    _, _, later = build("MTTDL", 1)
    before = {name: value.clone() for name, value in later.recogniser.state_dict().items()}
    with torch.no_grad():
        for value in first.parameters():
            value.add_(1)
    copy_parts(later, first.state_dict())
    assert all(torch.equal(value, before[name]) for name, value in later.recogniser.state_dict().items())


def test_the_shared_head_is_one(build):
    _, _, network = build("MTMDD-VM-star")
    assert list(network.recogniser.heads) == ["shared"]
    assert set(network.recogniser.click_norms) == {"source", "target"}


def test_a_shared_head_needs_the_same_categories(build):
    with pytest.raises(UserError, match=r"only in the source: 1, such as \['eel'\]; only in the target: 2, such as"):
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


# --- factors on the click branch's gradients


def joint_gradients(build, objective_params, **factors: float) -> dict[str, torch.Tensor]:
    """Return the gradients of a step's recognition and click losses, apart and summed, by parameter."""
    objective_values = objective_params.model_copy(update=factors)
    recipe, phase, network = build("MTMDD-VM", objective=objective_values)
    network.eval()  # no dropout, so that two networks of one seed can be compared
    pixels = images(5, 4)
    clicks = torch.rand(5, K, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 2, 0, 1])
    batch = {
        "source": DomainBatch(pixels["source"], labels, clicks),
        "target": DomainBatch(pixels["target"], labels[:4], None),
    }
    total, _ = objective(build_terms(phase.losses, recipe.position), network(pixels), batch)
    total.backward()
    return {name: weight.grad for name, weight in network.named_parameters()}


def written_out_gradients(build, objective_params, g: float, c: float, b: float) -> dict[str, torch.Tensor]:
    """Return the gradients of the docstring's formulas, by separate passes of autograd through a plain network."""
    recipe, phase, network = build("MTMDD-VM", objective=objective_params)
    network.eval()
    pixels = images(5, 4)
    clicks = torch.rand(5, K, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 2, 0, 1])
    omega, phi = network.backbone(torch.cat(list(pixels.values())))
    predicted = network.embedding(omega)
    # leaves that stand for phi and v^
    leaf_phi, leaf_clicks = phi.detach().requires_grad_(), predicted.detach().requires_grad_()
    logits = network.recogniser({"source": (leaf_phi[:5], leaf_clicks[:5]), "target": (leaf_phi[5:], leaf_clicks[5:])})
    prediction = {d: Prediction(logits[d], leaf) for d, leaf in (("source", leaf_clicks[:5]), ("target", None))}
    batch = {
        "source": DomainBatch(pixels["source"], labels, clicks),
        "target": DomainBatch(pixels["target"], labels[:4], None),
    }
    terms = build_terms(phase.losses, recipe.position)
    recognition, _ = objective([term for term in terms if term.kind == "recognition"], prediction, batch)
    of_clicks, _ = objective([term for term in terms if term.kind != "recognition"], prediction, batch)
    heads = dict(network.recogniser.named_parameters(prefix="recogniser"))
    at_phi, r_at_clicks, *at_heads = torch.autograd.grad(recognition, [leaf_phi, leaf_clicks, *heads.values()])
    (p_at_clicks,) = torch.autograd.grad(of_clicks, [leaf_clicks])
    at_clicks = g * r_at_clicks + c * p_at_clicks
    embedding = dict(network.embedding.named_parameters(prefix="embedding"))
    through, *at_embedding = torch.autograd.grad(predicted, [omega, *embedding.values()], at_clicks, retain_graph=True)
    backbone = dict(network.backbone.named_parameters(prefix="backbone"))
    of_phi = torch.autograd.grad(phi, backbone.values(), at_phi, retain_graph=True)
    of_omega = torch.autograd.grad(omega, backbone.values(), b * through, allow_unused=True)
    found = dict(zip(heads, at_heads, strict=True)) | dict(zip(embedding, at_embedding, strict=True))
    for name, one, other in zip(backbone, of_phi, of_omega, strict=True):
        found[name] = one if other is None else one + other
    return found


@pytest.mark.parametrize(
    ("factors", "g", "c", "b"),
    [
        ({}, 1, 1, 1),
        ({"recogniser_gradient": 0.1}, 0.1, 1, 1),
        ({"recogniser_gradient": 0.0}, 0, 1, 1),
        ({"click_gradient": 10.0}, 1, 10, 0.1),
        ({"click_gradient": 10.0, "convnet_gradient": 1.0}, 1, 10, 1),
        ({"convnet_gradient": 0.3}, 1, 1, 0.3),
        ({"recogniser_gradient": 0.5, "click_gradient": 4.0, "convnet_gradient": 0.0}, 0.5, 4, 0),
    ],
)
def test_gradients_are_those_of_the_formulas(build, objective_params, factors, g, c, b):
    found = joint_gradients(build, objective_params, **factors)
    expected = written_out_gradients(build, objective_params, g, c, b)
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        rounding = 1e-5 * gradient.abs().max().item()  # single precision, over sums of hundreds of terms
        torch.testing.assert_close(
            found[name], gradient, rtol=1e-4, atol=rounding, msg=lambda text, n=name: f"{n}: {text}"
        )


def test_with_the_inverse_factor_the_click_losses_reach_the_convnet_unchanged(build, objective_params):
    """With the clicks alone, c = 8 and b = 1/8 are exact in binary, so the ConvNet's gradients keep their bits."""
    pixels, found = images(6), []
    clicks = torch.rand(6, K, generator=torch.Generator().manual_seed(1))
    for factor in (1.0, 8.0):
        values = objective_params.model_copy(update={"click_gradient": factor})
        recipe, phase, network = build("TDL", objective=values)
        batch = {"source": DomainBatch(pixels["target"], torch.zeros(6, dtype=torch.int64), clicks)}
        network.eval()
        total, _ = objective(build_terms(phase.losses, recipe.position), network({"source": pixels["target"]}), batch)
        total.backward()
        found.append({name: w.grad for name, w in network.named_parameters() if w.grad is not None})
    for name, gradient in found[0].items():
        assert torch.equal(found[1][name], gradient * (8 if name.startswith("embedding") else 1)), name


def test_factors_change_no_value_and_ones_no_graph(build, objective_params):
    factors = {"recogniser_gradient": 0.1, "click_gradient": 10.0}
    pixels = images(5, 4)
    _, _, plain = build("MTMDD-VM")
    _, _, scaled = build("MTMDD-VM", objective=objective_params.model_copy(update=factors))
    assert scaled.click_branch == ClickBranchParams(**factors, convnet_gradient=0.1)
    for domain, prediction in plain.eval()(pixels).items():
        other = scaled.eval()(pixels)[domain]
        assert torch.equal(prediction.logits, other.logits)
        assert torch.equal(prediction.clicks, other.clicks)
        assert "ScaledGradient" not in type(prediction.clicks.grad_fn).__name__
        assert "ScaledGradient" in type(other.clicks.grad_fn).__name__


def test_a_later_phase_takes_over_backbone_and_embedding(build):
    _, _, first = build("TDL", 0)
    with torch.no_grad():
        for value in first.parameters():
            value.add_(1)
    _, phase, later = build("TDL", 2, second_step="one ConvNet")
    assert copy_parts(later, first.state_dict()) == ["backbone", "embedding"]
    assert phase.frozen == ["embedding"]
    for name, value in first.state_dict().items():
        assert torch.equal(later.state_dict()[name], value), name


def test_a_second_step_predicts_as_the_first_step_ended_and_trains_another_convnet(build):
    """Eq. 5 with v^ = E* theta1*(x): the same bits as the first step's network in evaluation mode."""
    _, _, first = build("TDL", 0)
    pixels = images(6)
    first.train()({"source": pixels["target"]})  # statistics of its own, which the predictor has to use
    with torch.no_grad():
        for value in first.parameters():
            value.add_(0.01)
    _, _, later = build("TDL", 2)
    own = {name: value.clone() for name, value in later.backbone.state_dict().items()}
    assert copy_parts(later, first.state_dict(), ["predictor"]) == ["predictor"]
    expected = first.eval()({"source": pixels["target"]})["source"].clicks
    before = {name: value.clone() for name, value in later.predictor.state_dict().items()}
    later.train()
    for _ in range(2):
        prediction = later(pixels)["target"]
        assert torch.equal(prediction.clicks, expected)  # neither dropout nor the batch's statistics
    assert all(torch.equal(value, before[name]) for name, value in later.predictor.state_dict().items())
    assert not any(weight.requires_grad for weight in later.predictor.parameters())
    moved = [name for name, value in later.backbone.state_dict().items() if not torch.equal(value, own[name])]
    assert moved
    assert all(name.rsplit(".", 1)[1] in ("running_mean", "running_var", "num_batches_tracked") for name in moved)
    # phi is the second ConvNet's, v^ the first's
    seen = []
    later.recogniser.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]["target"]))
    later.eval()(pixels)
    (phi, clicks) = seen[0]
    assert torch.equal(phi, later.backbone(pixels["target"]).phi)
    assert torch.equal(clicks, expected)


def test_the_second_convnet_starts_as_a_network_without_clicks_does(build):
    _, _, visual = build("VGGimg", 1)
    _, _, later = build("TDL", 2)
    for name, value in visual.backbone.state_dict().items():
        assert torch.equal(later.backbone.state_dict()[name], value), name


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
