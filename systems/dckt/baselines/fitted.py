"""A fitted method, and how the validation pairs choose among candidates."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from model.measures.average_precision import average_precision
from systems.dckt.features import Views

Encoder = Callable[[np.ndarray], np.ndarray]  # float32 (n, D) to codes (n, K)
BLOCK = 256  # queries whose scores are in memory at once


@dataclass(frozen=True)
class Fitted:
    """A method with its numbers, which represents both media in one space; codes are compared by their cosine.

    Attributes:
        images, texts: return the codes of features.
        chosen: what the validation pairs chose, by name.
        validation_map: mean of both directions' MAP on the validation pairs, in [0, 1].
    """

    images: Encoder
    texts: Encoder
    chosen: Mapping[str, float]
    validation_map: float


def measured(images: Encoder, texts: Encoder, chosen: Mapping[str, float], validation: Views) -> Fitted:
    """Return encoders with their MAP on the validation pairs."""
    score = mean_map(images(validation.images), texts(validation.texts), validation.category)
    return Fitted(images, texts, chosen, score)


def best(candidates: Iterable[Fitted]) -> Fitted:
    """Return the candidate with the highest validation MAP; of equal ones, the first."""
    return max(candidates, key=lambda fitted: fitted.validation_map)


def unit_rows(codes: np.ndarray) -> np.ndarray:
    """Return the rows scaled to length 1; a row of zeros stays."""
    lengths = np.linalg.norm(codes, axis=1, keepdims=True)
    return codes / np.where(lengths > 0, lengths, 1)


def mean_map(images: np.ndarray, texts: np.ndarray, category: np.ndarray) -> float:
    """Return the mean of the MAP of images that search texts and of texts that search images, in [0, 1].

    Shape:
        images, texts: float (n, K); category: (n,)
    """
    one, other = unit_rows(images), unit_rows(texts)
    return (_map(one, other, category) + _map(other, one, category)) / 2


def _map(queries: np.ndarray, items: np.ndarray, category: np.ndarray) -> float:
    found = []
    for start in range(0, len(queries), BLOCK):
        rows = slice(start, start + BLOCK)
        names = [str(number) for number in range(len(queries[rows]))]
        units = average_precision("map", names, queries[rows] @ items.T, category[rows, None] == category[None, :])
        found += units["numerator"].to_list()
    return float(np.mean(found))
