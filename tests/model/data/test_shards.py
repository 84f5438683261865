import io
import mmap
import pickle

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base import schemas
from base.artifacts import PARQUET, write_table
from base.console import UserError
from model.data.shards import EncodedImages, find_values, scrambled
from pipelines.ingest.image_shards import CODECS

SIZES = [3, 900_000, 17, 400_000, 0, 700_000, 5, 300_000, 1, 8]  # bytes; several pages in a row group


def images(seed: int, domain: str) -> pa.Table:
    draw = np.random.default_rng(seed)
    rows = [
        (f"i{number}", domain, "cat", 1, 1, {"bytes": draw.bytes(size), "path": "x"})
        for number, size in enumerate(SIZES)
    ]
    columns = [pa.array([row[place] for row in rows], field.type) for place, field in enumerate(schemas.IMAGES)]
    return pa.Table.from_arrays(columns, schema=schemas.IMAGES)


def write_plain(table: pa.Table, path, rows: int) -> None:
    """Write a shard as `ingest` does."""
    with pq.ParquetWriter(
        path, table.schema, compression=CODECS, use_dictionary=["domain", "category"], **PARQUET
    ) as writer:
        writer.write_table(table, row_group_size=rows)


@pytest.fixture
def shards(tmp_path):
    """Write a shard that lies as it is, and one that is compressed; return the folder and the bytes of all images."""
    source, target = images(1, "source"), images(2, "target")
    write_plain(source, tmp_path / "part-00000.parquet", rows=4)
    write_table(target, tmp_path / "part-00001.parquet", 4)
    return tmp_path, {
        (row["domain"], row["image_id"]): row["image"]["bytes"]
        for table in (source, target)
        for row in table.to_pylist()
    }


def read_as(folder, expected) -> tuple[EncodedImages, list[tuple[str, str]]]:
    keys = [list(expected)[place] for place in np.random.default_rng(0).permutation(len(expected))]
    rows = pl.DataFrame(keys, schema=["domain", "image_id"], orient="row")
    return EncodedImages({folder: ["source", "target"]}, rows), keys


def test_images_are_read_where_they_lie(shards):
    folder, expected = shards
    found, keys = read_as(folder, expected)
    found.find(np.arange(len(keys)))
    assert [found[row] for row in range(len(keys))] == [expected[key] for key in keys]
    # only the images of the compressed shard are in memory
    assert sum(map(len, found._pieces)) == len(SIZES)
    other = pickle.loads(pickle.dumps(found))
    assert [other[row] for row in range(len(keys))] == [expected[key] for key in keys]


def test_only_the_wanted_parts_of_shards_are_read(shards, monkeypatch):
    folder, expected = shards
    found, keys = read_as(folder, expected)
    read, real = [], pq.ParquetFile.read_row_group

    def noted(self, group, columns):
        read.append(group)
        return real(self, group, columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", noted)
    wanted = [keys.index(("source", name)) for name in ("i9", "i1", "i8")]
    found.find(np.array(wanted))
    assert read == [0, 2]
    found.find(np.array(wanted))
    assert read == [0, 2]
    assert found[wanted[1]] == expected["source", "i1"]
    assert read == [0, 2]
    # one that nobody asked for
    row = keys.index(("target", "i3"))
    assert found[row] == expected["target", "i3"]
    assert sorted(read[2:]) == [0, 0, 1, 1, 2]


def test_a_shard_that_was_cut_is_an_error(shards):
    folder, expected = shards
    found, keys = read_as(folder, expected)
    found.find(np.arange(len(keys)))
    with (folder / "part-00000.parquet").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(UserError, match=r"part-00000\.parquet: has become shorter; run the ingest stage"):
        found[keys.index(("source", "i7"))]


def test_a_shard_that_is_replaced_is_read_as_it_was(shards):
    folder, expected = shards
    found, keys = read_as(folder, expected)
    other = folder / ".new"
    write_plain(images(9, "source"), other, rows=3)
    other.replace(folder / "part-00000.parquet")
    assert [found[row] for row in range(len(keys))] == [expected[key] for key in keys]


def test_the_order_keeps_shards_together_and_scrambles_ids(tmp_path):
    for shard in range(3):
        rows = images(shard, "source").set_column(0, "image_id", pa.array([f"{shard}-{n}" for n in range(len(SIZES))]))
        write_plain(rows, tmp_path / f"part-{shard}.parquet", rows=5)
    ids = [f"{shard}-{number}" for number in range(len(SIZES)) for shard in range(3)]
    rows = pl.DataFrame({"domain": ["source"] * len(ids), "image_id": ids})
    order = EncodedImages({tmp_path: ["source"]}, rows).order
    assert sorted(order) == list(range(len(ids)))
    in_order = [ids[row] for row in np.argsort(order)]
    assert [name[0] for name in in_order] == sorted(name[0] for name in ids)
    assert in_order != sorted(in_order)


@given(
    st.lists(st.binary(max_size=6), max_size=8), st.lists(st.booleans(), min_size=8, max_size=8), st.binary(max_size=9)
)
def test_values_are_found_behind_headers_of_pages(values, has_header, header):
    file, starts = io.BytesIO(), []
    file.write(b"PAR1")
    for value, new_page in zip(values, has_header, strict=False):
        file.write(header * new_page + len(value).to_bytes(4, "little"))
        starts.append(file.tell())
        file.write(value)
    file.write(b"footer")
    content = file.getvalue()
    memory = mmap.mmap(-1, len(content))
    memory.write(content)
    found = find_values(memory, range(4, len(content) - 6), values)
    assert found is not None
    # a header may happen to hold a value; then that place is as good
    assert [content[start : start + len(value)] for start, value in zip(found, values, strict=True)] == values
    if not header:
        assert found == starts
    assert find_values(memory, range(4, len(content) - 6), [*values, b"not there"]) is None


def test_scrambled_numbers_stay_distinct():
    numbers = scrambled(np.arange(100_000))
    assert len(np.unique(numbers)) == 100_000
    assert 0 <= numbers.min() < numbers.max() < 1 << 32
    assert abs(np.corrcoef(np.arange(100_000), numbers)[0, 1]) < 0.01
