"""The plain classifier: a ConvNet, batch normalisation, dropout, one fully connected layer, trained by cross-entropy.

The noise filter, visual baselines and the start weights of other systems use this network and this task.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from base.console import UserError
from model.classifier_params import ClassifierParams, TrainParams
from model.data.batches import Batch, Draw
from model.data.images import ImageStore, centre_crop, decode, digest_of_rows
from model.folder import device_at_hand, load_weights, read_run, weights_digest
from model.nets.backbones import ConvNet, build_backbone
from model.training.learner import Learner
from model.training.task import Earlier, Run, Task, Validation


class Classifier(nn.Module):
    """A network from images to categories.

    Args:
        backbone: images to phi.
        num_categories: C.
        dropout: share of N(phi) dropped in training.

    Shape:
        input: uint8 (B, 3, S, S); output: logits (B, C)
    """

    def __init__(self, backbone: ConvNet, num_categories: int, dropout: float) -> None:
        super().__init__()
        self.backbone = backbone
        self.norm = nn.BatchNorm1d(backbone.num_features, affine=False)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(backbone.num_features, num_categories)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        return self.recognise(self.backbone(images).phi)

    def recognise(self, phi: Tensor) -> Tensor:
        """Return the logits of images by their phi: (B, num_features) to (B, C)."""
        return self.head(self.dropout(self.norm(phi)))


class LabelledBatch(NamedTuple):
    """Images with labels. B images, S pixels."""

    images: Tensor  # uint8 (B, 3, S, S)
    labels: Tensor  # int64 (B,)


@dataclass(frozen=True)
class LabelledImages:
    """Images with a category and a split; a row number is an index into `rows`, `images` and :meth:`labels`.

    Attributes:
        rows: columns domain, image_id, category, split.
        categories: names, sorted; a label is an index into this list.
        images: in the order of the rows.
        fingerprint: changes if any data that was read changes.
    """

    rows: pl.DataFrame
    categories: list[str]
    images: ImageStore
    fingerprint: str

    @classmethod
    def read(cls, shards: Path, rows: pl.DataFrame, resize: int, cache: bool, read: bool = True) -> "LabelledImages":
        """Read the images of the given rows.

        Args:
            shards: the folder of ingested images.
            rows: columns domain, image_id, category, split.
            resize: shorter side of the images, pixels.
            cache: keep the images decoded.
            read: see `ImageStore`; a training reads what its process needs.
        """
        digest = digest_of_rows(rows)
        for file in sorted(Path(shards).glob("*.parquet")):
            digest.update(f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}".encode())
        images = ImageStore(shards, rows, resize, cache, read)
        return cls(rows, sorted(rows["category"].unique()), images, digest.hexdigest())

    def row_numbers(self, split: str) -> np.ndarray:
        """Return the row numbers of a split, ascending."""
        return (self.rows["split"] == split).arg_true().to_numpy()

    def labels(self) -> np.ndarray:
        """Return every row's label: int64 (rows,)."""
        return self.rows["category"].cast(pl.Enum(self.categories)).to_physical().to_numpy().astype(np.int64)


class ClassifierTask(Task):
    """One phase that trains a classifier.

    Args:
        name: the phase's name.
        network: the network's parameters.
        params: the training parameters.
        images: the data; the split ``train`` is learned from, the split ``validation`` chooses the epoch.
        seed: of initialisation, batches, crops and dropout.
        stream: the name of the images' stream; the order of the images depends on it.
        mirrored: whether training images are mirrored half of the time.
    """

    params: TrainParams

    def __init__(
        self,
        name: str,
        network: ClassifierParams,
        params: TrainParams,
        images: LabelledImages,
        seed: int,
        stream: str = "images",
        mirrored: bool = True,
    ) -> None:
        super().__init__(name, seed, params, {stream: images.row_numbers("train")}, stream)
        self.network_params, self.images, self.mirrored = network, images, mirrored
        self.stream, self.labels = stream, images.labels()

    def network(self, earlier: Earlier) -> Classifier:
        """Return the network, with the start weights of its ConvNet."""
        return build_classifier(self.network_params, len(self.images.categories))

    def load(self, stream: str, draws: Sequence[Draw]) -> LabelledBatch:
        """Return crops and labels."""
        crops = self.images.images.crops(draws, self.network_params.image_size, self.seed, self.mirrored)
        return LabelledBatch(crops, torch.from_numpy(self.labels[[draw.row for draw in draws]]))

    def reading_order(self, stream: str, rows: np.ndarray) -> np.ndarray:
        """Return the order of the images in their shards."""
        return self.images.images.order[rows]

    def will_read(self, stream: str, rows: np.ndarray) -> None:
        """Read images."""
        self.images.images.read(rows)

    def optimizers(self, module: nn.Module) -> list[torch.optim.Optimizer]:
        """Return SGD over the ConvNet at the learning rate and the last layer at a multiple of it."""
        assert isinstance(module, Classifier)
        rate = self.params.learning_rate
        parts = {"backbone": (module.backbone, rate), "head": (module.head, rate * self.params.recogniser_multiplier)}
        groups = [
            {"params": [weight for weight in part.parameters() if weight.requires_grad], "peak": peak, "part": name}
            for name, (part, peak) in parts.items()
        ]
        return [self.sgd(module, [group for group in groups if group["params"]])]

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean cross-entropy."""
        seen = batch[self.main]
        losses = functional.cross_entropy(module(seen.images).float(), seen.labels, reduction="none")
        mean = losses.sum() / len(losses)
        return mean, {"recognition": losses.detach().mean()}

    def validate(self, learner: Learner) -> Validation:
        """Measure accuracy and cross-entropy on the validation images, if there are any."""
        rows = self.images.row_numbers("validation")
        if not len(rows):
            return Validation()
        logits = torch.cat(learner.run(self.stream, rows, _logits))
        labels = torch.from_numpy(self.labels[rows])
        accuracy = round(100 * int((logits.argmax(dim=1) == labels).sum()) / len(rows), 4)
        entropy = functional.cross_entropy(logits, labels, reduction="none").double().mean().item()
        values = {"recognition": entropy, "accuracy": accuracy}
        return Validation(values, [accuracy, -entropy], "validation accuracy", accuracy)

    def names(self, stream: str, rows: Sequence[int]) -> list[str]:
        """Return image ids."""
        return self.images.rows["image_id"][list(rows)].to_list()


def _logits(network: nn.Module, batch: LabelledBatch) -> Tensor:
    return network(batch.images).float().cpu()


def build_classifier(network: ClassifierParams, num_categories: int, load: bool = True) -> Classifier:
    """Build a classifier, initialised by torch's generator; with `load`, the ConvNet gets its start weights."""
    return Classifier(build_backbone(network, load), num_categories, network.dropout)


