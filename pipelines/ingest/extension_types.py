"""Arrow's extension types in a Parquet log: UUIDs become their text, other types the values that they are stored as."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DASHES = (8, 12, 16, 20)  # hexadecimal digits before each dash of a UUID's text


def plain_batch(batch: pa.RecordBatch, uuids: frozenset[str]) -> pa.RecordBatch:
    """Return a batch without extension types.

    Args:
        batch: of any columns.
        uuids: names of columns that hold 16-byte UUIDs; columns of the type ``arrow.uuid`` needn't be named.
    """
    if not uuids and not any(isinstance(field.type, pa.BaseExtensionType) for field in batch.schema):
        return batch
    columns = [_plain(batch.column(name), name in uuids) for name in batch.schema.names]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of a column after :func:`plain_batch`."""
    if isinstance(kind, pa.UuidType):
        return pa.string()
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _plain(column: pa.Array, is_uuid: bool) -> pa.Array:
    is_uuid |= isinstance(column.type, pa.UuidType)
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    return uuid_texts(column) if is_uuid and column.type == pa.binary(16) else column


def uuid_texts(column: pa.Array) -> pa.Array:
    """Return UUIDs as text, as in ``123e4567-e89b-12d3-a456-426614174000`` (RFC 9562).

    Shape:
        column: fixed-size binary (n,), 16 bytes each, may have nulls; result: strings (n,)
    """
    filled = pc.fill_null(column, pa.scalar(bytes(16), column.type))
    raw = memoryview(filled.buffers()[1])[16 * filled.offset : 16 * (filled.offset + len(filled))]
    digits = np.frombuffer(raw.hex().encode(), np.uint8).reshape(len(column), 32)
    texts = np.insert(digits, DASHES, ord("-"), axis=1)
    ends = np.arange(len(column) + 1, dtype=np.int32) * np.int32(texts.shape[1])
    strings = pa.Array.from_buffers(pa.string(), len(column), [None, pa.py_buffer(ends), pa.py_buffer(texts.tobytes())])
    return pc.if_else(column.is_valid(), strings, None)
