import errno
import json
import logging
import os
from pathlib import Path

import pytest

from base.console import UserError, as_counts, by_reason, progress, rows_add_up, stage


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("CLICKSIGHT_NO_STATE", "DVC_STAGE"):
        monkeypatch.delenv(name, raising=False)
    caplog.set_level(logging.INFO, logger="clicksight")


def test_closing_lines_say_what_was_written_and_what_is_next(caplog: pytest.LogCaptureFixture) -> None:
    with stage("ingest", "3 files") as closing:
        closing.wrote["data/ingested"] = "12 clicks"
        closing.wrote["data/more"] = ""
        closing.counts["rows read"] = 12_345
        closing.counts["rate"] = 0.123456
        closing.next_command = "dvc repro segment"
    messages = [record.getMessage() for record in caplog.records]
    assert messages[:-1] == [
        "ingest: started (3 files)",
        "ingest: rows read 12,345",
        "ingest: rate 0.1235",
        "ingest: wrote data/ingested (12 clicks)",
        "ingest: wrote data/more",
    ]
    assert messages[-1].startswith("ingest: done in ")
    assert messages[-1].endswith(" s; next: dvc repro segment")


@pytest.mark.parametrize("error", [UserError("first\nsecond"), FileNotFoundError("first\nsecond")])
def test_the_users_errors_are_lines_and_exit_code_2(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit) as exit_, stage("clean"):
        raise error
    assert exit_.value.code == 2
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == ["clean: error: first", "clean: error: second"]
    assert not Path(".state").exists()


def read(path: str) -> None:
    Path(path).read_bytes()


@pytest.mark.parametrize("path", ["none", ".", "file/below", "n" * 300])
def test_what_the_system_says_of_a_file_is_a_line(path: str, caplog: pytest.LogCaptureFixture) -> None:
    Path("file").touch()
    with pytest.raises(SystemExit) as exit_, stage("clean"):
        read(path)
    assert exit_.value.code == 2
    assert f": '{path}'" in caplog.text


def test_what_the_system_says_of_itself_keeps_its_traceback() -> None:
    with pytest.raises(OSError, match="Too many open files"), stage("clean"):
        raise OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_a_line_that_says_what_to_do(number: int, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit) as exit_, stage("clean"):
        raise OSError(number, os.strerror(number))
    assert exit_.value.code == 2
    line = f"clean: error: [Errno {number}] {os.strerror(number)}: no room is left to write: free some disk space, or "
    assert caplog.messages[-1].startswith(line)


def test_our_own_errors_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError), stage("clean"):
        raise ZeroDivisionError


def test_seconds_of_dvcs_stages_are_kept_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage("by hand"):
        pass
    assert not Path(".state").exists()
    monkeypatch.setenv("DVC_STAGE", "one")
    with stage("one"):
        pass
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")
    with stage("two"):
        pass
    lines = [json.loads(line) for line in Path(".state/timings.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in lines] == ["one"]


def test_a_stage_is_not_failed_by_a_folder_that_takes_no_timings(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DVC_STAGE", "one")
    Path(".state").touch()
    with stage("one"):
        pass
    assert caplog.records[-1].getMessage().startswith("one: done in ")


def test_progress_passes_items_on() -> None:
    assert list(progress(iter("abc"), "read", "rows", total=3)) == ["a", "b", "c"]


def test_rows_add_up() -> None:
    rows_add_up(10, 7, {"empty": 2, "torn": 1}, "clicks")
    with pytest.raises(RuntimeError, match=r"clicks: 10 read, 7 kept, \{'empty': 2\} quarantined: 1 rows unaccounted"):
        rows_add_up(10, 7, {"empty": 2}, "clicks")
    with pytest.raises(RuntimeError, match="-1 rows unaccounted"):
        rows_add_up(9, 7, {"empty": 3}, "clicks")


def test_counts_are_labelled_in_order() -> None:
    assert list(as_counts("quarantined", {"torn": 1, "empty": 2}).items()) == [
        ("quarantined: empty", 2),
        ("quarantined: torn", 1),
    ]


def test_labelled_counts_come_back_by_reason() -> None:
    labelled = {"rows read": 9} | as_counts("quarantined", {"b: odd": 2, "a": 1})
    labelled |= as_counts("labels: quarantined", {"a": 5})
    assert list(by_reason("quarantined", labelled).items()) == [("a", 1), ("b: odd", 2)]


def test_of_several_processes_the_first_speaks_and_all_complain(monkeypatch, tmp_path, caplog, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "train@x")
    monkeypatch.setenv("RANK", "1")
    with stage("train x"):
        assert list(progress(range(3), "read", "rows")) == [0, 1, 2]
    assert not caplog.records
    assert capsys.readouterr().err == ""
    with pytest.raises(SystemExit), stage("train x"):
        raise UserError("no such thing")
    assert [record.message for record in caplog.records] == ["train x: error: no such thing"]
    assert not (tmp_path / ".state").exists()
