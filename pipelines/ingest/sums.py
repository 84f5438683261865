"""Check that sums of clicks fit into 64 bits: NumPy, Polars and SciPy wrap silently where they don't."""

from collections.abc import Callable

import numpy as np
import polars as pl

from base.console import UserError

LARGEST_SUM = 2**63 - 1
HALF = 32  # bits of the lower part of a number
TOO_MANY = (
    "sums of clicks must be below 2^63, about 9 x 10^18; check the log's numbers of clicks, or scale all of them down"
)


def check_sums(clicks: np.ndarray, add_up: Callable[[np.ndarray], np.ndarray]) -> None:
    """Check that no sum of clicks wraps.

    Usually the largest number and the number of numbers show that. Otherwise the upper and lower halves of the numbers
    are added up separately; both plus 1, because SciPy leaves zeros out of a product.

    Args:
        clicks: not negative.
        add_up: returns the sums of some positive numbers in place of the clicks, always in the same order; each number
            is at most once in a sum.

    Shape:
        clicks: int64 (n,)

    Raises:
        UserError: a sum is above LARGEST_SUM.
    """
    if not len(clicks) or int(clicks.max()) * len(clicks) <= LARGEST_SUM:
        return
    times = add_up(np.ones_like(clicks))
    upper, lower = add_up((clicks >> HALF) + 1) - times, add_up((clicks & ((1 << HALF) - 1)) + 1) - times
    if len(times) and int((upper + (lower >> HALF)).max()) >= 1 << (63 - HALF):
        raise UserError(TOO_MANY)


def sums_by(keys: pl.DataFrame, numbers: np.ndarray) -> np.ndarray:
    """Return the sums of the numbers whose rows of keys are equal, in order of the keys' first rows.

    Shape:
        keys: (n,); numbers: integers (n,); result: integers, one for each of the different keys
    """
    return (
        keys.with_columns(number=numbers)
        .group_by(keys.columns, maintain_order=True)
        .agg(pl.col("number").sum())["number"]
        .to_numpy()
    )
