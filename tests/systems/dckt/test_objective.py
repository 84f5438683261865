"""Tests of the losses and their sum."""

import pytest
import torch
from dckt_runs import OBJECTIVE

from model.losses.gaussian_mmd import GaussianMMD
from systems.dckt.network import Seen
from systems.dckt.objective import domain_losses, pretraining_loss, transfer_loss


def seen(number: int, categories: int, seed: int) -> Seen:
    random = torch.Generator().manual_seed(seed)
    sizes = [(number, 5)] * 4 + [(2 * number, 5)] * 2 + [(2 * number, categories)]
    return Seen(*(seed + torch.randn(size, generator=random) for size in sizes))


SOURCE, TARGET = seen(4, 3, 0), seen(6, 2, 1)
LABELS, OTHERS = torch.tensor([0, 2, 1, 1]), torch.tensor([1, 0, 0, 1, 1, 0])


def semantic(one: Seen, labels: torch.Tensor) -> float:
    """Mean -log p of images plus that of texts, by a loop."""
    probabilities = one.logits.softmax(dim=1).tolist()
    number, total = len(labels), 0.0
    for place, label in enumerate([*labels.tolist(), *labels.tolist()]):
        total -= float(torch.tensor(probabilities[place][label]).log())
    return total / number


def pairs(one: Seen) -> float:
    """1 / (2 N) sum of squared distances at fc6 and fc7, by a loop."""
    total = 0.0
    for image, text in ((one.image_fc6, one.text_fc6), (one.image_fc7, one.text_fc7)):
        for row, other in zip(image.tolist(), text.tolist(), strict=True):
            total += sum((a - b) ** 2 for a, b in zip(row, other, strict=True))
    return total / (2 * len(one.image_fc6))


def test_the_losses_of_a_domain() -> None:
    found = domain_losses(SOURCE, LABELS)
    assert found["semantic"].item() == pytest.approx(semantic(SOURCE, LABELS), rel=1e-5)
    assert found["pairs"].item() == pytest.approx(pairs(SOURCE), rel=1e-5)
    total, components = pretraining_loss(SOURCE, LABELS, OBJECTIVE)
    assert total.item() == pytest.approx(semantic(SOURCE, LABELS) + 0.01 * pairs(SOURCE), rel=1e-5)
    assert set(components) == {"semantic", "pairs"}


def test_the_transfer_adds_the_discrepancies_of_its_levels() -> None:
    measure = GaussianMMD()
    media = sum(measure(SOURCE[layer], TARGET[layer]).item() for layer in range(4))
    fc8, fc9 = measure(SOURCE.fc8, TARGET.fc8).item(), measure(SOURCE.fc9, TARGET.fc9).item()
    within = 0.2 * semantic(SOURCE, LABELS) + semantic(TARGET, OTHERS) + 0.01 * (pairs(SOURCE) + pairs(TARGET))
    for weights, expected in [
        ({}, within + media + fc8 + 2 * fc9),
        ({"fc8": 0.0, "fc9": 0.0}, within + media),
        ({"media": 0.0}, within + fc8 + 2 * fc9),
        ({"media": 0.0, "fc8": 0.0, "fc9": 0.0}, within),
    ]:
        total, components = transfer_loss(SOURCE, TARGET, LABELS, OTHERS, OBJECTIVE.model_copy(update=weights))
        assert total.item() == pytest.approx(expected, rel=1e-5)
        left_out = {f"MMD {name}" for name in weights}
        assert set(components) & {"MMD media", "MMD fc8", "MMD fc9"} == {"MMD media", "MMD fc8", "MMD fc9"} - left_out


def test_the_estimator_is_an_option() -> None:
    one, other = seen(6, 3, 0), TARGET
    labels = torch.tensor([0, 2, 1, 1, 0, 2])
    quadruples = OBJECTIVE.model_copy(update={"estimator": "quadruples"})
    torch.manual_seed(1)
    found, _ = transfer_loss(one, other, labels, OTHERS, quadruples)
    torch.manual_seed(1)
    again, _ = transfer_loss(one, other, labels, OTHERS, quadruples)
    torch.manual_seed(2)
    later, _ = transfer_loss(one, other, labels, OTHERS, quadruples)
    assert found == again != later
