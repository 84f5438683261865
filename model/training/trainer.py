"""Runs the phases of a training. It imports no system: a phase's task defines what the phase learns."""

import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin
from torch import Tensor, nn

from base.artifacts import whole_directory, write_json
from base.console import UserError
from base.seeding import derive_seed
from model.data.batches import Loaded, Shares, dead_loaders_reported, training_batches
from model.training.averaging import MovingAverage
from model.training.checkpoints import Checkpoints, code_digest
from model.training.clock import Clock
from model.training.curves import LiveCurves, live_folder, write_curves
from model.training.learner import Learner, check_parts, num_steps_per_epoch
from model.training.params import TrainParams
from model.training.ranks import check_shared, lost_processes_reported, training_processes, writes_alone
from model.training.schedules import on_plateau
from model.training.task import Run, Task, add

log = logging.getLogger("clicksight")

LIBRARIES = ("torch", "torchvision", "accelerate", "numpy", "pillow", "safetensors")


@dataclass(frozen=True)
class ChosenEpoch:
    """The epoch of a phase that was kept and the reason, and how long the phase was trained.

    Attributes:
        phase: the phase.
        epoch: the epoch, from 1.
        of: number of epochs that were trained.
        chosen_on: the measure, as in "target validation accuracy".
        value: of the measure, percent, or the loss; None without validation images.
        ended_by: "all epochs"; "early stopping" or "plateau", the rule that ended the phase; or "cap", if there is such
            a rule, but all epochs were trained before it ended the phase.
        drops: the epochs after which a plateau schedule dropped the rate.
        seen: by stream, the number of images (draws) in all steps of the phase.
    """

    phase: str
    epoch: int
    of: int
    chosen_on: str
    value: float | None
    ended_by: str
    drops: list[int]
    seen: dict[str, int]


@dataclass
class Progress:
    """The state of a phase between epochs; part of its checkpoints.

    Attributes:
        epoch: number of finished epochs.
        history: one mapping of curve values per epoch.
        rates: one mapping of rates per epoch; they depend on the clock, so they are in no artifact.
        drops: the epochs after which a plateau schedule dropped the rate.
        best_epoch: the chosen epoch so far (from 1).
        best_rank: its rank.
        best_weights: its weights.
        chosen_by: the meaning of the rank's first number.
        chosen_value: that number for messages (`Validation.chosen_value`).
    """

    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    rates: list[dict[str, float]] = field(default_factory=list)
    drops: list[int] = field(default_factory=list)
    best_epoch: int = 0
    best_rank: list[float] = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    chosen_by: str = ""
    chosen_value: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return all attributes."""
        return dict(vars(self))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the saved attributes."""
        vars(self).update(state)


def train(run: Run, output: Path) -> list[ChosenEpoch]:
    """Train all phases of a run and write the model folder, whole or not at all.

    After an interruption, a second call with the same run continues where the first call stopped: after every epoch the
    state is saved to ``.state/checkpoints/<run>-<fingerprint>``, which is deleted in the end. On a CPU, in single
    precision, the result has the same bytes as that of an uninterrupted call. A damaged checkpoint is never used: a
    warning names it, and its epochs are trained again.

    A phase ends after `epochs` epochs, or earlier by `early_stopping` or by a plateau schedule
    (`model.training.schedules`). Its epoch with the highest rank is kept (`Task.validate`); without
    ranks, the last. With `ema`, the moving average of the weights is validated and saved instead of the weights.

    The folder holds ``<phase>.safetensors`` per phase, ``run.json`` (the run's description, the chosen epochs and the
    measures that chose them, the digest of the code, library versions), ``curves/`` (DVCLive), and what the run's
    `complete` writes. Curves with rates grow in ``.state/curves/<run>/<phase>``.

    With several processes (``accelerate launch -m ..``), each of them makes the same call. They share every step
    (`model.training.learner`) and every validation; only the first process writes. All need the same current folder, on
    a file system that they share. With `groups`, each process reads images of its own (`model.data.batches.Shares`).

    Args:
        run: the run to train.
        output: the model folder.

    Returns:
        One entry per phase.

    Raises:
        UserError: a phase has no training rows; a process that loads images, or another process of the training, died;
            or a loss, a weight or a validation value became NaN or infinite (the message names phase, epoch, step, rows
            and the last good checkpoint).
    """
    group = training_processes()
    checkpoints = Checkpoints(run.name, run.fingerprint, group.num_processes)
    for task in run.tasks:
        check_parts(task.params, group.num_processes)
        for stream, rows in task.rows.items():
            if not len(rows):
                raise UserError(f"phase {task.name}: stream {stream} has no training images")
    with lost_processes_reported():
        return _train(run, output, checkpoints)


