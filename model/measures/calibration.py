r"""Probabilities of labels: fitted to what is true (Platt scaling), and how reliable they are.

Platt scaling replaces p = sigmoid(z) by sigmoid(a z + b), with a and b that maximise the likelihood of held-out labels.
One pair is fitted for all labels: rare labels have too few images for one of their own.

    ECE = sum over bins of probability of |sum of p - number of true labels| / number of decisions

A decision is an image and a label.

Reference: Platt, "Probabilistic outputs for support vector machines" (1999); Guo et al., "On calibration of modern
neural networks" (ICML 2017), sections 2 and 4.
"""

from typing import NamedTuple

import numpy as np
import polars as pl

from model.measures.units import units_of

ROUNDS = 50  # of Newton's method; it stops at STEP
STEP = 1e-9
RIDGE = 1e-6  # pulls a towards 1 and b towards 0, so that separable labels have a finite solution


class Platt(NamedTuple):
    """A fitted scaling: p = sigmoid(a z + b)."""

    a: float
    b: float

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, float64, of logits of any shape."""
        return sigmoid(self.a * np.asarray(logits, np.float64) + self.b)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-z)) without overflow."""
    half = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1, half) / (1 + half)


def fit_platt(logits: np.ndarray, true: np.ndarray) -> Platt:
    """Return the scaling that fits held-out labels best, by Newton's method with steps halved until they are better.

    Args:
        logits: of decisions.
        true: whether they are true.

    Shape:
        logits, true: equal, of any shape
    """
    z, y = np.asarray(logits, np.float64).ravel(), np.asarray(true, np.float64).ravel()
    start = weights = np.array([1.0, 0.0])
    ridge = RIDGE * len(z)

    def loss(at: np.ndarray) -> float:
        scaled = at[0] * z + at[1]
        return float((np.logaddexp(0, scaled) - y * scaled).sum() + ridge / 2 * ((at - start) ** 2).sum())

    for _ in range(ROUNDS):
        p = sigmoid(weights[0] * z + weights[1])
        gradient = np.array([(z * (p - y)).sum(), (p - y).sum()]) + ridge * (weights - start)
        spread = p * (1 - p)
        cross = (spread * z).sum()
        hessian = np.array([[(spread * z * z).sum(), cross], [cross, spread.sum()]]) + ridge * np.eye(2)
        step, before = np.linalg.solve(hessian, gradient), loss(weights)
        while np.abs(step).max() >= STEP and loss(weights - step) > before:
            step = step / 2
        if np.abs(step).max() < STEP:
            break
        weights = weights - step
    return Platt(float(weights[0]), float(weights[1]))


def reliability_units(metric: str, probabilities: np.ndarray, true: np.ndarray, bins: int) -> pl.DataFrame:
    """Return the units of the expected calibration error, one per bin of equal width; empty bins are left out.

    Args:
        metric: the metric's name.
        probabilities: of decisions.
        true: whether they are true.
        bins: their number.

    Shape:
        probabilities, true: equal, of any shape
    """
    place, p, y = _binned(probabilities, true, bins)
    number = np.bincount(place, minlength=bins)
    gap = np.abs(np.bincount(place, p, bins) - np.bincount(place, y, bins))
    names = [f"{n / bins:.2f} to {(n + 1) / bins:.2f}" for n in range(bins)]
    kept = np.flatnonzero(number)
    return units_of(metric, [names[n] for n in kept], gap[kept], number[kept].astype(np.float64))


def reliability(probabilities: np.ndarray, true: np.ndarray, bins: int) -> pl.DataFrame:
    """Return for each bin that is not empty: `decisions`, their mean `probability`, and the share that is `true`."""
    place, p, y = _binned(probabilities, true, bins)
    rows = pl.DataFrame({"bin": place, "probability": p, "true": y})
    return (
        rows.group_by("bin")
        .agg(pl.len().cast(pl.Int64).alias("decisions"), pl.col("probability", "true").mean())
        .sort("bin")
    )


def _binned(probabilities: np.ndarray, true: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    p, y = np.asarray(probabilities, np.float64).ravel(), np.asarray(true, np.float64).ravel()
    return np.minimum((p * bins).astype(np.int64), bins - 1), p, y
