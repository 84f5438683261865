"""Independent streams of random numbers from one seed, by hashing what each is for."""

import hashlib


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return the seed of one stream, in [0, 2^63): the same on every machine, unrelated for any two purposes.

    Args:
        seed: the run's.
        purpose: what the stream is for, as in ``"crop", epoch, image_id``.
    """
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "big") >> 1