def _train(run: Run, output: Path, checkpoints: Checkpoints) -> list[ChosenEpoch]:
    group = training_processes()
    with writes_alone() as this_process:
        if this_process:
            checkpoints.drop_damaged({task.name: task.starts_from for task in run.tasks})
            if group.num_processes > 1:
                checkpoints.folder.mkdir(parents=True, exist_ok=True)
    check_shared(checkpoints.folder)
    if group.num_processes > 1:
        log.info("%s: %d processes share each step", run.name, group.num_processes)
    chosen, curves = [], {}
    for number, task in enumerate(run.tasks):
        make_deterministic(task.params.threads)
        if checkpoints.finished(task.name) is None:
            later = len(run.tasks) - number - 1
            name = f"{run.name}, phase {task.name}"
            with dead_loaders_reported():
                PhaseTraining(task, name, checkpoints, live_folder(run.name, task.name), later).train()
        result = checkpoints.finished(task.name)
        assert result is not None
        chosen.append(ChosenEpoch(**result["chosen"]))
        curves[task.name] = result["history"]
    with writes_alone() as this_process:
        if this_process:
            write_model(run, chosen, curves, checkpoints, Path(output))
            checkpoints.remove()
    return chosen


def write_model(
    run: Run,
    chosen: list[ChosenEpoch],
    curves: Mapping[str, list[dict[str, float]]],
    checkpoints: Checkpoints,
    output: Path,
) -> None:
    """Write the model folder, whole or not at all."""
    with whole_directory(output) as folder:
        for task in run.tasks:
            shutil.copyfile(checkpoints.weights(task.name), folder / f"{task.name}.safetensors")
        phases = {task.name: described for task in run.tasks if (described := task.describe())}
        content = {
            **run.description,
            **({"phases": phases} if phases else {}),
            "chosen": [vars(epoch) for epoch in chosen],
            "code": code_digest(),
            "versions": {name: version(name) for name in LIBRARIES},
        }
        write_json(content, folder / "run.json")
        write_curves(curves, folder / "curves")
        if run.complete is not None:
            run.complete(folder)


