import uuid
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from base.console import UserError
from pipelines.ingest.click_log import check_block
from pipelines.ingest.extension_types import uuid_texts
from pipelines.ingest.log_slices import LogFile, plan_slices, read_slice

IDS = [uuid.UUID(int=number) for number in (1, 2**127 + 5, 2**128 - 1)]


class Labelled(pa.ExtensionType):
    def __init__(self) -> None:
        super().__init__(pa.string(), "clicksight.test.labelled")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type, serialized):
        return cls()


def read(path, **columns) -> tuple[list, list]:
    """Write columns as a Parquet log, read it, and return kept and quarantined rows."""
    log = {"image_id": ["a", "b", "c"], "query": ["cat", "dog", "cat"], "clicks": [1, 2, 3]} | columns
    pq.write_table(pa.table(log), path)
    checked = [
        rows
        for part in plan_slices(LogFile(str(path), path.name))
        for block in read_slice(part)
        for rows in check_block(block)
    ]
    return (
        [tuple(row.values()) for rows in checked for row in rows.clicks.to_pylist()],
        [(row["row"], row["reason"]) for rows in checked for row in rows.quarantine.to_pylist()],
    )


def test_uuids_are_their_text(tmp_path) -> None:
    ids = pa.array([IDS[0].bytes, None, IDS[2].bytes], pa.uuid())
    kept, quarantined = read(tmp_path / "log.parquet", image_id=ids)
    assert kept == [(str(IDS[0]), "cat", 1), (str(IDS[2]), "cat", 3)]
    assert quarantined == [(2, "empty image id")]


def test_uuids_of_a_writer_that_stores_no_arrow_schema_are_their_text(tmp_path) -> None:
    path = tmp_path / "log.parquet"
    log = {"image_id": pa.array([i.bytes for i in IDS], pa.uuid()), "query": ["cat"] * 3, "clicks": [1, 2, 3]}
    pq.write_table(pa.table(log), path, store_schema=False)
    (part,) = plan_slices(LogFile(str(path), path.name))
    (block,) = read_slice(part)
    assert block.rows.column("image_id").to_pylist() == list(map(str, IDS))


def test_a_slice_of_uuids_with_nulls() -> None:
    column = pa.array([b"x" * 16, IDS[1].bytes, None, IDS[0].bytes], pa.binary(16))[1:]
    assert uuid_texts(column).to_pylist() == [str(IDS[1]), None, str(IDS[0])]
    assert uuid_texts(column[:0]).to_pylist() == []


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("query", pa.ExtensionArray.from_storage(Labelled(), pa.array(["cat", "dog", "cat"]))),
        ("query", pa.ExtensionArray.from_storage(pa.json_(), pa.array(["cat", "dog", "cat"]))),
        ("clicks", pa.ExtensionArray.from_storage(pa.opaque(pa.int64(), "number", "base"), pa.array([1, 2, 3]))),
    ],
    ids=["ours", "json", "opaque"],
)
def test_other_extension_types_are_read_as_they_are_stored(tmp_path, name, column) -> None:
    kept, quarantined = read(tmp_path / "log.parquet", **{name: column})
    assert kept == [("a", "cat", 1), ("b", "dog", 2), ("c", "cat", 3)]
    assert not quarantined


TYPES = [
    pa.array([True, False, True]),
    pa.array([1, 2, 3], pa.uint8()),
    pa.array(["1", "2", "3"], pa.large_string()),
    pa.array(["1", "2", "3"]).dictionary_encode(),
    pa.array([1, 2, 3], pa.decimal128(9, 2)),
    pa.array([datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)]),
    pa.array([1, 2, 3], pa.duration("s")),
    pa.array([1, 2, 3], pa.time32("s")),
    pa.array([b"1", b"2", b"3"]),
    pa.array([b"12", b"34", b"56"], pa.binary(2)),
    pa.nulls(3),
    pa.array([[1], [2], [3]]),
    pa.array([{"a": 1}] * 3),
    pa.ExtensionArray.from_storage(pa.uuid(), pa.array([i.bytes for i in IDS], pa.binary(16))),
    pa.ExtensionArray.from_storage(pa.bool8(), pa.array([0, 1, 1], pa.int8())),
    pa.FixedShapeTensorArray.from_storage(
        pa.fixed_shape_tensor(pa.int8(), (2,)), pa.array([[1, 2]] * 3, pa.list_(pa.int8(), 2))
    ),
]


@pytest.mark.parametrize("name", ["image_id", "query", "clicks"])
@pytest.mark.parametrize("column", TYPES, ids=lambda column: str(column.type))
def test_a_column_of_any_type_is_read_or_refused_by_name(tmp_path, name, column) -> None:
    try:
        kept, quarantined = read(tmp_path / "log.parquet", **{name: column})
    except UserError as error:
        message = str(error)
    else:
        message = ""
        assert len(kept) + len(quarantined) == 3
    assert not message or f"log.parquet: column {name} is " in message
