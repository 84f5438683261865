import json
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base import artifacts
from base.artifacts import (
    read_tables,
    scratch_directory,
    shard_name,
    shard_of,
    whole_directory,
    whole_file,
    write_json,
    write_table,
)
from base.console import UserError

TABLE = pa.table({"n": pa.array([3, 1, 2], pa.int32()), "s": ["c", "a", "ß"]})


def content(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_directory_replaces_the_old_one_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    with whole_directory(target) as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub" / "a").write_text("1")
        assert not target.exists()
    with whole_directory(target) as temporary:
        (temporary / "b").write_text("2")
        assert content(target) == {"sub/a": "1"}
    assert content(tmp_path) == {"deep/out/b": "2"}


@pytest.mark.parametrize("foreign", ["thesis.txt", "parts/part-00000.parquet", "part-00000.parquet.bak", ".hidden"])
def test_a_folder_that_holds_something_else_stays(tmp_path: Path, foreign: str) -> None:
    (tmp_path / "out" / foreign).parent.mkdir(parents=True)
    (tmp_path / "out" / foreign).write_text("mine")
    (tmp_path / "out" / "part-00001.parquet").write_text("an older shard")
    before = content(tmp_path)
    with (
        pytest.raises(UserError, match=rf"out: holds {foreign.split('/')[0]}, which this command never writes"),
        whole_directory(tmp_path / "out", holds=("part-*.parquet", "summary.json")),
    ):
        raise AssertionError("it has begun")
    assert content(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_of_the_same_kind_is_replaced_and_an_empty_one(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    for text in ("old", "new"):
        with whole_directory(target, holds=("part-*.parquet",)) as temporary:
            (temporary / f"part-{text}.parquet").write_text(text)
    assert content(tmp_path) == {"out/part-new.parquet": "new"}


def test_the_current_folder_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    for target in (Path(), tmp_path / "project", tmp_path):
        with pytest.raises(UserError, match="is or holds the current folder"), whole_directory(target):
            raise AssertionError("it has begun")


def test_a_folder_is_not_written_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "thesis").write_text("mine")
    (tmp_path / "link").symlink_to("thesis")
    for name in ("thesis", "link"):
        with pytest.raises(UserError, match="is a file; name a folder"), whole_directory(tmp_path / name):
            raise AssertionError("it has begun")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="is a folder; name a file"), whole_file(tmp_path / "folder"):
        raise AssertionError("it has begun")
    assert content(tmp_path) == {"thesis": "mine", "link": "mine"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "link", "thesis"]


def test_of_a_linked_folder_the_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "disk" / "features").mkdir(parents=True)
    (tmp_path / "disk" / "features" / "old").write_text("old")
    (tmp_path / "here").mkdir()
    link = tmp_path / "here" / "features"
    link.symlink_to(tmp_path / "disk" / "features")
    with whole_directory(link) as temporary, scratch_directory(link) as scratch:
        assert temporary.parent == scratch.parent == tmp_path / "disk"
        (temporary / "new").write_text("new")
    assert link.is_symlink()
    assert content(tmp_path / "disk") == {"features/new": "new"}
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["features"]


def write(writer: Callable[[Path], AbstractContextManager[Path]], target: Path, text: str, then: int = 1) -> None:
    with writer(target) as temporary:
        (temporary / "a" if temporary.is_dir() else temporary).write_text(text)
        1 // then


