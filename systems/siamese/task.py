"""The phases of a run: the softmax training, and the fine-tuning on pairs, on the trainer's contract.

A step of the fine-tuning has P categories with Q images of each. In the trainer's terms a draw is a category (with
confusable pairs: a category and one of its neighbours), and `load` returns its images together.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from base.seeding import derive_seed
from model.classification import (
    Classifier,
    ClassifierTask,
    LabelledBatch,
    LabelledImages,
    build_classifier,
)
from model.classifier_params import ClassifierParams, TrainParams
from model.data.batches import Batch, Draw
from model.data.shards import scrambled
from model.folder import weights_digest
from model.losses.contrastive import ContrastiveLoss
from model.losses.triplet import TripletLoss
from model.training.learner import Learner
from model.training.task import Earlier, Run, Task
from systems.siamese.config import CONTROL, SIAMESE, SOFTMAX, FineTuningParams, Recipe

CATEGORIES = "categories"  # the stream whose rows are categories


class Seen(NamedTuple):
    """The outputs of one branch. B images, D features, C categories."""

    logits: Tensor  # (B, C)
    phi: Tensor  # (B, D)


class Branch(nn.Module):
    """A classifier that also returns phi. Both images of a pair go through it, so its weights are shared."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Seen:
        """Return logits and phi of uint8 images (B, 3, S, S)."""
        phi = self.classifier.backbone(images).phi
        return Seen(self.classifier.recognise(phi), phi)


class SoftmaxTask(ClassifierTask):
    """The softmax training, whose labels may be probabilities of several categories.

    Args:
        name: the phase's name.
        network: the network's parameters.
        train: the training parameters.
        images: the data.
        seed: of initialisation, batches, crops and dropout.
        targets: the probability of each category for each row; None: the rows' labels.

    Shape:
        targets: float32 (rows, C)
    """

    def __init__(
        self,
        name: str,
        network: ClassifierParams,
        train: TrainParams,
        images: LabelledImages,
        seed: int,
        targets: np.ndarray | None = None,
    ) -> None:
        super().__init__(name, network, train, images, seed)
        self.targets = self.labels if targets is None else targets

    def load(self, stream: str, draws: Sequence[Draw]) -> LabelledBatch:
        """Return crops, and labels or probabilities: int64 (B,) or float32 (B, C)."""
        loaded = super().load(stream, draws)
        return loaded._replace(labels=torch.from_numpy(self.targets[[draw.row for draw in draws]]))


