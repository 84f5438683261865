"""The tag perceptron's shapes and gradients, and the sum of word vectors by hand."""

import torch

from model.nets.tags import TagPerceptron, TagVectors

TAGS = torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 1], [1, 1, 0]])


def test_a_perceptron_learns_with_all_its_weights() -> None:
    torch.manual_seed(0)
    net = TagPerceptron(3, 6)
    found = net(TAGS)
    assert found.shape == (4, net.num_features)
    assert (found >= 0).all()
    found.square().sum().backward()
    for name, weight in net.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
    assert sum(weight.numel() for weight in net.parameters()) == 3 * 6 + 6 * 6 + 4 * 6


def test_vectors_are_summed_and_not_learned() -> None:
    net = TagVectors(torch.tensor([[1.0, 2], [0, 0], [0.5, -4]], dtype=torch.float64))
    assert net(TAGS).tolist() == [[1.5, -2], [0, 0], [0.5, -4], [1, 2]]
    assert list(net.parameters()) == []
    assert net.num_features == 2
    assert list(net.state_dict()) == ["vectors"]
