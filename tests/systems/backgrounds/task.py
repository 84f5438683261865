"""The system's task: learn the colours of borders from middles, by the plain ConvNet and mean squared error."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from base.artifacts import read_tables
from model.data.batches import Batch, Draw
from model.data.images import ImageStore, centre_crop
from model.nets.backbones import build_backbone
from model.nets.params import BackboneParams
from model.training.learner import Learner
from model.training.params import TrainParams
from model.training.task import Earlier, Run, Task, Validation


class Bordered(NamedTuple):
    """The middles of pictures and the colours of their borders. B images, S pixels."""

    images: Tensor  # uint8 (B, 3, S, S)
    colours: Tensor  # float32 (B, 3), mean red, green and blue of the border, in [0, 1]


class Backgrounds(Task):
    """A task with one stream of images."""

    def __init__(self, network: BackboneParams, params: TrainParams, images: Path, split: Path, seed: int) -> None:
        rows = pl.DataFrame(read_tables(split, ["domain", "image_id", "split"])).sort("domain", "image_id")
        self.network_params, self.store = network, ImageStore(images, rows, network.resize, params.cache_images)
        self.split = rows["split"]
        super().__init__("backgrounds", seed, params, {"images": self.row_numbers("train")}, "images")

    def row_numbers(self, split: str) -> np.ndarray:
        """Return the row numbers of a split."""
        return (self.split == split).arg_true().to_numpy()

    def network(self, earlier: Earlier) -> nn.Module:
        """Return the ConvNet and a layer from phi to a colour."""
        backbone = build_backbone(self.network_params)
        return nn.ModuleDict({"backbone": backbone, "colour": nn.Linear(backbone.num_features, 3)})

    def load(self, stream: str, draws: Sequence[Draw]) -> Bordered:
        """Return middles and the colours of their borders."""
        size = self.network_params.image_size
        wholes = [self.store[draw.row] / np.float32(255) for draw in draws]
        inner = [centre_crop(whole, size).sum(axis=(0, 1)) for whole in wholes]
        around = [
            (whole.sum(axis=(0, 1)) - part) / (whole.size / 3 - size**2)
            for whole, part in zip(wholes, inner, strict=True)
        ]
        middles = self.store.crops([Draw(draw.row, None) for draw in draws], size, self.seed)
        return Bordered(middles, torch.from_numpy(np.stack(around).astype(np.float32)))

    def errors(self, network: nn.Module, seen: Bordered) -> Tensor:
        """Return each image's squared error: (B,)."""
        return (network["colour"](network["backbone"](seen.images).phi) - seen.colours).square().sum(dim=1)

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean squared error."""
        return self.errors(module, batch["images"]).mean(), {}

    def validate(self, learner: Learner) -> Validation:
        """Rank epochs by the smallest error on the validation images."""
        error = torch.cat(learner.run("images", self.row_numbers("validation"), self.errors)).mean().item()
        return Validation({"squared error": error}, [-error], "validation error", error)

    def names(self, stream: str, rows: Sequence[int]) -> list[str]:
        """Return image ids."""
        return [self.store.names[row][1] for row in rows]


def run_of(task: Backgrounds, name: str) -> Run:
    """Return the training, for `model.training.trainer.train`."""
    params = {"network": task.network_params.model_dump(), "train": task.params.model_dump()}
    return Run(name, [task], {"seed": task.seed, **params}, f"{params} {task.seed} {task.store.names}")
