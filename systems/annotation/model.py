"""A trained run: what each of its phases says of images."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from base.console import UserError
from model.folder import device_at_hand, load_weights, read_run
from systems.annotation.config import CNN, FUSED, JOINT, LABELS, QUANTITY, QUANTITY_VISUAL, TAGS, Recipe
from systems.annotation.network import (
    JointNet,
    QuantityNet,
    build_cnn,
    build_fused,
    build_quantity,
    build_tags,
)


@dataclass
class Said:
    """The outputs of a run's phases. N images, C labels.

    Attributes:
        logits: by phase, float32 (N, C).
        quantities: by phase, the estimated number of labels, float32 (N,).
    """

    logits: dict[str, np.ndarray] = field(default_factory=dict)
    quantities: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class AnnotationModel:
    """A trained run.

    Attributes:
        recipe: the recipe.
        labels, tags: names.
        most: the largest number of labels of a training image.
        phases: by name, in evaluation mode.
        run: the content of run.json.
    """

    recipe: Recipe
    labels: list[str]
    tags: list[str]
    most: int
    phases: dict[str, nn.Module]
    run: dict[str, Any]

    @torch.no_grad()
    def say(self, batches: Iterator[tuple[Tensor, Tensor]]) -> Said:
        """Run all phases over batches of images and tags.

        Shape:
            images: uint8 (B, 3, S, S); tags: float32 (B, T)
        """
        logits: dict[str, list[Tensor]] = {}
        quantities: dict[str, list[Tensor]] = {}
        device = device_at_hand()
        for images, tags in batches:
            for phase, (z, m) in self._of_batch(images.to(device), tags.to(device)).items():
                if z is not None:
                    logits.setdefault(phase, []).append(z.float().cpu())
                if m is not None:
                    quantities.setdefault(phase, []).append(m.float().cpu())
        return Said(
            {phase: torch.cat(parts).numpy() for phase, parts in logits.items()},
            {phase: torch.cat(parts).numpy() for phase, parts in quantities.items()},
        )

    def _of_batch(self, images: Tensor, tags: Tensor) -> dict[str, tuple[Tensor | None, Tensor | None]]:
        nets: dict[str, Any] = self.phases
        maps = nets[FUSED].maps(images)  # the ConvNet of `cnn`, which all later phases leave as it is
        f_v = nets[FUSED].joined(maps)
        found: dict[str, tuple[Tensor | None, Tensor | None]] = {
            CNN: (nets[CNN].head(nets[CNN].joined(maps)), None),
            FUSED: (nets[FUSED].head(f_v), None),
        }
        if LABELS in nets:
            f_t = nets[TAGS].features(tags)
            both = torch.cat([f_v, f_t], dim=1)
            found |= {
                TAGS: (nets[TAGS].head(f_t), None),
                LABELS: (nets[LABELS](both), None),
                QUANTITY_VISUAL: (None, nets[QUANTITY_VISUAL].quantity(f_v)),
                QUANTITY: (None, nets[QUANTITY].quantity(both)),
            }
        if JOINT in nets:
            outputs = nets[JOINT].of_maps(maps, tags)
            found[JOINT] = (outputs.logits, outputs.quantity)
        return found


def load_model(folder: Path) -> AnnotationModel:
    """Load a trained run.

    Raises:
        UserError: the folder is not a model folder of this system.
    """
    run = read_run(folder)
    try:
        recipe = Recipe.model_validate(run["recipe"])
        labels, tags, most = list(run["labels"]), list(run["tags"]), int(run["most_labels"])
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise UserError(f"{folder}/run.json: not of this system: {error}; train the model again") from None
    phases: dict[str, nn.Module] = {}
    for phase in recipe.phases:
        net = _build(phase, recipe, labels, tags, most)
        load_weights(net, folder, phase)
        phases[phase] = net.to(device_at_hand()).eval()
    return AnnotationModel(recipe, labels, tags, most, phases, run)


def _build(phase: str, recipe: Recipe, labels: list[str], tags: list[str], most: int) -> nn.Module:
    """Return a phase's network without its weights."""
    if phase == CNN:
        return build_cnn(recipe.network, len(labels), load=False)
    visual = build_fused(recipe, len(labels))
    if phase == FUSED:
        return visual
    if phase == QUANTITY_VISUAL:
        return QuantityNet(build_quantity(recipe, visual.num_features, most))
    of_tags = build_tags(recipe, tags, len(labels))
    width = visual.num_features + of_tags.num_features
    if phase == TAGS:
        return of_tags
    if phase == LABELS:
        return nn.Linear(width, len(labels))
    quantity = build_quantity(recipe, width, most)
    return (
        QuantityNet(quantity)
        if phase == QUANTITY
        else JointNet(visual, of_tags, nn.Linear(width, len(labels)), quantity)
    )
