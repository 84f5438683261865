"""`python -m flows.dvc_command` writes dvc.lock as DVC does, byte for byte, and whole or not at all."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import dump_yaml, modify_yaml
from dvc_projects import DVC, new_project
from hypothesis import given, settings
from hypothesis import strategies as st

from flows import records
from flows.dvc_command import CtrlC, modify
from flows.stages import Workspace

QUICK = [sys.executable, "-m", "flows.dvc_command"]
# Commands, paths and parameters that YAML could write in several ways, or read as another value.
GRAPH = r"""
stages:
  words:
    matrix: {language: ["no", español, 中文, "1e3", "0x1F"]}
    cmd: ["echo '${item.language}' >> 'out ${item.language}'", "echo 'a: b # c' && echo \"it's\" && printf 'x\ty\n'"]
    params: [words, rates]
    outs: ["out ${item.language}"]
  long:
    cmd: >-
      echo one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
      > long.txt
    outs: [long.txt]
  lines:
    cmd: |
      echo first
      echo second > lines.txt
    outs: [lines.txt]
"""
PARAMS = """\
words: ["yes", "null", "", " padded ", "2026-11-22", "a\\nb", "~", "'", "very %s"]
rates: {low: 5e-4, high: 1.0e+20, none: null, whole: 7, on: true, empty: {}, text: "5e-4"}
"""


def write(root: Path) -> Path:
    root.mkdir(exist_ok=True)
    new_project(root)
    (root / "dvc.yaml").write_text(GRAPH, encoding="utf-8")
    (root / "params.yaml").write_text(PARAMS % ("long " * 40), encoding="utf-8")
    return root


@pytest.mark.slow
def test_a_graph_leaves_the_same_lock(project: Path, tmp_path: Path) -> None:
    twin = write(tmp_path / "twin")
    write(project)
    for params in (None, "words: [other]\nrates: {low: 0.25}\n"):
        for root, command in ((project, QUICK), (twin, DVC)):
            if params:
                (root / "params.yaml").write_text(params)
            subprocess.run([*command, "repro", "--quiet"], cwd=root, check=True)
        lock = (project / "dvc.lock").read_bytes()
        assert lock == (twin / "dvc.lock").read_bytes()
        assert lock.count(b"language") == 0
        assert "out 中文".encode() in lock
    assert subprocess.run([*DVC, "status", "--quiet"], cwd=project).returncode == 0


# For longer numbers with an exponent, DVC's own parser changes the last digit.
floats = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False).map(
    lambda number: float(f"{number:.9g}")
)
scalars = st.none() | st.booleans() | st.integers() | floats | st.text(max_size=90)
# Of few leaves: DVC's library takes a tenth of a second for a lock of many.
values = st.recursive(
    scalars, lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(), some, max_size=3), max_leaves=8
)
stages = st.dictionaries(
    st.text(min_size=1, max_size=20), st.dictionaries(st.text(min_size=1), values, max_size=3), max_size=3
)


def changed_both_ways(folder: Path, before: dict[str, Any], change: Callable[[Any], None]) -> list[bytes]:
    """Return a lock's bytes after a change of its stages, written by our command and by DVC itself."""
    written = []
    for modify_lock in (modify, modify_yaml):
        lock = folder / "dvc.lock"
        dump_yaml(lock, {"schema": "2.0", "stages": before})
        with modify_lock(lock) as content:
            change(content["stages"])
        written.append(lock.read_bytes())
    return written


@settings(max_examples=600)
@given(before=stages, added=stages)
def test_any_lock_is_changed_as_dvc_changes_it(
    tmp_path_factory: pytest.TempPathFactory, before: dict[str, Any], added: dict[str, Any]
) -> None:
    ours, dvcs = changed_both_ways(tmp_path_factory.getbasetemp(), before, lambda stages: stages.update(added))
    assert ours == dvcs


plain = st.text("ab1=.- '#,中", min_size=1, max_size=12).map(lambda text: f"train@{text}")
plain_records = st.fixed_dictionaries(
    {"cmd": st.sampled_from(["cp a b", "echo one two three four five six seven eight nine ten eleven twelve"])},
    optional={"params": st.dictionaries(st.sampled_from(["params.yaml", "other: x"]), st.integers() | floats)},
)


