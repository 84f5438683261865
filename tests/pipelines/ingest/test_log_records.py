"""Rows of CSV and JSON Lines, compared with Python's own readers and with rows written for the purpose."""

import csv
import io
import json
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.ingest import log_records, log_slices
from pipelines.ingest.click_log import check_block
from pipelines.ingest.log_format import LogFormat, LogParams, format_of
from pipelines.ingest.log_slices import LogFile, num_rows, plan_slices, read_slice


def read(path, **params) -> tuple[list[tuple], list[tuple]]:
    """Return the kept rows, and (row, reason, raw) of the others; check that they add up."""
    form = format_of(LogParams(**params))
    kept, bad, number = [], [], 0
    for part in plan_slices(LogFile(str(path), path.name), form):
        for block in read_slice(part, form):
            number += num_rows(block)
            for checked in check_block(block, form.longest):
                kept += [tuple(row.values()) for row in checked.clicks.to_pylist()]
                records = checked.quarantine.to_pylist()
                bad += [(row["row"], row["reason"], row["raw"]) for row in records]
                number -= checked.clicks.num_rows + sum(row["rows"] for row in records)
    assert number == 0
    return kept, bad


CSV = b"""\
image_id,query,clicks\r
im1,"cat, red",3\r
im2,blue dog,2\r
"im3","5"" disk","7"\r
im4,"two
lines",1\r
im5,5" disk,1\r
im6,"open,4\r
im7,cow,5.0\r
im8,"closed" badly,4\r
im9,too,many,4\r
\r
im10,"",4
im11,"caf\xe9",4
"im12","dog",x
"""


@pytest.mark.parametrize("slice_bytes", [1, 7, 1000])
@pytest.mark.parametrize("piece", [3, 1 << 20])
def test_csv(tmp_path, monkeypatch, slice_bytes, piece):
    monkeypatch.setattr(log_slices, "SLICE_BYTES", slice_bytes)
    monkeypatch.setattr(log_records, "PIECE", piece)
    monkeypatch.setattr(log_records, "MOST_RECORDS", 4)
    (tmp_path / "log.csv").write_bytes(CSV)
    kept, bad = read(tmp_path / "log.csv", format="csv")
    assert kept == [
        ("im1", "cat, red", 3),
        ("im2", "blue dog", 2),
        ("im3", '5" disk', 7),
        ("im4", "two\nlines", 1),
        ("im5", '5" disk', 1),
        ("im7", "cow", 5),
    ]
    assert bad == [
        (1, "header row", "image_id,query,clicks"),
        (8, "broken quotes", 'im6,"open,4'),
        (10, "broken quotes", 'im8,"closed" badly,4'),
        (11, "wrong number of fields", "im9,too,many,4"),
        (12, "empty line", ""),
        (13, "empty query", 'im10,"",4'),
        (14, "not UTF-8", 'im11,"caf\\xe9",4'),
        (15, "clicks not an integer", '"im12","dog",x'),
    ]


texts = st.text(st.sampled_from('ab"",;\t \n\r狗'), max_size=6)


@settings(max_examples=200)
@given(rows=st.lists(st.tuples(texts, texts, st.integers(1, 99)), max_size=12), end=st.sampled_from(["\n", "\r\n"]))
@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_of_pythons_writer_comes_back(tmp_path_factory, rows, end, quoting, delimiter):
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=quoting, delimiter=delimiter, lineterminator=end).writerows(rows)
    path = tmp_path_factory.mktemp("csv") / "log"
    path.write_bytes(buffer.getvalue().encode())
    kept, bad = read(path, format="csv", delimiter=delimiter, header="no")
    assert kept == [row for row in rows if row[0].strip() and row[1].strip()]
    assert {reason for _, reason, _ in bad} <= {"empty image id", "empty query"}


def test_a_row_is_judged_alike_with_and_without_quotes_elsewhere(tmp_path):
    rows = [b"a,dog\rcat,1", b"b,caf\xe9,1,1", b"c,\xef\xbb\xbfcow,2", b"\xef\xbb\xbfd,cow,2", b"e,x", b"f" * 40]
    (tmp_path / "plain").write_bytes(b"\n".join(rows))
    (tmp_path / "quoted").write_bytes(b"\n".join([*rows, b'"z","dog",1']))
    form = {"format": "csv", "header": "no", "longest_line": 20}
    kept, bad = read(tmp_path / "plain", **form)
    assert read(tmp_path / "quoted", **form) == ([*kept, ("z", "dog", 1)], bad)
    assert kept == [("a", "dog\rcat", 1), ("c", "\ufeffcow", 2), ("d", "cow", 2)]
    assert [row[:2] for row in bad] == [(2, "not UTF-8"), (5, "wrong number of fields"), (6, "line too long")]


