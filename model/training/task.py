"""The contract between the trainer and a system: all that a phase is to the trainer.

A system writes a subclass of :class:`Task` for its phases, and hands the trainer a list of them as a :class:`Run`. The
trainer knows streams, steps, validation values and ranks; it knows nothing of domains, categories, clicks or texts.
docs/adding_a_system.md shows a whole system.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from model.data.batches import Batch, Draw
from model.training.params import TrainParams

if TYPE_CHECKING:
    from model.training.learner import Learner

Earlier = Callable[[str], dict[str, Tensor]]  # the weights of an earlier phase, by its name


@dataclass(frozen=True)
class Validation:
    """What was measured after an epoch.

    Attributes:
        values: for the curves, as in ``{"target accuracy": 81.3}``.
        rank: the epoch with the largest is kept; compared number by number. Empty: the last epoch is kept.
        chosen_by: what the rank's first number is, as in ``target validation accuracy``.
        chosen_value: that number as a person reads it; a loss has its sign turned in the rank.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    rank: Sequence[float] = ()
    chosen_by: str = "last epoch (no validation images)"
    chosen_value: float | None = None


class Task:
    """A phase: what it learns, from what, and how; a subclass fills in `network`, `load`, `loss` and `validate`.

    The trainer asks for `network`, `module` and `optimizers` once. Then, in each epoch, it calls `choose`, `step` for
    each step, `validate`, and saves: the module's weights, the optimisers' state and `state_dict`. A run that is
    continued loads these and goes on with the next epoch's `choose`. So state that is made within an epoch and used
    after it belongs into `state_dict`. Random numbers come from `base.seeding`, or from torch's generator, which is
    seeded before `network`, before each `choose` (alike in all processes) and before each epoch's steps (each process
    its own). Several processes must choose the same rows and have the same state: the first one's is saved.

    Args:
        name: of the phase, and of its weights file.
        seed: the run's.
        params: optimiser, rates and epochs of this phase.
        rows: the training rows of each stream.
        main: the stream whose passes are epochs.
        epoch_rows: draws of the main stream in an epoch; None: as many as it has rows.
        starts_from: the earlier phases whose weights `network` takes parts of.
    """

    def __init__(
        self,
        name: str,
        seed: int,
        params: TrainParams,
        rows: Mapping[str, np.ndarray],
        main: str,
        epoch_rows: int | None = None,
        starts_from: Sequence[str] = (),
    ) -> None:
        self.name, self.seed, self.params, self.rows, self.main = name, seed, params, rows, main
        self.epoch_rows = len(rows[main]) if epoch_rows is None else epoch_rows
        self.starts_from = tuple(starts_from)

    def network(self, earlier: Earlier) -> nn.Module:
        """Return the network with its start weights; torch's generator is seeded, so that it is reproducible.

        Args:
            earlier: returns the weights of an earlier phase; a network may take parts of several.
        """
        raise NotImplementedError

    def load(self, stream: str, draws: Sequence[Draw]) -> Any:
        """Return a NamedTuple of tensors for some rows of a stream, the first axis of each tensor the draws.

        It runs in loader processes too, and must not depend on what was loaded before.
        """
        raise NotImplementedError

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean loss of a batch, and the means that it is made of, for the curves."""
        raise NotImplementedError

    def validate(self, learner: "Learner") -> Validation:
        """Measure the network, which is in evaluation mode only within :meth:`Learner.run`.

        Returns:
            The same in every process.
        """
        raise NotImplementedError

    def module(self, network: nn.Module) -> nn.Module:
        """Return what `step` runs: the network, or a module around it with what is trained beside it.

        Gradients are exchanged between processes for this module only, so a step runs its ``forward``.
        """
        return network

    def optimizers(self, module: nn.Module) -> list[torch.optim.Optimizer]:
        """Return the optimisers, each group with its ``peak`` rate (the schedule is the trainer's) and its ``part``."""
        weights = [weight for weight in module.parameters() if weight.requires_grad]
        return [self.sgd([{"params": weights, "peak": self.params.learning_rate, "part": "network"}])]

    def sgd(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """Return stochastic gradient descent over parameter groups, with the phase's momentum and weight decay."""
        return torch.optim.SGD(groups, lr=0.0, momentum=self.params.momentum, weight_decay=self.params.weight_decay)

    def choose(self, learner: "Learner", epoch: int) -> Mapping[str, np.ndarray] | None:
        """Return each stream's rows that an epoch draws from, or None: always all training rows.

        The length of an epoch doesn't depend on it. An epoch with rows of its own begins new passes over them.

        Args:
            learner: :meth:`Learner.run` runs the network over rows.
            epoch: from 0.
        """
        return None

    def step(self, learner: "Learner") -> dict[str, Tensor]:
        """Take a step.

        Returns:
            What this process adds to the means of the step: the sums of what :meth:`Learner.backward` returned.
        """
        means: dict[str, Tensor] = {}
        for part in learner.parts():
            loss, components = self.loss(learner.module, part)
            add(means, learner.backward(loss, part, components))
        learner.update()
        return means

    def names(self, stream: str, rows: Sequence[int]) -> list[str]:
        """Return what a person calls some rows, as image ids, for messages."""
        return [str(row) for row in rows]

    def describe(self) -> dict[str, Any]:
        """Return what run.json says of this phase, besides the chosen epoch."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return what has to be saved of it, as numbers, strings, tensors, lists and mappings of them."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what was saved."""


@dataclass(frozen=True)
class Run:
    """A training: its phases in their order, and what its model folder says of it.

    Attributes:
        name: for logs and the checkpoint folder, as in ``TDL/seed-0``.
        tasks: the phases.
        description: what run.json has besides the chosen epochs, the code's digest and the libraries' versions.
        fingerprint: changes with anything that the run depends on: data, parameters, start weights. The code, torch's
            version and the number of processes are the trainer's to add.
    """

    name: str
    tasks: Sequence[Task]
    description: Mapping[str, Any]
    fingerprint: str


def add(sums: dict[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Add values to sums of the same names."""
    for name, value in values.items():
        sums[name] = sums[name] + value if name in sums else value
