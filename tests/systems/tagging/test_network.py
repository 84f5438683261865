"""The networks: what is joined where, both variants of the layers, and who gets a gradient."""

import numpy as np
import pytest
import torch
from tagging_data import LOSS, NETWORK
from torch import nn

from model.data.histories import relative
from model.recommenders.counts import interpolated
from systems.tagging.config import NetworkParams
from systems.tagging.network import (
    DirectHistory,
    TagNetwork,
    WithDiscriminator,
    build_discriminator,
    build_network,
)

NUM_TAGS = 8


def built(layers: str = "paper", features: int | None = 5, history: bool = True, general: bool = True) -> TagNetwork:
    torch.manual_seed(0)
    params = NetworkParams.model_validate({**NETWORK.model_dump(), "layers": layers})
    return build_network(params, NUM_TAGS, features, history, general)


def batch(features: int | None = 5) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    pictures = torch.randint(0, 256, (6, 3, 16, 16)) if features is None else torch.randn(6, features)
    return pictures, torch.rand(6, NUM_TAGS)


@pytest.mark.parametrize("layers", ["paper", "code"])
@pytest.mark.parametrize("features", [5, None])
def test_tags_of_pictures_and_features_in_both_variants(layers, features) -> None:
    network = built(layers, features).eval()
    pictures, history = batch(features)
    found = network(pictures, history)
    assert found.personal.shape == found.general.shape == found.preference.logits.shape == (6, NUM_TAGS)
    assert torch.equal(network.recommend(pictures, history), found.personal)
    # general tags know nothing of the user, personal ones do
    other = network(pictures, history.flip(0))
    assert torch.equal(other.general, found.general)
    assert not torch.equal(other.personal, found.personal)
    kernels = {layer.kernel_size for layer in network.personal.modules() if isinstance(layer, nn.Conv2d)}
    assert kernels == ({(1, 1)} if layers == "code" else {(3, 3)})


def test_the_code_stands_at_each_place_beside_the_map() -> None:
    network = built(features=None).eval()
    pictures, history = batch(None)
    seen = network.visual(pictures).omega
    code = network.preference.encode(history)[-1]
    places = torch.stack([torch.stack([code] * seen.shape[2], 2)] * seen.shape[3], 3)
    expected = network.personal(torch.cat([seen, places], 1))
    assert torch.allclose(network(pictures, history).personal, expected)


def test_without_history_and_general_head_there_are_no_such_parts() -> None:
    network = built(history=False, general=False).eval()
    found = network(*batch())
    assert found.general is None
    assert found.preference is None
    assert not any(name.startswith(("preference", "general")) for name in network.state_dict())


def test_the_direct_history_is_the_interpolated_share_beside_everybodys() -> None:
    counts, shares = np.array([[6, 2, 0, 1], [0, 0, 0, 0], [0, 3, 0, 0]]), np.array([0.1, 0.2, 0.3, 0.4])
    direct = DirectHistory(4)
    direct.shares = torch.from_numpy(shares).float()
    history = torch.from_numpy(relative(counts))
    largest = np.array([[6], [1], [3]])
    for weight, factor in ((1.0, 1.0), (0.5, 2.0)):
        direct.log_weight.data, direct.log_factor.data = (torch.tensor(np.log(one)) for one in (weight, factor))
        # w is in units of the largest count
        rows = [interpolated(counts[[row]], shares, weight * largest[row, 0])[0] for row in range(3)]
        expected = factor * np.log(np.stack(rows) / shares)
        assert direct(history).detach().numpy() == pytest.approx(expected, abs=1e-5)
    assert (direct(history)[1] == 0).all()


def test_the_direct_history_is_added_to_personal_tags_alone() -> None:
    torch.manual_seed(0)
    params = NetworkParams.model_validate({**NETWORK.model_dump(), "direct": "history"})
    network = build_network(params, NUM_TAGS, 5, True, True).eval()
    found, without = network(*batch()), built().eval()(*batch())
    assert torch.allclose(found.personal - without.personal, network.direct(batch()[1]), atol=1e-6)
    assert torch.equal(found.general, without.general)
    assert torch.equal(network.recommend(*batch()), found.personal)
    assert build_network(params, NUM_TAGS, 5, False, True).direct is None


def judged(adversary: str = "general") -> WithDiscriminator:
    network = built()
    return WithDiscriminator(network, build_discriminator(NETWORK, NUM_TAGS), adversary, LOSS)  # type: ignore[arg-type]


def test_the_discriminators_half_gives_the_network_no_gradient_and_leaves_its_statistics() -> None:
    module = judged()
    before = {name: value.clone() for name, value in module.network.named_buffers()}
    answers = module(*batch(), torch.ones(6, NUM_TAGS))
    (answers.real.sum() + answers.generated.sum()).backward()
    assert all(weight.grad is None for weight in module.network.parameters())
    assert all(weight.grad is not None for weight in module.judge.parameters())
    assert module.network.training
    assert all(torch.equal(value, before[name]) for name, value in module.network.named_buffers())


@pytest.mark.parametrize(("adversary", "reached"), [("general", "general"), ("personal", "personal")])
def test_the_networks_half_gives_the_discriminator_no_gradient(adversary, reached) -> None:
    module = judged(adversary)
    _, answer = module(*batch())
    answer.sum().backward()
    assert all(weight.grad is None and weight.requires_grad for weight in module.judge.parameters())
    with_gradient = {
        name.split(".")[0] for name, weight in module.network.named_parameters() if weight.grad is not None
    }
    # the adversary on general tags never reaches the user's preference
    assert with_gradient == {"visual", reached} | ({"preference"} if adversary == "personal" else set())


def test_people_and_network_are_not_told_apart_by_exact_zeros() -> None:
    module, seen = judged(), []
    module.judge.register_forward_hook(lambda judge, inputs, output: seen.append(inputs[0]))
    labels = (torch.arange(6 * NUM_TAGS).view(6, NUM_TAGS) % 3 == 0).float()
    module(*batch(), labels)
    real, generated = seen
    for tags in (real, generated):
        assert ((tags > 0) & (tags < 1)).all()
    assert real[labels == 0].max() < 0.3
    assert real[labels == 1].min() >= 0.7


def test_histories_differ_more_behind_all_layers_than_with_torchs_initialisation() -> None:
    params = NetworkParams.model_validate(
        {
            **NETWORK.model_dump(),
            "encoder": [64, 32, 16],
            "decoder": [32, 64],
            "skips": [32, 64],
            "channels": 16,
            "hidden": 32,
        }
    )
    torch.manual_seed(0)
    network = build_network(params, 50, 5, True, True).eval()
    history, spreads = torch.eye(50)[:12], []
    for _ in range(2):
        spreads.append(network.recommend(torch.zeros(12, 5), history).std(dim=0).mean().item())
        for layer in network.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                layer.reset_parameters()
    of_ours, of_torchs = spreads
    assert of_ours > 20 * of_torchs
