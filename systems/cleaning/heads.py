"""Out-of-fold probabilities of a small classifier on frozen features."""

import numpy as np
import torch
from pydantic import Field

from base.seeding import derive_seed
from model.heads import HeadParams, logits_of, train_head


class FoldedHeadParams(HeadParams):
    """The classifier of each fold."""

    folds: int = Field(description="networks; each scores the images of its fold, which it has not seen", ge=2)
    seed: int = Field(description="of folds, initialisation, batches and permutations", ge=0)


def folds_of(image_ids: list[str], params: FoldedHeadParams) -> np.ndarray:
    """Return each image's fold by a hash of its id: int64 (N,). It doesn't depend on labels, for the test's sake."""
    return np.array([derive_seed(params.seed, "fold", name) % params.folds for name in image_ids], np.int64)


def out_of_fold(
    x: np.ndarray,
    labels: np.ndarray,
    named: np.ndarray,
    folds: np.ndarray,
    params: FoldedHeadParams,
    round_number: int = 0,
) -> np.ndarray:
    """Train a classifier per fold on the named images of the other folds; return the probabilities of its own images.

    Shape:
        x: float32 (N, D); labels: (N, C), rows sum to 1; named: bool (N,); folds: int (N,); result: float32 (N, C)
    """
    result = np.zeros(labels.shape, np.float32)
    for fold in np.unique(folds):
        others, own = (folds != fold) & named, folds == fold
        net = train_head(x[others], labels[others], params, derive_seed(params.seed, "head", round_number, int(fold)))
        result[own] = torch.softmax(torch.from_numpy(logits_of(net, x[own])), dim=1).numpy()
    return result
