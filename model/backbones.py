"""ConvNets: from images to the last convolutional map omega and the deep visual feature phi (Fig. 8).

`plain` is ours, for drawn toys. All others are torchvision's classifiers by name, cut after the last hidden layer:

| family | omega | phi |
|---|---|---|
| vgg.. | pool5 | second hidden layer of the classifier (fc7), after ReLU |
| squeezenet.. | the last fire module | omega's mean over its places |
| resnet.. | layer4 | omega's mean over its places |
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from model.config import NetworkParams
from pipelines.console import UserError

FAMILIES = ("vgg", "squeezenet", "resnet")
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # torchvision's normalisation, of values in [0, 1]
IMAGENET_STD = (0.229, 0.224, 0.225)
PLAIN_WIDTHS = (16, 32, 64, 128)


class Visual(NamedTuple):
    """What a ConvNet gives. B images, C channels, H x W places, D values."""

    omega: Tensor  # (B, C, H, W)
    phi: Tensor  # (B, D)


class ConvNet(nn.Module):
    """Normalises images and runs them through a ConvNet.

    Args:
        features: images to omega.
        head: omega to phi.
        image_size: side of the images, pixels; fixes omega's size.

    Shape:
        input: uint8 (B, 3, image_size, image_size); output: :class:`Visual`
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: nn.Module, head: nn.Module, image_size: int) -> None:
        super().__init__()
        self.features = features
        self.head = head
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) * 255, persistent=False)
        self.map_shape, self.num_features = self._measure(image_size)

    def forward(self, images: Tensor) -> Visual:
        """Return omega and phi."""
        omega = self.features((images - self.mean) / self.std)
        return Visual(omega, self.head(omega))

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


class PlaceMean(nn.Module):
    """The mean of a map over its places; (B, C, H, W) to (B, C). Unlike adaptive pooling deterministic on a GPU too."""

    def forward(self, omega: Tensor) -> Tensor:
        """Return the mean."""
        return omega.mean(dim=(2, 3))


def plain_features() -> nn.Sequential:
    """Return a small ConvNet for images of some 48 pixels: 5 x 5 with stride 2, then 3 x 3, batch-normalised."""
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


def build_backbone(network: NetworkParams, load_weights: bool = True) -> ConvNet:
    """Build the ConvNet that the parameters name, with its start weights.

    Args:
        network: backbone, weights and image_size are read.
        load_weights: False leaves it as initialised, for a network whose weights are loaded as a whole.

    Raises:
        UserError: unknown backbone, no such weights, or a file that doesn't fit it.
    """
    source = network.weights if load_weights else "none"
    if network.backbone == "plain":
        if source != "none":
            raise UserError(f"network.weights = {source!r}: the plain backbone has none to load; use none")
        return ConvNet(plain_features(), PlaceMean(), network.image_size)
    classifier = _torchvision_classifier(network.backbone, download=source == "download")
    if source not in ("none", "download"):
        load_backbone_weights(classifier, Path(source), network.backbone)
    return _cut(classifier, network)


def _torchvision_classifier(name: str, download: bool) -> Any:
    if not name.startswith(FAMILIES):
        raise UserError(
            f"network.backbone = {name!r}: known are plain and torchvision's {', '.join(FAMILIES)} families"
        )
    import torchvision  # here, not above: it takes seconds that the plain backbone need not wait for

    try:
        return torchvision.models.get_model(name, weights="DEFAULT" if download else None)
    except ValueError as error:
        known = [other for other in torchvision.models.list_models() if other.startswith(FAMILIES)]
        raise UserError(f"network.backbone = {name!r}: {error}; known: plain, {', '.join(known)}") from None
    except OSError as error:
        raise UserError(
            f"network.weights = 'download': no ImageNet weights of {name} could be fetched ({error});"
            " name a .safetensors file, or none"
        ) from None


def load_backbone_weights(classifier: nn.Module, path: Path, name: str) -> None:
    """Load a .safetensors file in torchvision's naming into a classifier.

    The file must have every weight of the convolutional part with its shape; of the classifier it may have all or none.
    The last layer's classes may differ: it is cut off anyway.

    Raises:
        UserError: no such file, not safetensors, or names or shapes that don't fit (named).
    """
    if not path.is_file():
        raise UserError(f"network.weights = {str(path)!r}: no such file; use none, download, or a .safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file: {error}") from None
    wanted = classifier.state_dict()
    head = ("classifier.", "fc.")
    last = [key for key in wanted if key.startswith(head)][-2:]
    optional = last if any(key.startswith(head) for key in found) else [k for k in wanted if k.startswith(head)]
    missing = sorted(set(wanted) - set(found) - set(optional))
    unknown = sorted(set(found) - set(wanted))
    misshapen = sorted(k for k in set(found) & set(wanted) - set(optional) if found[k].shape != wanted[k].shape)
    if missing or unknown or misshapen:
        raise UserError(
            f"{path}: not the weights of {name}: missing {missing[:5]} ({len(missing)}), unknown {unknown[:5]}"
            f" ({len(unknown)}), other shape {misshapen[:5]} ({len(misshapen)})"
        )
    classifier.load_state_dict({key: value for key, value in found.items() if key not in optional}, strict=False)


def _cut(classifier: Any, network: NetworkParams) -> ConvNet:
    """Take a torchvision classifier apart into omega's and phi's part."""
    name = network.backbone
    if name.startswith("vgg"):
        # without the last layer, and without the dropout before it: the recogniser has its own (Fig. 8)
        head = nn.Sequential(classifier.avgpool, nn.Flatten(), *list(classifier.classifier)[:-2])
        return ConvNet(classifier.features, head, network.image_size)
    if name.startswith("squeezenet"):
        return ConvNet(classifier.features, PlaceMean(), network.image_size)
    parts = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    features = nn.Sequential()
    for part in parts:
        features.add_module(part, getattr(classifier, part))
    return ConvNet(features, PlaceMean(), network.image_size)
