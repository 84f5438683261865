"""Runs the phases of a recipe. It knows no method by name."""

import logging
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import Tensor, nn

from model.batches import Batch, ImageDataset, evaluation_batches, training_batches
from model.checkpoints import Checkpoints, code_digest
from model.config import Domain, Phase, Recipe, TrainParams
from model.examples import Examples
from model.losses.objective import objective
from model.measures import mean_loss, num_correct, percent, predict, rmse
from model.network import MultidomainNetwork, build_network, copy_parts
from model.schedules import rate_factor
from model.seeding import derive_seed
from pipelines.artifacts import whole_directory, write_json
from pipelines.console import UserError

log = logging.getLogger("clicksight")

REPORT_EVERY_S = 10.0
EVALUATION_BATCH = 128
LIBRARIES = ("torch", "torchvision", "accelerate", "numpy", "pillow", "safetensors")


@dataclass(frozen=True)
class ChosenEpoch:
    """Which epoch of a phase was kept, and why."""

    phase: str
    epoch: int  # from 1
    of: int
    chosen_on: str  # as in "target validation accuracy"
    value: float | None  # percent, or the loss; None without validation images


@dataclass
class Progress:
    """What a phase has come to; part of its checkpoints.

    Attributes:
        epoch: epochs done.
        history: one mapping of curve values per epoch.
        best: the chosen epoch so far (from 1), what it was chosen by, and its weights.
    """

    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best_rank: list[float] = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        """Return all of it."""
        return dict(vars(self))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what was saved."""
        vars(self).update(state)


def train(recipe: Recipe, examples: Examples, seed: int, output: Path, run: str) -> list[ChosenEpoch]:
    """Train all phases of a recipe and write the model folder, whole or not at all.

    An interrupted call continues where it stopped when it is made again with the same recipe, examples and seed: after
    every epoch the state goes to ``.state/checkpoints/<run>-<fingerprint>``, which is removed in the end. On a CPU, in
    single precision, the result has the same bytes as that of an uninterrupted call.

    A phase's epoch is chosen on the validation images of its main domain: highest accuracy (ties: lowest
    cross-entropy), or lowest weighted click loss where nothing is recognised. Without validation images the last epoch
    is taken.

    The folder holds ``<phase>.safetensors`` per phase, ``run.json`` (recipe, seed, categories per domain, K, chosen
    epochs and what chose them, library versions) and ``curves/`` (DVCLive). `model.predict.load_recogniser` reads it.

    Args:
        recipe: what to train.
        examples: images, labels, splits and, where a phase predicts clicks, click features.
        seed: of initialisation, batches, crops and dropout.
        output: the model folder.
        run: a name for logs and the checkpoint folder, as in ``methods/TDL/seed-0``.

    Returns:
        One entry per phase.

    Raises:
        UserError: recipe and examples don't fit each other (named), or a loss became NaN or infinite (phase, epoch,
            step, image ids and the last good checkpoint named).
    """
    checkpoints = Checkpoints(run, recipe, seed, examples.fingerprint)
    check_examples(recipe, examples)
    make_deterministic(recipe.train.threads)
    chosen, curves = [], {}
    for number, phase in enumerate(recipe.phases):
        if checkpoints.finished(phase.name) is None:
            later = len(recipe.phases) - number - 1
            PhaseTraining(recipe, phase, examples, seed, checkpoints, run, later).train()
        result = checkpoints.finished(phase.name)
        assert result is not None
        chosen.append(ChosenEpoch(**result["chosen"]))
        curves[phase.name] = result["history"]
    with whole_directory(Path(output)) as folder:
        for phase in recipe.phases:
            shutil.copyfile(checkpoints.weights(phase.name), folder / f"{phase.name}.safetensors")
        write_json(describe_run(recipe, examples, seed, chosen), folder / "run.json")
        write_curves(curves, folder / "curves")
    checkpoints.remove()
    return chosen


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
        "code": code_digest(),
        "versions": {name: version(name) for name in LIBRARIES},
    }


def write_curves(curves: Mapping[str, list[dict[str, float]]], folder: Path) -> None:
    """Write every phase's history as DVCLive curves, one point per epoch."""
    from dvclive import Live  # here, not above: it takes seconds that nothing but the end of a training need wait for

    for phase, history in curves.items():
        with Live(str(folder / phase), report=None, save_dvc_exp=False, dvcyaml=None) as live:
            for values in history:
                for name, value in values.items():
                    live.log_metric(name, value)
                live.next_step()


