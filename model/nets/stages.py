"""ConvNets that return the map of every stage, from fine to coarse, besides omega and phi.

A stage's map is the last one before the resolution falls; the last stage's map is omega. torchvision's
`create_feature_extractor` makes `ConvNet.features` return all maps in one pass. Nodes are named by the parts of
`features`; omega's node is the last part.

| family | nodes before omega | strides, omega's last |
|---|---|---|
| plain | the layer before each max pooling | 2, 4, 8 |
| vgg | the layer before each max pooling | 1, 2, 4, 8, 16, 32 |
| alexnet | the layer before each max pooling | 4, 8, 16, 32 |
| squeezenet | the layer before each max pooling | 2, 4, 8, 16 |
| resnet, resnext, wide_resnet | relu, layer1, layer2, layer3 (conv1, conv2_x, conv3_x, conv4_x) | 2, 4, 8, 16, 32 |
| regnet | stem, trunk_output.block1, .block2, .block3 | 2, 4, 8, 16, 32 |
| shufflenet | conv1, maxpool, stage2, stage3 | 2, 4, 8, 16, 32 |
| mnasnet | 7, 8, 9, 11 | 2, 4, 8, 16, 32 |
| mobilenet_v2 | 1, 3, 6, 13 | 2, 4, 8, 16, 32 |
| mobilenet_v3_large | 1, 3, 6, 12 | 2, 4, 8, 16, 32 |
| mobilenet_v3_small | 0, 1, 3, 8 | 2, 4, 8, 16, 32 |
| efficientnet | 1, 2, 3, 5 | 2, 4, 8, 16, 32 |
| efficientnet_lite0 | 1, 3, 5, 11 | 2, 4, 8, 16, 32 |
| densenet | relu0, denseblock1, denseblock2, denseblock3 | 2, 4, 8, 16, 32 |
| convnext | 1, 3, 5 | 4, 8, 16, 32 |
| swin | features.1, features.3, features.5; channels last, permuted by this module | 4, 8, 16, 32 |
| vit | none | the side of a patch |

Swin's maps before omega are not layer-normalised: torchvision's weights have only one such layer, for omega.

All layers of a ViT have the resolution of the patches, so omega is its only map. Its `Tokens` module is used unchanged:
a single map needs no extraction, and `torch.fx` can't trace the module, because it calls `len` on a batch.

Image sizes that are valid for the ConvNet are valid for its stages. If a size is not a multiple of the strides, the
layers' padding determines whether sides are rounded up or down; `StageNet.shapes` has the sizes.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from base.console import UserError
from model.nets.backbones import ConvNet, TokenNet, Visual, build_backbone
from model.nets.params import BackboneParams


class StageMaps(NamedTuple):
    """The output of a ConvNet with the maps of all stages. B images, D values."""

    maps: tuple[Tensor, ...]  # each (B, C, H, W), from fine to coarse; the last one is omega
    phi: Tensor  # (B, D)


class MapShape(NamedTuple):
    """The size of a stage's map."""

    channels: int
    height: int
    width: int
    stride: int  # distance of neighbouring positions, in pixels of the image


class Halvings(NamedTuple):
    """Where the resolution falls in the ConvNets of a family."""

    nodes: Callable[[nn.Module], tuple[str, ...]]  # returns the names of the maps before omega, from `features`
    first_stride: int  # of the finest map; each later map has twice the stride of the previous map
    channels_last: bool = False  # whether the maps before omega are (B, H, W, C)


def _before_poolings(features: nn.Module) -> tuple[str, ...]:
    """Return the name of the layer before each max pooling."""
    layers = list(features.named_children())
    return tuple(layers[i][0] for i in range(len(layers) - 1) if isinstance(layers[i + 1][1], nn.MaxPool2d))


def _named(*nodes: str) -> Callable[[nn.Module], tuple[str, ...]]:
    return lambda features: nodes


HALVINGS: dict[str, Halvings] = {
    "plain": Halvings(_before_poolings, 2),
    "vgg": Halvings(_before_poolings, 1),
    "alexnet": Halvings(_before_poolings, 4),
    "squeezenet": Halvings(_before_poolings, 2),
    **dict.fromkeys(("resnet", "resnext", "wide_resnet"), Halvings(_named("relu", "layer1", "layer2", "layer3"), 2)),
    "regnet": Halvings(_named("stem", *(f"trunk_output.block{number}" for number in (1, 2, 3))), 2),
    "shufflenet": Halvings(_named("conv1", "maxpool", "stage2", "stage3"), 2),
    "mnasnet": Halvings(_named("7", "8", "9", "11"), 2),
    "mobilenet_v2": Halvings(_named("1", "3", "6", "13"), 2),
    "mobilenet_v3_large": Halvings(_named("1", "3", "6", "12"), 2),
    "mobilenet_v3_small": Halvings(_named("0", "1", "3", "8"), 2),
    "efficientnet_lite0": Halvings(_named("1", "3", "5", "11"), 2),  # before efficientnet: the first that fits is taken
    "efficientnet": Halvings(_named("1", "2", "3", "5"), 2),
    "densenet": Halvings(_named("relu0", "denseblock1", "denseblock2", "denseblock3"), 2),
    "convnext": Halvings(_named("1", "3", "5"), 4),
    "swin": Halvings(_named("features.1", "features.3", "features.5"), 4, channels_last=True),
}


