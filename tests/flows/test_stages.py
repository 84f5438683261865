import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import zc.lockfile
from dvc_projects import DVC, is_alive, new_project
from ruamel.yaml import YAML

from base.console import UserError
from flows.graph import address_of, name_of
from flows.stages import Stage, StageFailed, Stopped, Workspace
from flows.studies import studies

GRAPH = """\
stages:
  draw: {cmd: cp seed.txt drawn.txt, deps: [seed.txt], outs: [drawn.txt]}
  train:
    matrix: {method: [A, B]}
    meta: {device: gpu}
    cmd: sort drawn.txt > ${item.method}.txt
    deps: [drawn.txt]
    outs: ["${item.method}.txt"]
  table:
    cmd: echo '{"acc":0.25}' > m.json; cat A.txt B.txt > table.txt
    deps: [A.txt, B.txt]
    outs: [table.txt]
    metrics: [m.json]
  other: {cmd: echo other > other.txt, outs: [other.txt]}
"""


# The graph of a system; the root has GRAPH.
SYSTEM = """\
vars: ["../../params.yaml:x"]
stages:
  train:
    wdir: ../..
    matrix: {run: "${x.runs}", seed: [0]}
    cmd: echo ${item.run} >> trained; mkdir -p models; cp drawn.txt models/${item.run}
    deps: [drawn.txt]
    outs: ["models/${item.run}"]
  evaluate:
    wdir: ../..
    matrix: {run: "${x.runs}", seed: [0]}
    cmd: mkdir -p rated; echo '{"acc":0.5}' > rated/${item.run}.json
    deps: ["models/${item.run}"]
    metrics: ["rated/${item.run}.json"]
  draw: {wdir: ../.., cmd: cp drawn.txt drawn-again.txt, deps: [drawn.txt], outs: [drawn-again.txt]}
"""


def write(root: Path, graph: str) -> Workspace:
    (root / "dvc.yaml").write_text(graph)
    (root / "seed.txt").write_text("b\na\n")
    return Workspace(root)


def write_with_system(root: Path) -> Workspace:
    """Write the graph, and a system `x` whose stages depend on the root's outputs."""
    (root / "stages/x").mkdir(parents=True)
    (root / "stages/x/dvc.yaml").write_text(SYSTEM)
    (root / "params.yaml").write_text("x: {runs: [A, tau=0.4]}\n")
    return write(root, GRAPH)


def test_graph_has_every_stage_with_what_it_waits_for(project: Path) -> None:
    stages = write(project, GRAPH).stages()
    draw, train = frozenset({"draw"}), frozenset({"train@A", "train@B"})
    assert set(stages.values()) == {
        Stage("draw", frozenset(), False),
        Stage("train@A", draw, True),
        Stage("train@B", draw, True),
        Stage("table", train, False),
        Stage("other", frozenset(), False),
    }
    order = list(stages)
    assert all(order.index(upstream) < order.index(name) for name in order for upstream in stages[name].upstream)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (["train@B"], {"draw", "train@B"}),
        (["train"], {"draw", "train@A", "train@B"}),
        (["table.txt"], {"draw", "train@A", "train@B", "table"}),
        (["other", "draw"], {"other", "draw"}),
    ],
)
def test_targets_bring_what_they_need(project: Path, targets: list[str], expected: set[str]) -> None:
    assert set(write(project, GRAPH).stages(targets)) == expected


@pytest.mark.parametrize(
    ("graph", "targets", "message"),
    [
        (GRAPH, ["tabel"], "tabel"),
        ("stages: {a: {cmd: 'true', does: 1}}", [], "validation failed .`dvc stage list` shows where"),
        ("stages: {a: {cmd: 'echo ${nowhere}'}}", [], "nowhere"),
    ],
)
def test_a_broken_graph_or_target_is_the_users_to_mend(
    project: Path, graph: str, targets: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        write(project, graph).stages(targets)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("ingest@toy", "ingest@toy"),
        ("mtmdd:train@TDL-0", "stages/mtmdd/dvc.yaml:train@TDL-0"),
        ("mtmdd:train@one_shot=TDL-source-0.4-0", "stages/mtmdd/dvc.yaml:train@one_shot=TDL-source-0.4-0"),
        ("cleaning:score", "stages/cleaning/dvc.yaml:score"),
        ("elsewhere/x/dvc.yaml:draw", "elsewhere/x/dvc.yaml:draw"),  # not a system's
    ],
)
def test_names_of_stages_are_dvcs_addresses(name: str, address: str) -> None:
    assert address_of(name) == address
    assert name_of(address) == name


