"""EfficientNet-Lite0, which torchvision lacks: MobileNetV2's network with kernels of 3 and 5 and other widths.

EfficientNet-B0 without squeeze-excitation, with ReLU6 for swish, and with the first and the last convolution unscaled.
Layers and weights are named as in torchvision's MobileNetV2. Published weights were trained with TensorFlow's padding,
which pads less on the left and above; at sides of 32 k + 1 pixels (129, 161, 193, 225) it is this network's.

Reference: Tan and Le, "EfficientNet" (2019); Liu, "Higher accuracy on vision models with EfficientNet-Lite" (2020);
Sandler et al., "MobileNetV2" (2018).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn
from torchvision.ops.misc import Conv2dNormActivation


class Blocks(NamedTuple):
    """A row of inverted residual blocks of the same width."""

    expansion: int  # of the block's input, in its hidden layer
    width: int  # output channels
    number: int
    stride: int  # of the first block
    kernel: int


EFFICIENTNET_LITE0 = (
    Blocks(1, 16, 1, 1, 3),
    Blocks(6, 24, 2, 2, 3),
    Blocks(6, 40, 2, 2, 5),
    Blocks(6, 80, 3, 2, 3),
    Blocks(6, 112, 3, 1, 5),
    Blocks(6, 192, 4, 2, 5),
    Blocks(6, 320, 1, 1, 3),
)


class InvertedResidual(nn.Module):
    """Expand by 1 x 1, convolve each channel, project by 1 x 1; add the input where shapes agree.

    Shape:
        input: (B, C, H, W); output: (B, width, ceil(H / stride), ceil(W / stride))
    """

    def __init__(self, channels: int, width: int, stride: int, expansion: int, kernel: int) -> None:
        super().__init__()
        hidden = channels * expansion
        expand = [] if expansion == 1 else [Conv2dNormActivation(channels, hidden, 1, activation_layer=nn.ReLU6)]
        self.conv = nn.Sequential(
            *expand,
            Conv2dNormActivation(hidden, hidden, kernel, stride, groups=hidden, activation_layer=nn.ReLU6),
            nn.Conv2d(hidden, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.adds_input = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        return x + self.conv(x) if self.adds_input else self.conv(x)


class InvertedResidualNet(nn.Module):
    """A classifier of inverted residual blocks.

    Convolutions are initialised as in the published code: with a variance of 2 / (kernel side^2 x channels of a group).

    Args:
        rows: the rows of blocks, from the image on.
        num_classes: C.

    Shape:
        input: (B, 3, H, W); output: logits (B, C)
    """

    def __init__(self, rows: Sequence[Blocks], num_classes: int = 1000) -> None:
        super().__init__()
        layers: list[nn.Module] = [Conv2dNormActivation(3, 32, 3, 2, activation_layer=nn.ReLU6)]
        channels = 32
        for row in rows:
            for number in range(row.number):
                stride = row.stride if number == 0 else 1
                layers.append(InvertedResidual(channels, row.width, stride, row.expansion, row.kernel))
                channels = row.width
        layers.append(Conv2dNormActivation(channels, 1280, 1, activation_layer=nn.ReLU6))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, num_classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                outputs = module.kernel_size[0] ** 2 * module.out_channels // module.groups
                nn.init.normal_(module.weight, 0, math.sqrt(2 / outputs))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        return self.classifier(self.features(images).mean(dim=(2, 3)))
