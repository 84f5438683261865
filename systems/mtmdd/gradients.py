"""Gradient norms of each loss term during the training of a phase: Table V's ratio and the curves of Fig. 11.

A :class:`GradientRecorder` is an observer of a phase's steps (`systems.mtmdd.task`). It differentiates each term
separately with ``autograd.grad``, which fills no ``.grad``, draws no random number and changes no statistics. So the
training computes the same numbers as without an observer.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from systems.mtmdd.config import Phase
from systems.mtmdd.network import MultidomainNetwork

CLICK_PARTS = ("count", "position")
ALL = "all"  # the key of the norm over all layers


@dataclass(frozen=True)
class Reading:
    """Gradient norms at one step.

    Attributes:
        step: from 0.
        norms: by loss and layer, the l2 norm of the gradient of the weighted loss with respect to all parameters of the
            layer. Losses: count, position, recognition (those of the phase), click (count + position) and objective
            (all terms). Layers: modules with parameters of their own, in the network's order; ``all`` for the network.
        position_over_count: norm of the weighted position loss over that of the weighted count loss, all parameters;
            None if the phase lacks one of them or the count loss has no gradient.
        recognition_over_click: the recognition losses' norm over the click loss's, at the word embedding alone.
        recognition_click_cosine: cosine between those two gradients; below 0 the tasks work against each other.
    """

    step: int
    norms: dict[str, dict[str, float]]
    position_over_count: float | None
    recognition_over_click: float | None
    recognition_click_cosine: float | None


def layers(network: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return the trained parameters that each module itself has, by module name (``backbone.features.0``)."""
    found = {}
    for name, module in network.named_modules():
        weights = [weight for weight in module.parameters(recurse=False) if weight.requires_grad]
        if weights:
            found[name] = weights
    return found


def plotted_layers(network: nn.Module, most: int = 12) -> list[str]:
    """Return the layers to plot in Fig. 11: those with a matrix or kernels, at most `most`, at equal distances.

    The first and the last layer are always among them. Recognisers and the ConvNet's layers from omega to phi are left
    out, because no click loss reaches them, and so is batch normalisation.
    """
    names = [
        name
        for name, weights in layers(network).items()
        if not name.startswith(("recogniser", "backbone.head")) and any(weight.ndim > 1 for weight in weights)
    ]
    if len(names) <= most:
        return names
    return [names[round(number * (len(names) - 1) / (most - 1))] for number in range(most)]


class GradientRecorder:
    """An observer that records the gradients of a phase's losses at some steps of its training.

    Args:
        phase: the phase to observe.
        every: steps between two readings, from step 0.
        shares: shares of the phase's steps, in [0, 1], with further readings, whatever ``every`` is; 1 is the last
            step.
        trained: share of the planned steps that the phase has before its validation ends it; 1: all.

    Attributes:
        readings: the readings so far, by step.
        marked: the step of each share, known after the first step.

    Reference: section IV-C, 1, b; Table V, "gd-ratio" (at iteration 1,500 of 10,000: a share of 0.15); Fig. 11.
    """

    def __init__(self, phase: Phase, every: int, shares: Sequence[float], trained: float = 1.0) -> None:
        self.every, self.shares, self.trained = every, list(shares), trained
        present = {term.kind for term in phase.losses}
        self.kinds = [kind for kind in (*CLICK_PARTS, "recognition") if kind in present]
        self.readings: list[Reading] = []
        self.marked: dict[float, int] = {}

    def __call__(
        self,
        step: int,
        num_steps: int,
        network: MultidomainNetwork,
        loss_of: Callable[[str], Tensor],
    ) -> None:
        """Record the gradients of this step if it is due; see `systems.mtmdd.task.Observer`."""
        steps = round(self.trained * num_steps)
        self.marked = {share: min(round(share * steps), steps - 1) for share in self.shares}
        if self.readings and self.readings[-1].step == step:
            return  # only the first part of a step is recorded
        if step % self.every == 0 or step in self.marked.values():
            self.readings.append(self._read(step, network, loss_of))

    def _read(self, step: int, network: MultidomainNetwork, loss_of: Callable[[str], Tensor]) -> Reading:
        by_layer = layers(network)
        weights = [weight for of_layer in by_layer.values() for weight in of_layer]
        gradients: dict[str, list[Tensor]] = {}
        for kind in self.kinds:
            found = torch.autograd.grad(loss_of(kind), weights, retain_graph=True, allow_unused=True)
            gradients[kind] = [
                torch.zeros_like(weight) if gradient is None else gradient
                for weight, gradient in zip(weights, found, strict=True)
            ]
        gradients["click"] = _sum([gradients[kind] for kind in CLICK_PARTS if kind in gradients])
        gradients["objective"] = _sum([gradients[kind] for kind in self.kinds])
        norms = {loss: _norms(of_loss, by_layer) for loss, of_loss in gradients.items()}
        inside = {id(weight) for weight in network.embedding.parameters()} if network.embedding is not None else set()
        at_embedding = {
            kind: [gradient for weight, gradient in zip(weights, gradients[kind], strict=True) if id(weight) in inside]
            for kind in ("recognition", "click")
            if kind in gradients
        }
        position_over_count = recognition_over_click = cosine = None
        if all(kind in norms for kind in CLICK_PARTS):
            position_over_count = _ratio(norms["position"][ALL], norms["count"][ALL])
        if "recognition" in at_embedding:
            recognition, click = (_norm(at_embedding[kind]) for kind in ("recognition", "click"))
            recognition_over_click = _ratio(recognition, click)
            cosine = _ratio(_dot(at_embedding["recognition"], at_embedding["click"]), recognition * click)
        return Reading(step, norms, position_over_count, recognition_over_click, cosine)


def _sum(parts: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    return [torch.stack(of_weight).sum(dim=0) for of_weight in zip(*parts, strict=True)]


def _norms(gradients: Sequence[Tensor], by_layer: dict[str, list[nn.Parameter]]) -> dict[str, float]:
    remaining = iter(gradients)
    norms = {layer: _norm([next(remaining) for _ in weights]) for layer, weights in by_layer.items()}
    norms[ALL] = math.sqrt(math.fsum(norm * norm for norm in norms.values()))
    return norms


def _norm(gradients: Sequence[Tensor]) -> float:
    return math.sqrt(math.fsum(gradient.double().square().sum().item() for gradient in gradients))


def _dot(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    return math.fsum((a.double() * b.double()).sum().item() for a, b in zip(one, other, strict=True))


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None
