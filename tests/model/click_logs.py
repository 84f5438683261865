"""Click features like those from search engines' logs, for tests of losses."""

import numpy as np


def sparse_clicks(num_images: int, num_words: int, seed: int) -> np.ndarray:
    """Return features of eq. 1 like those of real logs: words by Zipf's law, counts by Pareto's, about 20 per image.

    The first image has no clicks.
    """
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, num_words + 1)
    counts = np.zeros((num_images, num_words))
    for row in counts[1:]:
        words = rng.choice(num_words, rng.integers(5, 40), replace=False, p=share / share.sum())
        row[words] = np.ceil(rng.pareto(1.3, len(words)) * 3)
    clicked = np.count_nonzero(counts, axis=0)
    idf = np.log(num_images / np.maximum(clicked, 1))
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) * idf
