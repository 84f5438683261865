"""Fused stages: shapes for every family, the sum written out, and gradients."""

import pytest
import torch
from stage_cases import CASES, Case

from model.nets.fusion import FusedStages, PooledStages
from model.nets.params import BackboneParams
from model.nets.stages import MapShape, build_stages

SHAPES = [
    MapShape(3, 9, 7, 2),
    MapShape(5, 5, 3, 4),
    MapShape(4, 2, 2, 8),
]  # 9 to 5 and 3 to 2 are rounded up, 7 to 3 and 5 to 2 down


def maps(shapes: list[MapShape], number: int = 2) -> list[torch.Tensor]:
    stream = torch.Generator().manual_seed(3)
    return [torch.randn(number, shape.channels, shape.height, shape.width, generator=stream) for shape in shapes]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_familys_maps_can_be_fused(case: Case) -> None:
    shapes = [MapShape(channels, side, side, stride) for channels, side, stride in case.shapes]
    channels = [shape.channels for shape in shapes]
    for first in range(1, len(shapes) + 1):
        for max_pooling in (False, True):
            net = FusedStages(shapes, first, max_pooling).eval()
            assert len(net.blocks) == len(shapes) - first
            with torch.no_grad():
                assert net(maps(shapes)).shape == (2, channels[-1])
        assert PooledStages(shapes, first)(maps(shapes)).shape == (2, sum(channels[first - 1 :]))


def test_resnet_101_at_224_pixels_has_the_papers_numbers() -> None:
    sides, channels = (112, 56, 28, 14, 7), (64, 256, 512, 1024, 2048)
    shapes = [MapShape(width, side, side, 224 // side) for width, side in zip(channels, sides, strict=True)]
    assert PooledStages(shapes).num_features == 3904
    assert FusedStages(shapes).num_features == 2048


def test_the_maps_of_a_real_backbone_are_fused() -> None:
    net = build_stages(BackboneParams(backbone="plain", weights="none", image_size=61, resize=61)).eval()
    with torch.no_grad():
        seen = net.stages(torch.zeros(2, 3, 61, 61, dtype=torch.uint8)).maps
        assert FusedStages(net.shapes).eval()(seen).shape == (2, 128)


def test_the_sum_written_out() -> None:
    torch.manual_seed(1)
    net = FusedStages(SHAPES).eval()
    for block in net.blocks:
        for norm in (block[1], block[4]):
            norm.running_mean.uniform_(-0.2, 0.2)
            norm.running_var.uniform_(0.5, 2)
    first, second, third = maps(SHAPES)
    with torch.no_grad():
        found = net([first, second, third])
        for block, coarse, padding in zip(net.blocks, (second, third), ((1, 0), (0, 1)), strict=True):
            conv, norm, _, raising, last, _ = block
            inner = torch.nn.functional.conv2d(first, conv.weight, stride=2, padding=padding)
            for weight, layer in ((None, norm), (raising.weight, last)):
                inner = inner if weight is None else torch.einsum("bchw,dc->bdhw", inner, weight[:, :, 0, 0])
                mean, deviation = layer.running_mean[:, None, None], (layer.running_var + layer.eps).sqrt()
                inner = (inner - mean) / deviation[:, None, None]
                inner = (inner * layer.weight[:, None, None] + layer.bias[:, None, None]).clamp(min=0)
            first = coarse + inner
    torch.testing.assert_close(found, first.mean(dim=(2, 3)))


def test_max_pooling_keeps_the_largest_of_nine_and_has_fewer_weights() -> None:
    net = FusedStages(SHAPES, max_pooling=True)
    assert [name for name, _ in net.named_parameters() if "blocks.0.0" in name] == []
    pooled = net.blocks[0][0](maps(SHAPES)[0])
    assert pooled[0, 1, 2, 1] == maps(SHAPES)[0][0, 1, 3:6, 2:5].max()


def test_from_the_last_stage_on_it_is_the_mean_of_omega() -> None:
    seen = maps(SHAPES)
    torch.testing.assert_close(FusedStages(SHAPES, 3)(seen), seen[-1].mean(dim=(2, 3)))
    torch.testing.assert_close(PooledStages(SHAPES, 2)(seen)[:, :5], seen[1].mean(dim=(2, 3)))


def test_every_parameter_gets_a_finite_gradient() -> None:
    torch.manual_seed(0)
    net = FusedStages(SHAPES)
    net(maps(SHAPES, 4)).square().sum().backward()
    for name, weight in net.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
        assert weight.grad.abs().sum() > 0, name


def test_unknown_stages_and_maps_that_are_not_halved_are_refused() -> None:
    with pytest.raises(ValueError, match="first stage 4: this ConvNet has the stages 1 to 3"):
        FusedStages(SHAPES, 4)
    with pytest.raises(ValueError, match="first stage 0"):
        PooledStages(SHAPES, 0)
    with pytest.raises(ValueError, match="a side of 9 is followed by one of 2"):
        FusedStages([SHAPES[0], SHAPES[2]])
