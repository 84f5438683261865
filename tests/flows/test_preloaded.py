import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dvc_projects import ROOT, is_alive, new_project
from served import until

from flows.preloaded import Preloaded, is_like, words_of
from flows.processes import Processes
from flows.stages import StageFailed, Workspace

LIBRARY = ("colorsys",)  # stands for the large ones: no module of the tests imports it
NOW = {"PYTEST_CURRENT_TEST": ""}  # pytest changes it between a fixture and its test
ABOUT = """
import json, os, sys
sys.stdout.write(json.dumps({
    "arguments": sys.argv, "name": __name__, "module": __spec__.name, "folder": sys.path[0],
    "files": sorted(os.readlink(f"/proc/self/fd/{h}").partition(":")[0] for h in (0, 1, 2)),
    "handles": len(os.listdir("/proc/self/fd")) - 1,
    "threads": len(os.listdir("/proc/self/task")), "session": os.getsid(0) != os.getpid(),
    "inherited": [m for m in sys.modules if m.startswith(("flows.", "base."))] if "dvc" not in sys.argv else [],
    "preloaded": "colorsys" in sys.modules, "variable": os.environ.get("OF_THE_STAGE"),
}) + "\\n")
"""
WAITS = """
import os, pathlib, subprocess, time
far = subprocess.Popen(["sleep", "300"], start_new_session=True)
pathlib.Path("pids").write_text(f"{os.getpid()} {far.pid}")
try:
    time.sleep(300)
except KeyboardInterrupt:
    time.sleep(0.2)
    pathlib.Path("tidied").touch()
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with modules to run, in which the project's own ones are found too."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "about.py").write_text(ABOUT)
    (tmp_path / "waits.py").write_text(WAITS)
    (tmp_path / "ends.py").write_text(
        "import os, sys\nhow = sys.argv[1]\n"
        "if how == 'signal': os.kill(os.getpid(), 11)\n"
        "if how == 'interrupt': raise KeyboardInterrupt\n"
        "if how == 'error': 1 / 0\n"
        "sys.exit(int(how) if how.isdecimal() else how)\n"
    )
    return tmp_path


@pytest.fixture
def processes(modules: Path) -> Iterator[Processes]:
    """Yield processes that are forked from one that has imported LIBRARY."""
    processes = Processes(modules)
    use(processes, {})
    yield processes
    processes.stop()


def use(processes: Processes, environment: dict[str, str]) -> Preloaded:
    """Have a small preloaded process, and wait until it is ready."""
    preloaded = Preloaded(processes.root, processes._environment(environment | NOW), LIBRARY)
    processes._preloaded = preloaded
    assert preloaded.wait_until_ready(180)
    return preloaded


def run(processes: Processes, *words: str, **environment: str) -> tuple[int, list[str]]:
    code, lines = processes.run([sys.executable, "-m", *words], environment | NOW, lambda line: None)
    return code, list(lines)


def pids(folder: Path) -> list[int]:
    file = folder / "pids"
    return [int(pid) for pid in until(lambda: file.exists() and file.read_text().split(), pause=0.02)]


def test_a_module_sees_what_it_would_see_in_a_process_of_its_own(processes: Processes) -> None:
    code, lines = run(processes, "about", "a b", "--c")
    assert code == 0
    forked = json.loads(lines[-1])
    preloaded, processes._preloaded = processes._preloaded, None
    _, lines = run(processes, "about", "a b", "--c")
    processes._preloaded = preloaded
    own = json.loads(lines[-1])
    assert (forked.pop("preloaded"), own.pop("preloaded")) == (True, False)
    # A module that flows run themselves; a stage's module inherits none (below).
    assert forked.pop("inherited")
    assert not own.pop("inherited")
    assert forked == own
    assert own["arguments"][1:] == ["a b", "--c"]


@pytest.mark.parametrize("how", ["0", "3", "signal", "interrupt", "error", "a message"])
def test_it_ends_as_in_a_process_of_its_own(processes: Processes, how: str) -> None:
    forked = run(processes, "ends", how)
    preloaded, processes._preloaded = processes._preloaded, None
    own = run(processes, "ends", how)
    processes._preloaded = preloaded
    assert forked[0] == own[0]
    assert forked[1][-1:] == own[1][-1:]


def test_other_variables_at_the_start_make_a_process_of_its_own(processes: Processes) -> None:
    for variable, preloaded in (("OMP_NUM_THREADS", False), ("DVC_STAGE", True)):
        _, lines = run(processes, "about", **{variable: "7"})
        assert json.loads(lines[-1])["preloaded"] is preloaded
    assert is_like({"A": "1", "DVC_STAGE": "x"}, {"A": "1"})
    assert not is_like({"A": "1"}, {"A": "1", "CUDA_VISIBLE_DEVICES": ""})


def test_many_at_once_do_not_mix(processes: Processes) -> None:
    (processes.root / "echo.py").write_text(
        "import sys, time\ntime.sleep(0.1)\nprint(sys.argv[1])\nsys.exit(int(sys.argv[1]))\n"
    )
    found: dict[int, Any] = {}
    threads = [
        threading.Thread(target=lambda number=number: found.update({number: run(processes, "echo", str(number))}))
        for number in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: (number, [str(number)]) for number in range(12)}


def test_stopping_ends_the_whole_tree_and_leaves_time_to_tidy_up(processes: Processes, modules: Path) -> None:
    thread = threading.Thread(target=run, args=[processes, "waits"])
    thread.start()
    alive = pids(modules)
    processes.stop()
    thread.join(30)
    assert not any(map(is_alive, alive))
    assert (modules / "tidied").exists()


def test_a_killed_flow_takes_everything_with_it(modules: Path) -> None:
    flow = (
        "import pathlib, sys; sys.path.append(sys.argv[1]); from test_preloaded import *\n"
        "processes = Processes(pathlib.Path.cwd()); preloaded = use(processes, {})\n"
        "pathlib.Path('preloaded').write_text(str(preloaded._process.pid)); run(processes, 'waits')"
    )
    process = subprocess.Popen([sys.executable, "-c", flow, str(Path(__file__).parent)], cwd=modules)
    alive = [*pids(modules), int((modules / "preloaded").read_text())]
    assert all(map(is_alive, alive))
    process.kill()
    process.wait()
    until(lambda: not any(map(is_alive, alive)), seconds=30)


def test_a_killed_preloaded_process_fails_what_runs_and_no_more(processes: Processes, modules: Path) -> None:
    found: list[tuple[int, list[str]]] = []
    thread = threading.Thread(target=lambda: found.append(run(processes, "waits")))
    thread.start()
    alive = pids(modules)
    assert processes._preloaded is not None
    processes._preloaded._process.kill()
    processes._preloaded._process.wait()
    os.kill(alive[0], signal.SIGKILL)  # else it would sleep on, and its guard wait for it
    thread.join(30)
    assert found == [(-signal.SIGKILL, [])]
    code, lines = run(processes, "about")
    assert (code, json.loads(lines[-1])["preloaded"]) == (0, False)


def test_the_guard_alone_holds_the_flows_lock(processes: Processes, modules: Path) -> None:
    with (modules / "lock").open("w") as lock:
        assert processes._preloaded is not None
        command = processes._preloaded.start(["waits"], processes._environment(NOW), [lock.fileno()], 0.2)
        assert command is not None
        process = pids(modules)[0]
        guard = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        files = {pid: [str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()] for pid in (process, guard)}
    assert str(modules / "lock") in files[guard]
    assert str(modules / "lock") not in files[process]
    command.stdin.close()
    command.wait()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("python -m a.b --c d/e=0.5 {f.g}/{h}.json", ["a.b", "--c", "d/e=0.5", "{f.g}/{h}.json"]),
        ("python -m a 'b  c; $(d)' 'e'f ", ["a", "b  c; $(d)", "ef"]),
        ("python -m a {b,c}", None),
        ("python -m a {1..3}", None),
        ("python -m a *.csv", None),
        ("python -m a ~/b", None),
        ("python -m a $HOME", None),
        ("python -m a b > c", None),
        ("python -m a b; c", None),
        ("python -m a b && c", None),
        ("python -m a\nb", None),
        ('python -m a "b"', None),
        ("python -m a 'b'\\''c'", None),
        ("python3 -m a", None),
        ("A=1 python -m a", None),
        ("python a.py", None),
    ],
)  # fmt: skip
def test_only_plain_commands_do_without_a_shell(command: str, words: list[str] | None) -> None:
    assert words_of(command) == words
    if words is not None:  # bash understands the same
        printed = command.replace("python -m", "printf '%s\\n'", 1)
        assert subprocess.check_output(["bash", "-c", printed], text=True).splitlines() == words


GRAPH = """\
stages:
  made: {cmd: python -m about dvc > about.txt, outs: [about.txt]}
  plain: {cmd: python -m writes plain.txt, deps: [writes.py], outs: [plain.txt]}
  fails: {cmd: python -m ends 7, outs: [none.txt]}
