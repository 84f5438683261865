"""Splits, compared with counts worked by hand and with properties that must hold for any size."""

from collections import Counter
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.splits.split import hash_rank, split_images, split_sizes

HALF = {"train": 0.5, "validation": 0.25, "test": 0.25}


def selection(sizes: list[tuple[str, str, int]]) -> pl.DataFrame:
    """Return images of (domain, category, number), all in shared categories."""
    rows = [(f"{d[0]}-{c}-{i:03d}", d, c, True) for d, c, n in sizes for i in range(n)]
    return pl.DataFrame(rows, schema=["image_id", "domain", "category", "shared"], orient="row").sort(
        "domain", "image_id"
    )


@pytest.mark.parametrize(
    ("n", "train", "validation", "test"),
    [
        (3, 1, 1, 1),  # 1.5 .75 .75
        (4, 2, 1, 1),
        (5, 3, 1, 1),  # 2.5 1.25 1.25: the remaining image goes to the largest fraction
        (6, 3, 2, 1),  # 3 1.5 1.5: tie, validation before test
        (7, 3, 2, 2),  # 3.5 1.75 1.75: two images remain
        (8, 4, 2, 2),
        (300, 150, 75, 75),
    ],
)
def test_split_sizes_by_hand(n: int, train: int, validation: int, test: int) -> None:
    assert split_sizes(n, HALF) == {"train": train, "validation": validation, "test": test}


def test_no_split_stays_empty_when_shares_are_lopsided() -> None:
    lopsided = {"train": 0.9, "validation": 0.05, "test": 0.05}
    assert split_sizes(3, lopsided) == {"train": 1, "validation": 1, "test": 1}
    assert split_sizes(5, lopsided) == {"train": 3, "validation": 1, "test": 1}
    with pytest.raises(ValueError, match="2 images cannot fill 3 splits"):
        split_sizes(2, lopsided)


@given(st.integers(3, 5000), st.integers(1, 98), st.data())
def test_split_sizes_add_up_and_lie_within_one_image_of_the_share(n: int, train: int, data: st.DataObject) -> None:
    validation = data.draw(st.integers(1, 99 - train))
    shares = {"train": train / 100, "validation": validation / 100, "test": (100 - train - validation) / 100}
    sizes = split_sizes(n, shares)
    assert sum(sizes.values()) == n
    assert min(sizes.values()) >= 1
    for split, size in sizes.items():
        quota = Fraction(str(shares[split])) * n
        # Below one image per split, an empty split takes one from the largest; otherwise rounding moves less than one.
        assert abs(size - quota) < 1 or min(share * n for share in shares.values()) < 1


@pytest.mark.parametrize(
    ("shares", "n", "sizes"),
    [
        # In floating point 0.28 * 25 is 7.000000000000001, 0.07 * 100 too, 0.29 * 100 is 28.999999999999996 and
        # 0.57 * 100 is 56.99999999999999.
        ((0.28, 0.44, 0.28), 25, (7, 11, 7)),
        ((0.44, 0.28, 0.28), 25, (11, 7, 7)),
        ((0.57, 0.29, 0.14), 100, (57, 29, 14)),
        ((0.07, 0.64, 0.29), 100, (7, 64, 29)),
        ((0.29, 0.14, 0.57), 100, (29, 14, 57)),
        ((0.55, 0.35, 0.1), 100, (55, 35, 10)),
        # Ties in decimals must count as ties: 2.5, 1.5 and 1; 1.5, 1.5 and 2; 1.5, 1.5 and 7; 3.5, 3 and 3.5.
        ((0.5, 0.3, 0.2), 5, (3, 1, 1)),
        ((0.3, 0.3, 0.4), 5, (2, 1, 2)),
        ((0.15, 0.15, 0.7), 10, (2, 1, 7)),
        ((0.7, 0.15, 0.15), 10, (7, 2, 1)),
        ((0.35, 0.3, 0.35), 10, (4, 3, 3)),
        # Ties in decimals that floating point would break: 8.4, 2.4 (2.4000000000000004) and 1.2; 1, 14.5
        # (14.499999999999998) and 9.5; 0.5, 3.5 (3.5000000000000004) and 21; 2.5, 20 and 27.5 (27.500000000000004).
        ((0.7, 0.2, 0.1), 12, (9, 2, 1)),
        ((0.04, 0.58, 0.38), 25, (1, 15, 9)),
        ((0.02, 0.14, 0.84), 25, (1, 3, 21)),
        ((0.05, 0.4, 0.55), 50, (3, 20, 27)),
    ],
)
def test_shares_are_decimal_fractions_not_their_floating_point_neighbours(
    shares: tuple[float, float, float], n: int, sizes: tuple[int, int, int]
) -> None:
    names = ("train", "validation", "test")
    assert split_sizes(n, dict(zip(names, shares, strict=True))) == dict(zip(names, sizes, strict=True))


def test_the_hash_is_the_same_on_every_machine() -> None:
    # printf '%s' '7/split/source/a' | b2sum -l 64
    assert hash_rank(7, "split", "source", "a") == 0x168E57BC052C7C2D


def test_splits_are_stratified_by_domain_and_category() -> None:
    rows = split_images(selection([("source", "akita", 7), ("source", "beagle", 4), ("target", "akita", 6)]), 0, HALF)
    counts = Counter(rows.select("domain", "category", "split").rows())
    assert counts == {
        ("source", "akita", "train"): 3,
        ("source", "akita", "validation"): 2,
        ("source", "akita", "test"): 2,
        ("source", "beagle", "train"): 2,
        ("source", "beagle", "validation"): 1,
        ("source", "beagle", "test"): 1,
        ("target", "akita", "train"): 3,
        ("target", "akita", "validation"): 2,
        ("target", "akita", "test"): 1,
    }
    assert rows.drop("split").equals(
        selection([("source", "akita", 7), ("source", "beagle", 4), ("target", "akita", 6)])
    )


def test_another_seed_splits_otherwise() -> None:
    rows = selection([("source", "akita", 40)])
    assert not split_images(rows, 0, HALF).equals(split_images(rows, 1, HALF))


@given(st.integers(3, 60), st.integers(0, 5))
def test_an_added_image_moves_at_most_one_other_per_border(n: int, seed: int) -> None:
    before = dict(split_images(selection([("source", "a", n)]), seed, HALF).select("image_id", "split").rows())
    after = dict(split_images(selection([("source", "a", n + 1)]), seed, HALF).select("image_id", "split").rows())
    assert sum(after[image_id] != split for image_id, split in before.items()) <= 2


def test_the_order_of_the_input_does_not_matter() -> None:
    rows = selection([("source", "akita", 20), ("target", "beagle", 9)])
    assert split_images(rows.reverse(), 3, HALF).equals(split_images(rows, 3, HALF))
