"""The parts of the network: from an image to f_v, from tags to f_t, and both with their heads.

| symbol of the paper | here |
|---|---|
| M_1 .. M_5, M~ | `model.nets.stages`, `model.nets.fusion` |
| f_v, f_t | `VisualNet.features`, `TagNet.features` |
| z, m^ | `Outputs.logits`, `Outputs.quantity` |
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from base.console import UserError
from model.nets.backbones import ConvNet, build_backbone
from model.nets.fusion import FusedStages, PooledStages
from model.nets.label_chain import LabelChain
from model.nets.quantity import QuantityClassifier, QuantityRegressor
from model.nets.stages import StageNet, build_stages
from model.nets.tags import TagPerceptron, TagVectors
from systems.annotation.config import NetworkParams, Recipe
from systems.annotation.data import read_word_vectors


class Outputs(NamedTuple):
    """What a network says of images. B images, C labels."""

    logits: Tensor  # (B, C)
    quantity: Tensor  # (B,), the estimated number of labels


class VisualNet(nn.Module):
    """From images to f_v, and to logits by one layer.

    Args:
        backbone: a ConvNet; with a fusion, one that returns the maps of its stages.
        fusion: joins the stages' maps; None: f_v is the mean of the last map, so that only the fusion differs.
        num_labels: C.
        frozen: whether the backbone keeps its weights and statistics; it then runs without gradients.

    Shape:
        input: uint8 (B, 3, S, S); output: logits (B, C)
    """

    def __init__(
        self, backbone: ConvNet, fusion: FusedStages | PooledStages | None, num_labels: int, frozen: bool
    ) -> None:
        super().__init__()
        self.backbone, self.fusion, self.frozen = backbone, fusion, frozen
        self.num_features = backbone.map_shape[0] if fusion is None else fusion.num_features
        self.head = nn.Linear(self.num_features, num_labels)
        (backbone if frozen else backbone.head).requires_grad_(False)  # phi is not used
        self.train(self.training)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        return self.head(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """Return f_v, (B, num_features)."""
        return self.joined(self.maps(images))

    def maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the ConvNet's maps, from fine to coarse: the last one alone if the ConvNet returns no others."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            if isinstance(self.backbone, StageNet):
                return self.backbone.stages(images).maps
            return (self.backbone(images).omega,)

    def joined(self, maps: Sequence[Tensor]) -> Tensor:
        """Return f_v of maps, (B, num_features)."""
        return maps[-1].mean(dim=(2, 3)) if self.fusion is None else self.fusion(maps)

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self


class TagNet(nn.Module):
    """From tags to f_t, and to logits by one layer.

    Shape:
        input: (B, T), 0 or 1; output: logits (B, C)
    """

    def __init__(self, encoder: TagPerceptron | TagVectors, num_labels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.num_features = encoder.num_features
        self.head = nn.Linear(encoder.num_features, num_labels)

    def forward(self, tags: Tensor) -> Tensor:
        """Return logits."""
        return self.head(self.features(tags))

    def features(self, tags: Tensor) -> Tensor:
        """Return f_t, (B, num_features)."""
        return self.encoder(tags)


class JointNet(nn.Module):
    """Everything together: f = [f_v, f_t], the label layer and the number of labels on f.

    The label layers of the two parts are not used.
    """

    def __init__(
        self, visual: VisualNet, tags: TagNet, head: nn.Linear, quantity: QuantityRegressor | QuantityClassifier
    ) -> None:
        super().__init__()
        self.visual, self.tags, self.head, self.quantity = visual, tags, head, quantity
        for unused in (visual.head, tags.head):
            unused.requires_grad_(False)

    def forward(self, images: Tensor, tags: Tensor, counts: Tensor | None = None) -> Outputs:
        """Return logits and quantity; with the true `counts`, in the place of the quantity each image's loss of it."""
        return self.of_maps(self.visual.maps(images), tags, counts)

    def of_maps(self, maps: Sequence[Tensor], tags: Tensor, counts: Tensor | None = None) -> Outputs:
        """Return the same from the ConvNet's maps."""
        features = torch.cat([self.visual.joined(maps), self.tags.features(tags)], dim=1)  # f
        quantity = self.quantity(features) if counts is None else self.quantity.losses(features, counts)
        return Outputs(self.head(features), quantity)


