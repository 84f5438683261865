"""Heads for the number of labels: shapes, losses by hand, and that they learn."""

import pytest
import torch

from model.nets.quantity import QuantityClassifier, QuantityRegressor


def test_layers_are_the_papers() -> None:
    net = QuantityRegressor(20)
    shapes = [tuple(weight.shape) for name, weight in net.named_parameters() if name.endswith("weight")]
    assert shapes == [(512, 20), (256, 512), (1, 256)]
    assert net(torch.zeros(3, 20)).shape == (3,)
    assert [layer.p for layer in net.layers if isinstance(layer, torch.nn.Dropout)] == [0.5, 0.5]


def test_losses_by_hand() -> None:
    features = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    counts = torch.tensor([1.0, 4.0, 9.0])
    regressor = QuantityRegressor(4).eval()
    assert regressor.losses(features, counts).tolist() == pytest.approx(
        [(regressor(features)[i].item() - count) ** 2 for i, count in enumerate((1, 4, 9))], rel=1e-5
    )
    classifier = QuantityClassifier(4, most=5).eval()
    logs = classifier.layers(features).log_softmax(dim=1)
    wanted = [-logs[0, 0].item(), -logs[1, 3].item(), -logs[2, 4].item()]  # 9 counts as 5
    assert classifier.losses(features, counts).tolist() == pytest.approx(wanted, rel=1e-5)
    assert classifier(features).tolist() == (logs.argmax(dim=1) + 1).tolist()


@pytest.mark.parametrize("kind", ["regressor", "classifier"])
def test_a_head_learns_to_count(kind: str) -> None:
    torch.manual_seed(2)
    features = (torch.rand(64, 6) < 0.5).float()
    counts = features.sum(dim=1).clamp(min=1)
    net = QuantityRegressor(6, dropout=0.0) if kind == "regressor" else QuantityClassifier(6, 6, dropout=0.0)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.003)
    for _ in range(120):
        optimizer.zero_grad()
        net.losses(features, counts).mean().backward()
        optimizer.step()
    assert ((net.eval()(features) - counts).abs() < 0.5).float().mean() > 0.9
