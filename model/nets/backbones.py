"""ConvNets: from images to the last map omega and the deep visual feature phi (Fig. 8).

`plain` is this project's own, for drawn toy images: four convolutions, and as phi one fully connected layer on the
whole map with ReLU, as VGG's fc7 sees every place (a mean over places would leave the word embedding as the only layer
that sees them). `efficientnet_lite0` is EfficientNet-Lite0 (`model.nets.efficientnet_lite`). All others are
torchvision's classifiers by name. Classifiers are cut before the last layer; phi is that layer's input (except for
SqueezeNet, whose last layer is a convolution of omega):

| family | omega | phi |
|---|---|---|
| vgg, alexnet | the last pooling (pool5) | second hidden layer of the classifier (fc7), after ReLU |
| resnet, resnext, wide_resnet | layer4 | omega's mean over its H x W positions |
| regnet, shufflenet, mnasnet, mobilenet_v2, efficientnet, efficientnet_lite0 | the last convolution | omega's mean |
| squeezenet | the last fire module | omega's mean |
| densenet | the last normalisation | mean of ReLU of omega |
| mobilenet_v3 | the last convolution | the classifier's hidden layer of omega's mean |
| convnext | the last stage | omega's mean, layer-normalised |
| swin | the last stage, layer-normalised | omega's mean |
| vit | the patch tokens after the last layer normalisation, as a map | the class token after the same normalisation |

Images may have any size for which omega has at least one position; a ViT takes any multiple of its patch size, because
its learned position vectors are interpolated from the size in the weights file, as torchvision does. These families are
left out: googlenet and inception (they also learn from auxiliary classifiers) and maxvit (one image size only).
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from base.console import UserError
from model.nets.params import BackboneParams

POSITIONS = "encoder.pos_embedding"  # of a ViT: one learned vector for each patch position
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # torchvision's normalisation, of values in [0, 1]
IMAGENET_STD = (0.229, 0.224, 0.225)
PLAIN_WIDTHS = (16, 32, 64, 128)


class Visual(NamedTuple):
    """The output of a ConvNet. B images, C channels, H x W positions, D values."""

    omega: Tensor  # (B, C, H, W)
    phi: Tensor  # (B, D)


class Family(NamedTuple):
    """How torchvision's classifiers of a family are cut into two parts."""

    parts: tuple[str, ...]  # the children from the image to omega, in order
    head: Callable[[Any], nn.Module]  # returns a classifier's layers from omega to phi