@pytest.mark.parametrize("slice_bytes", [10, 1 << 24])
def test_a_quote_that_stays_open_is_one_bad_row(tmp_path, monkeypatch, slice_bytes):
    monkeypatch.setattr(log_slices, "SLICE_BYTES", slice_bytes)
    lines = [b'a,"open,1', *[b"b%d,dog,2" % n for n in range(200)], b'c,"cat",3', b'd,"open again,1']
    (tmp_path / "log").write_bytes(b"\n".join(lines))
    kept, bad = read(tmp_path / "log", format="csv", longest_line=100)
    assert len(kept) == 201
    assert [row[:2] for row in bad] == [(1, "broken quotes"), (203, "broken quotes")]


JSON_LINES = [
    '{"image_id": "a", "query": "red cat", "clicks": 3, "more": [1, {"x": null}]}',
    '{"query": "\\u72d7", "clicks": "2", "image_id": 7}',
    '{"image_id": 7.0, "query": "dog", "clicks": 4.0}',
    '{"image_id": "b", "query": "dog"}',
    '{"image_id": null, "query": "dog", "clicks": 1}',
    '{"image_id": "c", "query": ["dog"], "clicks": 1}',
    '{"image_id": "c", "query": "dog", "clicks": true}',
    '{"image_id": "c", "query": "dog", "clicks": 1.5}',
    '{"image_id": "c", "query": "dog", "clicks": NaN}',
    '["c", "dog", 1]',
    "im\tdog\t3",
    "",
    "[" * 100_000,
    '{"image_id": "c", "query": "\\ud800", "clicks": 1}',
    '{"image_id": "c", "query": "do\\u0000g", "clicks": 1}',
    '{"image_id": "c", "query": "dog", "clicks": ' + "9" * 5000 + "}",
    '{"image_id": "d", "query": "dog\\nline", "clicks": 9}',
]


def test_json_lines(tmp_path):
    lines = [line.encode() for line in JSON_LINES] + [b'{"image_id": "\xff"}']
    (tmp_path / "log.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines))
    kept, bad = read(tmp_path / "log.jsonl", format="jsonl")
    assert kept == [("a", "red cat", 3), ("7", "狗", 2), ("7", "dog", 4), ("d", "dog\nline", 9)]
    assert [row[:2] for row in bad] == [
        (4, "clicks not an integer"),
        (5, "empty image id"),
        (6, "nested value"),
        (7, "nested value"),
        (8, "clicks not an integer"),
        (9, "clicks not an integer"),
        (10, "not a JSON object"),
        (11, "not a JSON object"),
        (12, "empty line"),
        (13, "not a JSON object"),
        (14, "not UTF-8"),
        (15, "NUL byte"),
        (16, "not a JSON object"),
        (18, "not UTF-8"),
    ]
    assert bad[0][2] == JSON_LINES[3]


def test_json_under_other_names_and_events(tmp_path, monkeypatch):
    monkeypatch.setattr(log_slices, "SLICE_BYTES", 50)
    rows = [{"photo": f"p{n % 3}", "keyword": "dog", "count": n + 1} for n in range(20)]
    (tmp_path / "log").write_text("\n".join(map(json.dumps, rows)))
    kept, bad = read(tmp_path / "log", format="jsonl", columns="image_id=photo,query=keyword,clicks=count")
    assert kept == [(f"p{n % 3}", "dog", n + 1) for n in range(20)]
    kept, bad = read(tmp_path / "log", format="jsonl", columns="image_id=photo,query=keyword")
    assert kept == [(f"p{n % 3}", "dog", 1) for n in range(20)]
    assert bad == []


def test_batches_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(log_records, "MOST_BYTES", 1000)
    (tmp_path / "log").write_text('"a","dog",1\n' * 1000)
    form = LogFormat(format="csv", delimiter=",", is_format_given=True)
    parts = plan_slices(LogFile(str(tmp_path / "log"), "log"), form)
    blocks = list(chain.from_iterable(read_slice(part, form) for part in parts))
    assert max(map(num_rows, blocks)) < 60
    assert sum(map(num_rows, blocks)) == 1000