@given(
    before=st.dictionaries(plain, plain_records, min_size=1, max_size=6), added=st.dictionaries(plain, plain_records)
)
def test_a_stages_record_is_the_only_one_that_is_written_anew(
    tmp_path_factory: pytest.TempPathFactory, before: dict[str, Any], added: dict[str, Any]
) -> None:
    def change(stages: Any) -> None:
        is_ours = isinstance(stages, records.Records)
        if is_ours:
            assert set(stages) == set(before)
        for name, record in added.items():
            assert (stages.get(name, {}) != record) == (before.get(name, {}) != record)
            stages.update({name: record})
        if is_ours:
            untouched = [name for name, text in stages._texts.items() if text is not None]
            assert untouched == [name for name in before if name not in added]
        kinds.append(is_ours)

    kinds: list[bool] = []
    ours, dvcs = changed_both_ways(tmp_path_factory.getbasetemp(), before, change)
    assert ours == dvcs
    assert kinds == [True, False]


def test_comments_of_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text("stages:  # all\n  a:\n    cmd: 'true'\n")
    with modify(tmp_path / "dvc.yaml") as content:
        content["stages"]["b"] = {"cmd": "false"}
    assert (tmp_path / "dvc.yaml").read_text().startswith("stages:  # all\n  a:\n")


def test_an_error_leaves_the_lock_alone(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    dump_yaml(lock, {"schema": "2.0", "stages": {"a": {"cmd": "true"}}})
    before = lock.read_bytes()

    def break_off() -> None:
        with modify(lock) as content:
            content.clear()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert lock.read_bytes() == before


def test_ctrl_c_in_mid_write_waits_for_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # This holds too if no command ran before, as with `dvc commit` or a stage from DVC's cache.
    lock, dump = tmp_path / "dvc.lock", records.dumps_yaml

    def interrupted_dump(content: Any) -> str:
        signal.raise_signal(signal.SIGINT)
        return str(dump(content))

    def change() -> None:
        with modify(lock) as content:
            content["schema"] = "2.0"

    monkeypatch.setattr(records, "dumps_yaml", interrupted_dump)
    with pytest.raises(KeyboardInterrupt):
        change()
    assert lock.read_text() == "schema: '2.0'\n"


def test_a_lock_that_is_not_there_yet(tmp_path: Path) -> None:
    with modify(tmp_path / "dvc.lock") as content:
        content["schema"] = "2.0"
    assert (tmp_path / "dvc.lock").read_text() == "schema: '2.0'\n"


# DVC as it runs a stage in a flow, except that it pauses at one point: it prints "paused" and waits for a byte.
PAUSED = """
import json, os, sys
from pathlib import Path
import dvc.stage
from flows import dvc_command, records

pause_point = sys.argv[1]

def pause(where):
    if where == pause_point:
        print("paused", flush=True)
        os.read(0, 1)

def pause_before(owner, name, where):
    original = getattr(owner, name)
    def paused(*arguments, **options):
        pause(where)
        return original(*arguments, **options)
    setattr(owner, name, paused)

class SlowFile:
    def __init__(self, file):
        self.file = file
    def __enter__(self):
        return self
    def __exit__(self, *error):
        self.file.close()
    def __getattr__(self, name):
        return getattr(self.file, name)
    def write(self, text):
        self.file.write(text[:len(text) // 2])
        self.file.flush()
        pause("in the write")
        self.file.write(text[len(text) // 2:])

open_file = Path.open
def open_slowly(path, mode="r", **options):
    file = open_file(path, mode, **options)
    return SlowFile(file) if path == Path.cwd() / ".dvc.lock.partial" else file
Path.open = open_slowly

pause_before(json, "dump", "in the list of files in use")
pause_before(dvc.stage.PipelineStage, "save_outs", "before the record")
pause_before(os, "fsync", "before the rename")
pause_before(records, "_write_copy", "before the copy")
sys.exit(dvc_command.main(["repro", "--single-item", "b"]))
"""
PAUSE_POINTS = ["before the record", "in the write", "before the rename", "before the copy"]
STAGES = """\
stages:
  a: {cmd: echo a >> ran; cp seed.txt a.txt, deps: [seed.txt], outs: [a.txt]}
  b: {cmd: echo b >> ran; echo b > b.txt, outs: [b.txt]}
"""


@pytest.fixture
def half_done(project: Path) -> Path:
    """Make a project of two stages; the first has run, the second has no dependencies, so DVC doesn't cache it."""
    (project / "dvc.yaml").write_text(STAGES)
    (project / "seed.txt").write_text("1\n")
    subprocess.run([*QUICK, "repro", "--quiet", "--single-item", "a"], check=True)
    return project


def end_at(pause_point: str, *signals: signal.Signals) -> int:
    """Run stage b, send it signals while it pauses at a point, let it continue, and return its exit code."""
    process = subprocess.Popen(
        [sys.executable, "-c", PAUSED, pause_point], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert b"paused\n" in iter(process.stdout.readline, b"")
    for number in signals:
        process.send_signal(number)
        time.sleep(0.3)  # two signals at once would arrive as one
    process.communicate(b"\n" if process.poll() is None else None, timeout=180)
    return process.returncode


def runs_after_the_next(root: Path) -> list[str]:
    """Run everything once more, check that no temporary file is left, and return all stages that have run so far."""
    subprocess.run([*QUICK, "repro", "--quiet"], check=True)
    assert Workspace(root).stale() == {}
    assert (root / "dvc.lock").read_bytes() == (root / ".state/dvc.lock.kept").read_bytes()
    assert [path.name for path in root.rglob("*.partial")] == []
    return (root / "ran").read_text().split()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "pause_point"),
    [*((signal.SIGKILL, pause_point) for pause_point in PAUSE_POINTS), (signal.SIGTERM, "in the write")],
)
def test_a_killed_stage_leaves_the_old_lock_or_the_new_one(
    half_done: Path, how: signal.Signals, pause_point: str
) -> None:
    old = (half_done / "dvc.lock").read_text()
    assert end_at(pause_point, how) == -how
    is_recorded = pause_point == "before the copy"
    lock = (half_done / "dvc.lock").read_text()
    assert lock.startswith(old)
    assert (lock != old) == is_recorded
    assert runs_after_the_next(half_done) == (["a", "b"] if is_recorded else ["a", "b", "b"])


