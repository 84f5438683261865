"""A block survives its coder, and Beam takes this coder and does not encode a block to measure it."""

import apache_beam as beam
import pyarrow as pa
import pytest

from pipelines.beam.blocks import BlockCoder
from pipelines.ingest.click_log import Block
from pipelines.tags.layouts import TagLayout
from pipelines.tags.read import TagBlock

BATCH = pa.record_batch({"query": ["a", "bb"]})
BLOCKS = [
    Block("log.tsv", 7, b"a\tb\t1\n"),
    Block("log.parquet", 1, BATCH),
    TagBlock("log.tsv", 3, b"u\ta\tdog\n", TagLayout({}, None, False, "table"), {3: {"user_id": 0}}),
]


@pytest.mark.parametrize("block", BLOCKS, ids=["lines", "columns", "tags"])
def test_blocks_come_back_and_are_measured_by_their_rows(block, monkeypatch) -> None:
    coder = beam.coders.registry.get_coder(type(block))
    assert coder == BlockCoder()
    assert coder.decode(coder.encode(block)) == block
    monkeypatch.setattr(BlockCoder, "encode", None)
    size = block.rows.nbytes if isinstance(block.rows, pa.RecordBatch) else len(block.rows)
    assert coder.get_impl().estimate_size(block) == size
