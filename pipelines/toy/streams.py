"""The toys' random numbers: a stream for each purpose, so that drawing more for one purpose changes no other."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Choice = TypeVar("Choice")


def random_stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return the random stream of one purpose, independent of all others and of the order in which they are used."""
    digest = hashlib.sha256("/".join(map(str, (seed, *purpose))).encode("utf-8")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def pick(choices: Sequence[Choice], stream: np.random.Generator) -> Choice:
    """Pick one of several choices, each with the same probability."""
    return choices[int(stream.integers(len(choices)))]
