"""How a phase learns: what a step does, with which optimisers, and which images an epoch draws from.

The phase of a recipe names a procedure. The trainer only calls the contract, :class:`Procedure`; methods with
alternating steps, several optimisers, or a choice of images in each epoch are further entries of `PROCEDURES`, each
with a module of its own that is imported here. So the code of a training is known from its imports.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from base.console import UserError
from model.data.batches import Batch
from model.training.learner import Learner, Task
from systems.mtmdd.config import Domain, LossTerm, TrainParams
from systems.mtmdd.network import MultidomainNetwork, Prediction
from systems.mtmdd.objective import objective


class Procedure:
    """The contract, and its default: one optimiser and one step on the weighted sum of the phase's losses (eq. 6).

    The trainer asks for `module` and `optimizers` once. Then, in each epoch, it calls `choose_images`, `step` for each
    step, validates the *network* and saves: the module's weights, the optimisers' state and `state_dict`. A run that
    is continued loads these and goes on with the next epoch's `choose_images`. So state that is made within an epoch
    and used after it belongs into `state_dict`. Random numbers come from `base.seeding`, or from torch's generator,
    which is seeded before each `choose_images` (alike in all processes) and before each epoch's steps (each process its
    own). Several processes must choose the same images and have the same state: the first one's is saved.

    Args:
        task: phase, parameters, examples, seed.
        options: the phase's ``options``; a subclass names its own as keyword-only arguments.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    def module(self, network: MultidomainNetwork) -> nn.Module:
        """Return what `step` runs: the network, or a module around it with what is trained beside it.

        Gradients are exchanged between processes for this module only, so a step runs its ``forward``.
        """
        return network

    def optimizers(self, module: nn.Module) -> list[torch.optim.Optimizer]:
        """Return the optimisers, each group with its ``peak`` rate (the schedule is the trainer's) and its ``part``."""
        assert isinstance(module, MultidomainNetwork)
        params = self.task.params
        groups = parameter_groups(module, params)
        return [torch.optim.SGD(groups, lr=0.0, momentum=params.momentum, weight_decay=params.weight_decay)]

    def choose_images(self, learner: Learner, epoch: int) -> Mapping[Domain, np.ndarray] | None:
        """Return each domain's rows that an epoch draws from, or None: always all training images.

        The length of an epoch doesn't depend on it. An epoch with rows of its own begins new passes over them.

        Args:
            learner: :meth:`Learner.predict` says what the network makes of the images.
            epoch: from 0.
        """
        return None

    def step(self, learner: Learner) -> dict[str, Tensor]:
        """Take a step.

        Returns:
            What this process adds to the means of the step: the sums of what :meth:`Learner.backward` returned.
        """
        means: dict[str, Tensor] = {}
        for part in learner.parts():
            predictions = learner.module({domain: of_domain.images for domain, of_domain in part.items()})
            loss, components = objective(self.task.phase.losses, predictions, part, self.task.position)
            if self.task.observer is not None:
                loss_of = partial(self._loss_of, predictions=predictions, part=part)
                self.task.observer(learner.step, learner.num_steps, learner.network, loss_of)
            add(means, learner.backward(loss, part, components))
        learner.update()
        return means

    def _loss_of(self, terms: Sequence[LossTerm], predictions: Mapping[Domain, Prediction], part: Batch) -> Tensor:
        return objective(terms, predictions, part, self.task.position)[0]

    def state_dict(self) -> dict[str, Any]:
        """Return what has to be saved of it, as numbers, strings, tensors, lists and mappings of them."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what was saved."""


PROCEDURES: dict[str, type[Procedure]] = {"weighted-sum": Procedure}


def start_procedure(task: Task) -> Procedure:
    """Return the procedure of a phase.

    Raises:
        UserError: no such procedure, or none with these options.
    """
    name, options = task.phase.procedure, task.phase.options or {}
    if name not in PROCEDURES:
        raise UserError(f"phase {task.phase.name}: unknown procedure {name!r}; known: {', '.join(PROCEDURES)}")
    try:
        return PROCEDURES[name](task, **options)
    except TypeError as error:
        raise UserError(f"phase {task.phase.name}: procedure {name!r} with options {options}: {error}") from None


def add(sums: dict[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Add values to sums of the same names."""
    for name, value in values.items():
        sums[name] = sums[name] + value if name in sums else value


def parameter_groups(network: MultidomainNetwork, params: TrainParams) -> list[dict[str, Any]]:
    """Return the optimiser's groups: the ConvNet at the learning rate, the new parts at multiples of it.

    ``peak`` is the group's highest rate, ``part`` its name. Frozen parameters are left out, empty groups too.
    """
    multipliers = {
        "backbone": 1.0,
        "embedding": params.embedding_multiplier,
        "recogniser": params.recogniser_multiplier,
    }
    groups = []
    for part, multiplier in multipliers.items():
        module = getattr(network, part)
        if module is None:
            continue
        of_biases = params.recogniser_bias_multiplier if part == "recogniser" else 1.0
        named = [(name, weight) for name, weight in module.named_parameters() if weight.requires_grad]
        apart = [weight for name, weight in named if name.endswith("bias") and of_biases != 1]
        together = [weight for name, weight in named if not name.endswith("bias") or of_biases == 1]
        for weights, factor, suffix in ((together, 1.0, ""), (apart, of_biases, " biases")):
            if weights:
                peak = params.learning_rate * multiplier * factor
                groups.append({"params": weights, "peak": peak, "part": part + suffix})
    return groups
