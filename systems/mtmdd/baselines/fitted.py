"""The base of phases whose recogniser is computed from all training images at once, not by gradient steps."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from base.console import UserError
from model.training.learner import Learner
from model.training.task import add
from systems.mtmdd.objective import objective
from systems.mtmdd.task import PhaseTask, images_of


class FittedTask(PhaseTask):
    """A phase of one epoch that computes its recogniser in its first step, by :meth:`fit`.

    The other steps measure the result on their batches, for the curve of the training loss. Every process computes the
    same recogniser, from the features of all training images' middle crops.
    """

    def fit(self, learner: Learner) -> None:
        """Compute the recogniser and write it into the network; torch's gradients are off."""
        raise NotImplementedError

    def optimizers(self, module: nn.Module) -> list[torch.optim.Optimizer]:
        """Return an optimiser that never takes a step; the trainer needs one."""
        weights = [weight for weight in module.parameters() if weight.requires_grad]
        return [self.sgd(module, [{"params": weights, "peak": self.params.learning_rate, "part": "fitted"}])]

    def step(self, learner: Learner) -> dict[str, Tensor]:
        """Fit in the phase's first step; return the loss of the fitted network on the step's images."""
        means: dict[str, Tensor] = {}
        with torch.no_grad():
            if learner.step == 0:
                self.fit(learner)
            learner.network.eval()
            for part in learner.parts():
                with learner.accelerator.autocast():
                    predictions = learner.network(images_of(part))
                loss, components = objective(self.terms, predictions, part)
                share = learner.share(part)
                add(means, {name: value * share for name, value in {"objective": loss, **components}.items()})
            learner.network.train()
        return means


Features = Callable[[Any, Tensor], Tensor]  # from a network and images to a feature of each image


def features_of(task: PhaseTask, learner: Learner, split: str, compute: Features) -> tuple[np.ndarray, np.ndarray]:
    """Return the features and labels of the images of a split of the phase's domain; every process gets all of them.

    Args:
        task: a phase of one domain.
        learner: its learner.
        split: ``train`` or ``validation``.
        compute: returns the features, (B, D).

    Shape:
        result: float64 (n, D), int64 (n,)
    """
    domain = task.phase.main_domain
    rows = task.examples.row_numbers(domain, split)
    labels = task.examples.labels()[rows]
    if not len(rows):
        return np.zeros((0, 0)), labels
    found = learner.run(domain, rows, lambda network, batch: compute(network, batch.images).float().cpu())
    return torch.cat(found).double().numpy(), labels


def check_categories(task: PhaseTask, labels: np.ndarray) -> None:
    """Check that a classifier can be fitted.

    Raises:
        UserError: there are fewer than two categories, or one has no training images.
    """
    names = task.examples.categories[task.phase.main_domain]
    missing = sorted(set(names) - {names[label] for label in labels})
    if missing or len(names) < 2:
        found = f"{missing[0]!r} has no training images" if missing else f"found {names}"
        raise UserError(
            f"{task.recipe.method}, phase {task.name}: at least two categories with training images are needed; {found}"
        )


def write_linear(layer: nn.Module, weights: np.ndarray, biases: np.ndarray) -> None:
    """Write scikit-learn's coefficients into a layer.

    With two categories scikit-learn has one row, the score of the second category; half of it, and half of its
    negative, have the same difference.

    Shape:
        weights: (C, D), or (1, D) for C = 2; biases: (C,) or (1,)
    """
    if len(weights) == 1:
        weights, biases = np.concatenate([-weights, weights]) / 2, np.concatenate([-biases, biases]) / 2
    assert isinstance(layer, nn.Linear)
    layer.weight.copy_(torch.from_numpy(weights))
    layer.bias.copy_(torch.from_numpy(biases))
