"""A new folder replaces an older one: the tests check what remains if the run is killed at any of its steps."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from base import console, replacement
from base.artifacts import whole_directory
from base.replacement import hidden_name, put_back, replace, sweep_leftovers

ROOT = Path(__file__).parents[2]
# Counts the calls that rename or delete, and kills the process before or after the n-th of them.
KILLED_RUN = """
import ctypes, os, pathlib, shutil, signal, sys
from base import replacement
from base.artifacts import whole_directory

target, moment, when, can_exchange = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4] == "exchange"
steps = 0
armed = False

def counted(step):
    def killed(*arguments, **options):
        global steps
        steps += armed
        if armed and steps == moment and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = step(*arguments, **options)
        if armed and steps == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return killed

pathlib.Path.rename = counted(pathlib.Path.rename)
os.unlink = counted(os.unlink)
replacement._exchange = counted(replacement._exchange) if can_exchange else lambda one, other: False
with whole_directory(pathlib.Path(target)) as folder:
    for name in ("a", "b", "c"):
        (folder / name).write_text("new")
    armed = True
print(steps)
"""


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def fill(folder: Path, text: str) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    for name in ("a", "b", "c"):
        (folder / name).write_text(text)
    return dict.fromkeys(("a", "b", "c"), text)


def run_killed(target: Path, moment: int, when: str, way: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", KILLED_RUN, str(target), str(moment), when, way]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


# With an exchange: the exchange and three deletions of files. With renames: three renames and three deletions.
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("way", "moment"), [*(("exchange", n) for n in range(1, 5)), *(("two renames", n) for n in range(1, 7))]
)
def test_a_run_killed_at_any_step_leaves_the_old_or_the_new_folder(
    tmp_path: Path, way: str, moment: int, when: str
) -> None:
    target = tmp_path / "out"
    old, new = fill(target, "old"), dict.fromkeys(("a", "b", "c"), "new")
    assert run_killed(target, moment, when, way).returncode == -signal.SIGKILL
    if way == "exchange":
        assert target.exists()  # whenever the run is killed
    put_back(target / "a")
    assert content(target) == (new if was_exchanged(way, moment, when) else old)
    with whole_directory(target) as folder:
        fill(folder, "newer")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert content(target) == dict.fromkeys(("a", "b", "c"), "newer")


def was_exchanged(way: str, moment: int, when: str) -> bool:
    """Return whether the new folder is at its path: after the exchange, or after the second rename."""
    done = moment if when == "after" else moment - 1
    return done >= (1 if way == "exchange" else 2)


@pytest.mark.parametrize(("way", "steps"), [("exchange", 4), ("two renames", 6)])
def test_the_steps_are_all_there_are(tmp_path: Path, way: str, steps: int) -> None:
    fill(tmp_path / "out", "old")
    ended = run_killed(tmp_path / "out", 99, "after", way)
    assert (ended.returncode, ended.stdout) == (0, f"{steps}\n")


def killed_between_the_renames(target: Path) -> None:
    fill(target, "old")
    assert run_killed(target, 1, "after", "two renames").returncode == -signal.SIGKILL
    assert not target.exists()


def test_what_a_killed_run_moved_aside_is_put_back_before_a_command_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / "out"
    for option in (["--previous", str(target)], [f"--images={target}/a"], ["--output", str(target)]):
        killed_between_the_renames(target)
        monkeypatch.setattr(sys, "argv", ["command", *option])
        with console.stage("reads"):
            assert set(content(target).values()) == {"old"}
        assert "out: a killed run had moved this folder aside; it was put back, whole" in caplog.text
        caplog.clear()


def test_a_whole_folder_is_never_swept_from_an_empty_place(tmp_path: Path) -> None:
    killed_between_the_renames(tmp_path / "out")
    sweep_leftovers(tmp_path / "out")
    assert set(content(tmp_path / "out").values()) == {"old"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_part_of_an_old_folder_is_never_put_back(tmp_path: Path) -> None:
    target = tmp_path / "out"
    fill(target, "old")
    run_killed(target, 2, "after", "two renames")  # both folders exist now, the old one under its hidden name
    [old] = [path for path in tmp_path.iterdir() if path != target]
    assert old.suffix == ".old"
    code = (
        f"import os, pathlib, signal\nfrom base import replacement\n"
        f"replacement.shutil.rmtree = lambda folder, **_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"replacement.sweep_leftovers(pathlib.Path({str(target)!r}))\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    (target / "a").unlink()
    for name in ("b", "c"):
        (target / name).unlink()
    target.rmdir()
    put_back(target)
    assert not target.exists()


def test_a_living_run_at_its_second_rename_is_waited_for(tmp_path: Path) -> None:
    target = tmp_path / "out"
    fill(hidden_name(target, "old"), "old")
    code = f"import os, time\ntime.sleep(0.2)\nos.mkdir({str(target)!r})\n"
    with subprocess.Popen([sys.executable, "-c", code]):
        put_back(target)
    assert content(target) == {}


def test_without_an_exchange_a_refused_rename_leaves_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, new = tmp_path / "out", tmp_path / ".out.new"
    old = fill(target, "old")
    monkeypatch.setattr(replacement, "_exchange", lambda one, other: False)
    with pytest.raises(FileNotFoundError):
        replace(target, new)
    assert content(target) == old
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_linux_exchanges_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = fill(tmp_path / "out", "old"), fill(tmp_path / ".new", "new")
    refuse = OSError(errno.EPERM, "no rename here")
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(refuse))
    replace(tmp_path / "out", tmp_path / ".new")
    assert (content(tmp_path / "out"), content(tmp_path / ".new")) == (new, old)
    assert not replacement._exchange(tmp_path / "out", tmp_path / "none")


@pytest.mark.parametrize("path", ["none/below", "file/below", "n" * 5_000, "logs/*.tsv", ""])
def test_a_path_of_which_nothing_was_moved_aside_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    put_back(Path(path))
    assert os.listdir() == ["file"]  # noqa: PTH208
