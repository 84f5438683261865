"""Split images with label sets so that every label has about its share of images in every split.

Iterative stratification: the label with the fewest images that are not yet placed comes first, because the last images
of a frequent label can still be placed anywhere. Each of its images goes to the split that lacks most images of this
label; of equal ones to the one that lacks most images of any kind; of these to one drawn by a hash of the seed and the
image. Groups of copies are placed as one, with the labels of all their images.

Reference: Sechidis, Tsoumakas, Vlahavas, "On the stratification of multi-label data" (ECML PKDD 2011), algorithm 1.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.splits.split import hash_rank


def stratify(
    labels: np.ndarray,
    names: Sequence[str],
    shares: Mapping[str, float],
    seed: int,
    groups: np.ndarray | None = None,
    purpose: str = "label sets",
) -> np.ndarray:
    """Return the split of each image, as an index into `shares`.

    Args:
        labels: whether an image has a label.
        names: of the images, each once; with the seed they decide between equally good splits.
        shares: of the splits; they add up to 1.
        seed: of the split.
        groups: a number for each image, equal for copies; None: no image has copies.
        purpose: distinguishes several splits of one seed.

    Shape:
        labels: bool (images, labels); groups: (images,); result: int64 (images,)

    Raises:
        ValueError: the shares don't add up to 1, or are not positive.
    """
    quota = np.array(list(shares.values()), np.float64)
    if abs(quota.sum() - 1) > 1e-9 or (quota <= 0).any():
        raise ValueError(f"shares {dict(shares)}: expected positive numbers that add up to 1")
    ids = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    number = int(ids.max(initial=-1)) + 1
    sizes = np.bincount(ids, minlength=number)
    counts = np.zeros((number, labels.shape[1]), np.int64)
    np.add.at(counts, ids, labels)
    ranks = np.full(number, np.iinfo(np.uint64).max, np.uint64)
    hashes = np.array([hash_rank(seed, purpose, "", name) for name in names], np.uint64)
    np.minimum.at(ranks, ids, hashes)
    placed = _place(counts, sizes, ranks, quota)
    return placed[ids]


def _place(counts: np.ndarray, sizes: np.ndarray, ranks: np.ndarray, quota: np.ndarray) -> np.ndarray:
    """Return the split of each group.

    Shape:
        counts: (groups, labels), images of the group with the label; sizes, ranks: (groups,); quota: (splits,)
    """
    wanted = quota[:, None] * counts.sum(axis=0)  # (splits, labels)
    wanted_images = quota * sizes.sum()
    left = counts.sum(axis=0)
    placed = np.full(len(counts), -1)
    order = np.argsort(ranks, kind="stable")
    while True:
        open_labels = np.flatnonzero(left > 0)
        if len(open_labels):
            label = open_labels[np.argmin(left[open_labels])]
            mine = order[(placed[order] < 0) & (counts[order, label] > 0)]
            mine = mine[np.argsort(-sizes[mine], kind="stable")]  # a large group fits worst at the end
        else:  # groups without a label
            label, mine = None, order[placed[order] < 0]
        if not len(mine):
            return placed
        for group in mine:
            lacks = wanted_images if label is None else wanted[:, label]
            best = np.flatnonzero(lacks >= lacks.max() - 1e-9)
            best = best[wanted_images[best] >= wanted_images[best].max() - 1e-9]
            split = best[int(ranks[group]) % len(best)]
            placed[group] = split
            wanted[split] -= counts[group]
            wanted_images[split] -= sizes[group]
            left -= counts[group]
