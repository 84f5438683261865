"""Runs the phases of a recipe. It knows no method by name, and no procedure by which one learns."""

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
from torch import Tensor

from model.averaging import MovingAverage
from model.batches import Batch, ImageDataset, training_batches
from model.checkpoints import Checkpoints, code_digest, weights_digest
from model.clock import Clock
from model.config import Domain, Recipe, TrainParams
from model.curves import LiveCurves, live_folder, write_curves
from model.examples import Examples
from model.learner import Learner, Observer, Task, check_parts, num_steps_per_epoch
from model.measures import mean_loss, num_correct, percent, rmse
from model.network import MultidomainNetwork, build_network, copy_parts
from model.procedures import add, start_procedure
from model.processes import processes, writes_alone
from model.seeding import derive_seed
from pipelines.artifacts import whole_directory, write_json
from pipelines.console import UserError

log = logging.getLogger("clicksight")

LIBRARIES = ("torch", "torchvision", "accelerate", "numpy", "pillow", "safetensors")


@dataclass(frozen=True)
class ChosenEpoch:
    """Which epoch of a phase was kept, and why."""

    phase: str
    epoch: int  # from 1
    of: int  # epochs that were trained
    chosen_on: str  # as in "target validation accuracy"
    value: float | None  # percent, or the loss; None without validation images