def test_systems_stages_have_their_systems_name(project: Path) -> None:
    workspace = write_with_system(project)
    stages = workspace.stages()
    own = {f"x:{step}@{run}-0" for step in ("train", "evaluate") for run in ("A", "tau=0.4")} | {"x:draw"}
    assert set(stages) == own | {"draw", "train@A", "train@B", "table", "other"}
    assert stages["x:train@A-0"].upstream == {"draw"}
    assert stages["x:evaluate@tau=0.4-0"].upstream == {"x:train@tau=0.4-0"}
    matrices = workspace.matrices()
    assert list(matrices) == ["train", "x:train", "x:evaluate"]
    assert matrices["x:evaluate"].points["x:evaluate@tau=0.4-0"] == {"run": "tau=0.4", "seed": 0}
    assert matrices["x:evaluate"].where == {"run": "${x.runs}", "seed": "[0]"}
    (study,) = studies(matrices).values()
    assert study.name == "x"
    assert list(study.select(["A"])) == ["x:evaluate@A-0"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("x:train", {"draw", "x:train@A-0", "x:train@tau=0.4-0"}),
        ("x:evaluate@tau=0.4-0", {"draw", "x:train@tau=0.4-0", "x:evaluate@tau=0.4-0"}),
        ("stages/x/dvc.yaml:train@A-0", {"draw", "x:train@A-0"}),  # as `dvc repro` writes it
        ("x:draw", {"draw", "x:draw"}),
        ("draw", {"draw"}),
        ("models/tau=0.4", {"draw", "x:train@tau=0.4-0"}),
        ("drawn-again.txt", {"draw", "x:draw"}),
    ],
)
def test_targets_of_systems(project: Path, target: str, expected: set[str]) -> None:
    assert set(write_with_system(project).stages([target])) == expected


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("x:trian", r"'trian' not found inside 'stages/x/dvc\.yaml'"),
        ("x:train@B-0", r"'train@B-0' not found inside 'stages/x/dvc\.yaml'"),
        ("y:train", r"stages/y/dvc\.yaml' does not exist"),
        ("evaluate", r"evaluate"),
    ],
)
def test_unknown_stages_of_systems(project: Path, target: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        write_with_system(project).stages([target])


def test_a_systems_stages_run_and_go_stale_like_the_roots(project: Path) -> None:
    workspace = write_with_system(project)
    for name in workspace.stages():
        workspace.run(name, {}, lambda line: None)
        assert workspace.is_up_to_date(name)
    assert workspace.stale() == {}
    assert (project / "trained").read_text().split() == ["A", "tau=0.4"]
    assert set(YAML(typ="safe").load(project / "stages/x/dvc.lock")["stages"]) == {
        "train@A-0", "train@tau=0.4-0", "evaluate@A-0", "evaluate@tau=0.4-0", "draw",
    }  # fmt: skip
    assert workspace.metrics_of(["x:evaluate@tau=0.4-0", "x:evaluate@B-0"]) == {"x:evaluate@tau=0.4-0": {"acc": 0.5}}
    assert workspace.writer_of(Path("models/A/deeper")) == "x:train@A-0"
    (project / "models/A").write_text("changed\n")
    assert workspace.stale() == {"x:train@A-0": True, "x:evaluate@A-0": False}
    assert workspace.is_up_to_date("x:train@tau=0.4-0")
    (project / "seed.txt").write_text("c\n")
    assert {name for name, _ in workspace.stale().items() if "@" not in name} == {"draw"}


def test_run_leaves_what_dvc_repro_leaves_and_early_cut_off_holds(project: Path, tmp_path: Path) -> None:
    workspace = write(project, GRAPH)
    lines: list[str] = []
    assert workspace.stale() == dict.fromkeys(workspace.stages(), True)
    for name in workspace.stages():
        assert not workspace.is_up_to_date(name)
        workspace.run(name, {}, lines.append)
        assert workspace.is_up_to_date(name)
    assert "> cp seed.txt drawn.txt" in lines
    assert workspace.metrics() == {"m.json": {"acc": 0.25}}
    twin = tmp_path / "twin"
    twin.mkdir()
    new_project(twin)
    write(twin, GRAPH)
    subprocess.run([*DVC, "repro", "--quiet"], cwd=twin, check=True)

    def lock(root: Path) -> object:
        return YAML(typ="safe").load(root / "dvc.lock")

    assert lock(project) == lock(twin)
    # Another seed with the same sorted rows makes draw and train stale, but not table.
    (project / "seed.txt").write_text("a\nb\n")
    assert workspace.stale() == {"draw": False}
    workspace.run("draw", {}, lines.append)
    assert workspace.stale() == {"train@A": False, "train@B": False}
    workspace.run("train@A", {}, lines.append)
    workspace.run("train@B", {}, lines.append)
    assert workspace.stale() == {}
    (project / "drawn.txt").unlink()  # train is up to date again once draw has run
    assert workspace.stale() == {"draw": True, "train@A": False, "train@B": False}
    workspace.run("draw", {}, lines.append)
    assert workspace.stale() == {}


def test_a_failure_tells_stage_exit_code_and_tail_and_is_not_tried_again(project: Path) -> None:
    # The stage prints DVC's lock error, but fails by itself; it must not be repeated.
    workspace = write(
        project, "stages: {bad: {cmd: 'echo x >> tries; echo \"ERROR: Unable to acquire lock\"; exit 7', outs: [o]}}"
    )
    lines: list[str] = []
    with pytest.raises(StageFailed, match=r"stage bad failed with exit code 7") as error:
        workspace.run("bad", {}, lines.append)
    assert error.value.exit_code == 7
    assert error.value.tail[-1].endswith("exited with 7")
    assert (project / "tries").read_text() == "x\n"


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        ("stages: {a: {cmd: cp nowhere.txt o, deps: [nowhere.txt], outs: [o]}}", "nowhere.txt"),
        ("stages: {a: {cmd: 'true', outs: [o]}}", "output 'o' does not exist"),
    ],
)
def test_what_dvc_itself_refuses_is_not_tried_again(
    project: Path, monkeypatch: pytest.MonkeyPatch, graph: str, reason: str
) -> None:
    # Only DVC's lock error is a reason to repeat a stage.
    monkeypatch.setattr("flows.stages.LOCK_PAUSES_S", (0, 0))
    lines: list[str] = []
    with pytest.raises(StageFailed, match="stage a failed with exit code 255") as error:
        write(project, graph).run("a", {}, lines.append)
    assert reason in error.value.tail[-1]
    assert sum(line.startswith("ERROR: ") for line in lines) == 1