def check_examples(recipe: Recipe, examples: Examples) -> None:
    """Check that there is something to train on.

    Raises:
        UserError: a phase's domain has no training images, or there are no click features where clicks are needed.
    """
    for phase in recipe.phases:
        for domain in phase.domains:
            if not len(examples.places(domain, "train")):
                raise UserError(f"phase {phase.name}: the {domain} domain has no training images in the split file")
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
    """Return a fresh accelerator: device and precision.

    Raises:
        UserError: it was launched as several processes.
    """
    accelerator = Accelerator(mixed_precision=params.mixed_precision)
    if accelerator.num_processes > 1:
        raise UserError(f"training runs in one process, found {accelerator.num_processes}; start it without a launcher")
    return accelerator


class PhaseTraining:
    """One phase of a run: network, optimiser, batches, and the loop over its epochs."""

    def __init__(
        self,
        recipe: Recipe,
        phase: Phase,
        examples: Examples,
        seed: int,
        checkpoints: Checkpoints,
        run: str,
        later_phases: int,
    ) -> None:
        self.phase, self.params, self.position = phase, recipe.train, recipe.position
        self.examples, self.seed = examples, seed
        self.checkpoints = checkpoints
        self.accelerator = start_accelerator(self.params)
        self.name, self.later_phases = f"{run}, phase {phase.name}", later_phases
        self.dataset = ImageDataset(
            examples, recipe.network.image_size, seed, phase.predicts_clicks, self.params.mirrored
        )
        self.places = {domain: examples.places(domain, "train") for domain in phase.domains}
        self.steps_per_epoch = math.ceil(examples.epoch_images[phase.main_domain] / self.params.batch_size)
        self.num_steps = self.steps_per_epoch * self.params.epochs
        self.network = self._start_network(recipe)
        self.parameter_groups = parameter_groups(self.network, self.params)
        self.optimizer = torch.optim.SGD(
            self.parameter_groups, lr=0.0, momentum=self.params.momentum, weight_decay=self.params.weight_decay
        )
        self.progress = Progress()
        self.prepared, self.prepared_optimizer = self.accelerator.prepare(self.network, self.optimizer)
        self.accelerator.register_for_checkpointing(self.progress)

    def _start_network(self, recipe: Recipe) -> MultidomainNetwork:
        torch.manual_seed(derive_seed(self.seed, "initialise"))
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
            log.info("%s: continues after epoch %d of %d", self.name, done, self.params.epochs)
        batches = iter(
            training_batches(
                self.dataset,
                self.places,
                self.params.batch_size,
                range(done * self.steps_per_epoch, self.num_steps),
                self.phase.name,
                self.params.workers,
            )
        )
        clock = Clock(self.name, self.num_steps - done * self.steps_per_epoch, self.later_phases)
        for epoch in range(done, self.params.epochs):
            # dropout of an epoch begins anew, so that a continued run drops the same
            torch.manual_seed(derive_seed(self.seed, "dropout", self.phase.name, epoch))
            values = self._train_epoch(epoch, batches, clock)
            values.update(self._validate(epoch + 1))
            self.progress.history.append(values)
            self.progress.epoch = epoch + 1
            self.checkpoints.save_epoch(self.phase.name, epoch + 1, self.accelerator)
        self._finish()

    def _train_epoch(self, epoch: int, batches: Iterator[Batch], clock: "Clock") -> dict[str, float]:
        self.prepared.train()
        sums: dict[str, Tensor] = {}
        first = epoch * self.steps_per_epoch
        for step in range(first, first + self.steps_per_epoch):
            batch = send_to_device(next(batches), self.accelerator.device, non_blocking=True)
            means = self._step(step, batch)
            for name, value in means.items():
                sums[name] = sums[name] + value if name in sums else value
            clock.step(sum(len(part.labels) for part in batch.values()), epoch, self.params.epochs, means["objective"])
        values = {f"train/{name}": total.item() / self.steps_per_epoch for name, total in sums.items()}
        values["train/learning rate"] = self.optimizer.param_groups[0]["lr"]
        return values

    def _step(self, step: int, batch: Batch) -> dict[str, Tensor]:
        factor = rate_factor(self.params.schedule, step, self.num_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        predictions = self.prepared({domain: of_domain.images for domain, of_domain in batch.items()})
        loss, means = objective(self.phase.losses, predictions, batch, self.position)
        if not torch.isfinite(loss):
            raise UserError(self._diverged(step, batch, loss.item(), means))
        self.prepared_optimizer.zero_grad()
        self.accelerator.backward(loss)
        self.prepared_optimizer.step()
        return {"objective": loss.detach(), **means}

    def _diverged(self, step: int, batch: Batch, loss: float, means: Mapping[str, Tensor]) -> str:
        ids = self.examples.rows["image_id"]
        images = {domain: [ids[place] for place in part.places.tolist()] for domain, part in batch.items()}
        parts = ", ".join(f"{name} {value.item():.4g}" for name, value in means.items())
        return (
            f"{self.name}: the loss is {loss} at step {step} (epoch {step // self.steps_per_epoch + 1}): {parts}.\n"
            f"Its images: {images}\n"
            f"Last good checkpoint: {self.checkpoints.last(self.phase.name)}\n"
            "Lower train.learning_rate or lengthen train.schedule.warm_up."
        )

    def _validate(self, epoch: int) -> dict[str, float]:
        """Measure the validation split of every domain, and keep the weights if they are the best so far."""
        values: dict[str, float] = {}
        rank: list[float] = [epoch]
        for domain in self.phase.domains:
            places = self.examples.places(domain, "validation")
            if len(places):
                of_domain, domain_rank = self._validate_domain(domain, places)
                values.update({f"validation/{domain} {name}": value for name, value in of_domain.items()})
                if domain == self.phase.main_domain:
                    rank = domain_rank
        if not self.progress.best_rank or rank > self.progress.best_rank:
            self.progress.best_rank, self.progress.best_epoch = rank, epoch
            weights = self.network.state_dict()
            self.progress.best_weights = {name: value.detach().cpu().clone() for name, value in weights.items()}
        return values

    def _validate_domain(self, domain: Domain, places: Any) -> tuple[dict[str, float], list[float]]:
        batches = evaluation_batches(self.dataset, domain, places, EVALUATION_BATCH, self.params.workers)
        outcome = predict(self.prepared, batches, domain, self.accelerator.device)
        terms = [term for term in self.phase.losses if term.domain == domain]
        means = {term.kind: mean_loss(outcome, term, self.position) for term in terms}
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
        chosen = ChosenEpoch(self.phase.name, best, self.params.epochs, chosen_on, value)
        self.checkpoints.finish(
            self.phase.name,
            self.progress.best_weights,
            {"chosen": vars(chosen), "history": self.progress.history},
        )
        shown = "" if value is None else f", {chosen_on} {value:.4g}"
        log.info("%s: done, epoch %d of %d%s", self.name, best, self.params.epochs, shown)


def parameter_groups(network: MultidomainNetwork, params: TrainParams) -> list[dict[str, Any]]:
    """Return the optimiser's groups: the ConvNet at the learning rate, the new parts at multiples of it.

    ``peak`` is the group's highest rate. Frozen parameters are left out, empty groups too.
    """
    parts: list[tuple[nn.Module | None, float]] = [
        (network.backbone, 1.0),
        (network.embedding, params.embedding_multiplier),
        (network.recogniser, params.recogniser_multiplier),
    ]
    groups = []
    for part, multiplier in parts:
        if part is None:
            continue
        of_biases = params.recogniser_bias_multiplier if part is network.recogniser else 1.0
        named = [(name, weight) for name, weight in part.named_parameters() if weight.requires_grad]
        apart = [weight for name, weight in named if name.endswith("bias") and of_biases != 1]
        together = [weight for name, weight in named if not name.endswith("bias") or of_biases == 1]
        for weights, factor in ((together, multiplier), (apart, multiplier * of_biases)):
            if weights:
                groups.append({"params": weights, "peak": params.learning_rate * factor})
    return groups


class Clock:
    """Says now and then how fast it goes and how long it will take."""

    def __init__(self, name: str, num_steps: int, later_phases: int) -> None:
        self.name, self.steps_left, self.later_phases = name, num_steps, later_phases
        self.started = self.reported = time.perf_counter()
        self.images = self.steps = 0

    def step(self, num_images: int, epoch: int, epochs: int, loss: Tensor) -> None:
        """Count a step; every ten seconds, log a line."""
        self.images, self.steps, self.steps_left = self.images + num_images, self.steps + 1, self.steps_left - 1
        now = time.perf_counter()
        if now - self.reported < REPORT_EVERY_S:
            return
        self.reported = now
        seconds = now - self.started
        log.info(
            "%s: epoch %d of %d, loss %.4f, %.0f images/s, %s left in this phase%s",
            self.name,
            epoch + 1,
            epochs,
            loss.item(),
            self.images / seconds,
            _duration(self.steps_left * seconds / self.steps),
            f", {self.later_phases} more to come" if self.later_phases else "",
        )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
