"""Logs of hostile bytes and odd columns: no crash, every row is counted, and each is judged as by an oracle."""

import gzip
import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click_oracles import COLUMNS, judge

from pipelines.build_click_features import main
from pipelines.ingest import log_slices
from pipelines.ingest.click_rows import REASONS, CheckedRows, check_lines
from pipelines.ingest.log_slices import Block, num_rows
from pipelines.words.segmentation import Segmenter, SegmentParams

NUM_LINES = 200_000
NEVER = ("header row", "broken quotes", "not a JSON object", "nested value")  # in tab-separated rows without a header
LONGEST = 1_500  # bytes of a line: two of the possible fields are longer
MARK = "\ufeff".encode()
SEGMENTER = Segmenter(
    SegmentParams(stop_words=None, dictionary=None, user_dictionary=None, minimum_length=1, lemmas=None)
)

IMAGE_IDS = [b"img1", b"img2", b"img37", "ñ狗".encode(), b"0", b"a" * 300]
QUERIES = [
    b"golden dog", b"dog", "可爱的金毛犬".encode(), b"two  blanks ", b"'", b'"quoted"', b"\\", b"dog\x00", b"\x00",
    "\u200bdog".encode(), "zero\u2028line\u2029separators\x85".encode(), MARK + b"dog", b"cr\rinside", b"caf\xc3\xa9",
    "e\u0301".encode(), "👩‍👩‍👧".encode(), b"x" * 2_000,
]  # fmt: skip
ANYTHING = [b"", b"0", b"2012-04-01", b"image", "狗".encode()]  # values of a field that is ignored
CLICKS = [b"1", b"7", b"0012", b"3", b"1000000000000", b"5"]
ODD = [
    # white space, and characters that only look like it
    b"", b" ", b"  ", "\u3000".encode(), "\u00a0".encode(), "\u2028".encode(), "\x85".encode(), "\u200b".encode(),
    b"\x1c", b"\x0b\x0c", b"\r", b"\x00", MARK, MARK + b" ", b"\t", b"\n", b"\r\n", b"1\r",
    # numbers, and texts that only look like one
    b"-", b"-1", b"-0", b"0", b"00", b"+1", b" 1", b"1 ", b"1.0", b"2.00", b"1.5", b"1e3",
    b"0x1", b"1_000", b"nan", b"inf", b"--3",
    "٣".encode(), "１".encode(), "²".encode(), b"0" * 50 + b"2", b"1000000000001", b"-1000000000001", b"9" * 19,
    b"9" * 500, b"9223372036854775808", b"-9223372036854775809", b"18446744073709551617",
    # not UTF-8: cut short, overlong, surrogates, beyond the last code point; then the valid limits
    b"\xff", b"\xc3", b"\xa9", b"\xc0\x80", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xed\xb0\x80", b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80", b"\xf0\x9f\x90", "\U0010ffff".encode(), "\ufffe".encode(),
]  # fmt: skip
ENDS = [b"\n", b"\n", b"\n", b"\r\n", b"\r\n", b"\r\r\n", b"\n\r"]


