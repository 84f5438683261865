"""The phase `chain` of the comparison method CNN-RNN: an LSTM over an image's labels, on frozen features."""

from typing import Any

import torch
from torch import Tensor, nn

from model.data.batches import Batch
from model.measures.label_sets import measure_sets
from model.nets.label_chain import LabelChain, label_sequences
from model.training.learner import Learner
from model.training.task import Earlier, Validation
from systems.annotation.config import CHAIN, CNN, Recipe
from systems.annotation.data import AnnotatedImages
from systems.annotation.frozen import Features, HeadTask
from systems.annotation.network import build_chain, build_cnn
from systems.annotation.phase import ROWS, Rows


class ChainTask(HeadTask):
    """The phase; labels are in the order of their frequency in the training images, frequent ones first.

    Args:
        recipe, data, seed, features: as in `HeadTask`.
    """

    def __init__(self, recipe: Recipe, data: AnnotatedImages, seed: int, features: Features) -> None:
        super().__init__(CHAIN, recipe, data, seed, features)
        has = self.labels.bool()
        frequencies = has[torch.from_numpy(data.row_numbers("train"))].sum(dim=0)
        self.sequences = label_sequences(has, frequencies, self.most)

    def network(self, earlier: Earlier) -> LabelChain:
        """Return the recurrent network; the one of `cnn` is kept by the task."""
        self.visual = build_cnn(self.recipe.network, self.num_labels, load=False)
        self.visual.load_state_dict(earlier(CNN))
        return build_chain(self.recipe, self.visual.num_features, self.num_labels, self.most)

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean of -log of the paths' probabilities."""
        rows = batch[ROWS].rows
        mean = module(self.inputs(rows), self.of_rows(self.sequences, rows)).mean()
        return mean, {"path loss": mean.detach()}

    def validate(self, learner: Learner) -> Validation:
        """Measure H-F1 of the most probable paths, and the mean of -log of the true ones' probability."""
        rows = self.data.row_numbers("validation")
        if not self.data.has[rows].any():
            return Validation()

        def compute(net: Any, seen: Rows) -> tuple[Tensor, Tensor]:
            inputs = self.inputs(seen.rows)
            losses = net(inputs, self.of_rows(self.sequences, seen.rows))
            return net.search(inputs, self.recipe.network.chain.beam).cpu(), losses.float().cpu()

        given, losses = (torch.cat(part) for part in zip(*learner.run(ROWS, rows, compute), strict=True))
        h_f1 = round(100 * measure_sets(given.numpy(), self.data.has[rows])["h_f1"].value, 4)
        loss = float(losses.double().mean())
        return Validation({"path loss": loss, "H-F1": h_f1}, [h_f1, -loss], "validation H-F1", h_f1)
