"""A small classifier on frozen features, and its out-of-fold probabilities."""

import numpy as np
import torch
from pydantic import Field
from torch import nn

from base.params import Params
from base.seeding import derive_seed


class HeadParams(Params):
    """The classifier on frozen features, and how it is trained (AdamW, cross-entropy with soft labels)."""

    folds: int = Field(description="networks; each scores the images of its fold, which it has not seen", ge=2)
    components: int = Field(description="principal components of the features", ge=2)
    hidden: int = Field(description="hidden units", ge=1)
    dropout: float = Field(description="share of the hidden units dropped in training", ge=0, lt=1)
    epochs: int = Field(description="passes over the images of the other folds", ge=1)
    batch_size: int = Field(description="images of a step; larger than the data: all at once", ge=1)
    learning_rate: float = Field(description="of AdamW", gt=0)
    weight_decay: float = Field(description="of AdamW", ge=0)
    seed: int = Field(description="of folds, initialisation, batches and permutations", ge=0)
    threads: int = Field(description="CPU threads", ge=1)


def folds_of(image_ids: list[str], params: HeadParams) -> np.ndarray:
    """Return each image's fold by a hash of its id: int64 (N,). It doesn't depend on labels, for the test's sake."""
    return np.array([derive_seed(params.seed, "fold", name) % params.folds for name in image_ids], np.int64)


def principal_components(features: np.ndarray, num: int) -> np.ndarray:
    """Return the principal components of standardised features, scaled to a mean square of 1.

    Shape:
        features: float (N, D); result: float32 (N, min(num, D, N))
    """
    x = torch.from_numpy(np.asarray(features, np.float32))
    x = (x - x.mean(0)) / (x.std(0) + 1e-3)
    _, vectors = torch.linalg.eigh(x.T @ x / len(x))
    x = x @ vectors.flip(1)[:, : min(num, *x.shape)]
    return np.asarray((x / x.square().mean().sqrt().clamp_min(1e-9)).numpy(), np.float32)


def out_of_fold(
    x: np.ndarray, labels: np.ndarray, named: np.ndarray, folds: np.ndarray, params: HeadParams, round_number: int = 0
) -> np.ndarray:
    """Train a classifier per fold on the named images of the other folds; return the probabilities of its own images.

    Shape:
        x: float32 (N, D); labels: (N, C), rows sum to 1; named: bool (N,); folds: int (N,); result: float32 (N, C)
    """
    torch.set_num_threads(params.threads)
    result = np.zeros(labels.shape, np.float32)
    inputs, targets = torch.from_numpy(x), torch.from_numpy(labels.astype(np.float32))
    for fold in np.unique(folds):
        torch.manual_seed(derive_seed(params.seed, "head", round_number, int(fold)))
        rows = torch.from_numpy(np.flatnonzero((folds != fold) & named))
        net = nn.Sequential(
            nn.Dropout(0.2),
            nn.Linear(x.shape[1], params.hidden),
            nn.ReLU(),
            nn.Dropout(params.dropout),
            nn.Linear(params.hidden, labels.shape[1]),
        )
        optimizer = torch.optim.AdamW(net.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay)
        for _ in range(params.epochs):
            for batch in rows[torch.randperm(len(rows))].split(params.batch_size):
                loss = nn.functional.cross_entropy(net(inputs[batch]), targets[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        net.eval()
        with torch.inference_mode():
            own = np.flatnonzero(folds == fold)
            result[own] = torch.softmax(net(inputs[torch.from_numpy(own)]), dim=1).numpy()
    return result