def hostile_log(seed: int, num_lines: int = NUM_LINES, columns: Sequence[str] = COLUMNS) -> bytes:
    """Draw a log of at least so many lines at random: good rows, rows with an odd field, damaged rows, raw bytes."""
    generator = np.random.default_rng(seed)

    def draw(options: list[bytes]) -> list[bytes]:
        return [options[i] for i in generator.integers(0, len(options), num_lines).tolist()]

    drawn = {"image_id": draw(IMAGE_IDS), "query": draw(QUERIES), "clicks": draw(CLICKS)}
    fields_of_rows = zip(*(drawn.get(name) or draw(ANYTHING) for name in columns), strict=True)
    noise = generator.integers(0, 256, 1 << 20, np.uint8).tobytes()
    starts = generator.integers(0, len(noise) - 40, num_lines).tolist()
    lengths = generator.integers(0, 40, num_lines).tolist()
    positions = generator.random(num_lines).tolist()
    kinds = generator.integers(0, 10, num_lines).tolist()
    lines = []
    for n, (fields, odd, end) in enumerate(zip(fields_of_rows, draw(ODD), draw(ENDS), strict=True)):
        good = b"\t".join(fields)
        position = int(positions[n] * (len(good) + 1))
        match kinds[n]:
            case 0 | 1 | 2:
                line = good
            case 3 | 4 | 5:
                at = int(positions[n] * len(fields))
                line = b"\t".join([*fields[:at], odd, *fields[at + 1 :]])
            case 6:  # one byte is replaced
                line = good[:position] + noise[starts[n] : starts[n] + 1] + good[position + 1 :]
            case 7:  # a text is inserted
                line = good[:position] + odd + good[position:]
            case 8:  # the line is cut short, or has a field too many
                line = good[:position] if n % 2 else good + b"\t" + odd
            case _:
                line = noise[starts[n] : starts[n] + lengths[n]]
        lines.append(line + end)
    return b"".join(lines)


@pytest.fixture(autouse=True)
def _own_state(monkeypatch):
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")


def build(log: Path, output: Path, *options: str) -> tuple[dict, list[tuple[int, str, str, int]]]:
    """Run the whole command; return its summary and its quarantine."""
    main(["--clicks", str(log), "--output", str(output), "--most-bad-rows", "1", *options])
    summary = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    return summary, pl.read_parquet(output / "quarantine").select("row", "reason", "raw", "rows").rows()


def rows_by_reason(quarantined: list[tuple[int, str, str, int]]) -> Counter[str]:
    """Add up the rows of quarantine records."""
    counts: Counter[str] = Counter()
    for _, reason, _, rows in quarantined:
        counts[reason] += rows
    return counts


def check_build(output: Path, summary: dict, rows: list[tuple[str, str, int]], by_reason: Counter[str]) -> None:
    """Compare a build's counts, and each image's clicks of one word, with the rows that should have been kept."""
    assert summary["rows_quarantined"] == by_reason
    assert summary["rows_kept"] == len(rows)
    assert summary["rows_read"] == len(rows) + by_reason.total()
    assert summary["images"] == len({image_id for image_id, _, _ in rows})
    assert summary["queries"] == len({query for _, query, _ in rows})
    queries = pa.array(sorted({query for _, query, _ in rows}))
    with_dog = {
        query.as_py() for query, words in zip(queries, SEGMENTER(queries), strict=True) if "dog" in words.as_py()
    }
    clicks_of_dog: Counter = Counter()
    for image_id, query, clicks in rows:
        if query in with_dog:
            clicks_of_dog[image_id] += clicks
    (dog,) = pl.read_parquet(output / "vocabulary.parquet").filter(pl.col("word") == "dog")["word_id"]
    features = pl.read_parquet(output / "click_features")
    entries = features.explode("word_ids", "clicks").filter(pl.col("word_ids") == dog)
    assert dict(entries.select("image_id", "clicks").rows()) == clicks_of_dog


@pytest.fixture(scope="module")
def hostile() -> tuple[bytes, list, list]:
    """A hostile log, with the rows that the oracle keeps and those that it quarantines."""
    block = hostile_log(seed=11) + b"last\tdog\t3"  # without a line end
    return block, *judge(block, longest=LONGEST)


def assert_judged(checked: CheckedRows, kept: list, quarantined: list) -> None:
    assert list(zip(*(column.to_pylist() for column in checked.clicks.columns), strict=True)) == kept
    columns = [checked.quarantine.column(name).to_pylist() for name in ("row", "reason", "raw", "rows")]
    assert list(zip(*columns, strict=True)) == quarantined