@pytest.mark.parametrize("writer", [whole_directory, whole_file])
def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path: Path, writer) -> None:
    write(writer, tmp_path / "out", "old")
    before = content(tmp_path)
    with pytest.raises(ZeroDivisionError):
        write(writer, tmp_path / "out", "half of the n", then=0)
    assert content(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("writer", ["whole_directory", "whole_file"])
def test_a_killed_run_leaves_no_output_and_the_next_one_sweeps(tmp_path: Path, writer: str) -> None:
    target, neighbour = tmp_path / "out", tmp_path / ".out-two.partial"
    neighbour.write_text("not ours")
    code = (
        f"import os, signal, pathlib, base.artifacts as a\n"
        f"with a.{writer}(pathlib.Path({str(target)!r})) as t:\n"
        f"    (t / 'a' if t.is_dir() else t).write_text('half')\n"
        f"    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not target.exists()
    assert len(list(tmp_path.iterdir())) == 2
    write(getattr(artifacts, writer), target, "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"out", neighbour.name}


def test_a_run_killed_while_it_deletes_the_old_folder_leaves_the_new_one_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    write(artifacts.whole_directory, target, "old")
    code = (
        f"import os, shutil, signal, pathlib, base.artifacts as a\n"
        f"a.shutil.rmtree = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"with a.whole_directory(pathlib.Path({str(target)!r})) as t:\n"
        f"    (t / 'a').write_text('new')\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert {path.name: path.read_text() for path in target.iterdir()} == {"a": "new"}
    write(artifacts.whole_directory, target, "newer")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_another_living_run_writes_is_not_swept(tmp_path: Path) -> None:
    with artifacts.whole_directory(tmp_path / "out.v2") as other, artifacts.whole_directory(tmp_path / "out") as same:
        write(artifacts.whole_directory, tmp_path / "out", "whole")
        assert other.is_dir()
        assert same.is_dir()


def test_tables_come_back_and_keep_their_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_table(TABLE, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    read = pq.ParquetFile(tmp_path / "a")
    assert read.schema_arrow == TABLE.schema
    assert read.read() == TABLE
    assert read.metadata.row_group(0).column(0).compression == "ZSTD"


def test_row_groups_are_as_asked(tmp_path: Path) -> None:
    write_table(TABLE, tmp_path / "a", row_group_rows=2)
    metadata = pq.ParquetFile(tmp_path / "a").metadata
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [2, 1]


def test_json_is_readable_and_refuses_nan(tmp_path: Path) -> None:
    write_json({"b": 1, "a": "猫"}, tmp_path / "s.json")
    assert (tmp_path / "s.json").read_text(encoding="utf-8") == '{\n  "b": 1,\n  "a": "猫"\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json({"a": float("nan")}, tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text(encoding="utf-8")) == {"b": 1, "a": "猫"}
    assert [path.name for path in tmp_path.iterdir()] == ["s.json"]


# Published check values of the CRC-32 that gzip and PNG use.
@pytest.mark.parametrize(("key", "checksum"), [("", 0), ("a", 0xE8B7BE43), ("123456789", 0xCBF43926)])
def test_shards_follow_crc_32(key: str, checksum: int) -> None:
    assert shard_of(key, 2**32) == checksum
    assert shard_of(key, 7) == checksum % 7


@given(st.text(), st.integers(1, 500))
def test_every_key_has_a_shard(key: str, num_shards: int) -> None:
    assert 0 <= shard_of(key, num_shards) < num_shards


def test_shard_names_sort_as_numbers() -> None:
    names = [shard_name(shard) for shard in (0, 2, 10, 99_999)]
    assert names == sorted(names)
    assert names[1] == "part-00002.parquet"


def test_read_tables_takes_a_file_or_shards_in_order(tmp_path: Path) -> None:
    write_table(TABLE.slice(1), tmp_path / "shards" / shard_name(10))
    write_table(TABLE.slice(0, 1), tmp_path / "shards" / shard_name(2))
    (tmp_path / "shards" / "notes.txt").write_text("no table")
    assert read_tables(tmp_path / "shards") == TABLE
    assert read_tables(tmp_path / "shards", columns=["s"]) == TABLE.select(["s"])
    assert read_tables(tmp_path / "shards" / shard_name(2)).num_rows == 1
    with pytest.raises(FileNotFoundError, match="none: no such Parquet file or folder of shards; run the stage"):
        read_tables(tmp_path / "none")