class ConvNet(nn.Module):
    """Normalises images and runs them through a ConvNet.

    Args:
        features: images to omega.
        head: omega to phi.
        image_size: side of the images, pixels; determines omega's size.

    Shape:
        input: uint8 (B, 3, image_size, image_size); output: :class:`Visual`
    """

    mean: Tensor
    std: Tensor
    frozen_blocks = 0  # the first blocks of `features`, whose weights and statistics stay
    has_frozen_statistics = False

    def __init__(self, features: nn.Module, head: nn.Module, image_size: int) -> None:
        super().__init__()
        self.features = features
        self.head = head
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) * 255, persistent=False)
        self.map_shape, self.num_features = self._measure(image_size)

    def forward(self, images: Tensor) -> Visual:
        """Return omega and phi."""
        return self.run_normalised(self.normalised(images))

    def normalised(self, images: Tensor) -> Tensor:
        """Return the images with torchvision's mean and deviation of each colour removed."""
        return (images - self.mean) / self.std

    def run_normalised(self, pixels: Tensor) -> Visual:
        """Return omega and phi of normalised images."""
        omega = self.features(pixels)
        return Visual(omega, self.head(omega))

    def freeze(self, blocks: int, statistics: bool) -> None:
        """Freeze parts of the network, for all later training. Gradients still pass through them to the pixels.

        Args:
            blocks: the first blocks of `features` keep weights and statistics; 0: none.
            statistics: all batch normalisation keeps its running statistics, while its scale and shift are learned.

        Raises:
            UserError: there are not that many blocks, or no block would be left to train.
        """
        number = len(self.features) if isinstance(self.features, nn.Sequential) else 1
        if blocks >= number:
            raise UserError(
                f"network.frozen_blocks = {blocks}: this backbone has {number} blocks, of which the last is always"
                " trained; use a smaller number, or null"
            )
        self.frozen_blocks, self.has_frozen_statistics = blocks, statistics
        for block in self._frozen():
            block.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation mode; what is frozen stays in evaluation mode."""
        super().train(mode)
        for block in self._frozen():
            block.eval()
        if self.has_frozen_statistics:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                    module.eval()
        return self

    def _frozen(self) -> list[nn.Module]:
        return list(self.features.children())[: self.frozen_blocks]

    def _measure(self, image_size: int) -> tuple[tuple[int, int, int], int]:
        """Return omega's (C, H, W) and phi's D, from one empty image."""
        was_training = self.training
        self.eval()
        with torch.no_grad():
            try:
                visual = self(torch.zeros(1, 3, image_size, image_size))
            except RuntimeError as error:
                raise UserError(f"network.image_size = {image_size} is too small for this backbone: {error}") from None
        self.train(was_training)
        channels, height, width = visual.omega.shape[1:]
        return (channels, height, width), visual.phi.shape[1]


class TokenNet(ConvNet):
    """A ConvNet whose `features` return tokens (B, 1 + H * W, C): the class token, then the patches row by row."""

    def run_normalised(self, pixels: Tensor) -> Visual:
        """Return the patches as a map (omega) and the class token (phi)."""
        tokens = self.features(pixels)
        class_token, patches = tokens[:, 0], tokens[:, 1:]
        side = math.isqrt(patches.shape[1])
        return Visual(patches.transpose(1, 2).unflatten(2, (side, side)), self.head(class_token))


class Tokens(nn.Module):
    """The part of torchvision's ViT from images to tokens: patches, positions, encoder, layer normalisation."""

    def __init__(self, classifier: Any) -> None:
        super().__init__()
        self.conv_proj = classifier.conv_proj
        self.class_token = classifier.class_token
        self.encoder = classifier.encoder

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the tokens."""
        patches = self.conv_proj(pixels).flatten(2).transpose(1, 2)
        return self.encoder(torch.cat([self.class_token.expand(patches.shape[0], -1, -1), patches], dim=1))


class SpatialMean(nn.Module):
    """The mean of a map over H x W; (B, C, H, W) to (B, C). Unlike adaptive pooling, it is deterministic on a GPU."""

    def forward(self, omega: Tensor) -> Tensor:
        """Return the mean."""
        return omega.mean(dim=(2, 3))


def plain_features() -> nn.Sequential:
    """Return the plain ConvNet up to omega, for images of about 48 pixels.

    5 x 5 with stride 2, then 3 x 3, batch-normalised; two poolings: omega's side is an eighth of the image's.
    """
    layers: list[nn.Module] = []
    channels = 3
    for number, width in enumerate(PLAIN_WIDTHS):
        kernel, stride = (5, 2) if number == 0 else (3, 1)
        layers += [
            nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        if number in (1, 2):
            layers.append(nn.MaxPool2d(2))
        channels = width
    return nn.Sequential(*layers)


def plain_head(image_size: int) -> nn.Sequential:
    """Return the plain ConvNet's layer from omega to phi; at 48 pixels it has 128 x 4,608 weights.

    Args:
        image_size: side S of the images, pixels; the number of weights grows with its square.

    Shape:
        input: (B, 128, H, H) with H = ceil(S / 2) // 4; output: (B, 128)
    """
    side = math.ceil(image_size / 2) // 4
    return nn.Sequential(
        nn.Flatten(), nn.Linear(PLAIN_WIDTHS[-1] * side * side, PLAIN_WIDTHS[-1]), nn.ReLU(inplace=True)
    )


def _before_last(layers: nn.Sequential) -> list[nn.Module]:
    """Return a classifier's layers before the last, without a final dropout: the recogniser has its own (Fig. 8)."""
    before = list(layers)[:-1]
    return before[:-1] if before and isinstance(before[-1], nn.Dropout) else before