@dataclass
class Progress:
    """What a phase has come to; part of its checkpoints.

    Attributes:
        epoch: epochs done.
        history: one mapping of curve values per epoch.
        rates: the same of what is measured in seconds, and goes into no artifact.
        best: the chosen epoch so far (from 1), what it was chosen by, and its weights.
    """

    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    rates: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best_rank: list[float] = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        """Return all of it."""
        return dict(vars(self))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what was saved."""
        vars(self).update(state)


def train(
    recipe: Recipe,
    examples: Examples,
    seed: int,
    output: Path,
    run: str,
    observers: Mapping[str, Observer] | None = None,
) -> list[ChosenEpoch]:
    """Train all phases of a recipe and write the model folder, whole or not at all.

    An interrupted call continues where it stopped when it is made again with the same recipe, examples and seed: after
    every epoch the state goes to ``.state/checkpoints/<run>-<fingerprint>``, which is removed in the end. On a CPU, in
    single precision, the result has the same bytes as that of an uninterrupted call. A damaged checkpoint is
    never used: a warning names it, and what it held is trained again.

    A phase's epoch is chosen on the validation images of its main domain: highest accuracy (ties: lowest
    cross-entropy), or lowest weighted click loss where nothing is recognised. Without validation images the last epoch
    is taken. With `train.ema` it is the moving average of the weights that is validated and saved.

    The folder holds ``<phase>.safetensors`` per phase, ``run.json`` (recipe, seed, categories per domain, K, chosen
    epochs and what chose them, digest of the start weights' file, library versions) and ``curves/`` (DVCLive).
    `model.predict.load_recogniser` reads it. Curves with rates beside them grow in ``.state/curves/<run>/<phase>``.

    In several processes (``accelerate launch -m model.train ..``) all make the same call. They share every step
    (`model.learner`) and every validation; the first one writes. They need one file system.

    Args:
        recipe: what to train.
        examples: images, labels, splits and, where a phase predicts clicks, click features.
        seed: of initialisation, batches, crops and dropout.
        output: the model folder.
        run: a name for logs and the checkpoint folder, as in ``methods/TDL/seed-0``.
        observers: by phase; a continued run does not tell them of the steps that are done already.

    Returns:
        One entry per phase.

    Raises:
        UserError: recipe and examples don't fit each other (named), or a loss, a weight or what is validated became
            NaN or infinite (phase, epoch, step, image ids and the last good checkpoint named).
    """
    together = processes()
    checkpoints = Checkpoints(run, recipe, seed, examples.fingerprint, together.num_processes)
    check_examples(recipe, examples)
    check_parts(recipe.train, together.num_processes)
    make_deterministic(recipe.train.threads)
    with writes_alone() as this_process:
        if this_process:
            checkpoints.drop_damaged()
    if together.num_processes > 1:
        log.info("%s: %d processes share each step", run, together.num_processes)
    chosen, curves = [], {}
    for number, phase in enumerate(recipe.phases):
        if checkpoints.finished(phase.name) is None:
            later = len(recipe.phases) - number - 1
            task = Task(
                f"{run}, phase {phase.name}",
                phase,
                recipe.train,
                recipe.position,
                examples,
                seed,
                (observers or {}).get(phase.name),
            )
            PhaseTraining(recipe, task, checkpoints, live_folder(run, phase.name), later).train()
        result = checkpoints.finished(phase.name)
        assert result is not None
        chosen.append(ChosenEpoch(**result["chosen"]))
        curves[phase.name] = result["history"]
    with writes_alone() as this_process:
        if this_process:
            write_model(recipe, examples, seed, chosen, curves, checkpoints, Path(output))
            checkpoints.remove()
    return chosen


def write_model(
    recipe: Recipe,
    examples: Examples,
    seed: int,
    chosen: list[ChosenEpoch],
    curves: Mapping[str, list[dict[str, float]]],
    checkpoints: Checkpoints,
    output: Path,
) -> None:
    """Write the model folder, whole or not at all."""
    with whole_directory(output) as folder:
        for phase in recipe.phases:
            shutil.copyfile(checkpoints.weights(phase.name), folder / f"{phase.name}.safetensors")
        write_json(describe_run(recipe, examples, seed, chosen), folder / "run.json")
        write_curves(curves, folder / "curves")


def describe_run(recipe: Recipe, examples: Examples, seed: int, chosen: list[ChosenEpoch]) -> dict[str, Any]:
    """Return the content of run.json: all that is needed to use the weights, and to know where they come from."""
    domains = sorted({domain for phase in recipe.phases for domain in phase.domains})
    return {
        "method": recipe.method,
        "seed": seed,
        "chosen": [vars(epoch) for epoch in chosen],
        "images": {
            domain: {split: len(examples.places(domain, split)) for split in ("train", "validation")}
            for domain in domains
        },
        "num_words": 0 if examples.clicks is None else examples.clicks.num_words,
        "categories": {domain: examples.categories[domain] for domain in domains},
        "recipe": recipe.model_dump(mode="json", by_alias=True, exclude_none=True),
        "start_weights": weights_digest(recipe.network),
        "code": code_digest(),
        "versions": {name: version(name) for name in LIBRARIES},
    }


def check_examples(recipe: Recipe, examples: Examples) -> None:
    """Check that there is something to train on.

    Raises:
        UserError: a phase's domain has no training images, or no validation images to stop early by, or there are no
            click features where clicks are needed.
    """
    for phase in recipe.phases:
        for domain in phase.domains:
            if not len(examples.places(domain, "train")):
                raise UserError(f"phase {phase.name}: the {domain} domain has no training images in the split file")
        if recipe.train.early_stopping is not None and not len(examples.places(phase.main_domain, "validation")):
            raise UserError(
                f"train.early_stopping = {recipe.train.early_stopping}, but phase {phase.name} has no validation images"
                f" of the {phase.main_domain} domain to stop by; set it to null"
            )
        if phase.has_embedding and examples.clicks is None:
            raise UserError(f"phase {phase.name} uses the click branch, but no click features were given (--features)")


def make_deterministic(threads: int | None) -> None:
    """Make torch repeat itself: same machine, same numbers."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if threads is not None:
        torch.set_num_threads(threads)
    # some operations of torchvision's VGG have no deterministic form on a GPU: a warning there, an error on a CPU
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())


def start_accelerator(params: TrainParams) -> Accelerator:
    """Return a fresh accelerator: device, precision and processes.

    Raises:
        UserError: the device at hand doesn't have the precision.
    """
    # Not every phase uses all weights: one that recognises nothing has no use for what makes phi of omega.
    # Running statistics are not taken from the first process but averaged, see Learner.average_statistics.
    parallel = DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)
    AcceleratorState._reset_state()  # else an earlier training of this process has fixed the precision
    try:
        accelerator = Accelerator(
            mixed_precision=params.mixed_precision,
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),  # else the environment has a say
            kwargs_handlers=[parallel],
        )
        if params.mixed_precision != "no" and not accelerator.native_amp:  # fp16 on a CPU: it would say nothing
            raise ValueError(f"not to be had on a {accelerator.device.type}")
    except ValueError as error:
        raise UserError(f"train.mixed_precision = {params.mixed_precision}: {error}; use no or bf16") from None
    return accelerator


