"""The training of the two towers on clicks, on the trainer's contract.

B pairs of a batch, D features of an image, T of a query.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from base.console import UserError
from model.data.batches import Batch, Draw
from model.measures.units import reduce_units
from model.training.learner import Learner
from model.training.task import Earlier, Run, Task, Validation
from systems.dckt.baselines.networks import Sizes
from systems.dckt.baselines.two_tower import TwoTower
from systems.dckt.clicks.config import NDCG, PHASE, TEST, TRAIN, VALIDATION, ClickEvaluateParams, ClickTrainParams
from systems.dckt.clicks.data import Clicks
from systems.dckt.clicks.ranking import chosen_queries, rank

PAIRS, IMAGES, QUERIES = "pairs", "images", "queries"  # streams


class ClickBatch(NamedTuple):
    """B pairs of an image and a query."""

    images: Tensor  # float32 (B, D)
    queries: Tensor  # float32 (B, T)
    weights: Tensor  # float32 (B,)
    positives: Tensor  # bool (B, B), whether the row's image was clicked for the column's query


class Features(NamedTuple):
    """Features of images or of queries."""

    features: Tensor  # float32 (B, D) or (B, T)


class Contrast(nn.Module):
    """The towers with their loss, which a step runs."""

    def __init__(self, towers: TwoTower) -> None:
        super().__init__()
        self.towers = towers

    def forward(self, batch: ClickBatch) -> Tensor:
        """Return the weighted InfoNCE of a batch."""
        images, queries = self.towers(batch.images, batch.queries)
        return self.towers.contrast(images.float(), queries.float(), self.towers.t, batch.weights, batch.positives)


class ClickTask(Task):
    """The one phase: pairs of training queries and training images.

    The loss is InfoNCE, in which a pair that was clicked is no negative. An epoch is chosen by nDCG@k of the training's
    and the validation's queries on the validation's images.

    Args:
        clicks: the log.
        params: of towers and training.
        evaluate: what is measured.
        seed: of initialisation, batches and dropout.
        by_clicks: a pair counts log(1 + clicks), else 1.

    Raises:
        UserError: there is no pair to train on or to choose an epoch by.
    """

    def __init__(
        self, clicks: Clicks, params: ClickTrainParams, evaluate: ClickEvaluateParams, seed: int, by_clicks: bool
    ) -> None:
        rows = clicks.pairs(TRAIN, TRAIN)
        if len(rows) < params.train.batch_size:
            raise UserError(
                f"{len(rows)} clicked pairs of training queries and images are fewer than those of a step, "
                f"{params.train.batch_size}; lower dckt.clicks.train.train.batch_size or the shares of held-out queries"
            )
        super().__init__(PHASE, seed, params.train, {PAIRS: rows}, PAIRS)
        self.clicks, self.towers, self.evaluate = clicks, params, evaluate
        self.weights = (np.log1p(clicks.clicks) if by_clicks else np.ones(len(clicks.clicks))).astype(np.float32)
        self.clicked = np.unique(clicks.query * len(clicks.images) + clicks.image)
        self.validated = np.flatnonzero(clicks.image_split == VALIDATION)
        asked = np.flatnonzero(clicks.query_split != TEST)
        gains = clicks.matrix()[asked][:, self.validated]
        chosen = chosen_queries(gains, evaluate.most_queries, seed)
        self.asked, self.gains = asked[chosen], gains[chosen]
        if not len(self.asked):
            raise UserError(
                "no validation image was clicked for a query that is not of the test; the epoch can't be chosen"
            )

    def network(self, earlier: Earlier) -> TwoTower:
        """Return the towers; inputs are standardised by the training's images and queries."""
        network = towers_of(self.sizes, self.towers)
        of = self.clicks
        network.standardise_by(of.image_features[of.image_split == TRAIN], of.query_features[of.query_split == TRAIN])
        return network

    def module(self, network: nn.Module) -> nn.Module:
        """Return the towers with their loss."""
        assert isinstance(network, TwoTower)
        return Contrast(network)

    @property
    def sizes(self) -> Sizes:
        """The sizes of the features; there are no categories."""
        return Sizes(self.clicks.image_features.shape[1], self.clicks.query_features.shape[1], 0)

    def load(self, stream: str, draws: Sequence[Draw]) -> Any:
        """Return pairs, or the features of images or of queries."""
        of, rows = self.clicks, np.array([draw.row for draw in draws], np.int64)
        if stream == IMAGES:
            return Features(torch.from_numpy(of.image_features[rows]))
        if stream == QUERIES:
            return Features(torch.from_numpy(of.query_features[rows]))
        image, query = of.image[rows], of.query[rows]
        keys = query[None, :] * len(of.images) + image[:, None]
        places = np.minimum(np.searchsorted(self.clicked, keys), len(self.clicked) - 1)
        positives = self.clicked[places] == keys
        parts = of.image_features[image], of.query_features[query], self.weights[rows], positives
        return ClickBatch(*map(torch.from_numpy, parts))

    def optimizers(self, module: nn.Module) -> list[torch.optim.Optimizer]:
        """Return AdamW, whose first beta is the momentum; the temperature does not decay."""
        rates = {"peak": self.params.learning_rate, "part": PHASE}
        groups = [
            {"params": [weight for weight in module.parameters() if weight.ndim > 0], **rates},
            {"params": [weight for weight in module.parameters() if weight.ndim == 0], **rates, "weight_decay": 0.0},
        ]
        decay, betas = self.params.weight_decay, (self.params.momentum, 0.999)
        return [torch.optim.AdamW(groups, lr=0.0, betas=betas, weight_decay=decay)]

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return InfoNCE of the batch's pairs, weighted."""
        loss = module(batch[PAIRS])
        return loss, {"contrast": loss.detach()}

    def validate(self, learner: Learner) -> Validation:
        """Return nDCG@k and MAP on the validation's images; nDCG chooses the epoch."""
        images = np.concatenate(learner.run(IMAGES, self.validated, _image_codes))
        queries = np.concatenate(learner.run(QUERIES, self.asked, _query_codes))
        names = [self.clicks.queries[row] for row in self.asked]
        means = reduce_units(rank(names, queries, images, self.gains, self.evaluate.k))
        values = {f"validation {name}": float(value or 0) for name, value in means.items()}
        chosen = values[f"validation {NDCG}"]
        return Validation(values, [chosen], f"validation nDCG@{self.evaluate.k}", chosen)

    def names(self, stream: str, rows: Sequence[int]) -> list[str]:
        """Return image and query of each pair, or the ids of images, or queries."""
        of = self.clicks
        if stream != PAIRS:
            return [(of.images if stream == IMAGES else of.queries)[row] for row in rows]
        return [f"{of.images[of.image[row]]}: {of.queries[of.query[row]]}" for row in rows]


