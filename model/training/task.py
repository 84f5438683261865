"""The contract between the trainer and a system: everything that the trainer needs of a phase.

A system writes a subclass of :class:`Task` for its phases, and passes a list of tasks to the trainer as a
:class:`Run`. The trainer handles streams, steps, validation values and ranks; it has no code for domains, categories,
clicks or texts. docs/adding_a_system.md shows a whole system.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from model.data.batches import Batch, Draw
from model.data.shards import scrambled
from model.training.params import TrainParams

if TYPE_CHECKING:
    from model.training.learner import Learner

Earlier = Callable[[str], dict[str, Tensor]]  # returns the weights of an earlier phase, by the phase's name


@dataclass(frozen=True)
class Validation:
    """The measurements after an epoch.

    Attributes:
        values: for the curves, as in ``{"target accuracy": 81.3}``.
        rank: numbers that are compared in order; the epoch with the largest rank is kept. Empty: the last is kept.
        chosen_by: the meaning of the rank's first number, as in ``target validation accuracy``.
        chosen_value: that number for messages; the rank holds a loss with a minus sign, this value without.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    rank: Sequence[float] = ()
    chosen_by: str = "last epoch (no validation images)"
    chosen_value: float | None = None


class Task:
    """A phase: its network, its data and its losses; a subclass defines `network`, `load`, `loss` and `validate`.

    The trainer calls `network`, `module` and `optimizers` once. Then, in each epoch, it calls `choose`, `step` for
    each step and `validate`, and saves the module's weights, the optimisers' state and `state_dict`. A continued run
    loads these and goes on with the next epoch's `choose`, so state that is made in one epoch and used in a later one
    belongs into `state_dict`. Random numbers come from `base.seeding`, or from torch's generator, which the trainer
    seeds before `network`, before each `choose` (equally in all processes) and before each epoch's steps (differently
    in each process). All processes must choose the same rows and have the same state, because only the first process's
    state is saved.

    Args:
        name: the name of the phase and of its weights file.
        seed: the run's seed.
        params: optimiser, rates and epochs of this phase.
        rows: the training rows of each stream.
        main: the stream whose passes are epochs.
        epoch_rows: number of draws of the main stream in an epoch; None: its number of rows.
        starts_from: the earlier phases whose weights `network` uses.
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
        """Return the network with its start weights; torch's generator is already seeded, so they are reproducible.

        Args:
            earlier: returns the weights of an earlier phase; a network may use parts of several phases.
        """
        raise NotImplementedError

    def load(self, stream: str, draws: Sequence[Draw]) -> Any:
        """Return a NamedTuple of tensors for the drawn rows of a stream; the first axis of each tensor is the draws.

        This method also runs in loader processes, and must not depend on earlier calls.
        """
        raise NotImplementedError

    def reading_order(self, stream: str, rows: np.ndarray) -> np.ndarray:
        """Return a number for each row; rows with numbers next to each other are quick to read together.

        With `TrainParams.groups`, the rows are cut into groups in the order of these numbers. In a group should be a
        bit of everything, as each process computes batch normalisation with its groups alone.
        """
        return scrambled(rows)

    def will_read(self, stream: str, rows: np.ndarray) -> None:
        """Make ready to load rows: this process is about to load these, and may never load others.

        The trainer calls this before loader processes start, so that they share what is prepared. Calls for rows that
        are ready cost nothing.
        """

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean loss of a batch, and the means of its components, for the curves."""
        raise NotImplementedError

    def validate(self, learner: "Learner") -> Validation:
        """Measure the network, which is in evaluation mode only within :meth:`Learner.run`.

        Returns:
            A validation that is equal in every process.
        """
        raise NotImplementedError

    def module(self, network: nn.Module) -> nn.Module:
        """Return the module that `step` runs: the network, or a module that holds it and other trained parts.

        Gradients are exchanged between processes for this module only, so a step must call its ``forward``.
        """
        return network

    def optimizers(self, module: nn.Module) -> list[torch.optim.Optimizer]:
        """Return the optimisers; each group has a ``part`` and a ``peak`` rate, which the trainer's schedule scales."""
        weights = [weight for weight in module.parameters() if weight.requires_grad]
        return [self.sgd(module, [{"params": weights, "peak": self.params.learning_rate, "part": "network"}])]

    def sgd(self, module: nn.Module, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """Return stochastic gradient descent over parameter groups, with the phase's momentum and weight decay.

        With `weight_decay_on_biases: false`, the biases of each group become a group of their own without decay.

        Args:
            module: has the parameters; a bias is a parameter that it calls ``bias``.
            groups: each with `params`, `peak` and `part`.
        """
        if not self.params.weight_decay_on_biases:
            biases = {weight for name, weight in module.named_parameters() if name.rpartition(".")[2] == "bias"}
            halves = [
                {**group, "params": [weight for weight in group["params"] if (weight in biases) == of_biases], **decay}
                for group in groups
                for of_biases, decay in ((False, {}), (True, {"weight_decay": 0.0}))
            ]
            groups = [group for group in halves if group["params"]]
        return torch.optim.SGD(groups, lr=0.0, momentum=self.params.momentum, weight_decay=self.params.weight_decay)

    def choose(self, learner: "Learner", epoch: int) -> Mapping[str, np.ndarray] | None:
        """Return the rows of each stream that an epoch draws from; None: all training rows.

        The length of an epoch doesn't depend on this choice. An epoch with chosen rows begins new passes over them.

        Args:
            learner: its :meth:`Learner.run` runs the network over rows.
            epoch: from 0.
        """
        return None

    def step(self, learner: "Learner") -> dict[str, Tensor]:
        """Take a step.

        Returns:
            This process's contribution to the means of the step: the sums of the results of :meth:`Learner.backward`.
        """
        means: dict[str, Tensor] = {}
        for part in learner.parts():
            loss, components = self.loss(learner.module, part)
            add(means, learner.backward(loss, part, components))
        learner.update()
        return means

    def names(self, stream: str, rows: Sequence[int]) -> list[str]:
        """Return readable names of rows, as image ids, for messages."""
        return [str(row) for row in rows]

    def describe(self) -> dict[str, Any]:
        """Return this phase's entry in run.json, besides the chosen epoch."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return the state to save, as numbers, strings, tensors, and lists and mappings of these."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the saved state."""


@dataclass(frozen=True)
class Run:
    """A training: its phases in order, and its description for the model folder.

    Attributes:
        name: for logs and the checkpoint folder, as in ``TDL/seed-0``.
        tasks: the phases.
        description: entries of run.json besides the chosen epochs, the code's digest and the libraries' versions.
        fingerprint: changes if anything changes that the result depends on: data, parameters, start weights. The
            trainer adds the code, torch's version and the number of processes.
        complete: writes further files into the model folder, which has weights and run.json; None: there are none.
    """

    name: str
    tasks: Sequence[Task]
    description: Mapping[str, Any]
    fingerprint: str
    complete: Callable[[Path], None] | None = None


def add(sums: dict[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Add values to the sums of the same names, in place."""
    for name, value in values.items():
        sums[name] = sums[name] + value if name in sums else value
