"""Cut log files into slices, and read slices in blocks."""

import gzip
from itertools import chain

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from base.console import UserError
from pipelines.beam.shards import sort_rows
from pipelines.ingest import log_slices
from pipelines.ingest.click_log import check_block, find_logs
from pipelines.ingest.click_rows import row_bytes
from pipelines.ingest.log_format import LogFormat
from pipelines.ingest.log_slices import Block, LogFile, num_rows, pieces_of, plan_slices, read_slice
from pipelines.ingest.quarantine import merge_equal


def read_file(path) -> tuple[list[tuple], list[tuple]]:
    kept, quarantined = [], []
    for part in plan_slices(LogFile(str(path), path.name)):
        for checked in chain.from_iterable(map(check_block, read_slice(part))):
            kept += [tuple(row.values()) for row in checked.clicks.to_pylist()]
            quarantined += [(row["row"], row["raw"]) for row in checked.quarantine.to_pylist()]
    return kept, quarantined


@pytest.mark.parametrize("slice_bytes", [1, 2, 5, 7, 16, 1000])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("last_end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("compress", [False, True])
def test_slices_cover_a_file_with_its_row_numbers(tmp_path, monkeypatch, slice_bytes, mark, last_end, compress):
    monkeypatch.setattr(log_slices, "SLICE_BYTES", slice_bytes)
    lines = [b"a\tdog\t1", b"bad line", b"b\tlong-haired dog\t22\r", b"", b"bad", b"c\tcat\t3"]
    content = mark + b"\n".join(lines) + last_end
    path = tmp_path / "log"
    path.write_bytes(gzip.compress(content) if compress else content)
    kept, quarantined = read_file(path)
    assert kept == [("a", "dog", 1), ("b", "long-haired dog", 22), ("c", "cat", 3)]
    assert quarantined == [(2, "bad line"), (4, ""), (5, "bad")]


def test_parquet_row_groups_have_their_row_numbers(tmp_path):
    frame = pl.DataFrame({"clicks": [1, -1, 3, 0, 5], "query": list("pqrst"), "more": 0, "image_id": list("abcde")})
    frame.write_parquet(tmp_path / "log.parquet", row_group_size=2)
    kept, quarantined = read_file(tmp_path / "log.parquet")
    assert kept == [("a", "p", 1), ("c", "r", 3), ("e", "t", 5)]
    assert quarantined == [(2, "b\tq\t-1"), (4, "d\ts\t0")]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"image": ["a"], "query": ["q"], "clicks": [1]},
            "needs the columns image_id, query, clicks; it has image, query",
        ),
        ({"image_id": ["a"], "query": ["q"], "clicks": [[1]]}, "column clicks is .*list.*; expected integers"),
    ],
)
def test_unfit_parquet_is_an_error_before_anything_runs(tmp_path, columns, message):
    pl.DataFrame(columns).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(UserError, match=message):
        plan_slices(LogFile(str(tmp_path / "log.parquet"), "log.parquet"))


def test_parquet_by_name_only_is_an_error(tmp_path):
    (tmp_path / "log.parquet").write_bytes(b"a\tdog\t1\n")
    with pytest.raises(UserError, match=r"log.parquet: named .parquet, but its content is not Parquet"):
        plan_slices(LogFile(str(tmp_path / "log.parquet"), "log.parquet"))


def test_a_column_that_stands_there_twice_is_an_error(tmp_path):
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["q"]), pa.array([1]), pa.array([2])], names=list("iqcc"))
    pq.write_table(twice.rename_columns(["image_id", "query", "clicks", "clicks"]), tmp_path / "log.parquet")
    with pytest.raises(
        UserError, match=r"needs the columns image_id, query, clicks; it has image_id, query, clicks, clicks"
    ):
        plan_slices(LogFile(str(tmp_path / "log.parquet"), "log.parquet"))


