"""What is frozen, and the widths of the parts."""

import pytest
import torch
from annotation_data import NETWORK, recipe
from torch import nn

from systems.annotation.network import JointNet, build_cnn, build_fused, build_quantity, build_tags

PICTURES = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
TAGS = torch.tensor([[1.0, 0], [0, 1], [1, 1], [0, 0]])


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_backbone_gets_no_gradient_and_keeps_its_statistics(frozen: bool) -> None:
    torch.manual_seed(0)
    net = build_cnn(NETWORK.model_copy(update={"frozen": frozen}), 3).train()
    before = {name: value.clone() for name, value in net.backbone.named_buffers()}
    net(PICTURES).sum().backward()
    has_gradient = [weight.grad is not None for weight in net.backbone.features.parameters()]
    assert any(has_gradient) != frozen
    kept = [torch.equal(value, before[name]) for name, value in net.backbone.named_buffers() if "running" in name]
    assert all(kept) == frozen
    assert net.head.weight.grad is not None


@pytest.mark.parametrize(
    ("run", "width"),
    [("MS-CNN", 128), ("MS-CNN_fusion=average", 32 + 64 + 128), ("MS-CNN_fusion=average_first=2", 192)],
)
def test_widths_of_fused_features(request: pytest.FixtureRequest, run: str, width: int) -> None:
    net = build_fused(recipe(request, run), 3).eval()
    assert net.num_features == width
    assert net.features(PICTURES).shape == (4, width)


def test_the_joint_network_gives_losses_or_numbers(request: pytest.FixtureRequest) -> None:
    made = recipe(request, "MS-CNN_joint", frozen_blocks=1)  # as `cnn` may have it
    visual, tags = build_fused(made, 3), build_tags(made, ["a", "b"], 3)
    width = visual.num_features + tags.num_features
    net = JointNet(visual, tags, nn.Linear(width, 3), build_quantity(made, width, 4)).eval()
    numbers = net(PICTURES, TAGS)
    losses = net(PICTURES, TAGS, torch.tensor([1.0, 2, 3, 1]))
    torch.testing.assert_close(losses.quantity, (numbers.quantity - torch.tensor([1.0, 2, 3, 1])) ** 2)
    torch.testing.assert_close(losses.logits, numbers.logits)
    learned = {name.partition(".")[0] for name, weight in net.named_parameters() if weight.requires_grad}
    assert learned == {"visual", "tags", "head", "quantity"}
    assert not any(weight.requires_grad for weight in (*visual.backbone.parameters(), *visual.head.parameters()))
