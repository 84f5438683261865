"""From probabilities to label sets: which labels an image is given.

| rule | an image gets |
|---|---|
| ``top`` | the k most probable labels |
| ``predicted`` | the m most probable ones, m the predicted number of labels |
| ``true`` | the same with the true number, an upper bound |
| ``threshold=p`` | all labels with at least this probability; there may be none |
| ``tuned`` | all labels that reach their own threshold, which is chosen on the validation images by the label's F1 |

Of equally probable labels the first is taken.
"""

import numpy as np
from pydantic import Field

from base.params import Params

FEWEST = 5  # validation images of a label, below which a threshold of its own fits to chance


class RuleParams(Params):
    """Section `annotation.evaluate`."""

    batch_size: int = Field(description="images per batch; no result depends on it", ge=1)
    top: int = Field(description="k, labels given without a predicted number; also validates the epochs", ge=1)
    thresholds: list[float] = Field(description="probabilities for the rule threshold=p; the paper: 0.1 to 0.4")
    bins: int = Field(description="of probabilities, for their reliability", ge=2, le=100)


def most_probable(probabilities: np.ndarray, counts: np.ndarray | int) -> np.ndarray:
    """Return the label sets of the most probable labels.

    Args:
        probabilities: or any scores.
        counts: number of labels, of each image or of all; a number above C means all labels.

    Shape:
        probabilities: (N, C); counts: (N,); result: bool (N, C)
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(probabilities.shape[1])[None, :], axis=1)
    return ranks < np.broadcast_to(counts, len(probabilities))[:, None]


def above(probabilities: np.ndarray, thresholds: np.ndarray | float) -> np.ndarray:
    """Return the label sets of the labels whose probability is at least a threshold, their own or one for all.

    Shape:
        probabilities: (N, C); thresholds: (C,); result: bool (N, C)
    """
    return np.asarray(probabilities >= thresholds)


def tuned_thresholds(probabilities: np.ndarray, true: np.ndarray, fewest: int = FEWEST) -> np.ndarray:
    """Return for each label the threshold with the best F1 of the label.

    Candidates are the label's own probabilities; of equally good ones the largest is taken. A label that fewer than
    `fewest` images have gets the threshold that is best for all labels together (overall F1).

    Args:
        probabilities: of validation images.
        true: whether an image has a label.
        fewest: images that a label needs for a threshold of its own; at least 1.

    Shape:
        probabilities, true: (N, C); result: (C,)
    """
    pairs = zip(probabilities.T, true.T, strict=True)
    found = np.array([_best_threshold(p, t) if t.sum() >= fewest else np.nan for p, t in pairs], np.float64)
    if np.isnan(found).any():
        found[np.isnan(found)] = _best_threshold(probabilities.ravel(), true.ravel()) if true.any() else np.inf
    return found


def _best_threshold(probabilities: np.ndarray, true: np.ndarray) -> float:
    order = np.argsort(-probabilities, kind="stable")
    ranked, hits = probabilities[order], np.cumsum(true[order])
    # given at this threshold: all up to the last of equal probabilities
    last = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    f1 = 2 * hits[last] / (last + 1 + true.sum())
    return float(ranked[last[np.argmax(f1)]])
