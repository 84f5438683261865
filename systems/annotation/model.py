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
from systems.annotation.config import CHAIN, CNN, FUSED, JOINT, LABELS, QUANTITY, QUANTITY_VISUAL, TAGS, Recipe
from systems.annotation.network import (
    JointNet,
    QuantityNet,
    build_chain,
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
        paths: labels of the most probable paths of `chain`, bool (N, C): those that end by themselves (`beam`), and
            those with the recipe's k labels (`top`).
    """

    logits: dict[str, np.ndarray] = field(default_factory=dict)
    quantities: dict[str, np.ndarray] = field(default_factory=dict)
    paths: dict[str, np.ndarray] = field(default_factory=dict)


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
        found: dict[str, dict[str, list[np.ndarray]]] = {"logits": {}, "quantities": {}, "paths": {}}
        device = device_at_hand()
        for images, tags in batches:
            for kind, values in self.of_batch(images.to(device), tags.to(device)).items():
                for name, value in values.items():
                    found[kind].setdefault(name, []).append(value.cpu().numpy())
        return Said(
            **{
                kind: {name: np.concatenate(parts) for name, parts in by_name.items()}
                for kind, by_name in found.items()
            }
        )

    def of_batch(self, images: Tensor, tags: Tensor) -> dict[str, dict[str, Tensor]]:
        """Return the attributes of `Said` for a batch."""
        nets: dict[str, Any] = self.phases
        maps = nets.get(FUSED, nets[CNN]).maps(images)  # the ConvNet of `cnn`, which later phases leave as it is
        of_cnn = nets[CNN].joined(maps)
        logits: dict[str, Tensor] = {CNN: nets[CNN].head(of_cnn)}
        quantities: dict[str, Tensor] = {}
        paths: dict[str, Tensor] = {}
        if CHAIN in nets:
            beam = self.recipe.network.chain.beam
            paths = {"beam": nets[CHAIN].search(of_cnn, beam), "top": nets[CHAIN].search(of_cnn, beam, self.recipe.top)}
        if FUSED in nets:
            f_v = nets[FUSED].joined(maps)
            logits[FUSED] = nets[FUSED].head(f_v)
        if LABELS in nets:
            f_t = nets[TAGS].features(tags)
            both = torch.cat([f_v, f_t], dim=1)
            logits |= {TAGS: nets[TAGS].head(f_t), LABELS: nets[LABELS](both)}
            quantities |= {
                QUANTITY_VISUAL: nets[QUANTITY_VISUAL].quantity(f_v),
                QUANTITY: nets[QUANTITY].quantity(both),
            }
        if JOINT in nets:
            logits[JOINT], quantities[JOINT] = nets[JOINT].of_maps(maps, tags)
        return {"logits": logits, "quantities": quantities, "paths": paths}


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
    if phase == CHAIN:
        width = build_cnn(recipe.network, len(labels), load=False).num_features
        return build_chain(recipe, width, len(labels), most)
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