def test_hostile_lines_are_judged_as_one_by_one(hostile):
    block, kept, quarantined = hostile
    assert len(kept) > NUM_LINES / 4
    reasons = rows_by_reason(quarantined)
    assert sum(reasons.values()) - len(quarantined) > NUM_LINES / 5  # many rows are equal to an earlier one
    assert set(reasons) == set(REASONS) - {"", *NEVER}
    assert min(reasons.values()) > NUM_LINES / 1000
    checked = check_lines(block, "log.tsv", 1, longest=LONGEST)
    assert num_rows(Block("log", 1, block)) == block.count(b"\n") + 1
    assert_judged(checked, kept, quarantined)


@pytest.mark.parametrize(
    "columns", [("clicks", "query", "image_id"), ("day", "query", "clicks", "", "image_id")], ids=",".join
)
def test_hostile_lines_of_other_columns_are_judged_as_one_by_one(columns):
    block = hostile_log(seed=5, num_lines=30_000, columns=columns)
    assert_judged(check_lines(block, "log.tsv", 1, columns, LONGEST), *judge(block, columns, LONGEST))


@pytest.mark.slow
def test_hostile_log_through_the_whole_command(tmp_path, monkeypatch, hostile):
    block, kept, quarantined = hostile
    monkeypatch.setattr(log_slices, "SLICE_BYTES", 1 << 20)  # several slices
    (tmp_path / "log").write_bytes(MARK + block)
    summary, found = build(tmp_path / "log", tmp_path / "out", "--longest-line", str(LONGEST))
    assert summary["rows_read"] == block.count(b"\n") + 1
    assert found == quarantined
    check_build(tmp_path / "out", summary, kept, rows_by_reason(quarantined))


def test_hostile_gzip_through_the_whole_command(tmp_path, monkeypatch, hostile):
    block = b"".join(hostile[0].splitlines(keepends=True)[-9_000:])
    kept, quarantined = judge(block, longest=LONGEST)
    monkeypatch.setattr(log_slices, "SLICE_BYTES", 1 << 16)
    monkeypatch.setattr(log_slices, "MOST_ROWS", 300)
    (tmp_path / "log").write_bytes(gzip.compress(MARK + block))
    summary, found = build(tmp_path / "log", tmp_path / "out", "--longest-line", str(LONGEST))
    assert summary["rows_read"] == block.count(b"\n") + 1
    assert found == quarantined
    check_build(tmp_path / "out", summary, kept, rows_by_reason(quarantined))


def test_white_space_is_what_unicode_says():
    characters = [
        chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000 and chr(code) not in "\0\t\n"
    ]
    block = "".join(f"a\t{character}\t1\n" for character in characters).encode()
    checked = check_lines(block, "log.tsv", 1)
    assert set(checked.quarantine["rows"].to_pylist()) == {1}
    blank = [characters[row - 1] for row in checked.quarantine["row"].to_pylist()]
    assert blank == [character for character in characters if character.isspace()]


IDS = ["7", "8", "7", "10", "-3", "8", "7", "9", "10", "7"]
TEXTS = ["dog", "big dog", "cat", "dog", "cow", "dog", "dog", "cat dog", "cow cow", "big dog"]
NUMBERS = [3, 1, 10**12, 0, 2, -5, 4, 10**12 + 1, 8, 16]


@pytest.mark.parametrize(
    ("image_ids", "queries", "clicks"),
    [
        (pa.binary(), pa.large_binary(), pa.int64()),
        (pa.large_binary(), pa.string(), pa.large_string()),
        (pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.float64()),
        (pa.dictionary(pa.int32(), pa.string()), pa.binary(), pa.string()),
        (pa.int64(), pa.large_string(), pa.float64()),
        (pa.int8(), pa.string_view(), pa.int64()),
        (pa.decimal128(20, 0), pa.string(), pa.int64()),
        (pa.int64(), pa.string(), pa.decimal128(21, 2)),
    ],
    ids=lambda kind: str(kind),
)
def test_column_types_do_not_matter(tmp_path, image_ids, queries, clicks):
    def column(values: list, kind: pa.DataType) -> pa.Array:
        if pa.types.is_dictionary(kind):
            return pa.array(values).dictionary_encode()
        return pa.array(values).cast(kind)

    table = {"clicks": column(NUMBERS, clicks), "more": [None] * 10}
    if pa.types.is_decimal(image_ids) or pa.types.is_integer(image_ids):
        table["image_id"] = column([int(number) for number in IDS], image_ids)
    else:
        table["image_id"] = column(IDS, image_ids)
    table["query"] = column(TEXTS, queries)
    pq.write_table(pa.table(table), tmp_path / "log.parquet", row_group_size=4)
    summary, quarantined = build(tmp_path / "log.parquet", tmp_path / "out")
    bad = [(4, "clicks below 1"), (6, "clicks below 1"), (8, "clicks above 10^12")]
    assert [(row, reason) for row, reason, *_ in quarantined] == bad
    rows = [row for n, row in enumerate(zip(IDS, TEXTS, NUMBERS, strict=True), start=1) if n not in (4, 6, 8)]
    check_build(tmp_path / "out", summary, rows, Counter(reason for _, reason in bad))


