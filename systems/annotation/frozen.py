"""The phases on frozen features: these are computed once, from the middle crops, and then a head is trained on them.

They are computed at a phase's beginning, and again when a killed run is continued. With `annotation.network.kept_maps`
the ConvNet's maps of all stages are kept, too, and `fused` trains its blocks on them.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.data.batches import Batch
from model.training.learner import Learner
from model.training.task import Earlier, Validation
from systems.annotation.config import CHAIN, CNN, FUSED, LABELS, QUANTITY, QUANTITY_VISUAL, TAGS, Recipe
from systems.annotation.data import AnnotatedImages
from systems.annotation.network import (
    HeadOf,
    LabelsOfMaps,
    QuantityNet,
    TagNet,
    VisualNet,
    build_cnn,
    build_fused,
    build_quantity,
    build_tags,
    start_fused,
)
from systems.annotation.phase import PICTURES, ROWS, AnnotationTask, Pictures, Rows

BLOCK = 128  # images whose kept maps are joined at a time; no result depends on it


class Features:
    """What the frozen networks give for all images; the phases of a run share one such object.

    Attributes:
        by_name: features by the phase whose network gives them, each (N, D).
        maps: the ConvNet's maps, from fine to coarse, each (N, C, H, W); empty unless they are kept.
    """

    def __init__(self) -> None:
        self.by_name: dict[str, Tensor] = {}
        self.maps: list[Tensor] = []

    def keep_maps(self, learner: Learner, rows: np.ndarray, net: VisualNet) -> None:
        """Compute and keep the maps of all rows, unless they are known; the network is on its device."""
        if self.maps:
            return

        def compute(_: nn.Module, seen: Pictures) -> list[Tensor]:
            return [stage.float().cpu() for stage in net.maps(seen.images)]

        parts = learner.run(PICTURES, rows, compute)
        self.maps = [torch.cat(stage) for stage in zip(*parts, strict=True)]

    def maps_of(self, rows: Tensor) -> list[Tensor]:
        """Return the kept maps of rows, on the rows' device."""
        return [stage[rows.cpu()].to(rows.device) for stage in self.maps]

    @torch.no_grad()
    def joined(self, learner: Learner, net: VisualNet) -> Tensor:
        """Return the features of all images, (N, D), from the kept maps."""
        rows = torch.arange(len(self.maps[0]), device=learner.accelerator.device)
        with learner.accelerator.autocast():
            return torch.cat([net.joined(self.maps_of(part)).float().cpu() for part in rows.split(BLOCK)])