"""


@pytest.fixture
def workspace(modules: Path) -> Iterator[Workspace]:
    new_project(modules, has_database=False)
    (modules / "dvc.yaml").write_text(GRAPH)
    (modules / "writes.py").write_text("raise RuntimeError('an older version')")
    workspace = Workspace(modules)
    use(workspace.processes, {})
    yield workspace
    workspace.stop()


def test_a_stage_runs_in_the_fork_with_the_code_of_its_start(workspace: Workspace, modules: Path) -> None:
    (modules / "writes.py").write_text(f"import sys\n{ABOUT}\nopen(sys.argv[1], 'w').write('new')")
    lines: list[str] = []
    workspace.run("plain", NOW, lines.append)
    assert (modules / "plain.txt").read_text() == "new"
    about = json.loads(next(line for line in lines if line.startswith("{")))
    assert about["preloaded"]
    assert about["inherited"] == []
    assert (about["threads"], about["handles"]) == (1, 3)
    workspace.run("plain", NOW, lines.append)
    assert "didn't change" in lines[-1] or "up to date" in lines[-1]


def test_a_stage_that_needs_a_shell_gets_one(workspace: Workspace, modules: Path) -> None:
    workspace.run("made", NOW, print)
    assert json.loads((modules / "about.txt").read_text())["preloaded"] is False


def test_a_failed_stage_says_its_exit_code(workspace: Workspace) -> None:
    with pytest.raises(StageFailed, match="exit code 7"):
        workspace.run("fails", NOW, print)
