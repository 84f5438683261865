"""The phases that see pictures, in random crops, in every step, and the training of a recipe.

These are `cnn` with a trained ConvNet, `fused` unless the ConvNet's maps are kept, and `joint`; systems/annotation/
frozen.py has the others.
"""

import torch
from torch import Tensor, nn

from base.console import UserError
from model.data.batches import Batch
from model.folder import weights_digest
from model.measures.label_sets import nearest_counts
from model.training.learner import Learner
from model.training.task import Earlier, Run, Task, Validation
from systems.annotation.chain import ChainTask
from systems.annotation.config import CHAIN, CNN, FUSED, JOINT, LABELS, QUANTITY, TAGS, Recipe
from systems.annotation.data import AnnotatedImages
from systems.annotation.frozen import Features, HeadTask, MapsTask
from systems.annotation.network import (
    JointNet,
    VisualNet,
    build_cnn,
    build_fused,
    build_quantity,
    build_tags,
    part_of,
    start_fused,
)
from systems.annotation.phase import PICTURES, AnnotationTask, Pictures


class VisualTask(AnnotationTask):
    """Phases `cnn`, with a ConvNet that is trained, and `fused`: images to labels."""

    def __init__(self, name: str, recipe: Recipe, data: AnnotatedImages, seed: int) -> None:
        super().__init__(name, recipe, data, seed, PICTURES, [CNN] if name == FUSED else [])

    def network(self, earlier: Earlier) -> VisualNet:
        """Return the network; `fused` has the ConvNet of `cnn`, and new blocks and label layer."""
        if self.name == CNN:
            return build_cnn(self.recipe.network, self.num_labels)
        return start_fused(self.recipe, self.num_labels, earlier(CNN))

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
        elif phase == CHAIN:
            tasks.append(ChainTask(recipe, data, seed, features))
        elif phase == FUSED and recipe.network.kept_maps:
            tasks.append(MapsTask(recipe, data, seed, features))
        elif phase == FUSED or (phase == CNN and not recipe.network.frozen):
            tasks.append(VisualTask(phase, recipe, data, seed))
        else:
            tasks.append(HeadTask(phase, recipe, data, seed, features))
    digest = weights_digest(recipe.network.weights)
    vectors = weights_digest(recipe.network.word_vectors or "none") if recipe.tags == "vectors" else None
    train_rows = data.row_numbers("train")
    described = {
        "system": "annotation",
        "seed": seed,
        "images": {split: len(data.row_numbers(split)) for split in ("train", "validation")},
        "labels": data.labels,
        "tags": data.tags,
        "most_labels": int(data.has[train_rows].sum(axis=1).max(initial=1)),
        "recipe": recipe.model_dump(mode="json"),
        "start_weights": digest,
    }
    return Run(name, tasks, described, f"{recipe.model_dump_json()} {seed} {data.fingerprint} {digest} {vectors}")