@pytest.mark.parametrize("part", ["footer", "pages"])
def test_damaged_parquet_is_an_error(tmp_path, part):
    table = pa.table({"image_id": [f"{n}" for n in range(999)], "query": ["q"] * 999, "clicks": [1] * 999})
    pq.write_table(table, tmp_path / "log.parquet", compression="zstd", use_dictionary=False)
    whole = (tmp_path / "log.parquet").read_bytes()
    damaged = whole[:-30] if part == "footer" else whole[:40] + bytes(200) + whole[240:]
    (tmp_path / "log.parquet").write_bytes(damaged)
    with pytest.raises(UserError, match=r"log\.parquet: cannot be read as Parquet .*fetch it again"):
        read_file(tmp_path / "log.parquet")


def test_clicks_may_be_texts_or_numbers_in_a_dictionary(tmp_path):
    for clicks in (["2", "x"], [2.0, 2.5]):
        table = pa.table({"image_id": ["a", "b"], "query": ["p", "q"], "clicks": pa.array(clicks).dictionary_encode()})
        pq.write_table(table, tmp_path / "log.parquet")
        kept, quarantined = read_file(tmp_path / "log.parquet")
        assert kept == [("a", "p", 2)]
        assert quarantined == [(2, f"b\tq\t{clicks[1]}")]


def test_damaged_gzip_is_an_error(tmp_path):
    whole = gzip.compress(b"a\tdog\t1\n" * 100)
    (tmp_path / "log.gz").write_bytes(whole[:-9])
    with pytest.raises(UserError, match=r"log.gz: damaged or cut short .*; fetch it again"):
        read_file(tmp_path / "log.gz")


def test_clicks_as_text_in_a_polars_file(tmp_path):
    path = tmp_path / "log.parquet"
    pl.DataFrame({"image_id": ["a", "b"], "query": ["cat", "dog"], "clicks": ["3", "x"]}).write_parquet(path)
    (part,) = plan_slices(find_logs([path])[0])
    (checked,) = chain.from_iterable(map(check_block, read_slice(part)))
    assert checked.clicks.to_pylist() == [{"image_id": "a", "query": "cat", "clicks": 3}]


LIMIT = 9  # bytes of a line in the tests of long lines
FORM = LogFormat(longest=LIMIT)
LONG_LINES = [
    b"a\tdog\t1",
    b"b\t" + b"x" * 50 + b"\t2",  # over several blocks
    b"c\t123456\t3",  # one byte too many
    b"d\t12345\t4",
    b"e\t12345\t5\r",  # with its carriage return as long as the line that is too long
    b"\x7f" * 30,
    b"b\t" + b"x" * 20,
    b"",
    b"f\t" + "狗".encode() * 9,  # cut within a character
    b"g\tcat\t6",
]


@pytest.mark.parametrize("slice_bytes", [1, 2, 3, 5, 10, 11, 12, 16, 64, 1000])
@pytest.mark.parametrize("last", [b"\n", b"\r\n", b"", b"\nh\t" + b"y" * 40])
@pytest.mark.parametrize("compress", [False, True])
def test_a_line_that_is_too_long_is_quarantined_by_its_beginning_wherever_it_is_cut(
    tmp_path, monkeypatch, slice_bytes, last, compress
):
    monkeypatch.setattr(log_slices, "SLICE_BYTES", slice_bytes)
    content = b"\n".join(LONG_LINES) + last
    path = tmp_path / "log"
    path.write_bytes(gzip.compress(content[:70]) + gzip.compress(content[70:]) if compress else content)  # two members
    kept, records, read = [], [], 0
    for block in chain.from_iterable(read_slice(part, FORM) for part in plan_slices(LogFile(str(path), "log"))):
        assert len(block.rows) <= max(slice_bytes, LIMIT + 2) + LIMIT + 2
        read += num_rows(block)
        for checked in check_block(block, longest=LIMIT):
            kept += [tuple(row.values()) for row in checked.clicks.to_pylist()]
            records.append(checked.quarantine)
    assert read == content.count(b"\n") + (not content.endswith(b"\n"))
    assert kept == [("a", "dog", 1), ("d", "12345", 4), ("e", "12345", 5), ("g", "cat", 6)]
    quarantined = sort_rows(merge_equal(pa.concat_batches(records)), ("row",)).to_pylist()
    assert [tuple(record.values()) for record in quarantined] == [
        ("log", 2, "line too long", "b\txxxxxxx", 2),  # the seventh line begins with the same bytes
        ("log", 3, "line too long", "c\t123456\t", 1),
        ("log", 6, "line too long", "\x7f" * 9, 1),
        ("log", 8, "empty line", "", 1),
        ("log", 9, "line too long", "f\t狗狗\\xe7", 1),
        *([("log", 11, "line too long", "h\tyyyyyyy", 1)] if last.endswith(b"y") else []),
    ]


