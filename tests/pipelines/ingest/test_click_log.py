"""Find logs, cut them into slices, read and bucket them."""

import pyarrow as pa
import pytest

from base.artifacts import shard_of
from base.console import UserError
from base.schemas import CLICKS, QUARANTINE
from pipelines.beam.runner import pipeline
from pipelines.beam.shards import WriteCounts, read_counts, read_shard
from pipelines.beam.shuffle import Packer
from pipelines.ingest import click_log
from pipelines.ingest.click_log import (
    LogFile,
    ReadClickLog,
    WriteClicks,
    add_up,
    find_logs,
    num_buckets,
)
from pipelines.ingest.quarantine import WriteQuarantine


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


BY_PRODUCTS = [
    "_SUCCESS", "_metadata", "_common_metadata", "_committed_7", "_started_7", ".part-0.parquet.crc",
    "part-0.parquet.crc", "_delta_log/00000000000000000000.json", "_temporary/0/part-1.parquet", "day=2/_SUCCESS",
]  # fmt: skip


@pytest.fixture
def spark_folder(tmp_path):
    """A folder as Spark, Hive, Delta Lake and Databricks leave it, with two files of data."""
    for name in ["part-0.parquet", "day=2/part-0.parquet", *BY_PRODUCTS]:
        (tmp_path / "logs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "logs" / name).write_bytes(b"")
    (tmp_path / "logs/_temporary/moved").symlink_to("gone")
    return tmp_path / "logs"


def test_what_a_job_leaves_beside_its_data_is_not_part_of_the_log(spark_folder, caplog):
    caplog.set_level("INFO")
    expected = ["day=2/part-0.parquet", "part-0.parquet"]
    for pattern in [spark_folder, f"{spark_folder}/*", f"{spark_folder}/**", f"{spark_folder}/**/*part-0*"]:
        assert [file.name for file in find_logs([pattern])] == expected
    assert [line.split("; not read: ")[0] for line in caplog.messages] == [
        "names that begin with _ or end in .crc are no part of a log"
    ] * 4


def test_a_by_product_that_is_named_is_read(spark_folder, caplog):
    caplog.set_level("INFO")
    assert [file.name for file in find_logs([spark_folder / "_SUCCESS"])] == ["_SUCCESS"]
    assert [file.name for file in find_logs([f"{spark_folder}/_com*"])] == ["_committed_7", "_common_metadata"]
    assert [file.name for file in find_logs([spark_folder / "_delta_log"])] == ["00000000000000000000.json"]
    assert caplog.messages == []


def test_a_partition_whose_name_begins_with_an_underscore_is_data(tmp_path):
    for name in ["_day=1/part-0.parquet", "_notes/part-0.parquet"]:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"")
    assert [file.path for file in find_logs([tmp_path])] == [str(tmp_path / "_day=1/part-0.parquet")]


def test_a_folder_of_by_products_alone_is_no_log(tmp_path):
    (tmp_path / "_SUCCESS").write_bytes(b"")
    with pytest.raises(UserError, match="no such click log; expected a file, a folder with files, or a glob"):
        find_logs([tmp_path])


def test_by_products_are_named_up_to_three(tmp_path, caplog):
    caplog.set_level("INFO")
    for name in ["log.tsv", *(f"_{number}" for number in range(1005))]:
        (tmp_path / name).write_bytes(b"")
    find_logs([tmp_path])
    assert f"; not read: {tmp_path}/_0, {tmp_path}/_1, {tmp_path}/_10 and 1,002 more" in caplog.text


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


@pytest.mark.parametrize(("name", "num"), [("a.tsv", 3), ("a.tsv.gz", 9), ("a.parquet", 9)])
def test_num_buckets_grows_with_the_text_in_the_log(tmp_path, monkeypatch, name, num):
    monkeypatch.setattr(click_log, "BUCKET_BYTES", 10)
    (tmp_path / name).write_bytes(b"x" * 20)
    file = LogFile(str(tmp_path / name), name)
    assert num_buckets([file]) == num
    assert num_buckets([file, file]) == 2 * num - 1
