"""Estimate `systems.cleaning.reliability` on at most some 20,000 images, and judge all images by it."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from base.console import UserError, log
from systems.cleaning.estimation import fit
from systems.cleaning.given import Given
from systems.cleaning.reliability import (
    NO_NAMES,
    NUM_CANDIDATES,
    Candidates,
    Posterior,
    Reliability,
    candidates,
    has_name,
    posterior,
)
from systems.cleaning.votes import Votes

CHUNK = 5_000  # images that a thread judges at once
MOST_THREADS = 8  # that judge images; each takes memory
SAMPLE = 20_000  # EM takes at least this many images,
SAMPLE_PER_CATEGORY = 20  # and this many per category; all are judged afterwards


def sampled(num_images: int, num_categories: int, seed: int = 0) -> np.ndarray:
    """Return the images that EM takes: all, or a random sample of a size that the number of categories sets."""
    size = max(SAMPLE, SAMPLE_PER_CATEGORY * num_categories)
    if num_images <= size:
        return np.arange(num_images)
    return np.sort(np.random.default_rng(seed).choice(num_images, size, replace=False))


def _checked(probabilities: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return the probabilities of some images.

    Raises:
        UserError: one is not in [0, 1], or NaN.
    """
    bad = ~((probabilities >= 0) & (probabilities <= 1)).all(axis=1)
    if bad.any():
        row = int(images[int(bad.argmax())])
        raise UserError(f"row {row} of the probabilities is not in [0, 1] (or NaN): train the classifier again")
    return np.asarray(probabilities)


def judge_all(
    votes: Votes, probabilities: np.ndarray, most: int = NUM_CANDIDATES, given: Given | None = None
) -> tuple[Posterior, Reliability]:
    """Estimate the model and judge all images, a chunk at a time; beside the result it needs 100 MB a thread.

    Args:
        votes: of the N images.
        probabilities: out-of-fold; may be a memory map.
        most: as of :func:`candidates`.
        given: labels beside the votes.

    Shape:
        probabilities: float (N, C)

    Raises:
        UserError: no image has a vote or given label, or a probability is NaN or outside [0, 1].
    """
    num_images, num_categories = probabilities.shape
    named = np.flatnonzero(has_name(votes, given))
    taken = named[sampled(len(named), num_categories)]
    log.info("reliability: EM over %s of %s images", f"{len(taken):,}", f"{num_images:,}")
    parts = []
    for start in range(0, len(taken), CHUNK):
        images = taken[start : start + CHUNK]
        rows = _checked(probabilities[images], images)
        parts.append(candidates(votes.take(images), rows, most, given and given.take(images)))
    if not parts:
        raise UserError(NO_NAMES)
    chosen = Candidates(
        np.concatenate([part.category for part in parts]),
        np.concatenate([part.log_p for part in parts]),
        np.concatenate([part.other_log_p for part in parts]),
        parts[0].num_others,
    )
    model = fit(votes.take(taken), chosen, num_categories, given=given and given.take(taken))

    def judged(start: int) -> tuple[np.ndarray, np.ndarray]:
        images = np.arange(start, min(start + CHUNK, num_images))
        rows = _checked(probabilities[images[0] : images[-1] + 1], images)
        of_images, labels = votes.take(images), given and given.take(images)
        of_chunk = posterior(of_images, candidates(of_images, rows, most, labels), model, labels)
        return of_chunk.category, of_chunk.probability.astype(np.float32)

    # NumPy's loops run outside the interpreter's lock, so that threads share the cores.
    with ThreadPoolExecutor(min(MOST_THREADS, len(os.sched_getaffinity(0)))) as threads:
        chunks = list(threads.map(judged, range(0, num_images, CHUNK)))
    return Posterior(*(np.concatenate(column) for column in zip(*chunks, strict=True))), model
