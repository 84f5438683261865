"""WARP: a linear map of features to tags, trained so that the tags that an image has are ranked above the others.

Weston, Bengio and Usunier, "WSABIE", IJCAI 2011, without its low-rank factors; Gong et al., ICLR 2014, train a ConvNet
with the same loss. Decisions of ours: ranks are counted, not estimated by drawing (`model.losses.warp`), and Adam takes
the steps, at a rate that falls to 0 along a cosine.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from base.seeding import derive_seed
from model.losses.warp import WarpLoss


class WarpParams(NamedTuple):
    """How the map is trained."""

    rate: float
    epochs: int
    batch_size: int


def fit_warp(x: np.ndarray, tags: np.ndarray, params: WarpParams, seed: int) -> np.ndarray:
    """Return the map W, by which W x are the scores of an image's tags.

    Args:
        x: features of the training images; a column of ones gives the map a constant.
        tags: their tags, 0 or 1.
        params: of the training.
        seed: of the order of the images; the map begins at 0.

    Shape:
        x: (n, D); tags: (n, N); result: float32 (N, D)
    """
    features, labels = torch.from_numpy(np.asarray(x, np.float32)), torch.from_numpy(np.asarray(tags, np.float32))
    weights = torch.zeros(labels.shape[1], features.shape[1], requires_grad=True)
    optimizer, loss = torch.optim.Adam([weights], lr=params.rate), WarpLoss(sampled=False)
    steps = params.epochs * math.ceil(len(features) / params.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
    for epoch in range(params.epochs):
        order = torch.from_numpy(np.random.default_rng(derive_seed(seed, "warp", epoch)).permutation(len(features)))
        for rows in order.split(params.batch_size):
            optimizer.zero_grad()
            loss(features[rows] @ weights.T, labels[rows]).mean().backward()
            optimizer.step()
            schedule.step()
    return weights.detach().numpy()