@pytest.mark.slow
@pytest.mark.parametrize("pause_point", PAUSE_POINTS)
def test_ctrl_c_waits_until_the_record_is_written(half_done: Path, pause_point: str) -> None:
    assert end_at(pause_point, signal.SIGINT) == 252  # DVC's exit code for "interrupted by the user"
    assert runs_after_the_next(half_done) == ["a", "b"]


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait(half_done: Path) -> None:
    old = (half_done / "dvc.lock").read_text()
    assert end_at("before the record", signal.SIGINT, signal.SIGINT) == 252
    assert (half_done / "dvc.lock").read_text() == old


@pytest.mark.slow
def test_a_lock_that_plain_dvc_cuts_while_a_stage_runs_gets_its_records_back(half_done: Path) -> None:
    (half_done / "cut.py").write_text("open('dvc.lock', 'r+').truncate(40)")
    (half_done / "dvc.yaml").write_text(STAGES.replace("echo b >> ran;", "echo b >> ran; python cut.py;"))
    assert runs_after_the_next(half_done) == ["a", "b"]


def test_ctrl_c_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        ctrl_c = CtrlC()
        ctrl_c.hold()
        signal.raise_signal(signal.SIGINT)
        ctrl_c.let_go()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_waits_once() -> None:
    ctrl_c = CtrlC()
    ctrl_c.hold()
    ctrl_c.hold()
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        ctrl_c.let_go()
    ctrl_c.let_go()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow
def test_a_kill_leaves_the_list_of_files_in_use_whole(half_done: Path) -> None:
    # DVC refuses to run with an incomplete list.
    assert end_at("in the list of files in use", signal.SIGKILL) == -signal.SIGKILL
    assert json.loads((half_done / ".dvc/tmp/rwlock").read_text()) == {}  # the content that the previous stage has left
    assert subprocess.run([*DVC, "repro", "--quiet"]).returncode == 0
