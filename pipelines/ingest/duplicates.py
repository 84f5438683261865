"""Find images that occur twice, byte by byte or nearly, within and across the domains.

*Exact* duplicates have the same bytes after ingest. *Near* duplicates look alike: their perceptual hashes differ in few
bits, as after scaling, other compression, small changes of brightness. The hash is the DCT hash of Zauner
("Implementation and Benchmarking of Perceptual Image Hash Functions", 2010), as in Python's ImageHash ("phash"): take
the picture in 32 x 32 grey levels, compute the lowest frequencies of its two-dimensional DCT-II, and set a bit for each
frequency above their median. (ImageHash 4.3 gives the same bits for the same 32 x 32 levels: 800 photographs of
birds50.) The hash ignores colour, and mirrored or strongly cropped pictures get another hash.

The hash is used in two lengths. The coarse one (8 x 8 frequencies) proposes pairs that differ in at most
COARSE_DISTANCE of 64 bits; alone it confuses pictures of one dark blob on a plain ground. The fine one (16 x 16)
confirms them. For 400 photographs of birds50, at least 99.7 % of the copies that were halved, enlarged, brightened or
compressed again differ in at most 48 of the 256 fine bits and 6 of the coarse bits; blobs that the coarse hash confuses
differ in 78 and more fine bits.

Not all pairs of images are compared. Two coarse hashes that differ in at most d bits agree in one of d + 1 bands of
bits (pigeonhole), so only hashes that agree in a band are compared, each with its followers in an array, all at once.
The result has, for each image and each domain, the nearest duplicate: at most two rows an image, however many copies
of a placeholder a data set has.

Images of one domain that are linked by such pairs, directly or through others, are a *group of copies*. The links of a
group are all close pairs, not only those of the nearest: with a, b close and c, d closer, b may be close to c.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from base import schemas
from pipelines.ingest.decoding import THUMBNAIL_SIDE

COARSE_SIDE, FINE_SIDE = 8, 16  # frequencies in each direction
COARSE_BITS, FINE_BITS = COARSE_SIDE**2, FINE_SIDE**2
COARSE_DISTANCE = 6  # bits; a larger distance means more bands of fewer bits each: much more to compare
DECIMALS = 3  # of the DCT's coefficients, in levels: flat pictures get the same hash whatever the order of summation
NOWHERE = -1
RANK_BITS = 32  # bits of an image's rank, below the distance: the minimum of such numbers is the nearest image
FAR = np.int64(1 << 62)
MOST_LINKS = 1 << 20  # links that are kept before groups are merged: some 16 MB


def low_frequencies(thumbnails: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the FINE_SIDE lowest frequencies in each direction of the pictures' DCT-II, rounded.

    Args:
        thumbnails: grey levels, [N, 32, 32].

    Returns:
        Coefficients in levels, [N, FINE_SIDE, FINE_SIDE]; the constant one first, vertical frequencies in rows.
    """
    frequency, pixel = np.mgrid[:FINE_SIDE, :THUMBNAIL_SIDE]
    cosines = 2 * np.cos(np.pi * frequency * (2 * pixel + 1) / (2 * THUMBNAIL_SIDE))
    return (cosines @ thumbnails.astype(np.float64) @ cosines.T).round(DECIMALS)


def perceptual_hashes(frequencies: NDArray[np.float64], side: int) -> NDArray[np.uint8]:
    """Return the hashes of pictures: which of their lowest frequencies are above the median of these.

    Args:
        frequencies: see :func:`low_frequencies`.
        side: the number of frequencies in each direction; its square is the number of bits.

    Returns:
        Bits in bytes, [N, side * side / 8]; row by row.
    """
    lowest = frequencies[:, :side, :side].reshape(-1, side * side)
    return np.packbits(lowest > np.median(lowest, axis=1, keepdims=True), axis=1)


def fingerprints_of(thumbnails: NDArray[np.uint8]) -> dict[str, pa.Array]:
    """Return the `coarse` and `fine` hashes that :func:`find_duplicates` compares, beside the pictures' bytes.

    Args:
        thumbnails: grey levels, [N, 32, 32].
    """
    frequencies = low_frequencies(thumbnails)
    coarse, fine = (perceptual_hashes(frequencies, side) for side in (COARSE_SIDE, FINE_SIDE))
    return {
        "coarse": pa.array(coarse.view(">u8").astype(np.uint64).reshape(-1)),
        "fine": pa.FixedSizeBinaryArray.from_buffers(pa.binary(fine.shape[1]), len(fine), [None, pa.py_buffer(fine)]),
    }


