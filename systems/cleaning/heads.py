"""Out-of-fold probabilities of a small classifier on frozen features."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import torch
from pydantic import Field

from base.seeding import derive_seed
from model.heads import HeadParams, logits_of, train_head


class FoldedHeadParams(HeadParams):
    """The classifier of each fold."""

    folds: int = Field(description="of the images; each is scored by networks that have not seen it", ge=3)
    seed: int = Field(description="of folds, initialisation, batches and permutations", ge=0)


def folds_of(image_ids: list[str], params: FoldedHeadParams) -> np.ndarray:
    """Return each image's fold by a hash of its id: int64 (N,). It doesn't depend on labels, for the test's sake."""
    return np.array([derive_seed(params.seed, "fold", name) % params.folds for name in image_ids], np.int64)


def probabilities_of(
    x: np.ndarray, labels: np.ndarray, trained: np.ndarray, scored: np.ndarray, params: HeadParams, seed: int
) -> np.ndarray:
    """Train a classifier on some images, and return the probabilities of others.

    Shape:
        x: float32 (N, D); labels: (N, C), rows sum to 1; trained: bool (N,); scored: bool (N,), n True; result:
        float32 (n, C)
    """
    net = train_head(x[trained], labels[trained], params, seed)
    return np.asarray(torch.softmax(torch.from_numpy(logits_of(net, x[scored])), dim=1).numpy())


def out_of_fold(
    x: np.ndarray, labels: np.ndarray, named: np.ndarray, folds: np.ndarray, params: FoldedHeadParams
) -> np.ndarray:
    """Train a classifier per fold on the named images of the other folds; return the probabilities of its own images.

    Shape:
        x: float32 (N, D); labels: (N, C), rows sum to 1; named: bool (N,); folds: int (N,); result: float32 (N, C)
    """
    result = np.zeros(labels.shape, np.float32)
    for fold in range(params.folds):
        own, seed = folds == fold, derive_seed(params.seed, "head", fold)
        result[own] = probabilities_of(x, labels, ~own & named, own, params, seed)
    return result


def judged_out_of_fold(
    x: np.ndarray,
    labels: np.ndarray,
    named: np.ndarray,
    folds: np.ndarray,
    params: FoldedHeadParams,
    judge: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Return out-of-fold probabilities of classifiers that learn from judged labels, which are better than `labels`.

    A fold's classifier learns from the other folds' judged labels, and those are judged as if the fold didn't exist,
    with probabilities of classifiers that were trained without it and without the judged image's own fold. So the
    probabilities of a fold are independent of its labels. If all labels were judged once, with out-of-fold
    probabilities, this would not hold: a wrong label would mislead the classifiers of the other folds, these the
    judgement of similar images there, and these the fold's own classifier.

    Args:
        x: inputs of the N images.
        labels: shares of each category, by which the first classifiers learn.
        named: the images with labels.
        folds: of the images.
        params: of the classifiers; for K folds K (K + 1) / 2 are trained.
        judge: gets n images, and out-of-fold probabilities (n, C), and returns judged labels (n, C), rows sum to 1.

    Shape:
        x: float32 (N, D); labels: (N, C), rows sum to 1; named: bool (N,); folds: int (N,); result: float32 (N, C)
    """
    without: dict[tuple[int, int], np.ndarray] = {}  # of the second fold's images, from networks without both folds
    for pair in combinations(range(params.folds), 2):
        either, seed = np.isin(folds, pair), derive_seed(params.seed, "head", *pair)
        found = probabilities_of(x, labels, ~either & named, either, params, seed)
        without[pair] = found[folds[either] == pair[1]]
        without[pair[::-1]] = found[folds[either] == pair[0]]
    result = np.zeros(labels.shape, np.float32)
    for fold in range(params.folds):
        own = folds == fold
        first = np.zeros(labels.shape, np.float32)
        for other in range(params.folds):
            if other != fold:
                first[folds == other] = without[fold, other]
        judged = np.zeros(labels.shape, np.float32)
        judged[~own] = judge(np.flatnonzero(~own), first[~own])
        seed = derive_seed(params.seed, "judged head", fold)
        result[own] = probabilities_of(x, judged, ~own & named, own, params, seed)
    return result
