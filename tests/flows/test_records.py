"""The records of a lock that was cut at any byte are restored; a lock that was changed on purpose stays."""

import itertools
import logging
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from dvc.exceptions import DvcException
from dvc.utils.serialize import dumps_yaml
from dvc_projects import DVC
from zc.lockfile import LockFile

from base.console import UserError
from flows.records import LOCK, RWLOCK, is_suspect, mend, restore
from flows.stages import Workspace
from flows.whole_files import leftover_of

KEPT = ".state/dvc.lock.kept"


def record(name: str, command: str = "cp a b", **params: Any) -> dict[str, Any]:
    digest = f"{sum(map(ord, name)):x}"
    return {
        "cmd": command,
        "deps": [{"path": f"{name[:5]} 中", "hash": "md5", "md5": digest, "size": 120}],
        **({"params": {"params.yaml": params}} if params else {}),
        "outs": [{"path": f"{name[:5]}.{end}", "hash": "md5", "md5": digest} for end in ("txt", "csv")],
    }


RECORDS = {
    "draw": record("draw", "echo '  a: b'\n  echo c\n" * 2, rate=0.25, names=["中", "no"]),
    "train@" + "V+C7," * 26 + "0": record(
        "long name"
    ),  # YAML writes a name of more than 128 characters in another style
    "train@TDL-0": record("train", "echo one two three four five six seven eight nine ten eleven twelve thirteen"),
    "table": record("table"),
}
WHOLE = {"schema": "2.0", "stages": RECORDS}
TEXT = dumps_yaml(WHOLE)


def none_declared() -> Collection[str]:
    return ()


def all_declared() -> Collection[str]:
    return RECORDS


def texts_of_every_cut(text: str) -> list[str]:
    content = text.encode()
    return [content[:end].decode(errors="replace") for end in range(len(content))]


def texts_cut_around_line_ends(text: str) -> list[str]:
    ends = itertools.accumulate(map(len, text.splitlines(keepends=True)))
    return [text[: end + more] for end in ends for more in (-1, 0, 5)][:-2]


def test_a_lock_cut_at_any_byte_gets_everything_back() -> None:
    for text in texts_of_every_cut(TEXT):
        found = restore(text, TEXT, all_declared)
        assert found.content == WHOLE
        assert list(found.content["stages"]) == list(RECORDS)
        assert found.restored
        assert set(found.restored) <= set(RECORDS)


def test_what_ends_within_a_record_gets_back_what_is_not_declared_now_too() -> None:
    starts = [TEXT.index(f"  {name}") for name in ("draw:", "? train", "train@TDL-0", "table")]
    ends = [start for start, name in zip(starts, RECORDS, strict=True) if name != "draw"]
    for text in texts_cut_around_line_ends(TEXT):
        found = restore(text, TEXT, none_declared)
        if len(text) in ends:  # as after `dvc remove` of the last stages
            assert not found.is_cut
            assert len(found.content["stages"]) == ends.index(len(text)) + 1
        else:
            assert found.content == WHOLE


def test_cut_while_a_record_was_changed() -> None:
    changed = {**RECORDS, "train@TDL-0": record("train", "another command", rate=0.5), "new": record("new")}
    text = dumps_yaml({"schema": "2.0", "stages": changed})
    for cut in texts_cut_around_line_ends(text):
        records = restore(cut, TEXT, all_declared).content["stages"]
        assert list(records)[:4] == list(RECORDS)
        for name, found in records.items():
            assert found in (RECORDS.get(name), changed[name]) or is_new_but_for_its_end(name, found, changed[name])


def is_new_but_for_its_end(name: str, found: dict[str, Any], whole: dict[str, Any]) -> bool:
    """Return True for a new record that DVC has written only in part, but in whole lines: that cut is undetectable."""
    return name in ("train@TDL-0", "new") and dumps_yaml(whole).startswith(dumps_yaml(found))


