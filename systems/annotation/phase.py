"""What the phases of a run have in common: streams, targets, the label loss, and the validation of label sets."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from model.data.batches import Draw
from model.losses.asymmetric import AsymmetricLoss
from model.losses.binary_sets import BinarySetLoss
from model.losses.softmax_sets import SoftmaxSetLoss
from model.losses.warp import WarpLoss
from model.measures.label_sets import measure_sets
from model.training.task import Task, Validation
from systems.annotation.config import Recipe
from systems.annotation.data import AnnotatedImages
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
    def every(self) -> np.ndarray:
        """All row numbers."""
        return np.arange(len(self.data.names))

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

    def reading_order(self, stream: str, rows: np.ndarray) -> np.ndarray:
        """Return the order of the pictures in their shards, or any if there are no pictures."""
        return super().reading_order(stream, rows) if self.data.images is None else self.data.images.order[rows]

    def will_read(self, stream: str, rows: np.ndarray) -> None:
        """Read pictures."""
        if stream == PICTURES and self.data.images is not None:
            self.data.images.read(rows)

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
