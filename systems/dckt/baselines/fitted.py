"""A fitted method, and how the validation pairs choose among candidates."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from model.measures.retrieval import cosine_average_precision
from systems.dckt.features import Views

Encoder = Callable[[np.ndarray], np.ndarray]  # float32 (n, D) to codes (n, K)


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


def mean_map(images: np.ndarray, texts: np.ndarray, category: np.ndarray) -> float:
    """Return the mean of the MAP of images that search texts and of texts that search images, in [0, 1].

    Shape:
        images, texts: float (n, K); category: int (n,)
    """
    forth, _ = cosine_average_precision(images, texts, category, category)
    back, _ = cosine_average_precision(texts, images, category, category)
    return float((forth.mean() + back.mean()) / 2)