def test_environment_reaches_the_stage(project: Path) -> None:
    workspace = write(project, "stages: {a: {cmd: 'echo $CUDA_VISIBLE_DEVICES > o', outs: [o]}}")
    workspace.run("a", {"CUDA_VISIBLE_DEVICES": "3"}, lambda line: None)
    assert (project / "o").read_text() == "3\n"


def test_progress_bars_come_as_lines_while_the_stage_runs(project: Path) -> None:
    # The stage ends only after one of its lines was seen.
    (project / "stage.py").write_text(
        "import pathlib, sys, time\n"
        "sys.stderr.write('\\r10%\\r20%\\r30%')\n"
        "for _ in range(1500):\n"
        "    if pathlib.Path('seen').exists():\n"
        "        sys.exit(0)\n"
        "    time.sleep(0.02)\n"
        "sys.exit('nobody has seen 20%')\n"
    )
    workspace = write(project, "stages: {a: {cmd: python stage.py && touch o, outs: [o]}}")

    def say(line: str) -> None:
        if line == "20%":
            (project / "seen").touch()

    workspace.run("a", {}, say)
    assert (project / "o").exists()


def ends(pid: int) -> bool:
    """Return True if a process ends within ten seconds; a killed process may need a moment."""
    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_alive(pid)


def test_what_a_stage_leaves_behind_is_killed_and_its_lines_are_all_there(project: Path) -> None:
    workspace = write(project, "stages: {a: {cmd: 'sleep 300 & echo $! > sleeper; seq 1000; touch o', outs: [o]}}")
    lines: list[str] = []
    started = time.monotonic()
    workspace.run("a", {}, lines.append)
    assert time.monotonic() - started < 200  # does not wait until the sleep has ended
    assert [line for line in lines if line.isdigit()] == [str(n) for n in range(1, 1001)]
    assert workspace.is_up_to_date("a")
    assert ends(int((project / "sleeper").read_text()))


def test_a_stage_does_not_outlive_a_killed_dvc(project: Path) -> None:
    workspace = write(project, "stages: {a: {cmd: 'echo $$ > pid; echo $PPID; sleep 300; touch o', outs: [o]}}")

    def say(line: str) -> None:
        if line.isdigit():
            os.kill(int(line), signal.SIGKILL)

    started = time.monotonic()
    with pytest.raises(StageFailed, match="stage a failed with exit code -9"):
        workspace.run("a", {}, say)
    assert time.monotonic() - started < 200  # does not wait until the sleep has ended
    assert ends(int((project / "pid").read_text()))


def test_a_stage_ends_when_its_lines_cannot_be_told(project: Path) -> None:
    workspace = write(project, "stages: {a: {cmd: 'echo $$ > pid; echo here; sleep 300; touch o', outs: [o]}}")

    def say(line: str) -> None:
        if line == "here":
            raise RuntimeError("nobody listens")

    with pytest.raises(RuntimeError, match="nobody listens"):
        workspace.run("a", {}, say)
    assert ends(int((project / "pid").read_text()))