class PhaseTraining:
    """One phase of a run: network, procedure, batches, and the loop over its epochs.

    Args:
        recipe: of the run.
        task: the phase's.
        checkpoints: of the run.
        curves: where the phase's curves can be watched; None: nowhere.
        later_phases: their number.
    """

    def __init__(
        self, recipe: Recipe, task: Task, checkpoints: Checkpoints, curves: Path | None, later_phases: int
    ) -> None:
        self.task, self.phase, self.params = task, task.phase, recipe.train
        self.examples, self.checkpoints, self.later_phases = task.examples, checkpoints, later_phases
        self.accelerator = start_accelerator(self.params)
        self.dataset = ImageDataset(
            self.examples, recipe.network.image_size, task.seed, self.phase.predicts_clicks, self.params.mirrored
        )
        self.places = {domain: self.examples.places(domain, "train") for domain in self.phase.domains}
        self.steps_per_epoch = num_steps_per_epoch(task)
        self.num_steps = self.steps_per_epoch * self.params.epochs
        self.network = self._start_network(recipe)
        self.procedure = start_procedure(task)
        module = self.procedure.module(self.network)
        optimizers = self.procedure.optimizers(module)
        self.learner = Learner(
            task, self.network, module, optimizers, self.dataset, self.accelerator, self.num_steps
        )  # fmt: skip
        self.average = None if self.params.ema is None else MovingAverage(self.network, self.params.ema)
        self.progress = Progress()
        self._all_images: Iterator[Batch] | None = None  # what epochs without a choice go on drawing from
        self.curves = LiveCurves(curves if self.accelerator.is_main_process else None)
        for part in (self.progress, self.procedure, self.average):
            if part is not None:
                self.accelerator.register_for_checkpointing(part)

    def _start_network(self, recipe: Recipe) -> MultidomainNetwork:
        torch.manual_seed(derive_seed(self.task.seed, "initialise"))
        categories = {domain: self.examples.categories[domain] for domain in self.phase.recognised}
        num_words = 0 if self.examples.clicks is None else self.examples.clicks.num_words
        from_backbone = self.phase.start == "backbone"
        network = build_network(recipe.network, self.phase, categories, num_words, load_weights=from_backbone)
        if not from_backbone:
            copy_parts(network, self.checkpoints.read_weights(self.phase.start))
        return network

    def train(self) -> None:
        """Train the phase's epochs, those that a checkpoint doesn't have yet, and save the result."""
        self.checkpoints.load_epoch(self.phase.name, self.accelerator)
        done = self.progress.epoch
        if done:
            log.info("%s: continues after epoch %d of %d", self.task.name, done, self.params.epochs)
        for values, rates in zip(self.progress.history, self.progress.rates, strict=True):
            self.curves.add({**values, **rates})
        clock = Clock(
            self.task.name, self.params.epochs, self.num_steps - done * self.steps_per_epoch, self.later_phases
        )
        while self.progress.epoch < self.params.epochs and not self._has_stopped_early():
            epoch = self.progress.epoch
            self.learner.last_checkpoint = self.checkpoints.last(self.phase.name)
            batches, num_chosen = self._choose_batches(epoch)
            self._seed_dropout(epoch)
            values = {**self._train_epoch(epoch, batches, clock), **num_chosen}
            rates = clock.rates()
            values.update(self._validate_average(epoch + 1))
            self.progress.history.append(values)
            self.progress.rates.append(rates)
            self.progress.epoch = epoch + 1
            with writes_alone() as this_process:
                if this_process:
                    self.checkpoints.save_epoch(self.phase.name, epoch + 1, self.accelerator)
            self.curves.add({**values, **rates})
        self._finish()

    def _has_stopped_early(self) -> bool:
        patience = self.params.early_stopping
        return patience is not None and self.progress.epoch - self.progress.best_epoch >= patience

    def _seed_dropout(self, epoch: int) -> None:
        """Begin dropout anew, so that a continued run drops the same; every process drops its own."""
        process = self.accelerator.process_index
        of_process = (process,) if process else ()
        torch.manual_seed(derive_seed(self.task.seed, "dropout", self.phase.name, epoch, *of_process))

    def _batches(self, places: Mapping[Domain, np.ndarray], steps: range, start: int) -> Iterator[Batch]:
        """Yield the parts of each step that this process runs; loading begins with the first."""
        parts, process = self.params.accumulation, self.accelerator.process_index
        yield from training_batches(
            self.dataset,
            places,
            self.params.batch_size,
            steps,
            self.phase.name,
            self.params.workers,
            start,
            range(process * parts, (process + 1) * parts),
            self.accelerator.num_processes * parts,
        )

    def _choose_batches(self, epoch: int) -> tuple[Iterator[Batch], dict[str, float]]:
        """Return the batches of an epoch, and of how many images, where that is the procedure's choice."""
        torch.manual_seed(derive_seed(self.task.seed, "choose", self.phase.name, epoch))  # the same in every process
        places = self.procedure.choose_images(self.learner, epoch)
        first = epoch * self.steps_per_epoch
        if places is None:
            if self._all_images is None:
                self._all_images = self._batches(self.places, range(first, self.num_steps), start=0)
            return self._all_images, {}
        self._all_images = None  # a later epoch of all images begins at its own step
        for domain in self.phase.domains:
            if not len(places.get(domain, ())):
                procedure = self.phase.procedure
                raise UserError(f"{self.task.name}: {procedure!r} chose no {domain} image for epoch {epoch + 1}")
        batches = self._batches(places, range(first, first + self.steps_per_epoch), start=first)
        return batches, {f"train/{domain} images": float(len(of_domain)) for domain, of_domain in places.items()}

    def _train_epoch(self, epoch: int, batches: Iterator[Batch], clock: Clock) -> dict[str, float]:
        self.learner.module.train()
        self.learner.begin_epoch()
        sums: dict[str, Tensor] = {}
        first = epoch * self.steps_per_epoch
        num_images = self.params.batch_size * len(self.phase.domains)
        clock.begin_epoch()
        for step in clock.bar(range(first, first + self.steps_per_epoch), epoch, self.steps_per_epoch):
            self.learner.begin_step(step, [clock.waiting(batches) for _ in range(self.params.accumulation)])
            means = self.procedure.step(self.learner)
            if self.average is not None:
                self.average.update(step)
            add(sums, means)
            clock.step(num_images, epoch, means["objective"] * self.accelerator.num_processes)  # means of its own share
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
        with self.average.in_place():
            return self._validate(epoch)

    def _validate(self, epoch: int) -> dict[str, float]:
        """Measure the validation split of every domain, and keep the weights if they are the best so far."""
        values: dict[str, float] = {}
        rank: list[float] = [epoch]
        for domain in self.phase.domains:
            places = self.examples.places(domain, "validation")
            if len(places):
                of_domain, domain_rank = self._validate_domain(domain, places)
                self.learner.check_validation(domain, of_domain)
                values.update({f"validation/{domain} {name}": value for name, value in of_domain.items()})
                if domain == self.phase.main_domain:
                    rank = domain_rank
        if not self.progress.best_rank or rank > self.progress.best_rank:
            self.progress.best_rank, self.progress.best_epoch = rank, epoch
            self.progress.best_weights = {
                name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
                for name, value in self.network.state_dict().items()
            }
        return values

    def _validate_domain(self, domain: Domain, places: np.ndarray) -> tuple[dict[str, float], list[float]]:
        outcome = self.learner.predict(domain, places)
        terms = [term for term in self.phase.losses if term.domain == domain]
        means = {term.kind: mean_loss(outcome, term, self.task.position) for term in terms}
        values: dict[str, float] = {str(kind): mean for kind, mean in means.items()}
        if "count" in means:
            values["rmse"] = rmse(outcome)
        if domain in self.phase.recognised:
            values["accuracy"] = percent(num_correct(outcome), outcome.num_images)
        if "recognition" not in means:
            return values, [-sum(term.weight * means[term.kind] for term in terms)]
        return values, [values["accuracy"], -means["recognition"]]

    def _finish(self) -> None:
        domain, best = self.phase.main_domain, self.progress.best_epoch
        if not len(self.examples.places(domain, "validation")):
            chosen_on, value = "last epoch (no validation images)", None
        elif self.phase.recognised:
            chosen_on, value = f"{domain} validation accuracy", self.progress.best_rank[0]
        else:
            chosen_on, value = f"{domain} validation click loss", -self.progress.best_rank[0]
        chosen = ChosenEpoch(self.phase.name, best, self.progress.epoch, chosen_on, value)
        with writes_alone() as this_process:
            if this_process:
                self.checkpoints.finish(
                    self.phase.name,
                    self.progress.best_weights,
                    {"chosen": vars(chosen), "history": self.progress.history},
                )
        self.curves.end()
        shown = "" if value is None else f", {chosen_on} {value:.4g}"
        log.info("%s: done, epoch %d of %d%s", self.task.name, best, self.progress.epoch, shown)
