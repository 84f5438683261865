"""Which rows are clicks, and why other rows are not."""

import re

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.ingest.click_rows import check_columns, check_lines, row_bytes
from pipelines.ingest.log_slices import Block
from pipelines.ingest.log_slices import num_rows as counted


def rows(checked) -> tuple[list[tuple], list[tuple]]:
    return [tuple(row.values()) for row in checked.clicks.to_pylist()], [
        (row["row"], row["reason"], row["raw"]) for row in checked.quarantine.to_pylist()
    ]


@pytest.mark.parametrize(
    ("line", "reason", "raw"),
    [
        (b"", "empty line", ""),
        (b"a\tdog", "wrong number of fields", "a\tdog"),
        (b"a\tdog\t1\t2", "wrong number of fields", "a\tdog\t1\t2"),
        (b"a\tbig\tdog\t2", "wrong number of fields", "a\tbig\tdog\t2"),
        (b"\tdog\t2", "empty image id", "\tdog\t2"),
        (b" \tdog\t2", "empty image id", " \tdog\t2"),
        (b"a\t\t2", "empty query", "a\t\t2"),
        ("a\t\u3000\t2".encode(), "empty query", "a\t\u3000\t2"),
        (b"a\tdog\t", "clicks not an integer", "a\tdog\t"),
        (b"a\tdog\t1.5", "clicks not an integer", "a\tdog\t1.5"),
        (b"a\tdog\t1.", "clicks not an integer", "a\tdog\t1."),
        (b"a\tdog\t.0", "clicks not an integer", "a\tdog\t.0"),
        (b"a\tdog\t1.0.0", "clicks not an integer", "a\tdog\t1.0.0"),
        (b"a\tdog\t0.00", "clicks below 1", "a\tdog\t0.00"),
        (b"a\tdog\t-2.0", "clicks below 1", "a\tdog\t-2.0"),
        (b"a\tdog\t1000000000001.0", "clicks above 10^12", "a\tdog\t1000000000001.0"),
        (b"a\tdo\x00g\t1", "NUL byte", "a\tdo\x00g\t1"),
        (b"\x00\x00\x00", "NUL byte", "\x00\x00\x00"),
        (b"a\tdog\t 1", "clicks not an integer", "a\tdog\t 1"),
        (b"a\tdog\t0x10", "clicks not an integer", "a\tdog\t0x10"),
        (b"a\tdog\t1_000", "clicks not an integer", "a\tdog\t1_000"),
        ("a\tdog\t٣".encode(), "clicks not an integer", "a\tdog\t٣"),
        (b"a\tdog\t--3", "clicks not an integer", "a\tdog\t--3"),
        (b"a\tdog\t-3", "clicks below 1", "a\tdog\t-3"),
        (b"a\tdog\t000", "clicks below 1", "a\tdog\t000"),
        (b"a\tdog\t1000000000001", "clicks above 10^12", "a\tdog\t1000000000001"),
        (b"a\tdog\t" + b"9" * 40, "clicks above 10^12", "a\tdog\t" + "9" * 40),
        (b"a\tdo\xe9g\t1", "not UTF-8", "a\tdo\\xe9g\t1"),
        (b"a\t\xed\xa0\x80\t1", "not UTF-8", "a\t\\xed\\xa0\\x80\t1"),
        (b"a\tdog\t1\xff", "not UTF-8", "a\tdog\t1\\xff"),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_bad_line_is_quarantined_with_its_reason_and_good_neighbours_stay(line, reason, raw, end):
    block = end.join([b"x\tcat\t5", line, b"y\tcow\t0007", b""])
    kept, quarantined = rows(check_lines(block, "log.tsv", 41))
    assert kept == [("x", "cat", 5), ("y", "cow", 7)]
    assert quarantined == [(42, reason, raw)]


@pytest.mark.parametrize("block", [b"", b"\n", b"\r\n", b"\r", b"\t", b"\t\t", b"\t\t\n\t\t\n", b"\x00\n", b"\xff"])
def test_degenerate_blocks_are_accounted_for(block):
    checked = check_lines(block, "log.tsv", 1)
    assert checked.clicks.num_rows == 0
    num_lines = len(block.split(b"\n")) - (block.endswith(b"\n") or not block)
    assert sum(checked.quarantine["rows"].to_pylist()) == num_lines


def test_largest_clicks_long_queries_and_odd_characters_are_kept():
    query = "dog\r \x01'\"" + "狗" * 40_000
    block = f"a\t{query}\t1000000000000\nb\tcat\t1".encode()
    assert rows(check_lines(block, "log.tsv", 1)) == ([("a", query, 10**12), ("b", "cat", 1)], [])


def one_by_one(block: bytes) -> tuple[int, list[tuple]]:
    """Count rows and parse them line by line, in plain Python."""
    lines = block.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    kept = []
    for line in lines:
        try:
            fields = line.removesuffix(b"\r").decode().lstrip("\ufeff").split("\t")
        except UnicodeDecodeError:
            continue
        if b"\x00" in line:
            continue
        fields[-1] = re.sub(r"\A([0-9]+)\.0+\Z", r"\1", fields[-1])
        if len(fields) == 3 and fields[0].strip() and fields[1].strip() and fields[2].isascii() and fields[2].isdigit():
            clicks = int(fields[2])
            if 1 <= clicks <= 10**12:
                kept.append((fields[0], fields[1], clicks))
    return len(lines), kept


pieces = st.sampled_from(
    [b"\t", b"\t", b"\n", b"\r\n", b"a", b"7", b"0", b"-", b" ", b"\xc3", b"\xa9", "é".encode(), b"\x85"]
)


@settings(max_examples=400)
@given(st.lists(pieces | st.binary(max_size=3), max_size=40).map(b"".join))
def test_any_bytes_are_accounted_for_as_line_by_line(block):
    checked = check_lines(block, "log.tsv", 1)
    num_rows, kept = one_by_one(block)
    assert rows(checked)[0] == kept
    assert counted(Block("log.tsv", 1, block)) == num_rows
    assert sum(checked.counts().values()) == num_rows
    assert checked.quarantine["row"].to_pylist() == sorted(set(checked.quarantine["row"].to_pylist()))


@pytest.mark.parametrize(
    ("clicks", "kept", "reasons"),
    [
        (pa.array([3, -1, None], pa.int16()), [3], ["clicks below 1", "clicks not an integer"]),
        (pa.array([3.0, 2.5, float("nan")]), [3], ["clicks not an integer", "clicks not an integer"]),
        (pa.array([3.0, float("inf"), 1e300]), [3], ["clicks not an integer", "clicks not an integer"]),
        (pa.array([3.0, 0.0, 2e12]), [3], ["clicks below 1", "clicks above 10^12"]),
        (pa.array([3.0, 1e14, 2.0**53]), [3], ["clicks above 10^12", "clicks above 10^12"]),
        (pa.array(np.array([3, 2.5, 0], np.float16)), [3], ["clicks not an integer", "clicks below 1"]),
        (pa.array(["3", "x", ""]), [3], ["clicks not an integer", "clicks not an integer"]),
        (pa.array([3, 2**63, 2**64 - 1], pa.uint64()), [3], ["clicks above 10^12", "clicks above 10^12"]),
    ],
)
def test_columns_of_any_kind_of_number(clicks, kept, reasons):
    batch = pa.record_batch({"image_id": ["a", "b", "c"], "query": ["p", "q", "r"], "clicks": clicks})
    checked = check_columns(batch, "log.parquet", 100)
    assert checked.clicks["clicks"].to_pylist() == kept
    assert [row[:2] for row in rows(checked)[1]] == list(zip([101, 102], reasons, strict=True))


def test_columns_of_bytes_dictionaries_nulls_and_integer_ids():
    batch = pa.record_batch(
        {
            "image_id": pa.array([7, 8, None, 9]),
            "query": pa.array([b"dog", b"d\xffg", b"cat", None]).dictionary_encode(),
            "clicks": [1, 2, 3, 4],
        }
    )
    kept, quarantined = rows(check_columns(batch, "log.parquet", 1))
    assert kept == [("7", "dog", 1)]
    assert quarantined == [
        (2, "not UTF-8", "8\td\\xffg\t2"),
        (3, "empty image id", "\tcat\t3"),
        (4, "empty query", "9\t\t4"),
    ]


@pytest.mark.parametrize("encode", [lambda ids: ids, pa.Array.dictionary_encode], ids=["plain", "dictionary"])
def test_ids_that_are_whole_floats_are_the_integers(encode):
    ids = [7.0, 1234567890123.0, 2.0**53, -3.0, 0.5, 2.0**60]
    image_ids = encode(pa.array(ids))
    batch = pa.record_batch({"image_id": image_ids, "query": encode(pa.array(ids[::-1])), "clicks": [1] * len(ids)})
    kept, quarantined = rows(check_columns(batch, "log.parquet", 1))
    texts = ["7", "1234567890123", "9007199254740992", "-3", "0.5", "1.152921504606847e+18"]
    assert kept == [(image_id, query, 1) for image_id, query in zip(texts, texts[::-1], strict=True)]
    assert quarantined == []


@pytest.mark.parametrize("kind", [pa.binary(3), pa.binary_view(), pa.large_binary()], ids=str)
def test_ids_of_any_kind_of_bytes(kind):
    batch = pa.record_batch(
        {"image_id": pa.array([b"abc", b"a\xffc"], kind), "query": ["dog", "cat"], "clicks": [1, 2]}
    )
    assert rows(check_columns(batch, "log.parquet", 1)) == ([("abc", "dog", 1)], [(2, "not UTF-8", "a\\xffc\tcat\t2")])


def test_columns_may_hold_tabs_and_line_ends():
    frame = pl.DataFrame({"image_id": ["a"], "query": ["big\tdog\nhere"], "clicks": [2]})
    batch = frame.to_arrow().to_batches()[0]
    assert rows(check_columns(batch, "log.parquet", 1)) == ([("a", "big\tdog\nhere", 2)], [])


@pytest.mark.parametrize("columns", [("clicks", "image_id", "query"), ("day", "query", "_", "clicks", "image_id", "_")])
def test_fields_in_another_order(columns):
    lines = [("x", "cat", "5"), ("y", " cow\u2028", "0007"), ("z", "", "2"), ("x", "dog", "-1")]
    texts = [
        "\t".join({"image_id": i, "query": q, "clicks": c}.get(name, "é") for name in columns) for i, q, c in lines
    ]
    few = "\t".join(["a"] * (len(columns) - 1))
    block = "\r\n".join([*texts[:1], few, *texts[1:], "1\t" + texts[0]]).encode()
    kept, quarantined = rows(check_lines(block, "log.tsv", 1, columns))
    assert kept == [("x", "cat", 5), ("y", " cow\u2028", 7)]
    assert quarantined == [
        (2, "wrong number of fields", few),
        (4, "empty query", texts[2]),
        (5, "clicks below 1", texts[3]),
        (6, "wrong number of fields", "1\t" + texts[0]),
    ]


def test_a_line_that_is_too_long_is_kept_by_its_beginning_and_equal_rows_are_one_record():
    long, cut = b"c\t" + b"x" * 5_000 + b"\t1", "c\t" + "x" * 1_022
    lines = [
        b"a\tdog\t1",
        b"",
        long,
        b"bad",
        b"\xff" * 5_001,
        b"",
        b"bad\r",
        long + b"y",
        b"d\t" + b"x" * 4_996 + b"\t1",
    ]
    checked = check_lines(b"\n".join(lines), "log.tsv", 11, longest=5_000)
    assert checked.clicks["image_id"].to_pylist() == ["a", "d"]
    records = [tuple(record.values()) for record in checked.quarantine.to_pylist()]
    assert records == [
        ("log.tsv", 12, "empty line", "", 2),
        ("log.tsv", 13, "line too long", cut, 2),
        ("log.tsv", 14, "wrong number of fields", "bad", 2),
        ("log.tsv", 15, "line too long", "\\xff" * 1_024, 1),
    ]
    counts = {"rows kept": 2, "quarantined: empty line": 2, "quarantined: line too long": 3}
    assert checked.counts() == {**counts, "quarantined: wrong number of fields": 2}


@pytest.mark.parametrize("encode", [lambda ids: ids, pa.Array.dictionary_encode], ids=["plain", "dictionary"])
def test_a_row_of_columns_is_as_long_as_its_line(encode):
    image_ids, queries = ["a", "bb", None, "狗" * 2, "e" * 40], ["dog", "x" * 30, "x" * 90, None, "cat"]
    batch = pa.record_batch(
        {"image_id": encode(pa.array(image_ids)), "query": encode(pa.array(queries)), "clicks": [1, 20, 3, 4, 5]}
    )
    lines = [f"{i or ''}\t{q or ''}\t{c}" for i, q, c in zip(image_ids, queries, [1, 20, 3, 4, 5], strict=True)]
    assert row_bytes(batch).tolist() == [len(line.encode()) for line in lines]
    kept, quarantined = rows(check_columns(batch, "log.parquet", 1, longest=36))
    assert kept == [("a", "dog", 1), ("bb", "x" * 30, 20)]
    assert quarantined == [
        (3, "line too long", lines[2][:36]),
        (4, "empty query", lines[3]),
        (5, "line too long", lines[4][:36]),
    ]
