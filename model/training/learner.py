"""The learner that a task's methods use: a phase's network during training, in one process or several.

Several processes (``accelerate launch``) share each step: `batch_size` draws of each stream are cut into one part per
process and accumulation, and the gradients are those of the whole step. Computations *per batch* are done per part:
batch normalisation, and the standardisation of a position loss. Running statistics are averaged over the processes
after each epoch.
"""

import math
import os
import shutil
import sysconfig
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, gather_object, send_to_device
from torch import Tensor, nn

from base.console import UserError
from model.data.batches import Batch, Loaded, evaluation_batches, share_of
from model.training.params import TrainParams
from model.training.schedules import rate_factor
from model.training.task import Task

EVALUATION_BATCH = 128
Result = TypeVar("Result")


def _check_compiler(device: torch.device) -> None:
    """Check that torch.compile finds the C++ compiler and the Python headers that it uses for a CPU.

    Raises:
        UserError: one of them is missing.
    """
    if device.type != "cpu":
        return
    compiler, header = os.environ.get("CXX", "g++"), Path(sysconfig.get_path("include"), "Python.h")
    missing = [
        str(what) for what, found in ((compiler, shutil.which(compiler)), (header, header.exists())) if not found
    ]
    if missing:
        raise UserError(
            f"train.compile = true needs a C++ compiler and Python's headers on a CPU; {' and '.join(missing)} not "
            "found: install g++ (or name another in the environment variable CXX) and Python's development package, or "
            "set train.compile: false"
        )