def classifier_run(
    name: str,
    phase: str,
    network: ClassifierParams,
    params: TrainParams,
    images: LabelledImages,
    seed: int,
    stream: str = "images",
) -> Run:
    """Return the training of a classifier as a run for `model.training.trainer.train`.

    Args:
        name: for logs and the checkpoint folder.
        phase: the name of the phase and of its weights file.
        network, params: the parameters of the network and of its training.
        images: the training and validation data.
        seed: the run's seed.
        stream: the name of the images' stream.

    Raises:
        UserError: a phase is to end by its validation, but there are no validation images.
    """
    if params.stop_rule is not None and not len(images.row_numbers("validation")):
        setting, remedy = params.stop_rule
        raise UserError(f"{setting}, but phase {phase} has no validation images to stop by; {remedy}")
    digest = weights_digest(network.weights)
    described = {
        "seed": seed,
        "images": {split: len(images.row_numbers(split)) for split in ("train", "validation")},
        "categories": images.categories,
        "network": network.model_dump(mode="json"),
        "train": params.model_dump(mode="json", exclude_none=True),
        "start_weights": digest,
    }
    parts = [network.model_dump_json(), params.model_dump_json(), seed, images.fingerprint, digest]
    task = ClassifierTask(phase, network, params, images, seed, stream)
    return Run(name, [task], described, " ".join(map(str, parts)))


@dataclass(frozen=True)
class LoadedClassifier:
    """A trained classifier that recognises images.

    Attributes:
        categories: names, in the order of the probabilities.
        network: in evaluation mode, on the GPU if there is one.
        image_size: side of the middle crop, pixels.
        resize: shorter side of the image before cropping, pixels.
    """

    categories: list[str]
    network: Classifier
    image_size: int
    resize: int

    def preprocess(self, encoded: bytes) -> np.ndarray:
        """Return the pixels of an encoded image that go into the network: uint8 (size, size, 3).

        Raises:
            UserError: the bytes are not an image.
        """
        return centre_crop(decode(encoded, self.resize), self.image_size)

    def probabilities(self, encoded: Sequence[bytes]) -> np.ndarray:
        """Return the probability of every category for each encoded image; all images run as one batch.

        Shape:
            result: float32 (images, categories)
        """
        if not encoded:
            return np.zeros((0, len(self.categories)), np.float32)
        pixels = np.stack([self.preprocess(image) for image in encoded])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(device_at_hand())
        with torch.no_grad():
            return softmax(self.network(images).float().cpu())


def softmax(logits: Tensor) -> np.ndarray:
    """Return each category's probability.

    Shape:
        logits and result: (N, C); float32
    """
    return functional.softmax(logits.double(), dim=1).float().numpy()


def load_classifier(folder: Path, phase: str) -> LoadedClassifier:
    """Load a classifier from a model folder.

    Example:
        >>> recogniser = load_classifier(Path("data/sets/toy/cleaner/fold-0"), "cleaner")  # doctest: +SKIP
        >>> recogniser.probabilities([Path("bird.jpg").read_bytes()])  # doctest: +SKIP

    Raises:
        UserError: the folder is not a model folder, or not a classifier's.
    """
    run: Mapping[str, Any] = read_run(folder)
    try:
        network, categories = ClassifierParams.model_validate(run["network"]), list(run["categories"])
    except (KeyError, TypeError, ValidationError) as error:
        raise UserError(f"{folder}/run.json: not a classifier's: {error}; train the model again") from None
    classifier = build_classifier(network, len(categories), load=False)
    load_weights(classifier, folder, phase)
    return LoadedClassifier(categories, classifier.to(device_at_hand()).eval(), network.image_size, network.resize)