class HeadOf(nn.Module):
    """The label layer of a network whose ConvNet is frozen: features to logits."""

    def __init__(self, net: VisualNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, features: Tensor) -> Tensor:
        """Return logits."""
        return self.net.head(features)


class LabelsOfMaps(nn.Module):
    """What `fused` trains, as a module of its own: the ConvNet's maps to logits."""

    def __init__(self, net: VisualNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return logits."""
        return self.net.head(self.net.joined(maps))


class QuantityNet(nn.Module):
    """The number of labels from features, as a module of its own for a phase; the output is each image's loss."""

    def __init__(self, quantity: QuantityRegressor | QuantityClassifier) -> None:
        super().__init__()
        self.quantity = quantity

    def forward(self, features: Tensor, counts: Tensor) -> Tensor:
        """Return losses, (B,)."""
        return self.quantity.losses(features, counts)


def build_cnn(network: NetworkParams, num_labels: int, load: bool = True, stages: bool = False) -> VisualNet:
    """Return the network of the phase `cnn`.

    Args:
        network: the parameters.
        num_labels: C.
        load: whether the ConvNet gets its start weights.
        stages: whether `maps` returns those of all stages, of a ConvNet that is frozen as a whole.
    """
    backbone = build_stages(_whole(network), load) if stages else build_backbone(network, load)
    return VisualNet(backbone, None, num_labels, network.frozen)


def _whole(network: NetworkParams) -> NetworkParams:
    """Return the parameters without frozen parts: `build_stages` refuses these, and the whole ConvNet is frozen."""
    return network.model_copy(update={"frozen_blocks": None, "frozen_statistics": None})


def build_fused(recipe: Recipe, num_labels: int) -> VisualNet:
    """Return the network of the phase `fused`, without start weights.

    Raises:
        UserError: the ConvNet has no such first stage, or its maps can't be fused.
    """
    backbone = build_stages(_whole(recipe.network), load_weights=False)
    try:
        fusion: FusedStages | PooledStages
        if recipe.fusion == "average":
            fusion = PooledStages(backbone.shapes, recipe.first)
        else:
            fusion = FusedStages(backbone.shapes, recipe.first, recipe.fusion == "maximum")
    except ValueError as error:
        raise UserError(f"run {recipe.run!r}, backbone {recipe.network.backbone}: {error}") from None
    return VisualNet(backbone, fusion, num_labels, frozen=True)


def start_fused(recipe: Recipe, num_labels: int, cnn: Mapping[str, Tensor]) -> VisualNet:
    """Return the network with which `fused` starts: the ConvNet of `cnn`, and new blocks and label layer.

    Args:
        recipe: the recipe.
        num_labels: C.
        cnn: the weights of `cnn`.
    """
    net = build_fused(recipe, num_labels)
    net.backbone.load_state_dict(part_of(cnn, "backbone"))
    return net


def part_of(weights: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """Return the weights of a part, under their names in the part."""
    begin = f"{part}."
    return {name.removeprefix(begin): value for name, value in weights.items() if name.startswith(begin)}


def build_tags(recipe: Recipe, tags: list[str], num_labels: int, load: bool = True) -> TagNet:
    """Return the network of the phase `tags`; with `load`, word vectors are read."""
    if recipe.tags != "vectors":
        return TagNet(TagPerceptron(len(tags), recipe.network.tag_units), num_labels)
    assert recipe.network.word_vectors is not None, "recipe_of requires them"
    path = Path(recipe.network.word_vectors)
    return TagNet(TagVectors(torch.from_numpy(read_word_vectors(path, tags))), num_labels)


def build_quantity(recipe: Recipe, num_features: int, most: int) -> QuantityRegressor | QuantityClassifier:
    """Return the head for the number of labels; `most` is the largest number of a training image."""
    dropout = recipe.network.quantity_dropout
    if recipe.quantity == "classes":
        return QuantityClassifier(num_features, most, dropout)
    return QuantityRegressor(num_features, dropout)


def build_chain(recipe: Recipe, num_features: int, num_labels: int, most: int) -> LabelChain:
    """Return the recurrent network of `CNN-RNN`; `most` is the largest number of labels of a training image."""
    chain = recipe.network.chain
    return LabelChain(num_features, num_labels, most, chain.embedding, chain.hidden)