def towers_of(sizes: Sizes, params: ClickTrainParams) -> TwoTower:
    """Return the towers, initialised by torch's generator."""
    return TwoTower(sizes, params.encoders, params.start_factor, with_labels=False)


def _image_codes(network: nn.Module, batch: Features) -> np.ndarray:
    assert isinstance(network, TwoTower)
    return np.asarray(network.codes_of_images(batch.features).float().cpu().numpy())


def _query_codes(network: nn.Module, batch: Features) -> np.ndarray:
    assert isinstance(network, TwoTower)
    return np.asarray(network.codes_of_texts(batch.features).float().cpu().numpy())


def click_run(
    run: str, clicks: Clicks, params: ClickTrainParams, evaluate: ClickEvaluateParams, seed: int, name: str
) -> Run:
    """Return the training of a run, for `model.training.trainer.train`.

    Args:
        run: one of `config.RUNS`.
        clicks: the log.
        params: of towers and training.
        evaluate: what chooses the epoch.
        seed: of initialisation, batches, dropout and the shuffled images.
        name: for logs and the checkpoint folder.
    """
    log = clicks.shuffled(seed) if run == "shuffled" else clicks
    task = ClickTask(log, params, evaluate, seed, by_clicks=run != "unweighted")
    described = {
        "run": run,
        "seed": seed,
        "pairs": len(task.rows[PAIRS]),
        "images": task.sizes.images,
        "queries": task.sizes.texts,
        "params": params.model_dump(mode="json"),
    }
    fingerprint = f"{run} {seed} {params.model_dump_json()} {evaluate.model_dump_json()} {log.fingerprint}"
    return Run(name, [task], described, fingerprint)
