"""The networks among the methods: two encoders, and one loop that trains them all.

Shapes: B pairs of a batch, D features of images, T of texts, K dimensions of a code.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from base.console import progress
from base.seeding import derive_seed
from systems.dckt.baselines.config import EncoderParams, NetworkParams
from systems.dckt.baselines.fitted import Encoder, Fitted, best, measured
from systems.dckt.features import Views


class Sizes(NamedTuple):
    """Numbers of features of an image and of a text, and of categories."""

    images: int
    texts: int
    categories: int

    @staticmethod
    def of(views: Views) -> "Sizes":
        """Return the sizes of pairs; categories are numbered from 0."""
        return Sizes(views.images.shape[1], views.texts.shape[1], int(views.category.max()) + 1)


class Inputs(nn.Module):
    """Standardises features; it changes nothing until :meth:`fit`.

    Args:
        size: number of features.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    def fit(self, features: np.ndarray) -> None:
        """Set mean and deviation to those of features, float32 (n, D); a constant feature becomes 0."""
        deviation = features.std(axis=0, dtype=np.float64)
        scale = np.where(deviation > 0, 1 / np.where(deviation > 0, deviation, 1), 0)
        self.mean.copy_(torch.from_numpy(features.mean(axis=0, dtype=np.float64)))
        self.scale.copy_(torch.from_numpy(scale))

    def forward(self, features: Tensor) -> Tensor:
        """Return standardised features: (B, D) to (B, D)."""
        return (features - self.mean) * self.scale


def mlp(inputs: int, params: EncoderParams, outputs: int) -> nn.Sequential:
    """Return a network with one hidden layer: linear, ReLU, dropout, linear."""
    return nn.Sequential(
        nn.Linear(inputs, params.hidden), nn.ReLU(), nn.Dropout(params.dropout), nn.Linear(params.hidden, outputs)
    )


class PairNetwork(nn.Module):
    """Two encoders with a loss; the base of the methods' networks.

    Args:
        sizes: of the features.
        params: of the encoders.
        codes: dimensions of the common space.
    """

    def __init__(self, sizes: Sizes, params: EncoderParams, codes: int) -> None:
        super().__init__()
        self.image_inputs, self.text_inputs = Inputs(sizes.images), Inputs(sizes.texts)
        self.image = mlp(sizes.images, params, codes)
        self.text = mlp(sizes.texts, params, codes)

    def standardise_by(self, images: np.ndarray, texts: np.ndarray) -> None:
        """Standardise inputs from now on by these training features: float32 (n, D) and (m, T)."""
        self.image_inputs.fit(images)
        self.text_inputs.fit(texts)

    def forward(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes of images and of texts."""
        return self.codes_of_images(images), self.codes_of_texts(texts)

    def codes_of_images(self, images: Tensor) -> Tensor:
        """Return the codes of images: (B, D) to (B, K)."""
        return self.image(self.image_inputs(images))

    def codes_of_texts(self, texts: Tensor) -> Tensor:
        """Return the codes of texts: (B, T) to (B, K)."""
        return self.text(self.text_inputs(texts))

    def loss(self, images: Tensor, texts: Tensor, category: Tensor, progress: float) -> Tensor:
        """Return the mean loss of a batch of pairs.

        Args:
            images, texts: features.
            category: int64 (B,).
            progress: share of the epochs that is done, in [0, 1).
        """
        raise NotImplementedError


Build = Callable[[], PairNetwork]  # returns a network with start weights; torch's generator is already seeded


def fit_networks(
    candidates: Iterator[tuple[Mapping[str, float], Build]],
    train: Views,
    validation: Views,
    params: NetworkParams,
    seed: int,
) -> Fitted:
    """Train every candidate with every learning rate; return the one with the best validation MAP.

    Args:
        candidates: what distinguishes a network, and how it is built; all get the same start seed.
        train, validation: the pairs.
        params: of encoders and training.
        seed: of initialisation, batches and dropout.
    """
    torch.set_num_threads(params.threads)
    return best(
        fit_network(build, {**chosen, "learning_rate": rate}, train, validation, params, seed)
        for chosen, build in candidates
        for rate in params.learning_rates
    )


def fit_network(
    build: Build, chosen: Mapping[str, float], train: Views, validation: Views, params: NetworkParams, seed: int
) -> Fitted:
    """Train a network; return the epoch with the best validation MAP, or the start weights if none is better.

    Training ends after `patience` epochs without a better one, and when a weight is no longer finite. Each epoch draws
    an order of all pairs; a last batch of a single pair is left out, as it has no other pair to compare with.

    Args:
        build: makes the network.
        chosen: by which name the result is known; `learning_rate` is used.
        train, validation: the pairs.
        params: of encoders and training.
        seed: of initialisation, batches and dropout.
    """
    torch.manual_seed(derive_seed(seed, "baseline"))
    network = build()
    network.standardise_by(train.images, train.texts)
    optimizer = torch.optim.AdamW(network.parameters(), lr=chosen["learning_rate"], weight_decay=params.weight_decay)
    tensors = [torch.from_numpy(part) for part in (train.images, train.texts, train.category)]
    best_network, best_epoch = deepcopy(network).eval(), 0
    best_score = measured(*encoders_of(best_network), chosen, validation).validation_map
    for epoch in progress(range(params.epochs), "network", "epochs", params.epochs):
        network.train()
        for rows in torch.randperm(len(train.category)).split(params.batch_size):
            if len(rows) > 1:
                images, texts, category = (part[rows] for part in tensors)
                loss = network.loss(images, texts, category, epoch / params.epochs)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        if not all(torch.isfinite(weight).all() for weight in network.parameters()):
            break  # the learning rate is too high; another candidate may do better
        score = measured(*encoders_of(network.eval()), chosen, validation).validation_map
        if score > best_score:
            best_network, best_score, best_epoch = deepcopy(network), score, epoch + 1
        if epoch + 1 - best_epoch >= params.patience:
            break
    return Fitted(*encoders_of(best_network), {**chosen, "epoch": best_epoch}, best_score)


def encoders_of(network: PairNetwork) -> tuple[Encoder, Encoder]:
    """Return the network's encoders of images and of texts as functions of arrays; it must be in evaluation mode."""

    @torch.inference_mode()
    def images(features: np.ndarray) -> np.ndarray:
        return np.asarray(network.codes_of_images(torch.from_numpy(features)).numpy())

    @torch.inference_mode()
    def texts(features: np.ndarray) -> np.ndarray:
        return np.asarray(network.codes_of_texts(torch.from_numpy(features)).numpy())

    return images, texts