def make_deterministic(threads: int | None) -> None:
    """Set torch so that the same machine computes the same numbers again."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if threads is not None:
        torch.set_num_threads(threads)
    # Some operations of torchvision's VGG have no deterministic form on a GPU, so there torch only warns.
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())


def start_accelerator(params: TrainParams) -> Accelerator:
    """Return a new accelerator, which has the device, the precision and the processes.

    Raises:
        UserError: the device doesn't support the precision.
    """
    # Without recognition the layers from omega to phi get no gradient, so DDP must look for unused parameters.
    # Running statistics are averaged (Learner.average_statistics) instead of copied from the first process.
    parallel = DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)
    AcceleratorState._reset_state()  # else the precision of an earlier training in this process would stay
    try:
        accelerator = Accelerator(
            mixed_precision=params.mixed_precision,
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),  # else the environment could set it
            kwargs_handlers=[parallel],
        )
        if params.mixed_precision != "no" and not accelerator.native_amp:  # Accelerate accepts fp16 on a CPU silently
            raise ValueError(f"not available on a {accelerator.device.type}")
    except ValueError as error:
        raise UserError(f"train.mixed_precision = {params.mixed_precision}: {error}; use no or bf16") from None
    return accelerator


class PhaseTraining:
    """One phase of a run: its network, its batches, and the loop over its epochs.

    Args:
        task: the phase.
        name: names of run and phase, for messages.
        checkpoints: of the run.
        curves: the folder of the phase's live curves; None: no live curves.
        later_phases: number of phases after this one.
    """

    def __init__(self, task: Task, name: str, checkpoints: Checkpoints, curves: Path | None, later_phases: int) -> None:
        self.task, self.name, self.params = task, name, task.params
        self.checkpoints, self.later_phases = checkpoints, later_phases
        self.accelerator = start_accelerator(self.params)
        self.steps_per_epoch = num_steps_per_epoch(task)
        self.num_steps = self.steps_per_epoch * self.params.epochs
        torch.manual_seed(derive_seed(task.seed, "initialise"))
        self.network: nn.Module = task.network(checkpoints.read_weights)
        module = task.module(self.network)
        optimizers = task.optimizers(module)
        self.learner = Learner(task, name, self.network, module, optimizers, self.accelerator, self.num_steps)
        self.average = None if self.params.ema is None else MovingAverage(self.network, self.params.ema)
        self.progress = Progress()
        self._all_rows: Iterator[Loaded] | None = None  # batches of all rows, continued from epoch to epoch
        self.curves = LiveCurves(curves if self.accelerator.is_main_process else None)
        for part in (self.progress, task, self.average):
            if part is not None:
                self.accelerator.register_for_checkpointing(part)

    def train(self) -> None:
        """Train the epochs that no checkpoint has yet, and save the result."""
        self.checkpoints.load_epoch(self.task.name, self.accelerator)
        done = self.progress.epoch
        if done:
            log.info("%s: continues after epoch %d of %d", self.name, done, self.params.epochs)
        for values, rates in zip(self.progress.history, self.progress.rates, strict=True):
            self.curves.add({**values, **rates})
        steps_left = self.num_steps - done * self.steps_per_epoch
        clock = Clock(self.name, self.params.epochs, steps_left, self.later_phases, self.params.stop_rule is not None)
        while self._ended_by() is None:
            epoch = self.progress.epoch
            self.learner.last_checkpoint = self.checkpoints.last(self.task.name)
            batches, num_chosen = self._choose_batches(epoch)
            self._seed_dropout(epoch)
            values = {**self._train_epoch(epoch, batches, clock), **num_chosen}
            rates = clock.rates()
            values.update(self._validate_average(epoch + 1))
            self.progress.history.append(values)
            self.progress.rates.append(rates)
            self.progress.epoch = epoch + 1
            self._drop_on_plateau()
            with writes_alone() as this_process:
                if this_process:
                    self.checkpoints.save_epoch(self.task.name, epoch + 1, self.accelerator)
            self.curves.add({**values, **rates})
        self._finish()

    def _drop_on_plateau(self) -> None:
        """Drop the rate of a plateau schedule after an epoch if it is due; the drops are part of the checkpoint."""
        done, schedule = self.progress, self.params.schedule
        if len(done.drops) != schedule.drops and on_plateau(schedule, done.epoch, done.best_epoch, done.drops):
            done.drops.append(done.epoch)
            log.info("%s: no better epoch since epoch %d: the rate drops", self.name, done.best_epoch)

    def _ended_by(self) -> str | None:
        """Return what ends the phase now (`ChosenEpoch.ended_by`); None if the next epoch is to be trained."""
        done, params = self.progress, self.params
        if on_plateau(params.schedule, done.epoch, done.best_epoch, done.drops):
            return "plateau"
        if params.early_stopping is not None and done.epoch - done.best_epoch >= params.early_stopping:
            return "early stopping"
        if done.epoch < params.epochs:
            return None
        return "all epochs" if params.stop_rule is None else "cap"

    def _seed_dropout(self, epoch: int) -> None:
        """Seed dropout for an epoch, so that a continued run drops the same units; each process drops other units."""
        process = self.accelerator.process_index
        purpose_of_process = (process,) if process else ()
        torch.manual_seed(derive_seed(self.task.seed, "dropout", self.task.name, epoch, *purpose_of_process))

    def _batches(self, rows: Mapping[str, np.ndarray], steps: range, start: int) -> Iterator[Loaded]:
        """Return the parts of each step that this process runs; loading starts with the first `next`."""
        parts, process = self.params.accumulation, self.accelerator.process_index
        shares = Shares(
            range(process * parts, (process + 1) * parts),
            self.accelerator.num_processes * parts,
            self.params.groups or 1,
        )
        if shares.groups > 1:
            rows = {
                stream: mine[np.argsort(self.task.reading_order(stream, mine), kind="stable")]
                for stream, mine in rows.items()
            }
        for stream, of_stream in rows.items():
            self.task.will_read(stream, shares.rows_read(of_stream, self.params.batch_size))
        return training_batches(
            self.task.load,
            rows,
            self.params.batch_size,
            steps,
            self.task.seed,
            self.task.name,
            self.params.workers,
            start,
            shares,
        )

    def _choose_batches(self, epoch: int) -> tuple[Iterator[Loaded], dict[str, float]]:
        """Return the batches of an epoch; if the task chose the rows, also their number per stream, as curve values."""
        torch.manual_seed(derive_seed(self.task.seed, "choose", self.task.name, epoch))  # equal in every process
        rows = self.task.choose(self.learner, epoch)
        first = epoch * self.steps_per_epoch
        if rows is None:
            if self._all_rows is None:
                self._all_rows = self._batches(self.task.rows, range(first, self.num_steps), start=0)
            return self._all_rows, {}
        self._all_rows = None  # a later epoch with all rows makes a new iterator that begins at that epoch's step
        for stream in self.task.rows:
            if not len(rows.get(stream, ())):
                raise UserError(f"{self.name}: no {stream} image was chosen for epoch {epoch + 1}")
        batches = self._batches(rows, range(first, first + self.steps_per_epoch), start=first)
        return batches, {f"train/{stream} images": float(len(chosen)) for stream, chosen in rows.items()}

    def _train_epoch(self, epoch: int, batches: Iterator[Loaded], clock: Clock) -> dict[str, float]:
        self.learner.module.train()
        self.learner.begin_epoch(len(self.progress.drops))
        sums: dict[str, Tensor] = {}
        first = epoch * self.steps_per_epoch
        num_images = self.params.batch_size * len(self.task.rows)
        clock.begin_epoch()
        for step in clock.bar(range(first, first + self.steps_per_epoch), epoch, self.steps_per_epoch):
            self.learner.begin_step(step, [clock.waiting(batches) for _ in range(self.params.accumulation)])
            means = self.task.step(self.learner)
            if self.average is not None:
                self.average.update(step)
            add(sums, means)
            clock.step(num_images, epoch, means["objective"] * self.accelerator.num_processes)  # mean of this process
        self.learner.check_epoch()
        totals = self.learner.total(sums)
        values = {f"train/{name}": total / self.steps_per_epoch for name, total in totals.items()}
        for optimizer in self.learner.optimizers:
            for group in optimizer.param_groups:
                values[f"train/learning rate {group['part']}"] = group["lr"]
        if self.accelerator.scaler is not None:
            values["train/skipped steps"] = float(self.learner.num_skipped)
        return values

    def _validate_average(self, epoch: int) -> dict[str, float]:
        self.learner.average_statistics(self.network.state_dict())
        self.learner.check_weights()
        if self.average is None:
            return self._validate(epoch)
        self.learner.average_statistics(self.average.values)
        with self.average.applied_to_network():
            return self._validate(epoch)

    def _validate(self, epoch: int) -> dict[str, float]:
        """Validate the network, and keep a copy of its weights if they are the best so far."""
        found = self.task.validate(self.learner)
        self.learner.check_validation(found.values)
        if not found.rank and self.params.stop_rule is not None:
            setting, remedy = self.params.stop_rule
            raise UserError(
                f"{self.name}: {setting}, but without validation images no epoch is better than another; {remedy}"
            )
        rank = list(found.rank) or [float(epoch)]
        if not self.progress.best_rank or rank > self.progress.best_rank:
            self.progress.best_rank, self.progress.best_epoch = rank, epoch
            self.progress.chosen_by, self.progress.chosen_value = found.chosen_by, found.chosen_value
            self.progress.best_weights = {
                name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
                for name, value in self.network.state_dict().items()
            }
        return {f"validation/{name}": value for name, value in found.values.items()}

    def _finish(self) -> None:
        done = self.progress
        ended_by = self._ended_by()
        assert ended_by is not None
        images = done.epoch * self.steps_per_epoch * self.params.batch_size
        chosen = ChosenEpoch(
            phase=self.task.name,
            epoch=done.best_epoch,
            of=done.epoch,
            chosen_on=done.chosen_by,
            value=done.chosen_value,
            ended_by=ended_by,
            drops=done.drops,
            seen=dict.fromkeys(self.task.rows, images),
        )
        with writes_alone() as this_process:
            if this_process:
                self.checkpoints.finish(
                    self.task.name, done.best_weights, {"chosen": vars(chosen), "history": done.history}
                )
        self.curves.end()
        shown = "" if chosen.value is None else f", {chosen.chosen_on} {chosen.value:.4g}"
        log.info("%s: done (%s), epoch %d of %d%s", self.name, chosen.ended_by, chosen.epoch, chosen.of, shown)
