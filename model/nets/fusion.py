r"""The maps of a ConvNet's stages joined into one feature: by blocks from fine to coarse, or as pooled maps.

    M~_1 = M_1,   M~_l = M_l + F_l(M~_{l-1}),   f_v = mean of M~_L over its positions

F_l is a 3 x 3 convolution with stride 2, batch normalisation and ReLU, then a 1 x 1 convolution that raises the
channels to those of M_l, batch normalisation and ReLU. The 3 x 3 convolution keeps the channels, which the paper leaves
open. f_v is as long as the mean of M_L alone.

Reference: Niu et al., "Multi-modal multi-scale deep learning for large-scale image annotation" (TIP 2019), section
III-A, eqs. 1 and 2, and Tables V and VI for the alternatives.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from model.nets.stages import MapShape


class FusedStages(nn.Module):
    """Joins stages by blocks from fine to coarse.

    Args:
        shapes: of all stages' maps, from fine to coarse; each side is about half of the side before.
        first: the finest stage that is joined, from 1; with the last stage, f_v is the mean of its map.
        max_pooling: 3 x 3 max pooling instead of the 3 x 3 convolutions, normalisations and ReLUs.

    Attributes:
        num_features: the channels of the last map.

    Shape:
        input: the maps of all stages, each (B, C_l, H_l, W_l); output: (B, num_features)

    Raises:
        ValueError: there is no such stage, or a map is not half as large as the one before.
    """

    def __init__(self, shapes: Sequence[MapShape], first: int = 1, max_pooling: bool = False) -> None:
        super().__init__()
        self.first = _checked(first, shapes)
        self.num_features = shapes[-1].channels
        joined = shapes[first - 1 :]
        self.blocks = nn.ModuleList(_block(fine, coarse, max_pooling) for fine, coarse in pairwise(joined))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return f_v."""
        fused = maps[self.first - 1]
        for block, coarse in zip(self.blocks, maps[self.first :], strict=True):
            fused = coarse + block(fused)
        return fused.mean(dim=(2, 3))


class PooledStages(nn.Module):
    """Joins stages as the concatenated means of their maps; it has no weights.

    Args:
        shapes: of all stages' maps, from fine to coarse.
        first: the finest stage that is joined, from 1.

    Attributes:
        num_features: the sum of the joined maps' channels; 3,904 for ResNet-101.

    Shape:
        input: the maps of all stages, each (B, C_l, H_l, W_l); output: (B, num_features)

    Raises:
        ValueError: there is no such stage.
    """

    def __init__(self, shapes: Sequence[MapShape], first: int = 1) -> None:
        super().__init__()
        self.first = _checked(first, shapes)
        self.num_features = sum(shape.channels for shape in shapes[first - 1 :])

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the concatenated means."""
        return torch.cat([stage.mean(dim=(2, 3)) for stage in maps[self.first - 1 :]], dim=1)


def _checked(first: int, shapes: Sequence[MapShape]) -> int:
    if not 1 <= first <= len(shapes):
        raise ValueError(f"first stage {first}: this ConvNet has the stages 1 to {len(shapes)}")
    return first


def _block(fine: MapShape, coarse: MapShape, max_pooling: bool) -> nn.Sequential:
    """Return F_l, from a map of the size `fine` to one of the size `coarse`."""
    padding = (_padding(fine.height, coarse.height), _padding(fine.width, coarse.width))
    halving: list[nn.Module]
    if max_pooling:
        halving = [nn.MaxPool2d(3, stride=2, padding=padding)]
    else:
        halving = [
            nn.Conv2d(fine.channels, fine.channels, 3, stride=2, padding=padding, bias=False),
            nn.BatchNorm2d(fine.channels),
            nn.ReLU(),
        ]
    raising = [nn.Conv2d(fine.channels, coarse.channels, 1, bias=False), nn.BatchNorm2d(coarse.channels), nn.ReLU()]
    return nn.Sequential(*halving, *raising)


def _padding(fine: int, coarse: int) -> int:
    """Return the padding with which a 3 x 3 window of stride 2 makes a side of `coarse` places from one of `fine`.

    Most families round an odd side up (padding 1); those with 2 x 2 poolings round it down (padding 0).
    """
    for padding in (1, 0):
        if (fine + 2 * padding - 3) // 2 + 1 == coarse:
            return padding
    raise ValueError(f"a map with a side of {fine} is followed by one of {coarse}, which is not half of it")
