"""Made image-text pairs whose media share a hidden cause, for the tests of the comparison methods."""

import numpy as np

from systems.dckt.features import Views

MIXING = np.random.default_rng(77)
CENTRES = MIXING.normal(0, 1.5, (3, 4))  # of the categories, in the space of the causes
TO_IMAGES, TO_TEXTS = MIXING.normal(0, 1, (4, 11)), MIXING.normal(0, 1, (4, 7))


def made_pairs(sizes: tuple[int, ...] = (14, 9, 12), seed: int = 0, noise: float = 0.3) -> Views:
    """Return pairs of three categories of unequal size: 11 features of images, 7 of texts, not centred."""
    random = np.random.default_rng(seed)
    category = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    causes = CENTRES[category] + random.normal(0, 1, (len(category), 4))
    images = causes @ TO_IMAGES + random.normal(3, noise, (len(category), 11))
    texts = causes @ TO_TEXTS + random.normal(-2, noise, (len(category), 7))
    return Views(images.astype(np.float32), texts.astype(np.float32), category)


def wide_pairs(pairs: int = 12, seed: int = 1) -> Views:
    """Return fewer pairs than features of either medium: 40 and 30."""
    random = np.random.default_rng(seed)
    shared = random.normal(size=(pairs, 3))
    images = shared @ random.normal(size=(3, 40)) + random.normal(0, 1, (pairs, 40))
    texts = shared @ random.normal(size=(3, 30)) + random.normal(0, 1, (pairs, 30))
    return Views(images.astype(np.float32), texts.astype(np.float32), np.arange(pairs) % 3)
