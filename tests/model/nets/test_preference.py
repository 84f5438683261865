"""The auto-encoder of histories and the discriminator."""

import pytest
import torch
from torch import nn

from model.nets.preference import PreferenceAutoencoder, discriminator


def by_hand(net: PreferenceAutoencoder, history: torch.Tensor, skips: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Run encoder 5-4-3-2 (tanh) and decoder 3-4 with skips, layer by layer."""
    linear = [module for module in net.modules() if isinstance(module, nn.Linear)]
    four = linear[0](history).clamp(min=0)
    three = linear[1](four).clamp(min=0)
    code = torch.tanh(linear[2](three))
    x = linear[3](code).clamp(min=0)
    x = torch.cat([x, three], 1) if 3 in skips else x
    x = linear[4](x).clamp(min=0)
    x = torch.cat([x, four], 1) if 4 in skips else x
    return code, linear[5](x)


@pytest.mark.parametrize("skips", [[], [4], [4, 3]])
def test_layers_and_skips_are_those_written_out(skips) -> None:
    torch.manual_seed(0)
    net = PreferenceAutoencoder(5, [4, 3, 2], [3, 4], skips, "tanh")
    history = torch.rand(7, 5)
    code, logits = by_hand(net, history, skips)
    found = net(history)
    assert torch.equal(found.code, code)
    assert torch.equal(found.logits, logits)


def test_the_code_may_be_relu() -> None:
    torch.manual_seed(0)
    codes = PreferenceAutoencoder(5, [4, 3], [4], [4], "relu")(torch.rand(40, 5)).code
    assert (codes >= 0).all()
    assert (codes == 0).any()


def test_a_skip_must_join_equal_widths() -> None:
    with pytest.raises(ValueError, match=r"skips \[2\]: each must be a width of encoder"):
        PreferenceAutoencoder(5, [4, 2], [4], [2], "tanh")


def test_every_parameter_gets_a_gradient() -> None:
    torch.manual_seed(0)
    net = PreferenceAutoencoder(6, [16, 8, 4], [4, 8, 16], [4, 8, 16], "tanh")
    net(torch.rand(9, 6)).logits.square().mean().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in net.parameters())


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_the_discriminator_is_a_chain_of_layers(slope) -> None:
    torch.manual_seed(0)
    net = discriminator(5, [4, 3], slope)
    layers = [module for module in net if isinstance(module, nn.Linear)]
    x = torch.rand(6, 5)
    expected = x
    for layer in layers[:-1]:
        expected = layer(expected)
        expected = torch.where(expected > 0, expected, slope * expected)
    assert torch.allclose(net(x), layers[-1](expected))
    assert [layer.out_features for layer in layers] == [4, 3, 1]