class HeadTask(AnnotationTask):
    """A phase on frozen features: a head for labels, or for their number.

    Args:
        name: the phase's name: `cnn` with a frozen ConvNet, `tags`, `labels`, `quantity_visual`, `quantity` or `chain`.
        recipe, data, seed: as in `AnnotationTask`.
        features: where the phases of a run keep what they have computed.
    """

    def __init__(self, name: str, recipe: Recipe, data: AnnotatedImages, seed: int, features: Features) -> None:
        starts = {LABELS: [FUSED, TAGS], QUANTITY: [FUSED, TAGS], QUANTITY_VISUAL: [FUSED], CHAIN: [CNN]}
        super().__init__(name, recipe, data, seed, ROWS, starts.get(name, []))
        self.known = features
        self.keeps_maps = recipe.network.kept_maps and FUSED in recipe.phases
        self.source = CNN if name in (CNN, CHAIN) else FUSED  # whose visual features are used
        self.visual: VisualNet | None = None
        self.tag_net: TagNet | None = None

    def network(self, earlier: Earlier) -> nn.Module:
        """Return the phase's head; the frozen networks before it are kept by the task."""
        if self.name == TAGS:
            return build_tags(self.recipe, self.data.tags, self.num_labels)
        if self.name == CNN:
            self.visual = build_cnn(self.recipe.network, self.num_labels, stages=self.keeps_maps).eval()
            return self.visual
        self.visual = build_fused(self.recipe, self.num_labels)
        self.visual.load_state_dict(earlier(FUSED))
        width = self.visual.num_features
        if TAGS in self.starts_from:
            self.tag_net = build_tags(self.recipe, self.data.tags, self.num_labels)
            self.tag_net.load_state_dict(earlier(TAGS))
            width += self.tag_net.num_features
        if self.name == LABELS:
            return nn.Linear(width, self.num_labels)
        return QuantityNet(build_quantity(self.recipe, width, self.most))

    @property
    def most(self) -> int:
        """The largest number of labels of a training image."""
        return int(self.counts[self.data.row_numbers("train")].max())

    def choose(self, learner: Learner, epoch: int) -> None:
        """Compute the features that the head learns from, unless they are known; all rows are used."""
        for name, net in ((self.source, self.visual), (TAGS, self.tag_net)):
            if net is None or name in self.known.by_name:
                continue
            net.to(learner.accelerator.device).eval()
            if isinstance(net, VisualNet) and self.keeps_maps:
                self.known.keep_maps(learner, self.every, net)
                self.known.by_name[name] = self.known.joined(learner, net)
                continue
            stream = ROWS if name == TAGS else PICTURES

            def compute(_: nn.Module, seen: Any, net: Any = net) -> Tensor:
                inputs = seen.images if isinstance(seen, Pictures) else self.tags_of(seen.rows)
                return net.features(inputs).float().cpu()

            self.known.by_name[name] = torch.cat(learner.run(stream, self.every, compute))
        return None

    def inputs(self, rows: Tensor) -> Tensor:
        """Return what the head is given for rows, (B, D), on the rows' device."""
        if self.name == TAGS:
            return self.tags_of(rows)
        parts = [self.of_rows(self.known.by_name[self.source], rows)]
        if TAGS in self.starts_from:
            parts.append(self.of_rows(self.known.by_name[TAGS], rows))
        return torch.cat(parts, dim=1)

    def optimizers(self, module: nn.Module) -> list[torch.optim.Optimizer]:
        """Return SGD; in `cnn` the label layer has its multiple of the rate."""
        if self.name != CNN:
            return super().optimizers(module)
        peak = self.params.learning_rate * self.recipe.train.recogniser_multiplier
        weights = [weight for weight in module.parameters() if weight.requires_grad]
        return [self.sgd(module, [{"params": weights, "peak": peak, "part": "head"}])]

    def module(self, network: nn.Module) -> nn.Module:
        """Return the network, or the label layer of one whose ConvNet is frozen."""
        return HeadOf(network) if isinstance(network, VisualNet) else network

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean loss of labels, or of their number."""
        rows = batch[ROWS].rows
        inputs = self.inputs(rows)
        if self.name in (QUANTITY, QUANTITY_VISUAL):
            mean = module(inputs, self.of_rows(self.counts, rows)).mean()
            return mean, {"quantity loss": mean.detach()}
        mean = self.label_loss(module(inputs), rows).mean()
        return mean, {"label loss": mean.detach()}

    def validate(self, learner: Learner) -> Validation:
        """Measure H-F1 of the top labels, or the squared error of their number."""
        rows = self.data.row_numbers("validation")
        if not len(rows):
            return Validation()
        if self.name not in (QUANTITY, QUANTITY_VISUAL):
            found = learner.run(ROWS, rows, lambda net, seen: self.module(net)(self.inputs(seen.rows)).float().cpu())
            return self.validate_sets(torch.cat(found), self.recipe.top)

        def quantity(net: Any, seen: Rows) -> Tensor:
            return net.quantity(self.inputs(seen.rows)).float().cpu()

        estimated = torch.cat(learner.run(ROWS, rows, quantity)).double()
        error = float((estimated - self.counts[rows].double()).square().mean())
        return Validation({"squared error": error}, [-error], "validation squared error", error)


class MapsTask(AnnotationTask):
    """The phase `fused` on kept maps: blocks and label layer are trained, and the ConvNet runs once for each image.

    Args:
        recipe, data, seed: as in `AnnotationTask`.
        features: keeps the maps.
    """

    def __init__(self, recipe: Recipe, data: AnnotatedImages, seed: int, features: Features) -> None:
        super().__init__(FUSED, recipe, data, seed, ROWS, [CNN])
        self.known = features

    def network(self, earlier: Earlier) -> VisualNet:
        """Return the network with the ConvNet of `cnn`."""
        return start_fused(self.recipe, self.num_labels, earlier(CNN))

    def module(self, network: nn.Module) -> nn.Module:
        """Return what is trained: from maps to logits."""
        assert isinstance(network, VisualNet)
        return LabelsOfMaps(network)

    def choose(self, learner: Learner, epoch: int) -> None:
        """Compute the maps, unless they are known; all rows are used."""
        assert isinstance(learner.network, VisualNet)
        self.known.keep_maps(learner, self.every, learner.network)

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean label loss."""
        rows = batch[ROWS].rows
        mean = self.label_loss(module(self.known.maps_of(rows)), rows).mean()
        return mean, {"label loss": mean.detach()}

    def validate(self, learner: Learner) -> Validation:
        """Measure H-F1 of the top labels."""
        rows = self.data.row_numbers("validation")

        def compute(net: Any, seen: Rows) -> Tensor:
            return net.head(net.joined(self.known.maps_of(seen.rows))).float().cpu()

        logits = learner.run(ROWS, rows, compute)
        return self.validate_sets(torch.cat(logits), self.recipe.top) if len(rows) else Validation()
