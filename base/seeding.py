"""Derives independent random streams from one seed, by hashing the purpose of each stream."""

import hashlib


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return the seed of one stream, in [0, 2^63); it is equal on every machine and unrelated for any two purposes.

    Args:
        seed: the run's seed.
        purpose: what the stream is used for, as in ``"crop", epoch, image_id``.
    """
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "big") >> 1
