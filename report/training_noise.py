"""The randomness of training, estimated from all runs of a report together.

With three seeds, a difference's own deviation has two degrees of freedom: the 95 % interval is ± 4.3 standard errors,
and after a correction for twenty claims ± 20. All runs of a report are trained with the same seeds, so their deviations
together say how large a training's deviation usually is. An empirical-Bayes estimate combines both: where the runs are
much alike it relies on all of them, where they differ much it relies on each difference's own seeds.

Reference:
    Smyth, "Linear models and empirical Bayes methods for assessing differential expression in microarray experiments",
    Statistical Applications in Genetics and Molecular Biology 3(1), 2004, section 6.2.
"""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import special

from report.intervals import Estimate

SMALLEST = 1e-5  # of the median variance: deviations that happen to be 0 would have no logarithm


class TrainingNoise(NamedTuple):
    """How much a metric varies from seed to seed, beyond what all runs of a seed have in common.

    Attributes:
        variance: s0^2, the usual variance of one run's value.
        degrees: d0, the weight of `variance` beside a difference's own, in degrees of freedom; inf if the runs'
            variances differ no more than by chance.
        most_degrees: those of all runs together, (runs - 1) * (seeds - 1).
    """

    variance: float
    degrees: float
    most_degrees: float


def training_noise(values: np.ndarray) -> TrainingNoise | None:
    """Estimate the noise of training from the values of several runs with the same seeds.

    What a seed's runs have in common (the split) is removed first: it cancels in a paired difference. With s_r^2 the
    variance of run r over S seeds, times R / (R - 1) for the removed mean, and d = S - 1, the spread of log s_r^2
    beyond chance gives d0 (Smyth 2004). s0^2 is the mean of s_r^2. Smyth's s0^2, from the mean of log s_r^2, is smaller
    where the runs differ, and more than 5 % of differences were then falsely found.

    Args:
        values: a metric by run and seed.

    Shape:
        values: (runs, seeds)

    Returns:
        None for a single seed, for fewer than three runs, and where no run varies.
    """
    num_runs, num_seeds = values.shape
    if num_seeds < 2 or num_runs < 3:
        return None
    own = (values - values.mean(axis=0)).var(axis=1, ddof=1) * num_runs / (num_runs - 1)
    median = float(np.median(own))
    if median == 0:
        return None
    degrees = num_seeds - 1
    logs = np.log(np.maximum(own, SMALLEST * median))
    excess = float(logs.var(ddof=1) - special.polygamma(1, degrees / 2))
    most = float((num_runs - 1) * degrees)
    return TrainingNoise(float(own.mean()), 2 * _inverse_trigamma(excess) if excess > 0 else math.inf, most)


def moderated(estimate: Estimate, noise: TrainingNoise | None) -> Estimate:
    """Return an estimate whose variance from seeds is combined with the noise that all runs show.

    With S seeds and d = S - 1, seeds becomes (d0 * num_runs * s0^2 / S + d * seeds) / (d0 + d), with d0 + d degrees of
    freedom, at most those of all runs together.

    Args:
        estimate: of the same metric and unit as `noise`, over the same seeds.
        noise: None, for example for one seed, leaves the estimate as it is.
    """
    if noise is None or estimate.num_seeds < 2:
        return estimate
    usual = estimate.num_runs * noise.variance / estimate.num_seeds
    own = estimate.degrees
    if math.isinf(noise.degrees):
        seeds = usual
    else:
        seeds = (noise.degrees * usual + own * estimate.seeds) / (noise.degrees + own)
    return replace(estimate, seeds=seeds, degrees=max(own, min(noise.degrees + own, noise.most_degrees)))


def _inverse_trigamma(value: float) -> float:
    """Return x with trigamma(x) = value, by Newton's method on 1 / trigamma, which is convex and nearly linear."""
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(special.polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(special.polygamma(2, x))
        x += step
        if abs(step) < 1e-10 * x:
            break
    return x