class StageNet(ConvNet):
    """A ConvNet that also returns the maps of its stages. Its weights have the same names as a ConvNet's.

    Args:
        features: normalised images to a dict of maps, from fine to coarse; omega is the last.
        head: omega to phi.
        image_size: side of the images, pixels; determines the sizes of the maps.
        strides: of the maps.
        channels_last: whether the maps before omega are (B, H, W, C).

    Attributes:
        shapes: of the maps, from fine to coarse.

    Shape:
        input: uint8 (B, 3, image_size, image_size); output: :class:`Visual`; output of `stages`: :class:`StageMaps`
    """

    def __init__(
        self,
        features: nn.Module,
        head: nn.Module,
        image_size: int,
        strides: Sequence[int],
        channels_last: bool = False,
    ) -> None:
        self.channels_last = channels_last  # set first, because ConvNet's constructor calls `run_normalised`
        super().__init__(features, head, image_size)
        self.shapes = self._measure_stages(image_size, strides)

    def stages(self, images: Tensor) -> StageMaps:
        """Return the maps of all stages and phi, in one pass."""
        return self.run_stages_normalised((images - self.mean) / self.std)

    def run_normalised(self, pixels: Tensor) -> Visual:
        """Return omega and phi of normalised images."""
        maps, phi = self.run_stages_normalised(pixels)
        return Visual(maps[-1], phi)

    def run_stages_normalised(self, pixels: Tensor) -> StageMaps:
        """Return the maps of all stages and phi of normalised images."""
        *finer, omega = self.features(pixels).values()
        if self.channels_last:
            finer = [stage.permute(0, 3, 1, 2) for stage in finer]
        return StageMaps((*finer, omega), self.head(omega))

    def __deepcopy__(self, memo: dict[int, Any]) -> "StageNet":
        """Return a copy with each part's mode kept: torchvision would put a copied extractor into training mode."""
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
        parts = dict(copied.named_modules())
        for name, part in self.named_modules():
            parts[name].train(part.training)
        return copied

    def _measure_stages(self, image_size: int, strides: Sequence[int]) -> tuple[MapShape, ...]:
        was_training = self.training
        self.eval()
        with torch.no_grad():
            maps = self.stages(torch.zeros(1, 3, image_size, image_size)).maps
        self.train(was_training)
        sizes = [stage.shape[1:] for stage in maps]
        return tuple(MapShape(c, h, w, stride) for (c, h, w), stride in zip(sizes, strides, strict=True))


class TokenStageNet(StageNet, TokenNet):
    """A ViT, whose `features` return tokens: the patches are its only map."""

    def run_stages_normalised(self, pixels: Tensor) -> StageMaps:
        """Return the patches as the only map, and the class token as phi."""
        omega, phi = TokenNet.run_normalised(self, pixels)
        return StageMaps((omega,), phi)


def build_stages(network: BackboneParams, load_weights: bool = True) -> StageNet:
    """Build the ConvNet that the parameters name, with its start weights and the maps of its stages.

    Its weights have the same names and, from the same seed, the same values as `build_backbone`'s, so each network can
    load the other's weights.

    Args:
        network: backbone, weights and image_size are read.
        load_weights: False keeps the initial weights, for a network whose weights are loaded later as a whole.

    Raises:
        UserError: the backbone is unknown, its weights don't exist or don't fit it (`build_backbone`), or parts of it
            are frozen.
    """
    for name in ("frozen_blocks", "frozen_statistics"):
        if getattr(network, name):
            raise UserError(
                f"network.{name} = {getattr(network, name)}: a ConvNet that returns its stages' maps can't freeze"
                " parts; use null"
            )
    backbone = build_backbone(network, load_weights)
    if isinstance(backbone, TokenNet):
        tokens: Any = backbone.features
        return TokenStageNet(tokens, backbone.head, network.image_size, tokens.conv_proj.stride[:1])
    from torchvision.models.feature_extraction import create_feature_extractor  # takes seconds to import

    halvings = next(found for family, found in HALVINGS.items() if network.backbone.startswith(family))
    *_, (last, _) = backbone.features.named_children()
    nodes = [*halvings.nodes(backbone.features), last]
    features = create_feature_extractor(backbone.features, nodes)
    strides = [halvings.first_stride * 2**number for number in range(len(nodes))]
    return StageNet(features, backbone.head, network.image_size, strides, halvings.channels_last)
