"""Turns queries into vectors of the click features' space: a query's words, each counting the same."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pipelines.words.segmentation import Segmenter


def known_words(queries: Sequence[str], words: Sequence[str], segmenter: Segmenter) -> list[tuple[list[int], set[str]]]:
    """Return for each query the places of the words that are known, in their order, and the unknown words.

    Args:
        queries: texts.
        words: the vocabulary, K names.
        segmenter: as for the log's queries.
    """
    place = {word: number for number, word in enumerate(words)}
    found = segmenter(pa.array(queries, pa.string())).to_pylist()
    return [
        (sorted({place[word] for word in query if word in place}), {word for word in query if word not in place})
        for query in found
    ]


def query_vectors(places: Sequence[Sequence[int]], weights: np.ndarray) -> np.ndarray:
    """Return queries as vectors of length 1, or 0 without a word: float32 (queries, K).

    Args:
        places: of each query's words.
        weights: of the vocabulary's words.

    Shape:
        weights: (K,)
    """
    vectors = np.zeros((len(places), len(weights)))
    for row, known in enumerate(places):
        vectors[row, known] = weights[list(known)]
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
