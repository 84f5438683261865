"""The phases of a run, on the trainer's contract.

A phase on frozen features computes these once, from the middle crops, at its beginning (and again when a killed run is
continued), and then trains a head on them: nothing but the label layer changes, so the ConvNet need not run again for
every epoch. Only `cnn` with a trained ConvNet, `fused` and `joint` see pictures, in random crops, in every step.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from base.console import UserError
from model.data.batches import Batch, Draw
from model.losses.asymmetric import AsymmetricLoss
from model.losses.binary_sets import BinarySetLoss
from model.losses.softmax_sets import SoftmaxSetLoss
from model.losses.warp import WarpLoss
from model.measures.label_sets import measure_sets, nearest_counts
from model.training.checkpoints import weights_digest
from model.training.learner import Learner
from model.training.task import Earlier, Run, Task, Validation
from systems.annotation.config import CNN, FUSED, JOINT, LABELS, QUANTITY, QUANTITY_VISUAL, TAGS, Recipe
from systems.annotation.data import AnnotatedImages
from systems.annotation.network import (
    HeadOf,
    JointNet,
    QuantityNet,
    TagNet,
    VisualNet,
    build_cnn,
    build_fused,
    build_quantity,
    build_tags,
)
from systems.annotation.rules import most_probable

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "binary": BinarySetLoss(),
    "softmax": SoftmaxSetLoss(),
    "warp": WarpLoss(),
    "asymmetric": AsymmetricLoss(),
}
PICTURES, ROWS = "pictures", "rows"  # streams: with pictures, or without


class Pictures(NamedTuple):
    """Drawn images. B images, S pixels."""

    images: Tensor  # uint8 (B, 3, S, S)
    rows: Tensor  # int64 (B,)


class Rows(NamedTuple):
    """Drawn images without their pictures."""

    rows: Tensor  # int64 (B,)


class Features:
    """Frozen features of all images by the name of what computes them; the phases of a run share one such object."""

    def __init__(self) -> None:
        self.by_name: dict[str, Tensor] = {}


class AnnotationTask(Task):
    """A phase; its streams are pictures or rows, and targets are looked up by row number.

    Args:
        name: the phase's name.
        recipe: the run's recipe.
        data: images of the splits train and validation.
        seed: of initialisation, batches, crops and dropout.
        stream: PICTURES or ROWS.
        starts_from: the earlier phases whose weights `network` uses.
    """

    def __init__(
        self, name: str, recipe: Recipe, data: AnnotatedImages, seed: int, stream: str, starts_from: Sequence[str] = ()
    ) -> None:
        params = recipe.stages.trained_as(name, recipe.train)
        super().__init__(name, seed, params, {stream: data.row_numbers("train")}, stream, starts_from=starts_from)
        self.recipe, self.data = recipe, data
        self.labels = torch.from_numpy(data.has.astype(np.float32))
        self.counts = self.labels.sum(dim=1)

    @property
    def num_labels(self) -> int:
        """C."""
        return len(self.data.labels)

    def load(self, stream: str, draws: Sequence[Draw]) -> Pictures | Rows:
        """Return crops with row numbers, or row numbers alone."""
        rows = torch.tensor([draw.row for draw in draws])
        if stream == ROWS:
            return Rows(rows)
        assert self.data.images is not None
        return Pictures(self.data.images.crops(draws, self.recipe.network.image_size, self.seed), rows)

    def names(self, stream: str, rows: Sequence[int]) -> list[str]:
        """Return image ids."""
        return [self.data.names[row] for row in rows]

    def tags_of(self, rows: Tensor) -> Tensor:
        """Return the tags of rows, float32 (B, T), on the rows' device."""
        return torch.from_numpy(self.data.tagged[rows.cpu().numpy()].toarray()).to(rows.device)

    def of_rows(self, values: Tensor, rows: Tensor) -> Tensor:
        """Return values of rows, on the rows' device."""
        return values[rows.cpu()].to(rows.device)

    def label_loss(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Return each image's label loss."""
        return LOSSES[self.recipe.loss](logits.float(), self.of_rows(self.labels, rows))

    def validate_sets(self, logits: Tensor, counts: np.ndarray | int) -> Validation:
        """Return H-F1 of the most probable labels of the validation images, and their label loss.

        Args:
            logits: of the validation images.
            counts: how many labels each image is given.
        """
        rows = self.data.row_numbers("validation")
        if not self.data.has[rows].any():
            return Validation()
        given = most_probable(logits.double().numpy(), counts)
        h_f1 = round(100 * measure_sets(given, self.data.has[rows])["h_f1"].value, 4)
        torch_rows = torch.from_numpy(rows)
        with torch.random.fork_rng(devices=[]):  # WARP draws; training's dropout must not depend on it
            torch.manual_seed(0)
            loss = float(self.label_loss(logits, torch_rows).double().mean())
        return Validation({"label loss": loss, "H-F1": h_f1}, [h_f1, -loss], "validation H-F1", h_f1)


class VisualTask(AnnotationTask):
    """Phases `cnn`, with a ConvNet that is trained, and `fused`: images to labels."""

    def __init__(self, name: str, recipe: Recipe, data: AnnotatedImages, seed: int) -> None:
        super().__init__(name, recipe, data, seed, PICTURES, [CNN] if name == FUSED else [])

    def network(self, earlier: Earlier) -> VisualNet:
        """Return the network; `fused` has the ConvNet of `cnn`, and new blocks and label layer."""
        if self.name == CNN:
            return build_cnn(self.recipe.network, self.num_labels)
        net = build_fused(self.recipe, self.num_labels)
        net.backbone.load_state_dict(part_of(earlier(CNN), "backbone"))
        return net

    def optimizers(self, module: nn.Module) -> list[torch.optim.Optimizer]:
        """Return SGD; in `cnn` the label layer has a multiple of the ConvNet's rate."""
        assert isinstance(module, VisualNet)
        if self.name != CNN:
            return super().optimizers(module)
        rate = self.params.learning_rate
        groups = [
            {"params": [w for w in module.backbone.parameters() if w.requires_grad], "peak": rate, "part": "backbone"},
            {
                "params": list(module.head.parameters()),
                "peak": rate * self.recipe.train.recogniser_multiplier,
                "part": "head",
            },
        ]
        return [self.sgd(module, [group for group in groups if group["params"]])]

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean label loss."""
        seen: Pictures = batch[PICTURES]
        mean = self.label_loss(module(seen.images), seen.rows).mean()
        return mean, {"label loss": mean.detach()}

    def validate(self, learner: Learner) -> Validation:
        """Measure H-F1 of the top labels."""
        rows = self.data.row_numbers("validation")
        logits = learner.run(PICTURES, rows, lambda net, seen: net(seen.images).float().cpu())
        return self.validate_sets(torch.cat(logits), self.recipe.top) if len(rows) else Validation()


class HeadTask(AnnotationTask):
    """A phase on frozen features: a head for labels, or for their number.

    Args:
        name: the phase's name: `cnn` with a frozen ConvNet, `tags`, `labels`, `quantity_visual` or `quantity`.
        recipe, data, seed: as in `AnnotationTask`.
        features: where the phases of a run keep what they have computed.
    """

    def __init__(self, name: str, recipe: Recipe, data: AnnotatedImages, seed: int, features: Features) -> None:
        starts = {LABELS: [FUSED, TAGS], QUANTITY: [FUSED, TAGS], QUANTITY_VISUAL: [FUSED]}
        super().__init__(name, recipe, data, seed, ROWS, starts.get(name, []))
        self.known = features
        self.visual: VisualNet | None = None
        self.tag_net: TagNet | None = None

    def network(self, earlier: Earlier) -> nn.Module:
        """Return the phase's head; the frozen networks before it are kept by the task."""
        if self.name == TAGS:
            return build_tags(self.recipe, self.data.tags, self.num_labels)
        if self.name == CNN:
            self.visual = build_cnn(self.recipe.network, self.num_labels).eval()
            return self.visual
        self.visual = build_fused(self.recipe, self.num_labels)
        self.visual.load_state_dict(earlier(FUSED))
        width = self.visual.num_features
        if TAGS in self.starts_from:
            self.tag_net = build_tags(self.recipe, self.data.tags, self.num_labels)
            self.tag_net.load_state_dict(earlier(TAGS))
            width += self.tag_net.num_features
        if self.name == LABELS:
            return nn.Linear(width, self.num_labels)
        return QuantityNet(build_quantity(self.recipe, width, self.most))

    @property
    def most(self) -> int:
        """The largest number of labels of a training image."""
        return int(self.counts[self.data.row_numbers("train")].max())

    def choose(self, learner: Learner, epoch: int) -> None:
        """Compute the features that the head learns from, unless they are known; all rows are used."""
        for name, net in ((CNN if self.name == CNN else FUSED, self.visual), (TAGS, self.tag_net)):
            if net is None or name in self.known.by_name:
                continue
            net.to(learner.accelerator.device).eval()
            every = np.arange(len(self.data.names))
            stream = ROWS if name == TAGS else PICTURES

            def compute(_: nn.Module, seen: Any, net: Any = net) -> Tensor:
                inputs = seen.images if isinstance(seen, Pictures) else self.tags_of(seen.rows)
                return net.features(inputs).float().cpu()

            self.known.by_name[name] = torch.cat(learner.run(stream, every, compute))
        return None

    def inputs(self, rows: Tensor) -> Tensor:
        """Return what the head is given for rows, (B, D), on the rows' device."""
        if self.name == TAGS:
            return self.tags_of(rows)
        parts = [self.of_rows(self.known.by_name[CNN if self.name == CNN else FUSED], rows)]
        if TAGS in self.starts_from:
            parts.append(self.of_rows(self.known.by_name[TAGS], rows))
        return torch.cat(parts, dim=1)

    def optimizers(self, module: nn.Module) -> list[torch.optim.Optimizer]:
        """Return SGD; in `cnn` the label layer has its multiple of the rate."""
        if self.name != CNN:
            return super().optimizers(module)
        peak = self.params.learning_rate * self.recipe.train.recogniser_multiplier
        weights = [weight for weight in module.parameters() if weight.requires_grad]
        return [self.sgd(module, [{"params": weights, "peak": peak, "part": "head"}])]

    def module(self, network: nn.Module) -> nn.Module:
        """Return the network, or the label layer of one whose ConvNet is frozen."""
        return HeadOf(network) if isinstance(network, VisualNet) else network

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean loss of labels, or of their number."""
        rows = batch[ROWS].rows
        inputs = self.inputs(rows)
        if self.name in (QUANTITY, QUANTITY_VISUAL):
            mean = module(inputs, self.of_rows(self.counts, rows)).mean()
            return mean, {"quantity loss": mean.detach()}
        mean = self.label_loss(module(inputs), rows).mean()
        return mean, {"label loss": mean.detach()}

    def validate(self, learner: Learner) -> Validation:
        """Measure H-F1 of the top labels, or the squared error of their number."""
        rows = self.data.row_numbers("validation")
        if not len(rows):
            return Validation()
        if self.name not in (QUANTITY, QUANTITY_VISUAL):
            found = learner.run(ROWS, rows, lambda net, seen: self.module(net)(self.inputs(seen.rows)).float().cpu())
            return self.validate_sets(torch.cat(found), self.recipe.top)

        def quantity(net: Any, seen: Rows) -> Tensor:
            return net.quantity(self.inputs(seen.rows)).float().cpu()

        estimated = torch.cat(learner.run(ROWS, rows, quantity)).double()
        error = float((estimated - self.counts[rows].double()).square().mean())
        return Validation({"squared error": error}, [-error], "validation squared error", error)


class JointTask(AnnotationTask):
    """The end-to-end variant: all but the ConvNet on the sum of both losses, from the phases before."""

    def __init__(self, recipe: Recipe, data: AnnotatedImages, seed: int) -> None:
        super().__init__(JOINT, recipe, data, seed, PICTURES, [FUSED, TAGS, LABELS, QUANTITY])

    def network(self, earlier: Earlier) -> JointNet:
        """Return all parts with the weights of their phases."""
        visual = build_fused(self.recipe, self.num_labels)
        tags = build_tags(self.recipe, self.data.tags, self.num_labels)
        width = visual.num_features + tags.num_features
        head, weights = nn.Linear(width, self.num_labels), earlier(QUANTITY)
        most = int(self.counts[self.data.row_numbers("train")].max())
        quantity = build_quantity(self.recipe, width, most)
        visual.load_state_dict(earlier(FUSED))
        tags.load_state_dict(earlier(TAGS))
        head.load_state_dict(earlier(LABELS))
        quantity.load_state_dict(part_of(weights, "quantity"))
        return JointNet(visual, tags, head, quantity)

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum of the label loss and the loss of their number."""
        seen: Pictures = batch[PICTURES]
        found = module(seen.images, self.tags_of(seen.rows), self.of_rows(self.counts, seen.rows))
        labels, quantity = self.label_loss(found.logits, seen.rows).mean(), found.quantity.float().mean()
        return labels + quantity, {"label loss": labels.detach(), "quantity loss": quantity.detach()}

    def validate(self, learner: Learner) -> Validation:
        """Measure H-F1 with the predicted number of labels."""
        rows = self.data.row_numbers("validation")
        if not len(rows):
            return Validation()

        def outputs(net: nn.Module, seen: Pictures) -> tuple[Tensor, Tensor]:
            logits, quantity = net(seen.images, self.tags_of(seen.rows))
            return logits.float().cpu(), quantity.float().cpu()

        logits, quantity = (torch.cat(part) for part in zip(*learner.run(PICTURES, rows, outputs), strict=True))
        return self.validate_sets(logits, nearest_counts(quantity.numpy(), self.num_labels))


def part_of(weights: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """Return the weights of a part, under their names in the part."""
    begin = f"{part}."
    return {name.removeprefix(begin): value for name, value in weights.items() if name.startswith(begin)}


def training_run(recipe: Recipe, data: AnnotatedImages, seed: int, name: str) -> Run:
    """Return the training of a recipe, for `model.training.trainer.train`.

    Args:
        recipe: the recipe.
        data: images of the splits train and validation.
        seed: of initialisation, batches, crops and dropout.
        name: for logs and the checkpoint folder.

    Raises:
        UserError: no training image has a tag, but the run learns from tags; or a phase ends by its validation, but
            there are no validation images.
    """
    if TAGS in recipe.phases and not data.tagged[data.row_numbers("train")].nnz:
        raise UserError(f"run {recipe.run!r}: no training image has one of the {len(data.tags):,} tags")
    if recipe.train.stop_rule is not None and not len(data.row_numbers("validation")):
        setting, remedy = recipe.train.stop_rule
        raise UserError(f"annotation.{setting}, but there are no validation images to stop by; {remedy}")
    features = Features()
    tasks: list[Task] = []
    for phase in recipe.phases:
        if phase == JOINT:
            tasks.append(JointTask(recipe, data, seed))
        elif phase == FUSED or (phase == CNN and not recipe.network.frozen):
            tasks.append(VisualTask(phase, recipe, data, seed))
        else:
            tasks.append(HeadTask(phase, recipe, data, seed, features))
    digest = weights_digest(recipe.network.weights)
    vectors = weights_digest(recipe.network.word_vectors or "none") if recipe.tags == "vectors" else None
    train_rows = data.row_numbers("train")
    described = {
        "seed": seed,
        "images": {split: len(data.row_numbers(split)) for split in ("train", "validation")},
        "labels": data.labels,
        "tags": data.tags,
        "most_labels": int(data.has[train_rows].sum(axis=1).max(initial=1)),
        "recipe": recipe.model_dump(mode="json"),
        "start_weights": digest,
    }
    return Run(name, tasks, described, f"{recipe.model_dump_json()} {seed} {data.fingerprint} {digest} {vectors}")