def close_pairs(hashes: NDArray[np.uint64], distance: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the pairs of hashes that differ in at most ``distance`` bits, some more than once.

    Args:
        hashes: of COARSE_BITS, [M].
        distance: bits, 0 .. 31.

    Yields:
        Two arrays of indices into ``hashes``, of the same length; no hash is paired with itself.
    """
    borders = np.linspace(0, COARSE_BITS, distance + 2).astype(int)
    for low, high in pairwise(borders):
        band = (hashes >> np.uint64(low)) & np.uint64(2 ** int(high - low) - 1)
        order = np.argsort(band, kind="stable")
        band, sorted_hashes = band[order], hashes[order]
        # How many hashes with the same band follow each one: compare each with its first follower, then its second...
        ends = np.flatnonzero(np.append(band[1:] != band[:-1], True))
        followers = np.repeat(ends, np.diff(ends, prepend=-1)) - np.arange(len(band))
        left = np.flatnonzero(followers)
        step = 1
        while len(left):
            differing = np.bitwise_count(sorted_hashes[left] ^ sorted_hashes[left + step])
            close = left[differing <= distance]
            if len(close):
                yield order[close], order[close + step]
            step += 1
            left = left[followers[left] >= step]


def find_duplicates(fingerprints: pl.DataFrame, distance: int) -> pl.DataFrame:
    """Return the nearest duplicate of every image in each domain, where it has one.

    An exact duplicate is nearer than a near one; then fewer differing bits are nearer, then the first image id.

    Args:
        fingerprints: `image_id`, `domain`, `category`, `digest` (of the bytes), `coarse` (UInt64), `fine` (Binary), one
            row an image.
        distance: the most bits in which the fine hashes of near duplicates differ.

    Returns:
        The columns of `schemas.DUPLICATES`; rows by domain, image id, domain of the duplicate.
    """
    images = fingerprints.sort("domain", "image_id").with_row_index("rank")
    digests, looks = (images[column].rank("dense").to_numpy().astype(np.int64) - 1 for column in ("digest", "fine"))
    _, examples = np.unique(looks, return_index=True)  # the first image of each look
    coarse = images["coarse"].to_numpy()[examples]
    fine = np.frombuffer(b"".join(images["fine"].gather(examples)), np.uint64).reshape(-1, FINE_BITS // 64)
    tables = []
    members = [np.flatnonzero((images["domain"] == domain).to_numpy()) for domain in ("source", "target")]
    alikes = [first_others(looks, ranks) for ranks in members]
    compared = compare_looks(coarse, fine, [first_of_look for _, first_of_look in alikes], distance)
    for ranks, (alike, _), (nearest_look, groups) in zip(members, alikes, compared, strict=True):
        exact, _ = first_others(digests, ranks)
        nearest = nearest_look[looks]
        near = np.where(alike != NOWHERE, alike, np.where(nearest == FAR, NOWHERE, nearest & ((1 << RANK_BITS) - 1)))
        differing = np.where(alike != NOWHERE, 0, nearest >> RANK_BITS)
        is_exact = exact != NOWHERE
        found = np.flatnonzero(near != NOWHERE)  # this includes exact duplicates, which look the same
        first_of_group = np.full(len(coarse), FAR)
        np.minimum.at(first_of_group, groups[looks[ranks]], ranks)
        group = np.full(len(images), NOWHERE)
        group[ranks] = first_of_group[groups[looks[ranks]]]
        tables.append(
            pl.DataFrame(
                {
                    "rank": found,
                    "other": np.where(is_exact, exact, near)[found],
                    "kind": np.where(is_exact, "exact", "near")[found],
                    "distance": np.where(is_exact, 0, differing)[found],
                    "first": np.where(group == NOWHERE, len(images), group)[found],  # no image has this rank
                },
                schema={
                    "rank": pl.UInt32,
                    "other": pl.UInt32,
                    "kind": pl.String,
                    "distance": pl.Int32,
                    "first": pl.UInt32,
                },
            )
        )
    firsts = images.select(pl.col("rank").alias("first"), pl.col("image_id").alias("group"))
    others = images.select(
        pl.col("rank").alias("other"), pl.col("image_id", "domain", "category").name.prefix("duplicate_")
    )
    return (
        pl.concat(tables)
        .join(images, on="rank", how="left", validate="m:1")
        .join(others, on="other", how="left", validate="m:1")
        .join(firsts, on="first", how="left", validate="m:1")
        .sort("rank", "duplicate_domain")
        .rename({"duplicate_image_id": "duplicate_id"})
        .select(schemas.DUPLICATES.names)
    )


def first_others(classes: NDArray[np.int64], ranks: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, for every image, the first of some images that has the same class and is another image.

    Args:
        classes: of all images, 0 .. M - 1, [N].
        ranks: the images among which to search, ascending.

    Returns:
        An index into ``classes`` or NOWHERE, [N]; and the first image of each class, or NOWHERE, [M].
    """
    num_classes = int(classes.max(initial=-1)) + 1
    first, second = np.full(num_classes, NOWHERE), np.full(num_classes, NOWHERE)
    met, index = np.unique(classes[ranks], return_index=True)
    first[met] = ranks[index]
    rest = np.delete(ranks, index)
    met, index = np.unique(classes[rest], return_index=True)
    second[met] = rest[index]
    is_first = first[classes] == np.arange(len(classes))
    return np.where(is_first, second[classes], first[classes]), first


def compare_looks(
    coarse: NDArray[np.uint64], fine: NDArray[np.uint64], firsts_of_looks: Sequence[NDArray[np.int64]], distance: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Compare looks with each other; return, for each domain, the nearest image of another look, and groups of looks.

    Args:
        coarse: hashes, [M].
        fine: hashes, all different, [M, FINE_BITS / 64].
        firsts_of_looks: for each domain, each look's first image, or NOWHERE, [M].
        distance: the most differing bits of the fine hashes.

    Returns:
        For each domain: for every look, differing bits and nearest image as ``bits << RANK_BITS | image``, or FAR, [M];
        and a number for every look, which is equal for looks of the domain that close pairs link, [M].
    """
    nearest = [np.full(len(coarse), FAR) for _ in firsts_of_looks]
    links = [Links(len(coarse)) for _ in firsts_of_looks]
    for one, other in close_pairs(coarse, COARSE_DISTANCE):
        bits = np.bitwise_count(fine[one] ^ fine[other]).sum(axis=1, dtype=np.int64)
        close = bits <= distance
        one, other, bits = one[close], other[close], bits[close]
        for of_domain, linked, first_of_look in zip(nearest, links, firsts_of_looks, strict=True):
            first_of_one, first_of_other = first_of_look[one], first_of_look[other]
            both = (first_of_one != NOWHERE) & (first_of_other != NOWHERE)
            linked.add(one[both], other[both])
            for here, first_there in ((one, first_of_other), (other, first_of_one)):
                candidates = np.where(first_there == NOWHERE, FAR, bits << RANK_BITS | first_there)
                np.minimum.at(of_domain, here, candidates)
    return [(of_domain, linked.groups()) for of_domain, linked in zip(nearest, links, strict=True)]


class Links:
    """Collects links between things and finds the groups that they form, in memory for the things and few links.

    Args:
        number: number of things, 0 .. number - 1.
    """

    def __init__(self, number: int) -> None:
        self._groups = np.arange(number)
        self._ends: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self._waiting = 0

    def add(self, one: NDArray[np.int64], other: NDArray[np.int64]) -> None:
        """Link things pairwise; both arrays have the same length."""
        self._ends.append((one, other))
        self._waiting += len(one)
        if self._waiting >= MOST_LINKS:
            self._merge()

    def groups(self) -> NDArray[np.int64]:
        """Return a number for each thing; linked things have the same number."""
        self._merge()
        return self._groups

    def _merge(self) -> None:
        if self._waiting:
            one, other = (self._groups[np.concatenate(ends)] for ends in zip(*self._ends, strict=True))
            number = len(self._groups)
            graph = sparse.coo_array((np.ones(len(one), np.int8), (one, other)), shape=(number, number))
            _, merged = connected_components(graph, directed=False)
            self._groups = merged[self._groups].astype(np.int64)
        self._ends, self._waiting = [], 0


def count_duplicates(duplicates: pl.DataFrame) -> dict[str, dict[str, dict[str, int]]]:
    """Count the images that have a duplicate, by domain, domain of the duplicate, and kind.

    Returns:
        As in ``{"source": {"target": {"exact": 1, "near": 3, "other_category": 2}}}``; `other_category` counts
        duplicates of both kinds in another category. Domains without a duplicate are left out.
    """
    counts: dict[str, dict[str, dict[str, int]]] = {}
    key = ["domain", "duplicate_domain"]
    table = duplicates.group_by(key).agg(
        (pl.col("kind") == "exact").sum().alias("exact"),
        (pl.col("kind") == "near").sum().alias("near"),
        (pl.col("category") != pl.col("duplicate_category")).sum().alias("other_category"),
    )
    for row in table.sort(key).iter_rows(named=True):
        domain, other = row.pop("domain"), row.pop("duplicate_domain")
        counts.setdefault(domain, {})[other] = row
    return counts