@pytest.mark.parametrize("copy", ["", TEXT[: len(TEXT) // 2 - 1], "\0" * 80, "no lock"])
def test_cut_without_a_good_copy_whole_records_stay(copy: str) -> None:
    cut = TEXT.index("table:") + 9
    found = restore(TEXT[:cut], copy, all_declared)
    assert found.is_cut
    assert found.restored == ()
    assert found.content == {"schema": "2.0", "stages": {n: r for n, r in RECORDS.items() if n != "table"}}


def test_zeros_after_a_power_failure() -> None:
    assert dumps_yaml(restore("\0" * 100, TEXT, none_declared).content) == TEXT


@pytest.mark.parametrize(
    "names",
    [
        ("train@TDL-0", "table"),  # another commit's lock
        ("draw", "table"),  # two records deleted by hand
        ("draw", "train@TDL-0", "table", "other"),
    ],
)
def test_a_lock_that_somebody_meant_stays(names: tuple[str, ...]) -> None:
    records = {name: record(name, "another command") for name in names}
    found = restore(dumps_yaml({"schema": "2.0", "stages": records}), TEXT, all_declared)
    assert not found.is_cut
    assert found.restored == ()
    assert found.content["stages"] == records


def test_lost_between_two_records_only_what_is_declared_comes_back() -> None:
    text = TEXT[: TEXT.index("  train@TDL-0")]
    found = restore(text, TEXT, lambda: ["table", "elsewhere"])
    assert not found.is_cut
    assert found.restored == ("table",)
    assert found.content["stages"]["table"] == RECORDS["table"]
    assert "train@TDL-0" not in found.content["stages"]


CONFLICT = TEXT + "<<<<<<< HEAD\n  other: {cmd: a}\n=======\n  other: {cmd: b}\n>>>>>>> theirs\n"


@pytest.mark.parametrize("text", [CONFLICT, "a: [b\n", "- a list\n", TEXT.replace("outs:", "outs: [", 1)])
def test_what_was_not_cut_is_not_mended(text: str) -> None:
    with pytest.raises(DvcException):
        restore(text, TEXT, all_declared)


GRAPH = """\
stages:
  a: {cmd: echo a >> ran; cp seed.txt a.txt, deps: [seed.txt], outs: [a.txt]}
  b: {cmd: echo b >> ran; cp a.txt b.txt, deps: [a.txt], outs: [b.txt]}
  c: {cmd: echo c >> ran; echo c > c.txt, outs: [c.txt]}
  d: {cmd: echo d >> ran; cp c.txt d.txt, deps: [c.txt], params: [rate], outs: [d.txt]}
"""


@pytest.fixture
def done(project: Path) -> Workspace:
    """Make a workspace where everything is up to date: `dvc` has run it, and a flow has copied its lock."""
    (project / "dvc.yaml").write_text(GRAPH)
    (project / "params.yaml").write_text("rate: 1\n")
    (project / "seed.txt").write_text("1\n")
    subprocess.run([*DVC, "repro", "--quiet"], check=True)
    workspace = Workspace(project)
    assert workspace.stale() == {}
    assert (project / KEPT).read_text() == (project / LOCK).read_text()
    assert not is_suspect(project)
    return workspace


def test_a_flow_finds_everything_up_to_date_after_plain_dvc_was_killed(
    done: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    lock = done.root / LOCK
    text = lock.read_text()
    for end, how in ((0, "ends within a record"), (text.index("  c:") + 20, "ends within a record"),
                     (text.index("  c:"), "has lost its last records")):  # fmt: skip
        lock.write_text(text[:end])
        (done.root / RWLOCK).write_text("")
        leftover_of(lock).write_text("sche")
        caplog.clear()
        assert done.stale() == {}
        assert lock.read_text() == text
        assert not leftover_of(lock).exists()
        names = "a, b, c, d" if not end else "c, d"
        assert [line.message for line in caplog.records if line.name == "clicksight"] == [
            ".dvc/tmp/rwlock was cut short when DVC was killed; deleted (it lists the files that a running DVC uses)",
            f"dvc.lock {how}, probably because DVC was killed while it wrote it; restored from .state/dvc.lock.kept: "
            f"{len(names.split())} stages ({names})",
        ]
    assert (done.root / "ran").read_text().split() == ["a", "b", "c", "d"]


def test_a_record_that_comes_back_makes_nothing_up_to_date_that_is_not(done: Workspace) -> None:
    lock = done.root / LOCK
    (done.root / "params.yaml").write_text("rate: 2\n")
    (done.root / "a.txt").write_text("changed\n")
    lock.write_text(lock.read_text()[:40])
    assert set(done.stale()) == {"a", "b", "d"}


SYSTEM = """\
stages:
  a: {wdir: ../.., cmd: 'echo x:a >> ran; cp a.txt xa.txt', deps: [a.txt], outs: [xa.txt]}
  e: {wdir: ../.., cmd: 'echo x:e >> ran; cp xa.txt xe.txt', deps: [xa.txt], outs: [xe.txt]}
"""
SYSTEM_LOCK, SYSTEM_KEPT = "stages/x/dvc.lock", ".state/x.dvc.lock.kept"


@pytest.fixture
def with_system(done: Workspace) -> Workspace:
    """Add a system to that workspace, and run it."""
    (done.root / "stages/x").mkdir(parents=True)
    (done.root / "stages/x/dvc.yaml").write_text(SYSTEM)
    subprocess.run([*DVC, "repro", "--quiet", "--all-pipelines"], check=True)
    assert done.stale() == {}
    assert not is_suspect(done.root)
    return done


def test_each_lock_is_restored_from_its_own_copy_and_the_others_stay(
    with_system: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    root = with_system.root
    copies = {SYSTEM_LOCK: SYSTEM_KEPT, LOCK: KEPT}
    texts = {lock: (root / lock).read_text() for lock in copies}
    for lock, copy in copies.items():
        assert (root / copy).read_text() == texts[lock]
    for lost, cut, names in ((SYSTEM_LOCK, "  e:", "e"), (LOCK, "  c:", "c, d")):
        for end, how in ((0, "has lost its last records"), (20, "ends within a record")):
            before = {lock: (root / lock).stat() for lock in copies}
            (root / lost).write_text(texts[lost][: texts[lost].index(cut) + end])
            caplog.clear()
            assert with_system.stale() == {}
            assert [line.message for line in caplog.records if line.name == "clicksight"] == [
                f"{lost} {how}, probably because DVC was killed while it wrote it; restored from {copies[lost]}: "
                f"{len(names.split())} stages ({names})"
            ]
            assert {lock: (root / lock).read_text() for lock in copies} == texts
            for other in set(copies) - {lost}:
                after = (root / other).stat()
                assert (after.st_ino, after.st_mtime_ns) == (before[other].st_ino, before[other].st_mtime_ns)
    assert (root / "ran").read_text().split() == ["a", "b", "c", "d", "x:a", "x:e"]


def test_a_systems_lock_cut_to_nothing_takes_no_records_of_the_root(with_system: Workspace) -> None:
    # The root and the system both have a stage `a`.
    lock = with_system.root / SYSTEM_LOCK
    text = lock.read_text()
    lock.write_text("")
    (with_system.root / SYSTEM_KEPT).unlink()
    assert with_system.stale() == {"x:a": True, "x:e": True}
    lock.write_text(text)
    assert with_system.stale() == {}


def test_who_deletes_a_systems_lock_starts_that_system_over(with_system: Workspace) -> None:
    (with_system.root / SYSTEM_LOCK).unlink()
    assert set(with_system.stale()) == {"x:a", "x:e"}
    assert not (with_system.root / SYSTEM_LOCK).exists()
    assert not (with_system.root / SYSTEM_KEPT).exists()
    assert (with_system.root / KEPT).exists()


def test_another_commits_lock_and_parameters_stay(done: Workspace) -> None:
    lock, params = done.root / LOCK, done.root / "params.yaml"
    params.write_text("rate: 2\n")
    subprocess.run([*DVC, "repro", "--quiet"], check=True)
    assert done.stale() == {}
    old = (done.root / KEPT).read_text().replace("rate: 2", "rate: 1").replace("  c:", "  other:")
    lock.write_text(old)
    params.write_text("rate: 1\n")
    assert set(done.stale()) == {"c"}  # the record has the old parameters
    assert lock.read_text() == old
    assert (done.root / KEPT).read_text() == old


def test_a_stage_that_dvc_has_removed_stays_away(done: Workspace) -> None:
    subprocess.run([*DVC, "remove", "d"], check=True, capture_output=True)
    text = (done.root / LOCK).read_text()
    assert done.stale() == {}
    assert (done.root / LOCK).read_text() == text
    assert "d:" not in (done.root / KEPT).read_text().split()


def test_who_deletes_the_lock_starts_over(done: Workspace) -> None:
    (done.root / LOCK).unlink()
    assert set(done.stale()) == {"a", "b", "c", "d"}
    assert not (done.root / LOCK).exists()
    assert not (done.root / KEPT).exists()


def test_a_conflict_is_the_users_and_costs_no_copy(done: Workspace) -> None:
    lock = done.root / LOCK
    text = lock.read_text()
    lock.write_text(text + CONFLICT.removeprefix(TEXT))
    with pytest.raises(UserError, match=r"dvc\.lock"):
        done.stages()
    assert lock.read_text() == text + CONFLICT.removeprefix(TEXT)
    assert (done.root / KEPT).read_text() == text


def test_mending_waits_for_dvcs_lock(done: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    # The holder of DVC's lock may be writing.
    monkeypatch.setattr("flows.stages.LOCK_PAUSES_S", ())
    text = (done.root / LOCK).read_text()
    (done.root / LOCK).write_text(text[:100])
    held = LockFile(str(done.root / ".dvc/tmp/lock"))
    try:
        with pytest.raises(UserError, match="holds DVC's lock"):
            done.stages()
        assert (done.root / LOCK).read_text() == text[:100]
    finally:
        held.close()
    done.stages()
    assert (done.root / LOCK).read_text() == text


def test_mend_of_a_fresh_workspace(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert not is_suspect(project)
    mend(project)
    assert not (project / LOCK).exists()
    assert caplog.messages == []