def _hidden_layers(classifier: Any) -> nn.Module:
    return nn.Sequential(classifier.avgpool, nn.Flatten(), *_before_last(classifier.classifier))


def _spatial_mean(classifier: Any) -> nn.Module:
    return SpatialMean()


FAMILIES: dict[str, Family] = {
    "vgg": Family(("features",), _hidden_layers),
    "alexnet": Family(("features",), _hidden_layers),
    "squeezenet": Family(("features",), _spatial_mean),
    **dict.fromkeys(
        ("resnet", "resnext", "wide_resnet"),
        Family(("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"), _spatial_mean),
    ),
    "regnet": Family(("stem", "trunk_output"), _spatial_mean),
    "shufflenet": Family(("conv1", "maxpool", "stage2", "stage3", "stage4", "conv5"), _spatial_mean),
    "mnasnet": Family(("layers",), _spatial_mean),
    "mobilenet_v2": Family(("features",), _spatial_mean),
    "mobilenet_v3": Family(("features",), lambda c: nn.Sequential(SpatialMean(), *_before_last(c.classifier))),
    "efficientnet_lite": Family(("features",), _spatial_mean),  # before efficientnet: the first that fits is taken
    "efficientnet": Family(("features",), _spatial_mean),
    "densenet": Family(("features",), lambda c: nn.Sequential(nn.ReLU(), SpatialMean())),
    "convnext": Family(("features",), lambda c: nn.Sequential(c.avgpool, *_before_last(c.classifier))),
    "swin": Family(("features", "norm", "permute"), _spatial_mean),
    "vit": Family((), lambda c: nn.Identity()),
}


def build_backbone(network: BackboneParams, load_weights: bool = True) -> ConvNet:
    """Build the ConvNet that the parameters name, with its start weights.

    Args:
        network: all but `resize` is read.
        load_weights: False keeps the initial weights, for a network whose weights are loaded later as a whole.

    Raises:
        UserError: the backbone is unknown, its weights don't exist or don't fit it, or it can't be frozen as asked.
    """
    source = network.weights if load_weights else "none"
    backbone = _build(network, source)
    if network.frozen_statistics and network.weights == "none":
        raise UserError(
            "network.frozen_statistics: true needs start weights, because a new ConvNet has no statistics; name"
            " weights, or use null"
        )
    backbone.freeze(network.frozen_blocks or 0, bool(network.frozen_statistics))
    return backbone


def _build(network: BackboneParams, source: str) -> ConvNet:
    """Return the ConvNet with the weights of a source: none, download, or a file."""
    if network.backbone == "plain":
        if source != "none":
            raise UserError(f"network.weights = {source!r}: the plain backbone has no weights to load; use none")
        return ConvNet(plain_features(), plain_head(network.image_size), network.image_size)
    classifier = _torchvision_classifier(network.backbone, network.image_size, download=source == "download")
    if source not in ("none", "download"):
        load_backbone_weights(classifier, Path(source), network.backbone)
    return _cut(classifier, network)


def _family_of(name: str) -> str | None:
    return next((family for family in FAMILIES if name.startswith(family)), None)


def _torchvision_classifier(name: str, image_size: int, download: bool) -> Any:
    family = _family_of(name)
    if family is None:
        raise UserError(
            f"network.backbone = {name!r}: known are plain and torchvision's families {', '.join(FAMILIES)}"
        )
    # torchvision is imported here because it takes seconds, which the plain backbone need not wait for
    if family == "efficientnet_lite":
        return _efficientnet_lite(name, download)
    import torchvision

    known = [other for other in torchvision.models.list_models(module=torchvision.models) if _family_of(other)]
    if name not in known:
        raise UserError(f"network.backbone = {name!r}: torchvision has no such model; known: plain, {', '.join(known)}")
    get_model = torchvision.models.get_model
    weights = "DEFAULT" if download else None
    try:
        if family != "vit":
            return get_model(name, weights=weights)
        classifier = get_model(name, image_size=image_size)  # only a ViT is built for one image size
        if download:
            given = get_model(name, weights=weights).state_dict()
            classifier.load_state_dict(at_this_size(given, classifier))
        return classifier
    except AssertionError:
        patch = name.rsplit("_")[-1]
        raise UserError(
            f"network.image_size = {image_size}: {name} needs a multiple of {patch}, the side of its patches"
        ) from None
    except OSError as error:
        raise UserError(
            f"network.weights = 'download': the ImageNet weights of {name} could not be downloaded ({error});"
            " name a .safetensors file, or use none"
        ) from None