def test_waiting_for_dvcs_lock_is_told_and_ends_in_its_own_words(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = write(project, GRAPH)
    monkeypatch.setattr("flows.stages.LOCK_PAUSES_S", (0,))
    lock = zc.lockfile.LockFile(str(project / ".dvc/tmp/lock"))
    try:
        with pytest.raises(UserError, match=r"project: another dvc or flow is at work in this workspace"):
            workspace.stale()
    finally:
        lock.close()
    assert [(record.levelname, record.message) for record in caplog.records if record.name == "clicksight"] == [
        ("WARNING", "DVC's lock is taken by another process, trying again in 0 s")
    ]


@pytest.mark.parametrize("lock", ["repository", "path"])
def test_locks_of_others_are_waited_for(project: Path, lock: str) -> None:
    workspace = write(project, "stages: {a: {cmd: 'echo done > o', outs: [o]}}")
    hold = project / "hold.py"
    if lock == "repository":
        hold.write_text(
            "import sys, zc.lockfile\nlock = zc.lockfile.LockFile('.dvc/tmp/lock')\n"
            "print('held', flush=True)\nsys.stdin.read()\n"
        )
    else:  # as `dvc repro` holds it while it runs the same stage
        hold.write_text("import sys\nprint('held', flush=True)\nsys.stdin.read()\n")
    holder = subprocess.Popen(
        [sys.executable, str(hold)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=project
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    if lock == "path":
        info = {"pid": holder.pid, "cmd": "dvc repro a"}
        (project / ".dvc/tmp/rwlock").write_text(json.dumps({"write": {str(project / "o"): info}, "read": {}}))
    lines: list[str] = []
    thread = threading.Thread(daemon=True, target=workspace.run, args=("a", {}, lines.append))
    thread.start()
    if lock == "path":
        while not any("trying again" in line for line in lines):
            assert thread.is_alive()
            time.sleep(0.05)
    else:
        time.sleep(2)
    assert not (project / "o").exists()
    holder.communicate("")
    thread.join(timeout=180)
    assert (project / "o").read_text() == "done\n"


def test_stop_ends_the_whole_tree_and_nothing_starts_after_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "stage.py").write_text(
        "import os, pathlib, signal, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "pathlib.Path('pid').write_text(str(os.getpid()))\n"
        "time.sleep(300)\n"
    )
    monkeypatch.setattr("flows.processes.GRACE_S", 0.5)
    workspace = write(project, "stages: {a: {cmd: 'sleep 301 & echo $! > sleeper; python stage.py', outs: [o]}}")
    caught: list[BaseException] = []

    def run() -> None:
        try:
            workspace.run("a", {}, lambda line: None)
        except Stopped as error:
            caught.append(error)

    thread = threading.Thread(daemon=True, target=run)
    thread.start()
    while not (project / "pid").exists() or not (project / "pid").read_text():
        assert thread.is_alive()
        time.sleep(0.05)
    pids = [int((project / name).read_text()) for name in ("pid", "sleeper")]
    assert all(map(is_alive, pids))
    workspace.stop()
    thread.join(timeout=180)
    assert [str(error) for error in caught] == ["stage a was stopped"]
    assert not any(map(is_alive, pids))
    with pytest.raises(Stopped, match="stage a was not started"):
        workspace.run("a", {}, lambda line: None)


def test_a_workspace_has_one_holder_at_a_time(project: Path) -> None:
    first, second = Workspace(project), Workspace(project)
    with first.hold({"name": "nightly", "run": "1"}) as killed:
        assert killed == {}
        with (
            pytest.raises(UserError, match=rf"flow run 'nightly' \(process {os.getpid()}, since 20.*\) is at work"),
            second.hold({"name": "mine"}),
        ):
            pass
    with second.hold({"name": "mine"}) as killed:
        assert killed == {}


def test_a_killed_holder_is_told_of_once_its_stages_have_ended(project: Path) -> None:
    holder = (
        "import pathlib; from flows.stages import Workspace; w = Workspace(pathlib.Path.cwd())\n"
        "with w.hold({'name': 'nightly', 'run': '7'}):\n"
        "    w.processes.run(['sh', '-c', 'trap : INT; echo $$ > pid; while :; do sleep 0.1; done'], {}, print)"
    )
    process = subprocess.Popen([sys.executable, "-c", holder])
    while not (project / "pid").exists() or not (project / "pid").read_text():
        assert process.poll() is None
        time.sleep(0.05)
    stage = int((project / "pid").read_text())
    process.kill()
    process.wait()
    with Workspace(project).hold({"name": "next"}) as killed:
        assert not is_alive(stage)
        assert (killed["name"], killed["run"], killed["pid"]) == ("nightly", "7", str(process.pid))
