"""Tests of the networks."""

import pytest
import torch
from dckt_runs import NETWORK

from systems.dckt.network import DomainNetwork, TwinNetworks

PLAIN = NETWORK.model_copy(update={"dropout": 0.0})


def pairs(number: int, images: int = 6, texts: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(number)
    return torch.randn(number, images, generator=random), torch.randn(number, texts, generator=random)


def test_shapes() -> None:
    seen = DomainNetwork(6, 4, 3, NETWORK)(*pairs(5))
    assert [tuple(part.shape) for part in seen] == [(5, 8)] * 4 + [(10, 8)] * 2 + [(10, 3)]
    assert all((part >= 0).all() for part in seen[:6])


def test_media_alone_have_the_codes_that_both_together_have() -> None:
    network = DomainNetwork(6, 4, 3, PLAIN)
    for _ in range(3):
        network(*pairs(9))  # running statistics
    network.eval()
    images, texts = pairs(5)
    together = network(images, texts).logits.softmax(dim=1)
    torch.testing.assert_close(together[:5], network.image_codes(images))
    torch.testing.assert_close(together[5:], network.text_codes(texts))


def test_hidden_layers_are_standardised_over_the_batch_of_both_media() -> None:
    seen = DomainNetwork(6, 4, 3, PLAIN)(*pairs(40))
    network = DomainNetwork(6, 4, 3, PLAIN)
    before = network.fc8[1](network.fc8[0](torch.cat([seen.image_fc7, seen.text_fc7])))
    torch.testing.assert_close(before.mean(dim=0), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(before.var(dim=0, unbiased=False), torch.ones(8), atol=1e-2, rtol=0)


def test_image_features_of_any_scale_are_the_same_if_both_media_are_normalised() -> None:
    network = DomainNetwork(6, 4, 3, PLAIN)
    images, texts = pairs(20)
    expected = network(images, texts).image_fc6
    for changed in (3 * images, 100 * images + 7):
        torch.testing.assert_close(network(changed, texts).image_fc6, expected, atol=1e-3, rtol=0)
    assert not any("image_input" in name for name, _ in network.named_parameters())
    plain = DomainNetwork(6, 4, 3, PLAIN.model_copy(update={"normalise": "texts"}))
    assert isinstance(plain.image_input, torch.nn.Identity)
    assert isinstance(plain.text_input, torch.nn.BatchNorm1d)


def test_twins_share_no_weight_and_see_their_own_domain() -> None:
    source, target = DomainNetwork(6, 4, 3, PLAIN), DomainNetwork(6, 4, 2, PLAIN)
    twins = TwinNetworks(source, target)
    assert len({weight.data_ptr() for weight in twins.parameters()}) == len(list(twins.parameters()))
    one, other = twins(pairs(5), pairs(7))
    assert one.logits.shape == (10, 3)
    assert other.logits.shape == (14, 2)
    assert twins.of("source") is source
    assert twins.of("target") is target
    with pytest.raises(KeyError):
        twins.of("elsewhere")
