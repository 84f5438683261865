"""The trainer's task for a phase of MTMDD-VM or of a method compared with it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from base.console import UserError
from model.data.batches import Batch, Draw
from model.folder import weights_digest
from model.training.learner import Learner
from model.training.task import Earlier, Run, Task, Validation, add
from systems.mtmdd.batches import DomainBatch, ImageLoader
from systems.mtmdd.config import BACKBONE, Domain, Phase, Recipe, TrainParams
from systems.mtmdd.examples import Examples
from systems.mtmdd.measures import Outcome, joined, mean_loss, num_correct, outcome_of, percent, rmse
from systems.mtmdd.network import MultidomainNetwork, Prediction, build_network, check_same_categories, copy_parts
from systems.mtmdd.objective import ClickLoss, build_terms, objective

# Called in every step before its gradients are computed, with: step from 0, steps of the phase, network, and a function
# from a kind of term to its weighted, differentiable loss on the batch. It must not change anything or draw random
# numbers.
Observer = Callable[[int, int, MultidomainNetwork, Callable[[str], Tensor]], None]


class PhaseTask(Task):
    """A task with one optimiser, whose step minimises the weighted sum of the phase's losses (eq. 6).

    Args:
        recipe: the run's recipe.
        phase: one of the recipe's phases.
        examples: images, labels, splits and, if the phase predicts clicks, click features.
        seed: of initialisation, batches, crops and dropout.
        observer: called in every step; if a step is split into parts, in every part.

    Attributes:
        own_click_loss: the click loss of kind ``own``; only a subclass has one.
    """

    params: TrainParams
    own_click_loss: ClickLoss | None = None

    def __init__(
        self, recipe: Recipe, phase: Phase, examples: Examples, seed: int, observer: Observer | None = None
    ) -> None:
        super().__init__(
            phase.name,
            seed,
            phase.train or recipe.train,
            {domain: examples.row_numbers(domain, "train") for domain in phase.domains},
            phase.main_domain,
            examples.epoch_images[phase.epoch_domain or phase.main_domain],
            phase.starts_from,
        )
        self.recipe, self.phase, self.examples, self.observer = recipe, phase, examples, observer
        self.terms = build_terms(phase.losses, recipe.position, self.own_click_loss)
        self._category_clicks: Tensor | None = None  # mean training click feature of each category, when needed
        self.loader = ImageLoader(
            examples, recipe.network.image_size, seed, phase.predicts_clicks, self.params.mirrored
        )

    def network(self, earlier: Earlier) -> nn.Module:
        """Return the network with its start weights: the ConvNet's, or parts of earlier phases."""
        start = self.phase.start
        categories = {domain: self.examples.categories[domain] for domain in self.phase.recognised}
        num_words = 0 if self.examples.clicks is None else self.examples.clicks.num_words
        load_weights = start == BACKBONE or (isinstance(start, dict) and start.get("backbone", BACKBONE) == BACKBONE)
        branch = self.recipe.click_branch
        network = build_network(self.recipe.network, self.phase, categories, num_words, load_weights, branch)
        if network.embedding is not None and network.embedding.params.click_start:
            network.embedding.start_with(torch.from_numpy(self._training_clicks()))
        if isinstance(start, dict):
            for part, phase in start.items():
                if phase != BACKBONE:
                    copy_parts(network, earlier(phase), [part])
        elif start != BACKBONE:
            copy_parts(network, earlier(start))
        return network

    def load(self, stream: str, draws: Sequence[Draw]) -> DomainBatch:
        """Return crops, labels and click features."""
        return self.loader(stream, draws)

    def reading_order(self, stream: str, rows: np.ndarray) -> np.ndarray:
        """Return the order of the images in their shards."""
        return self.examples.images.order[rows]

    def will_read(self, stream: str, rows: np.ndarray) -> None:
        """Read images."""
        self.examples.images.read(rows)

    def _training_clicks(self) -> np.ndarray:
        assert self.examples.clicks is not None
        rows = self.examples.row_numbers("source", "train")
        return self.examples.clicks.vectors(self.examples.rows["image_id"][rows].to_list())

    def _targets(self, part: Batch) -> Batch:
        """Return a part of a step whose click features are mixed with those of their categories (`soft_targets`)."""
        branch = self.recipe.click_branch
        if branch is None or not branch.soft_targets or not self.phase.predicts_clicks:
            return part
        if self._category_clicks is None:
            labels = self.examples.labels()[self.examples.row_numbers("source", "train")]
            num_categories = len(self.examples.categories["source"])
            means = category_means(self._training_clicks(), labels, num_categories)
            self._category_clicks = torch.from_numpy(means).to(part["source"].clicks.device)
        source = part["source"]
        mixed = torch.lerp(source.clicks, self._category_clicks[source.labels], branch.soft_targets)
        return {**part, "source": source._replace(clicks=mixed)}

    def optimizers(self, module: nn.Module) -> list[torch.optim.Optimizer]:
        """Return SGD with the learning rate for the ConvNet and multiples of it for the new parts."""
        assert isinstance(module, MultidomainNetwork)
        return [self.sgd(module, parameter_groups(module, self.params))]

    def step(self, learner: Learner) -> dict[str, Tensor]:
        """Take a step; see :meth:`model.training.task.Task.step`."""
        means: dict[str, Tensor] = {}
        for part in map(self._targets, learner.parts()):
            loss, components = self.part_loss(learner, part)
            add(means, learner.backward(loss, part, components))
        learner.update()
        return means

    def part_loss(self, learner: Learner, part: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a part of a step, and its components; a subclass may add to it."""
        predictions = learner.module(images_of(part))
        loss, components = objective(self.terms, predictions, part)
        if self.observer is not None:
            loss_of = partial(self._loss_of, predictions=predictions, part=part)
            assert isinstance(learner.network, MultidomainNetwork)
            self.observer(learner.step, learner.num_steps, learner.network, loss_of)
        return loss, components

    def _loss_of(self, kind: str, predictions: Mapping[Domain, Prediction], part: Batch) -> Tensor:
        return objective([term for term in self.terms if term.kind == kind], predictions, part)[0]

    def predict(self, learner: Learner, domain: Domain, rows: np.ndarray) -> Outcome:
        """Run the network in evaluation mode over rows of a domain; every process gets the same result."""
        return joined(learner.run(domain, rows, partial(outcome_of, domain=domain)))

    def validate(self, learner: Learner) -> Validation:
        """Measure the validation split of every domain that has one.

        Epochs are ranked by the accuracy on the main domain (ties: by the lowest cross-entropy), or by the lowest
        weighted click loss if the main domain has no recognition loss.
        """
        values: dict[str, float] = {}
        found = Validation(values)
        for domain in self.phase.domains:
            rows = self.examples.row_numbers(domain, "validation")
            if len(rows):
                of_domain = self._measure(learner, domain, rows)
                values.update({f"{domain} {name}": value for name, value in of_domain.items()})
                if domain == self.phase.main_domain:
                    found = self.ranked(domain, of_domain, values)
        return found

    def _measure(self, learner: Learner, domain: Domain, rows: np.ndarray) -> dict[str, float]:
        return self.measured(self.predict(learner, domain, rows), domain)

    def measured(self, outcome: Outcome, domain: Domain) -> dict[str, float]:
        """Return the values of a domain's validation images by name; a subclass may add to them."""
        values = {term.kind: mean_loss(outcome, term) for term in self.terms if term.domain == domain}
        if {"count", "own"} & values.keys():
            values["rmse"] = rmse(outcome)
        if domain in self.phase.recognised:
            values["accuracy"] = percent(num_correct(outcome), outcome.num_images)
        return values

    def ranked(self, domain: Domain, measured: Mapping[str, float], values: Mapping[str, float]) -> Validation:
        """Return the rank of an epoch by what was measured on the main domain; a subclass may rank otherwise."""
        terms = [term for term in self.terms if term.domain == domain]
        if any(term.kind == "recognition" for term in terms):
            rank = [measured["accuracy"], -measured["recognition"]]
        else:
            rank = [-sum(term.weight * measured[term.kind] for term in terms)]
        if self.phase.recognised:
            return Validation(values, rank, f"{domain} validation accuracy", rank[0])
        return Validation(values, rank, f"{domain} validation click loss", -rank[0])

    def names(self, stream: str, rows: Sequence[int]) -> list[str]:
        """Return image ids."""
        return self.examples.rows["image_id"][list(rows)].to_list()


def images_of(part: Batch) -> dict[str, Tensor]:
    """Return the images of each domain in a part of a step."""
    return {domain: of_domain.images for domain, of_domain in part.items()}


def category_means(clicks: np.ndarray, labels: np.ndarray, num_categories: int) -> np.ndarray:
    """Return the mean click feature of each category's images; 0 for a category without images.

    Shape:
        clicks: (n, K); labels: (n,); result: float32 (num_categories, K)
    """
    sums = np.zeros((num_categories, clicks.shape[1]))
    np.add.at(sums, labels, clicks)
    return (sums / np.maximum(np.bincount(labels, minlength=num_categories), 1)[:, None]).astype(np.float32)


def parameter_groups(network: MultidomainNetwork, params: TrainParams) -> list[dict[str, Any]]:
    """Return the optimiser's groups: the ConvNet at the learning rate, the new parts at multiples of it.

    ``peak`` is the group's highest rate, ``part`` its name. The embedding has a multiple of the weight decay. Frozen
    parameters and empty groups are left out.
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
        biases = [weight for name, weight in named if name.endswith("bias") and of_biases != 1]
        others = [weight for name, weight in named if not name.endswith("bias") or of_biases == 1]
        for weights, factor, suffix in ((others, 1.0, ""), (biases, of_biases, " biases")):
            if weights:
                peak = params.learning_rate * multiplier * factor
                group: dict[str, Any] = {"params": weights, "peak": peak, "part": part + suffix}
                if part == "embedding":
                    group["weight_decay"] = params.weight_decay * params.embedding_decay_multiplier
                groups.append(group)
    return groups


def training_run(
    recipe: Recipe,
    examples: Examples,
    seed: int,
    name: str,
    observers: Mapping[str, Observer] | None = None,
    kind: Callable[..., PhaseTask] = PhaseTask,
) -> Run:
    """Return the training of a recipe, for `model.training.trainer.train`.

    Args:
        recipe: the recipe to train.
        examples: the data to learn from.
        seed: of initialisation, batches, crops and dropout.
        name: for logs and the checkpoint folder, for example ``TDL/seed-0``.
        observers: observers by phase; a continued run doesn't call them for the steps that are already done.
        kind: the class of the tasks, or a function that makes a phase's task, for a method with another kind of step.

    Raises:
        UserError: the examples lack something that the recipe needs, see :func:`check_examples`.
    """
    check_examples(recipe, examples)
    observed = observers or {}
    digest = weights_digest(recipe.network.weights)
    learns_by = f"{kind.__module__}.{kind.__qualname__}"
    return Run(
        name,
        [kind(recipe, phase, examples, seed, observed.get(phase.name)) for phase in recipe.phases],
        describe_run(recipe, examples, seed, digest),
        " ".join(map(str, [learns_by, recipe.model_dump_json(), seed, examples.fingerprint, digest])),
    )


def check_examples(recipe: Recipe, examples: Examples) -> None:
    """Check that the examples have the images and click features that a recipe needs.

    Raises:
        UserError: a target without labels has other categories than the source; a phase's domain has no
            training images, or no validation images to end a phase by; or click features are needed and missing.
    """
    if recipe.unlabelled_target:
        remedy = f"remove unlabelled={recipe.method} from mtmdd.runs"
        check_same_categories(examples.categories, "a target without labels", remedy)
    for phase in recipe.phases:
        for domain in phase.domains:
            if not len(examples.row_numbers(domain, "train")):
                raise UserError(f"phase {phase.name}: the {domain} domain has no training images in the split file")
        rule = (phase.train or recipe.train).stop_rule
        if rule is not None and not len(examples.row_numbers(phase.main_domain, "validation")):
            setting, remedy = rule
            raise UserError(
                f"{setting}, but phase {phase.name} has no validation images of the {phase.main_domain} domain;"
                f" {remedy}"
            )
        if phase.uses_clicks and examples.clicks is None:
            raise UserError(f"phase {phase.name} uses the click branch, but no click features were given (--features)")


def describe_run(recipe: Recipe, examples: Examples, seed: int, start_weights: str | None) -> dict[str, Any]:
    """Return the part of run.json that an evaluation needs, and that documents how the weights were trained."""
    named: set[Domain] = {domain for phase in recipe.phases for domain in phase.domains}
    if recipe.unlabelled_target:
        named.add("target")  # it is recognised, whichever phases see it
    domains = sorted(named)
    return {
        "system": "mtmdd",
        "method": recipe.method,
        "seed": seed,
        "images": {
            domain: {split: len(examples.row_numbers(domain, split)) for split in ("train", "validation")}
            for domain in domains
        },
        "words": [] if examples.clicks is None else examples.clicks.words,
        "categories": {domain: examples.categories[domain] for domain in domains},
        "recipe": recipe.model_dump(mode="json", by_alias=True, exclude_none=True),
        "start_weights": start_weights,
    }