def test_nulls_bad_bytes_and_odd_floats_in_columns(tmp_path):
    cases = [  # image id, query, clicks, reason
        (b"a", b"dog", 2.0, ""),
        (None, b"dog", 1.0, "empty image id"),
        (b"a", None, 1.0, "empty query"),
        (b"a", b"dog", None, "clicks not an integer"),
        (b"a", b"dog", math.nan, "clicks not an integer"),
        (b"a", b"dog", math.inf, "clicks not an integer"),
        (b"a", b"dog", -math.inf, "clicks not an integer"),
        (b"a", b"dog", 2.5, "clicks not an integer"),
        (b"a", b"dog", 1e-320, "clicks not an integer"),
        (b"a", b"dog", -0.0, "clicks below 1"),
        (b"a", b"dog", -7.0, "clicks below 1"),
        (b"a", b"dog", 1e12, ""),
        (b"a", b"dog", 1e12 + 1, "clicks above 10^12"),
        (b"a", b"do\xe9g", 1.0, "not UTF-8"),
        (b"\xff", b"\xff", math.nan, "not UTF-8"),
        (b"\xe3\x80\x80", b" ", 0.0, "empty image id"),
        (b"a\tb", b"dog\nline\r\n", 5.0, ""),  # in a column, tabs and line ends are ordinary characters
        (b"a", b"dog\x00", 6.0, ""),
    ]
    image_ids, queries, clicks, reasons = zip(*cases, strict=True)
    table = pa.table(
        {
            "image_id": pa.array(image_ids, pa.large_binary()),
            "query": pa.array(queries, pa.binary()),
            "clicks": pa.array(clicks, pa.float64()),
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    summary, quarantined = build(tmp_path / "log.parquet", tmp_path / "out")
    bad = [(row, reason) for row, reason in enumerate(reasons, start=1) if reason]
    assert [(row, reason) for row, reason, *_ in quarantined] == bad
    rows = [(i.decode(), q.decode(), int(c)) for i, q, c, reason in cases if not reason]
    check_build(tmp_path / "out", summary, rows, Counter(reason for _, reason in bad))


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("clicks", pa.array([True, False])),
        ("clicks", pa.nulls(2)),
        ("clicks", pa.array([{"n": 1}, {"n": 2}])),
        ("image_id", pa.array([{"name": "a"}, {"name": "b"}])),
        ("query", pa.array([{"text": "dog"}, {"text": "cat"}])),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.type),
)
def test_columns_of_no_use_are_an_error_before_anything_runs(tmp_path, caplog, column, values):
    table = {"image_id": pa.array(["a", "b"]), "query": pa.array(["dog", "cat"]), "clicks": pa.array([1, 2])}
    pq.write_table(pa.table({**table, column: values}), tmp_path / "log.parquet")
    with pytest.raises(SystemExit) as failure:
        main(["--clicks", str(tmp_path / "log.parquet"), "--output", str(tmp_path / "out")])
    assert failure.value.code == 2
    assert f"log.parquet: column {column} is {values.type}" in caplog.text
    assert not (tmp_path / "out").exists()
