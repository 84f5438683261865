"""A small classifier on frozen features of a ConvNet: reading them, their principal components, the head's training."""

from pathlib import Path

import numpy as np
import polars as pl
import torch
from pydantic import Field
from torch import nn

from base.artifacts import read_tables
from base.console import UserError
from base.params import Params

INPUT_DROPOUT = 0.2  # share of the principal components that training drops


class HeadParams(Params):
    """The classifier on frozen features, and how it is trained (AdamW, cross-entropy with soft labels)."""

    components: int = Field(description="principal components of the features", ge=2)
    hidden: int = Field(description="hidden units", ge=1)
    dropout: float = Field(description="share of the hidden units dropped in training", ge=0, lt=1)
    epochs: int = Field(description="passes over the training images", ge=1)
    batch_size: int = Field(description="images of a step; larger than the data: all at once", ge=1)
    learning_rate: float = Field(description="of AdamW", gt=0)
    weight_decay: float = Field(description="of AdamW", ge=0)
    threads: int = Field(description="CPU threads", ge=1)


def read_features(path: Path, images: pl.DataFrame) -> np.ndarray:
    """Return the features of images in their order: float32 (N, D).

    Args:
        path: `schemas.EMBEDDED`, as `systems.cleaning.embed` writes it.
        images: the column `image_id`, and `domain` if ids of both domains are among the images.

    Raises:
        UserError: an image has no features or several rows of them, or they are not finite.
    """
    keys = [name for name in ("domain", "image_id") if name in images.columns]
    rows = pl.DataFrame(read_tables(path, [*keys, "feature"]))
    joined = images.select(keys).join(rows, on=keys, how="left", maintain_order="left")
    missing = joined.filter(pl.col("feature").is_null())
    if len(missing) or len(joined) != len(images):
        bad = missing if len(missing) else joined.filter(pl.struct(keys).is_duplicated())
        raise UserError(
            f"{path}: image {bad['image_id'][0]!r} doesn't have one row of features; run systems.cleaning.embed on all"
        )
    features = np.stack(list(joined["feature"].to_numpy())).astype(np.float32)
    if not np.isfinite(features).all():
        raise UserError(f"{path}: a feature is NaN or infinite; run systems.cleaning.embed again")
    return features


def principal_components(features: np.ndarray, num: int, fitted_on: np.ndarray | None = None) -> np.ndarray:
    """Return the principal components of standardised features, scaled to a mean square of 1.

    Args:
        features: of all images.
        num: components at most.
        fitted_on: the images that mean, deviation, components and scale are measured on; None: all.

    Shape:
        features: float (N, D); fitted_on: bool (N,) with M set; result: float32 (N, min(num, D, M))
    """
    x = torch.from_numpy(np.asarray(features, np.float32))
    chosen = torch.from_numpy(np.ones(len(x), bool) if fitted_on is None else fitted_on)
    x = (x - x[chosen].mean(0)) / (x[chosen].std(0) + 1e-3)
    fitted = x[chosen]
    _, vectors = torch.linalg.eigh(fitted.T @ fitted / len(fitted))
    x = x @ vectors.flip(1)[:, : min(num, *fitted.shape)]
    return np.asarray((x / x[chosen].square().mean().sqrt().clamp_min(1e-9)).numpy(), np.float32)


def train_head(x: np.ndarray, labels: np.ndarray, params: HeadParams, seed: int) -> nn.Sequential:
    """Train a classifier with one hidden layer; return it in evaluation mode. No epoch is chosen.

    Args:
        x: the principal components of the training images.
        labels: the probability of each category.
        params: the classifier and its training.
        seed: of initialisation, batches and dropout.

    Shape:
        x: float32 (N, D); labels: (N, C), rows sum to 1
    """
    torch.set_num_threads(params.threads)
    torch.manual_seed(seed)
    inputs, targets = torch.from_numpy(x), torch.from_numpy(labels.astype(np.float32))
    net = nn.Sequential(
        nn.Dropout(INPUT_DROPOUT),
        nn.Linear(x.shape[1], params.hidden),
        nn.ReLU(),
        nn.Dropout(params.dropout),
        nn.Linear(params.hidden, labels.shape[1]),
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay)
    for _ in range(params.epochs):
        for batch in torch.randperm(len(x)).split(params.batch_size):
            loss = nn.functional.cross_entropy(net(inputs[batch]), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.eval()


@torch.inference_mode()
def logits_of(net: nn.Module, x: np.ndarray) -> np.ndarray:
    """Return a head's logits: float32 (N, D) to float32 (N, C)."""
    return np.asarray(net(torch.from_numpy(x)).numpy())
