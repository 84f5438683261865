"""How blocks of a log, read but not yet checked, travel: Beam need not pickle one to know its size.

Beam measures many of the elements that pass between steps. For a type without a coder of its own it encodes the element
for that, and a block has 16 MiB.
"""

import pickle
from typing import Any

import apache_beam as beam


class BlockCoder(beam.coders.Coder):
    """Encodes a block by pickle; its size is that of its `rows`, bytes or a record batch."""

    def encode(self, value: Any) -> bytes:
        """Return the block's bytes."""
        return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)

    def decode(self, encoded: bytes) -> Any:
        """Return the encoded block."""
        return pickle.loads(encoded)

    def estimate_size(self, value: Any) -> int:
        """Return the bytes of the block's rows."""
        return len(value.rows) if isinstance(value.rows, bytes) else int(value.rows.nbytes)

    def is_deterministic(self) -> bool:
        """Return False: blocks are never keys."""
        return False

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))