def _efficientnet_lite(name: str, download: bool) -> nn.Module:
    from model.nets.efficientnet_lite import EFFICIENTNET_LITE0, InvertedResidualNet

    if name != "efficientnet_lite0":
        raise UserError(f"network.backbone = {name!r}: of this family there is efficientnet_lite0")
    if download:
        raise UserError(
            f"network.weights = 'download': torchvision has no weights of {name}; name a .safetensors file, or use none"
        )
    return InvertedResidualNet(EFFICIENTNET_LITE0)


def at_this_size(weights: dict[str, Tensor], classifier: nn.Module) -> dict[str, Tensor]:
    """Return weights with a ViT's position vectors interpolated to the classifier's image size; others unchanged."""
    wanted = classifier.state_dict().get(POSITIONS)
    given = weights.get(POSITIONS)
    if wanted is None or given is None or given.shape == wanted.shape or given.shape[2:] != wanted.shape[2:]:
        return weights
    from torchvision.models.vision_transformer import interpolate_embeddings

    side = math.isqrt(wanted.shape[1] - 1)  # of the image, in patches
    return dict(interpolate_embeddings(side, 1, OrderedDict(weights)))


def load_backbone_weights(classifier: nn.Module, path: Path, name: str) -> None:
    """Load a .safetensors file in torchvision's naming into a classifier.

    The file must have every weight of the convolutional part with its shape, and all or none of the classifier's
    weights. The number of classes may differ, because the last layer is cut off.

    Raises:
        UserError: the file doesn't exist, is not safetensors, or has names or shapes that don't fit (named).
    """
    if not path.is_file():
        raise UserError(f"network.weights = {str(path)!r}: no such file; use none, download, or a .safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file: {error}") from None
    found = at_this_size(found, classifier)
    wanted = classifier.state_dict()
    head = ("classifier.", "fc.", "head.", "heads.")
    last = [key for key in wanted if key.startswith(head)][-2:]
    optional = last if any(key.startswith(head) for key in found) else [k for k in wanted if k.startswith(head)]
    missing = sorted(set(wanted) - set(found) - set(optional))
    unknown = sorted(set(found) - set(wanted))
    misshapen = sorted(k for k in set(found) & set(wanted) - set(optional) if found[k].shape != wanted[k].shape)
    if missing or unknown or misshapen:
        raise UserError(
            f"{path}: not the weights of {name}: missing {missing[:5]} ({len(missing)}), unknown {unknown[:5]}"
            f" ({len(unknown)}), other shape {misshapen[:5]} ({len(misshapen)}); name a file of {name}'s weights"
        )
    classifier.load_state_dict({key: value for key, value in found.items() if key not in optional}, strict=False)


def _cut(classifier: Any, network: BackboneParams) -> ConvNet:
    """Cut a torchvision classifier into the part that computes omega and the part that computes phi."""
    name = _family_of(network.backbone)
    assert name is not None
    family = FAMILIES[name]
    if name == "vit":
        return TokenNet(Tokens(classifier), family.head(classifier), network.image_size)
    parts = [getattr(classifier, part) for part in family.parts]
    features = parts[0] if len(parts) == 1 else nn.Sequential(OrderedDict(zip(family.parts, parts, strict=True)))
    return ConvNet(features, family.head(classifier), network.image_size)
