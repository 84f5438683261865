"""Logs found, cut into slices, read and bucketed."""

import gzip

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from base.artifacts import shard_of
from base.console import UserError
from base.schemas import CLICKS, QUARANTINE
from pipelines.beam.runner import pipeline
from pipelines.beam.shards import WriteCounts, read_counts, read_shard
from pipelines.beam.shuffle import Packer
from pipelines.ingest.click_data import click_log
from pipelines.ingest.click_log import (
    LogFile,
    ReadClickLog,
    WriteClicks,
    WriteQuarantine,
    add_up,
    check_block,
    find_logs,
    num_buckets,
    plan_slices,
    read_columns,
    read_slice,
)


def read_file(path) -> tuple[list[tuple], list[tuple]]:
    kept, quarantined = [], []
    for part in plan_slices(LogFile(str(path), path.name)):
        for checked in map(check_block, read_slice(part)):
            kept += [tuple(row.values()) for row in checked.clicks.to_pylist()]
            quarantined += [(row["row"], row["raw"]) for row in checked.quarantine.to_pylist()]
    return kept, quarantined


def test_find_logs_takes_files_folders_and_globs_each_file_once(tmp_path):
    for name in ["day/1.tsv", "day/2.tsv", "day/.hidden", "old/3.tsv.gz"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = find_logs([tmp_path / "day", str(tmp_path / "*/*.tsv"), tmp_path / "old/3.tsv.gz"])
    assert [file.name for file in found] == ["day/1.tsv", "day/2.tsv", "old/3.tsv.gz"]
    assert find_logs([tmp_path / "day/2.tsv"]) == [LogFile(str(tmp_path / "day/2.tsv"), "2.tsv")]
    assert find_logs([tmp_path / "day/2.tsv"], root=tmp_path)[0].name == "day/2.tsv"


def test_a_folders_folders_belong_to_the_log(tmp_path):
    for name in ["logs/1.tsv", "logs/nest/sub/2.tsv", "logs/.git/no.tsv", "logs/nest/.no.tsv", "elsewhere/3.tsv"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "logs/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "logs/nest/round").symlink_to(tmp_path / "logs")
    expected = ["1.tsv", "linked/3.tsv", "nest/sub/2.tsv"]
    assert [file.name for file in find_logs([tmp_path / "logs"])] == expected
    (tmp_path / "logs/nest/gone.tsv").symlink_to(tmp_path / "moved.tsv")
    with pytest.raises(UserError, match=r"nest/gone\.tsv: is a link that leads to nothing; remove it or name"):
        find_logs([tmp_path / "logs"])


def test_an_empty_name_is_not_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.tsv").write_bytes(b"")
    with pytest.raises(UserError, match="'': no such click log"):
        find_logs([""])


@pytest.mark.parametrize("pattern", ["nothing.tsv", "none-*.tsv", "empty"])
def test_find_logs_says_what_matches_nothing(tmp_path, pattern):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no such click log; expected a file, a folder with files, or a glob"):
        find_logs([tmp_path / pattern])


@pytest.mark.parametrize("slice_bytes", [1, 2, 5, 7, 16, 1000])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("last_end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("compress", [False, True])
def test_slices_cover_a_file_with_its_row_numbers(tmp_path, monkeypatch, slice_bytes, mark, last_end, compress):
    monkeypatch.setattr(click_log, "SLICE_BYTES", slice_bytes)
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


def test_add_up_sums_an_image_and_query_and_sorts_by_code_point():
    rows = [("b", "狗", 2), ("b", "Dog", 1), ("a", "dog", 5), ("b", "狗", 40), ("ä", "Dog", 3), ("a", "Dog", 7)]
    batch = pa.record_batch([list(column) for column in zip(*rows, strict=True)], schema=CLICKS)
    assert [tuple(row.values()) for row in add_up(batch).to_pylist()] == [
        ("a", "Dog", 7),
        ("b", "Dog", 1),
        ("ä", "Dog", 3),
        ("a", "dog", 5),
        ("b", "狗", 42),
    ]


def test_log_to_shards(tmp_path):
    (tmp_path / "1.tsv").write_text("b\tdog\t2\nb\tcat\t1\nbad\n", encoding="utf-8")
    (tmp_path / "2.tsv").write_text("b\tdog\t40\na\tcow\t3\n-\t-\t-\n", encoding="utf-8")
    for name in ("clicks", "quarantine"):
        (tmp_path / name).mkdir()
    with pipeline() as job:
        log = job | ReadClickLog(find_logs([tmp_path / "*.tsv"]))
        _ = log.clicks | WriteClicks(tmp_path / "clicks", 3, Packer())
        _ = log.quarantine | WriteQuarantine(tmp_path / "quarantine")
        _ = log.counts | WriteCounts(tmp_path / "counts")
    expected = [("b", "cat", 1), ("a", "cow", 3), ("b", "dog", 42)]
    for shard in range(3):
        rows = read_shard(tmp_path / f"clicks/part-0000{shard}.parquet", CLICKS).to_pylist()
        assert [tuple(row.values()) for row in rows] == [row for row in expected if shard_of(row[1], 3) == shard]
    quarantine = read_shard(tmp_path / "quarantine/part-00000.parquet", QUARANTINE).to_pylist()
    assert [(row["file"], row["row"], row["reason"]) for row in quarantine] == [
        ("1.tsv", 3, "wrong number of fields"),
        ("2.tsv", 3, "clicks not an integer"),
    ]
    assert read_counts(tmp_path / "counts") == {
        "rows read": 6,
        "rows kept": 4,
        "quarantined: wrong number of fields": 1,
        "quarantined: clicks not an integer": 1,
    }
    assert not (tmp_path / "counts").exists()


def test_a_linked_log_keeps_its_name_below_the_root(tmp_path):
    (tmp_path / "big.tsv").write_text("a\tcat\t1\n", encoding="utf-8")
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "clicks.tsv").symlink_to(tmp_path / "big.tsv")
    assert [file.name for file in find_logs([raw / "clicks.tsv"], root=raw)] == ["clicks.tsv"]


def test_clicks_as_text_in_a_polars_file(tmp_path):
    path = tmp_path / "log.parquet"
    pl.DataFrame({"image_id": ["a", "b"], "query": ["cat", "dog"], "clicks": ["3", "x"]}).write_parquet(path)
    (part,) = plan_slices(find_logs([path])[0])
    (checked,) = map(check_block, read_slice(part))
    assert checked.clicks.to_pylist() == [{"image_id": "a", "query": "cat", "clicks": 3}]


@pytest.mark.parametrize(("name", "num"), [("a.tsv", 3), ("a.tsv.gz", 9), ("a.parquet", 9)])
def test_num_buckets_grows_with_the_text_in_the_log(tmp_path, monkeypatch, name, num):
    monkeypatch.setattr(click_log, "BUCKET_BYTES", 10)
    (tmp_path / name).write_bytes(b"x" * 20)
    file = LogFile(str(tmp_path / name), name)
    assert num_buckets([file]) == num
    assert num_buckets([file, file]) == 2 * num - 1


def test_columns_name_the_fields_in_order():
    assert read_columns("query, clicks,image_id") == ("query", "clicks", "image_id")
    assert read_columns("_,query,day,clicks,_,image_id") == ("_", "query", "day", "clicks", "_", "image_id")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_id,query", "columns 'image_id,query': clicks stands there 0 times; expected each of image_id, query"),
        ("image_id,query,clicks,query", "query stands there 2 times"),
    ],
)
def test_columns_that_leave_a_field_open(text, message):
    with pytest.raises(UserError, match=message):
        read_columns(text)