class PairTask(SoftmaxTask):
    """A phase that trains a classifier further, on steps of P categories with Q images of each.

    The loss is the mean cross-entropy plus `pair_weight` times the contrastive loss of all pairs (or the triplet loss
    of all triplets), by the images' labels.

    Args:
        name: the phase's name.
        network: the network's parameters.
        train: the training parameters of the phase that this one starts from.
        fine_tuning: what differs here.
        images: the data.
        seed: of batches, crops and dropout.
        targets: as in `SoftmaxTask`.
        start: the phase whose weights this one starts from.
    """

    def __init__(
        self,
        name: str,
        network: ClassifierParams,
        train: TrainParams,
        fine_tuning: FineTuningParams,
        images: LabelledImages,
        seed: int,
        targets: np.ndarray | None = None,
        start: str = SOFTMAX,
    ) -> None:
        super().__init__(name, network, fine_tuning.trained_as(train), images, seed, targets)
        self.fine_tuning, self.start = fine_tuning, start
        loss = TripletLoss if fine_tuning.loss == "triplet" else ContrastiveLoss
        self.pair_loss = loss(fine_tuning.margin)
        rows = images.row_numbers("train")
        self.rows_of = [rows[self.labels[rows] == label] for label in range(len(images.categories))]
        self.rows = {CATEGORIES: np.array([label for label, mine in enumerate(self.rows_of) if len(mine)])}
        self.main, self.starts_from = CATEGORIES, (start,)
        self.images_per_draw = fine_tuning.images * fine_tuning.categories_per_draw
        self.epoch_rows = max(1, round(len(rows) / self.images_per_draw))
        self.confusion: Tensor | None = None

    def network(self, earlier: Earlier) -> Classifier:
        """Return the classifier of the earlier phase, with its last layer."""
        classifier = build_classifier(self.network_params, len(self.images.categories), load=False)
        classifier.load_state_dict(earlier(self.start))
        return classifier

    def module(self, network: nn.Module) -> nn.Module:
        """Return the branch."""
        assert isinstance(network, Classifier)
        return Branch(network)

    def optimizers(self, module: nn.Module) -> list[torch.optim.Optimizer]:
        """Return SGD as in the phase that this one starts from."""
        assert isinstance(module, Branch)
        return super().optimizers(module.classifier)

    def choose(self, learner: Learner, epoch: int) -> None:
        """Measure the confusion matrix of the start weights, if neighbours are drawn by it; all rows are used."""
        if self.fine_tuning.pairs == "confusable" and self.confusion is None:
            rows = self.images.row_numbers("validation")
            logits = torch.cat(learner.run(self.stream, rows, lambda network, seen: network(seen.images).float().cpu()))
            probabilities = functional.softmax(logits.double(), dim=1)
            self.confusion = confusion_between(probabilities, torch.from_numpy(self.labels[rows]))
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return the confusion matrix, which is measured once."""
        return {} if self.confusion is None else {"confusion": self.confusion}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the confusion matrix."""
        self.confusion = state.get("confusion")

    def reading_order(self, stream: str, rows: np.ndarray) -> np.ndarray:
        """Return an order of categories, or that of the images in their shards."""
        return scrambled(rows) if stream == CATEGORIES else super().reading_order(stream, rows)

    def will_read(self, stream: str, rows: np.ndarray) -> None:
        """Read the images of categories (with confusable pairs of all, as any may be a neighbour), or images."""
        if stream == CATEGORIES:
            rows = np.concatenate(self.rows_of if self.confusion is not None else [self.rows_of[row] for row in rows])
        super().will_read(self.stream, rows)

    def load(self, stream: str, draws: Sequence[Draw]) -> LabelledBatch:
        """Return the images of each drawn category together, or single images of the stream of images.

        Shape:
            images: (draws, images of a draw, 3, S, S); labels: (draws, images of a draw), or with C more columns
        """
        if stream != CATEGORIES:
            return super().load(stream, draws)
        drawn = [Draw(int(row), draw.pass_number) for draw in draws for row in self._images_of(draw)]
        loaded = super().load(self.stream, drawn)
        return LabelledBatch(*(values.unflatten(0, (len(draws), self.images_per_draw)) for values in loaded))

    def _images_of(self, draw: Draw) -> np.ndarray:
        """Return rows of the drawn category, and with confusable pairs of one of its neighbours.

        A category with fewer images than a step takes has some of them twice.
        """
        random = np.random.default_rng(derive_seed(self.seed, "group", self.name, int(draw.pass_number or 0), draw.row))
        categories = [draw.row]
        if self.confusion is not None:
            known = self.rows[CATEGORIES]
            weights = self.confusion[draw.row].numpy()[known]
            weights = weights if weights.sum() > 0 else (known != draw.row).astype(np.float64)
            categories.append(int(random.choice(known, p=weights / weights.sum())))
        number = self.fine_tuning.images
        chosen = [
            random.choice(rows, number, replace=len(rows) < number)
            for rows in (self.rows_of[category] for category in categories)
        ]
        return np.concatenate(chosen)

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean cross-entropy of all images plus the weighted loss of all pairs."""
        images, targets = (values.flatten(0, 1) for values in batch[CATEGORIES])
        seen: Seen = module(images)
        losses = functional.cross_entropy(seen.logits.float(), targets, reduction="none")
        recognition = losses.sum() / len(losses)
        # the image's own category is the most probable one
        compared = labels = targets.argmax(dim=1) if targets.ndim > 1 else targets
        if self.fine_tuning.pairs == "shuffled":
            compared = labels[torch.randperm(len(labels)).to(labels.device)]
        pairs = self.pair_loss(seen.phi, compared)
        total = recognition + self.fine_tuning.pair_weight * pairs
        return total, {"recognition": recognition.detach(), "pairs": pairs.detach()}

    def names(self, stream: str, rows: Sequence[int]) -> list[str]:
        """Return categories, or image ids."""
        return [self.images.categories[row] for row in rows] if stream == CATEGORIES else super().names(stream, rows)

    def describe(self) -> dict[str, Any]:
        """Return the number of images of a draw, by which the number of seen draws is to be multiplied."""
        return {"images_per_draw": self.images_per_draw}


def confusion_between(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return how much categories are taken for each other, symmetric, with zeros on the diagonal.

    With M_ck the mean probability of category k for images of category c, the result is M + M^T off the diagonal. A
    category without images has the row 0 in M.

    Shape:
        probabilities: (N, C); labels: (N,); result: (C, C)
    """
    num = probabilities.shape[1]
    is_of = functional.one_hot(labels, num).to(probabilities.dtype)
    mean = is_of.T @ probabilities / is_of.sum(dim=0).clamp(min=1)[:, None]
    return (mean + mean.T).fill_diagonal_(0)


def training_run(
    recipe: Recipe, images: LabelledImages, seed: int, name: str, targets: np.ndarray | None = None
) -> Run:
    """Return the training of a recipe, for `model.training.trainer.train`.

    Args:
        recipe: the recipe.
        images: images of the splits train and validation.
        seed: of initialisation, batches, crops and dropout.
        name: for logs and the checkpoint folder.
        targets: soft labels, as in `SoftmaxTask`.
    """
    tuned, common = recipe.fine_tuning, (recipe.network, recipe.train)
    tasks: list[Task] = [SoftmaxTask(SOFTMAX, *common, images, seed, targets)]
    if recipe.control:
        plain = tuned.model_copy(update={"pair_weight": 0.0})
        tasks.append(PairTask(CONTROL, *common, plain, images, seed, targets))
    tasks.append(PairTask(SIAMESE, *common, tuned, images, seed, targets))
    digest = weights_digest(recipe.network.weights)
    counted = images.rows.group_by("domain", "split").len().sort("domain", "split").iter_rows()
    described = {
        "system": "siamese",
        "seed": seed,
        "images": {f"{domain} {split}": number for domain, split, number in counted},
        "categories": images.categories,
        "recipe": recipe.model_dump(mode="json"),
        "start_weights": digest,
    }
    soft = "" if targets is None else hashlib.blake2b(targets.tobytes(), digest_size=8).hexdigest()
    return Run(name, tasks, described, f"{recipe.model_dump_json()} {seed} {images.fingerprint} {digest} {soft}")
