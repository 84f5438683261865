"""The sizes of every family's maps, for the tests of stages and of their fusion."""

from typing import NamedTuple


class Case(NamedTuple):
    """A family's smallest member, an image size, and (channels, side, stride) from the papers of these networks."""

    name: str
    size: int
    shapes: list[tuple[int, int, int]]


def shapes(channels: str, sides: str, first_stride: int) -> list[tuple[int, int, int]]:
    pairs = zip(channels.split(), sides.split(), strict=True)
    return [(int(width), int(side), first_stride * 2**number) for number, (width, side) in enumerate(pairs)]


CASES = [
    Case("plain", 61, shapes("32 64 128", "31 15 7", 2)),
    Case("vgg11", 70, shapes("64 128 256 512 512 512", "70 35 17 8 4 2", 1)),
    Case("alexnet", 101, shapes("64 192 256 256", "24 11 5 2", 4)),
    Case("squeezenet1_1", 70, shapes("64 128 256 512", "34 17 8 4", 2)),
    Case("resnet18", 70, shapes("64 64 128 256 512", "35 18 9 5 3", 2)),
    Case("resnext50_32x4d", 70, shapes("64 256 512 1024 2048", "35 18 9 5 3", 2)),
    Case("wide_resnet50_2", 70, shapes("64 256 512 1024 2048", "35 18 9 5 3", 2)),
    Case("regnet_y_400mf", 70, shapes("32 48 104 208 440", "35 18 9 5 3", 2)),
    Case("shufflenet_v2_x0_5", 70, shapes("24 24 48 96 1024", "35 18 9 5 3", 2)),
    Case("mnasnet0_5", 70, shapes("8 16 24 48 1280", "35 18 9 5 3", 2)),
    Case("mobilenet_v2", 70, shapes("16 24 32 96 1280", "35 18 9 5 3", 2)),
    Case("mobilenet_v3_small", 70, shapes("16 16 24 48 576", "35 18 9 5 3", 2)),
    Case("mobilenet_v3_large", 70, shapes("16 24 40 112 960", "35 18 9 5 3", 2)),
    Case("efficientnet_b0", 70, shapes("16 24 40 112 1280", "35 18 9 5 3", 2)),
    Case("efficientnet_lite0", 161, shapes("16 24 40 112 1280", "81 41 21 11 6", 2)),
    Case("densenet121", 70, shapes("64 256 512 1024 1024", "35 18 9 4 2", 2)),
    Case("convnext_tiny", 70, shapes("96 192 384 768", "17 8 4 2", 4)),
    Case("swin_t", 50, shapes("96 192 384 768", "12 6 3 2", 4)),
    Case("vit_b_32", 96, shapes("768", "3", 32)),
]