def test_a_block_with_very_many_rows_or_tabs_is_cut_into_pieces(monkeypatch):
    monkeypatch.setattr(log_slices, "MOST_ROWS", 10)
    monkeypatch.setattr(log_slices, "MOST_TABS", 40)
    lines = [b"\n"] * 50 + [b"a\tdog\t1\n"] * 3 + [b"\t" * 30 + b"\n"] * 4 + [b"\t" * 60 + b"\n", b"end\t" * 50]
    block = Block("log", 7, b"".join(lines))
    pieces = list(pieces_of(block))
    assert b"".join(piece.rows for piece in pieces) == block.rows
    row = 7
    for piece in pieces:
        assert piece.first_row == row
        assert num_rows(piece) <= 10
        assert piece.rows.count(b"\t") <= 40 or num_rows(piece) == 1
        row += num_rows(piece)
    assert len(pieces) < 20
    small = Block("log", 1, b"a\tdog\t1\n" * 10)
    assert list(pieces_of(small)) == [small]


def write_parquet(path, image_ids: list, queries: list, clicks: list, **options) -> LogFile:
    table = pa.table({"image_id": image_ids, "query": queries, "clicks": clicks})
    pq.write_table(table, path, **options)
    return LogFile(str(path), path.name)


@pytest.mark.parametrize("dictionary", [True, False])
def test_parquet_is_read_in_batches_of_so_many_bytes_as_it_unpacks_to(tmp_path, monkeypatch, dictionary):
    monkeypatch.setattr(log_slices, "SLICE_BYTES", 1000)
    queries = ["a long query " * 10, "short"] * 150
    file = write_parquet(
        tmp_path / "log.parquet", ["image"] * 300, queries, list(range(300)), use_dictionary=dictionary
    )
    (part,) = plan_slices(file)
    blocks = list(read_slice(part))
    assert max(sum(row_bytes(block.rows)) for block in blocks) < 1000 + 150
    assert len(blocks) < 40
    assert [block.first_row for block in blocks] == [1 + sum(map(num_rows, blocks[:n])) for n in range(len(blocks))]
    checked = list(chain.from_iterable(map(check_block, blocks)))
    assert sum(one.clicks.num_rows for one in checked) == 299
    assert [one.quarantine["row"].to_pylist() for one in checked if one.quarantine.num_rows] == [[1]]


def test_rows_of_parquet_that_are_too_long_are_never_unpacked(tmp_path):
    long = "z" * 500_000
    queries = ["dog", *[long] * 200_000, "cat"]  # 100 GB
    table = pa.table(
        {
            "image_id": ["a"] * len(queries),
            "query": pa.DictionaryArray.from_arrays(np.r_[0, np.ones(200_000, np.int32), 2], ["dog", long, "cat"]),
            "clicks": [3] * len(queries),
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    before = pa.total_allocated_bytes()
    kept, records = [], []
    (part,) = plan_slices(LogFile(str(tmp_path / "log.parquet"), "log.parquet"))
    for block in read_slice(part, LogFormat(longest=499_999)):
        assert pa.total_allocated_bytes() - before < 200_000_000
        for checked in check_block(block, longest=499_999):
            kept += checked.clicks["query"].to_pylist()
            records += checked.quarantine.to_pylist()
    assert kept == ["dog", "cat"]
    assert {(record["reason"], record["raw"]) for record in records} == {("line too long", "a\t" + "z" * 1022)}
    assert records[0]["row"] == 2
    assert sum(record["rows"] for record in records) == 200_000