class Learner:
    """A phase's network during training; :meth:`Task.step` uses its methods.

    Args:
        task: the phase's task.
        name: names of run and phase, for messages.
        network: the phase's network.
        module: the network together with other parts that the task trains; the network itself if there are none.
        optimizers: the task's optimisers. Each of their groups has a ``peak`` rate and names the ``part`` it trains.
        accelerator: a new one.
        num_steps: number of steps of the phase.

    Attributes:
        module: the module, prepared: on its device, in its precision, its gradients averaged over the processes.
        optimizers: the optimisers, prepared, in the same order.
        step: the number of the current step in the phase, from 0.
        num_drops: number of drops of the rate before the current epoch, of a plateau schedule.
        num_updates: number of calls of :meth:`update` in the current epoch.
        num_skipped: number of these in which the optimiser's step was skipped, because a gradient overflowed in fp16.
        last_checkpoint: the path of the last good checkpoint, for messages.
    """

    def __init__(
        self,
        task: Task,
        name: str,
        network: nn.Module,
        module: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        accelerator: Accelerator,
        num_steps: int,
    ) -> None:
        self.task, self.name, self.network, self.accelerator = task, name, network, accelerator
        self.num_processes = accelerator.num_processes
        self.num_steps = num_steps
        self.steps_per_epoch = num_steps // task.params.epochs
        self.step = self.num_drops = self.num_updates = self.num_skipped = 0
        self.last_checkpoint = ""
        self._loaded: list[Loaded] = []
        self._rows: Mapping[str, list[int]] = {}  # the rows of the part that is being run
        if task.params.channels_last:
            module.to(memory_format=torch.channels_last)
        if task.params.compile:
            _check_compiler(accelerator.device)
            module.compile()
        with warnings.catch_warnings():
            # Accelerate uses the older name of this option of torch
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            self.module, *self.optimizers = accelerator.prepare(module, *optimizers)

    @property
    def epoch(self) -> int:
        """The current epoch, from 0."""
        return self.step // self.steps_per_epoch

    def begin_epoch(self, num_drops: int) -> None:
        """Reset the counts of the optimisers' steps, and set the number of drops of the rate so far."""
        self.num_drops = num_drops
        self.num_updates = self.num_skipped = 0

    def begin_step(self, step: int, loaded: list[Loaded]) -> None:
        """Set the learning rates of a step, and the parts of the step that this process runs."""
        self.step, self._loaded = step, loaded
        factor = rate_factor(self.task.params.schedule, step, self.num_steps, self.num_drops)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor

    def parts(self) -> Iterator[Batch]:
        """Yield the parts of the step's batch that this process runs, on the device.

        The loop's body must run the module and :meth:`backward` once. The loop may be run again for another optimiser.
        Gradients are exchanged with other processes only at the last part.
        """
        for number, loaded in enumerate(self._loaded, start=1):
            is_last = number == len(self._loaded)
            self._rows = loaded.rows
            with nullcontext() if is_last else self.accelerator.no_sync(self.module):
                yield send_to_device(loaded.batch, self.accelerator.device, non_blocking=True)

    def share(self, part: Batch) -> float:
        """Return the share of a part in its step, which is the weight of the part's means in the step's means."""
        return len(next(iter(part.values()))[0]) / self.task.params.batch_size

    def backward(self, loss: Tensor, part: Batch, components: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Add the gradient of a part's loss to the gradient of the step.

        Args:
            loss: a mean over the part's draws.
            part: one of :meth:`parts`.
            components: the components of the loss, which are also means, for error messages and the curves.

        Returns:
            The part's contribution to the step's means: `components`, and the loss as ``objective``.

        Raises:
            UserError: the loss of a process is NaN or infinite; the message names step, rows and the last checkpoint.
        """
        self._check_finite(loss, components)
        share = self.share(part)
        self.accelerator.backward(loss * (share * self.num_processes))  # the processes' gradients are averaged
        return {name: value.detach() * share for name, value in {"objective": loss, **components}.items()}

    def update(self, number: int = 0) -> None:
        """Take a step of one optimiser, and clear the gradients of all optimisers.

        In fp16, a step whose gradients have overflowed is skipped, and the loss scale is halved.
        """
        self.optimizers[number].step()
        self.num_updates += 1
        self.num_skipped += bool(self.optimizers[number].step_was_skipped)
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    @torch.no_grad()
    def run(self, stream: str, rows: np.ndarray, compute: Callable[[nn.Module, Any], Result]) -> list[Result]:
        """Run the network in evaluation mode over rows of a stream, each process over its share.

        Afterwards the network is in its earlier mode again.

        Args:
            stream: the stream of the rows.
            rows: the row numbers.
            compute: a function of the network and the result of `Task.load` for a batch, on the device; it returns
                what to keep, on the CPU.

        Returns:
            The result of `compute` for each batch, in the order of the rows; equal in every process.
        """
        mine = rows[share_of(len(rows), self.accelerator.process_index, self.num_processes)]
        self.task.will_read(stream, mine)
        found: list[Result] = []
        was_training = self.network.training
        self.network.eval()
        with self.accelerator.autocast():
            for loaded in evaluation_batches(self.task.load, stream, mine, EVALUATION_BATCH, self.task.params.workers):
                found.append(compute(self.network, send_to_device(loaded, self.accelerator.device, non_blocking=True)))
        self.network.train(was_training)
        return gather_object(found) if self.num_processes > 1 else found

    def average_statistics(self, state: Mapping[str, Tensor]) -> None:
        """Replace each running statistic, of the network or of its moving average, by its mean over the processes.

        Args:
            state: tensors by their names in the network's state; weights stay, since they are equal in all processes.
        """
        if self.num_processes == 1:
            return
        statistics = dict(self.network.named_buffers())
        for name, value in state.items():
            if name in statistics and value.is_floating_point():
                first = broadcast(value.clone())  # averaging differences keeps the bits of values that are equal
                value.copy_(first + self.accelerator.reduce(value - first, "mean"))

    def total(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Return each value's sum over the processes."""
        if self.num_processes == 1:
            return {name: value.item() for name, value in values.items()}
        sums = self.accelerator.reduce(torch.stack([value.float() for value in values.values()]), "sum")
        return dict(zip(values, sums.tolist(), strict=True))

    def check_epoch(self) -> None:
        """Check that not all steps of an epoch were skipped.

        Raises:
            UserError: all steps were skipped, so nothing was learned.
        """
        if 0 < self.num_updates == self.num_skipped:
            raise UserError(
                f"{self.name}: every gradient of epoch {self.epoch + 1} overflowed in fp16: nothing was learned.\n"
                f"Last good checkpoint: {self.last_checkpoint}\n"
                "Set train.mixed_precision to bf16 or no, or lower train.learning_rate."
            )

    def check_weights(self) -> None:
        """Check the weights after an epoch's last step, with which no loss has been computed yet.

        The result is equal in every process if the running statistics have been averaged before.

        Raises:
            UserError: a weight or a running statistic is NaN or infinite.
        """
        broken = [
            name
            for name, value in self.module.state_dict().items()
            if value.is_floating_point() and not torch.isfinite(value).all()
        ]
        if broken:
            shown = ", ".join(broken[:3]) + (", ..." if len(broken) > 3 else "")
            raise UserError(
                f"{self.name}: after step {self.step} (epoch {self.epoch + 1}), the last of its epoch, "
                f"{len(broken)} weights or statistics are NaN or infinite: {shown}.\n{self._what_to_do()}"
            )

    def check_validation(self, values: Mapping[str, float]) -> None:
        """Check the validation values of an epoch, which are equal in every process.

        Raises:
            UserError: a value is NaN or infinite.
        """
        if not all(math.isfinite(value) for value in values.values()):
            text = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
            raise UserError(
                f"{self.name}: the validation after epoch {self.epoch + 1} found {text}.\n{self._what_to_do()}"
            )

    def _check_finite(self, loss: Tensor, components: Mapping[str, Tensor]) -> None:
        total = loss.detach()
        if self.num_processes > 1:
            total = self.accelerator.reduce(total, "sum")
        if torch.isfinite(total):
            return
        names = {stream: self.task.names(stream, rows) for stream, rows in self._rows.items()}
        text = ", ".join(f"{name} {value.item():.4g}" for name, value in components.items())
        mine = [] if torch.isfinite(loss) else [(loss.item(), text, names)]
        value, text, names = (gather_object(mine) if self.num_processes > 1 else mine)[0]
        raise UserError(
            f"{self.name}: the loss is {value} at step {self.step} (epoch {self.epoch + 1}): {text}.\n"
            f"Its images: {names}\n{self._what_to_do()}"
        )

    def _what_to_do(self) -> str:
        fp16 = "" if self.task.params.mixed_precision != "fp16" else ", or set train.mixed_precision to bf16"
        return (
            f"Last good checkpoint: {self.last_checkpoint}\n"
            f"Lower train.learning_rate or lengthen train.schedule.warm_up{fp16}."
        )


def check_parts(params: TrainParams, num_processes: int) -> None:
    """Check that every part of a step has enough draws for batch normalisation, and every process groups of its own.

    Raises:
        UserError: a part has fewer than two draws of a stream, or the groups can't be shared out equally.
    """
    if params.groups is not None and params.groups % num_processes:
        raise UserError(
            f"train.groups = {params.groups}, for {num_processes} processes: they can't have groups of their own;"
            f" set train.groups to a multiple of {num_processes} that divides batch_size, or to null"
        )
    parts = params.accumulation * num_processes
    if params.batch_size < 2 * parts:
        raise UserError(
            f"train.batch_size = {params.batch_size} draws of a stream, for {num_processes} processes with "
            f"train.accumulation = {params.accumulation}: this gives parts of fewer than 2 draws; "
            f"set batch_size to {2 * parts} or more, or start fewer processes"
        )


def num_steps_per_epoch(task: Task) -> int:
    """Return the number of steps for one pass over the phase's main stream."""
    return math.ceil(task.epoch_rows / task.params.batch_size)
