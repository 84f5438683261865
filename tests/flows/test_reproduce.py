import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dvc_projects import DVC, is_alive
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from served import Server

from flows.reproduce import main, reproduce
from flows.stages import Workspace

# left and right each wait until the other has begun, so they end only if they run at once.
GRAPH = """\
stages:
  first: {cmd: cp seed.txt first.txt, deps: [seed.txt], outs: [first.txt]}
  side:
    matrix: {me: [left, right]}
    cmd: touch began-${item.me}; timeout 180 sh -c 'until [ -e began-left -a -e began-right ]; do sleep 0.1; done'; cp first.txt ${item.me}.txt
    deps: [first.txt]
    outs: ["${item.me}.txt"]
  joined: {cmd: 'cat left.txt right.txt > joined.txt; echo "{\\"target\\": {\\"accuracy\\": 0.5}}" > metrics.json', deps: [left.txt, right.txt], outs: [joined.txt], metrics: [metrics.json]}
  broken: {cmd: 'echo so it goes; test -e mended && touch broken.txt', deps: [first.txt], outs: [broken.txt]}
  after: {cmd: cp broken.txt after.txt, deps: [broken.txt], outs: [after.txt]}
"""  # noqa: E501
# mkdir fails if another stage holds the same GPU; the first four end only when all four have begun.
GPU_GRAPH = """\
stages:
  train:
    matrix: {n: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]}
    meta: {device: gpu}
    cmd: >-
      set -e; mkdir gpu-$CUDA_VISIBLE_DEVICES; began=$(date +%s%N); touch began-$CUDA_VISIBLE_DEVICES;
      timeout 180 sh -c 'until [ $(ls -d began-? | wc -l) = 4 ]; do sleep 0.1; done';
      rmdir gpu-$CUDA_VISIBLE_DEVICES; echo $CUDA_VISIBLE_DEVICES $began $(date +%s%N) > on-${item.n}
    outs: ["on-${item.n}"]
  plain: {cmd: 'echo none:$CUDA_VISIBLE_DEVICES > plain', outs: [plain]}
"""


def artifact(api: str, key: str) -> str:
    """Return the newest artifact of a key, as the page shows it."""
    return str(Server(api).artifact(key))


def outcomes(api: str) -> dict[str, str]:
    return {row["stage"]: row["outcome"] for row in json.loads(artifact(api, "stages"))}


@pytest.mark.slow
def test_flow_runs_the_graph_and_other_branches_go_on(prefect_server: str, project: Path) -> None:
    (project / "dvc.yaml").write_text(GRAPH)
    (project / "seed.txt").write_text("1\n")
    state = reproduce([], 2, return_state=True)
    assert state.is_failed()
    assert state.message is not None
    assert "stage broken failed with exit code 1; its last lines:" in state.message
    assert "so it goes" in state.message
    assert state.message.endswith("held back: after")
    assert outcomes(prefect_server) == {
        "first": "Completed", "side@left": "Completed", "side@right": "Completed", "joined": "Completed",
        "broken": "Failed", "after": "Held back",
    }  # fmt: skip
    assert (project / "joined.txt").read_text() == "1\n1\n"
    assert json.loads(artifact(prefect_server, "metrics")) == [{"file": "metrics.json", "target.accuracy": 0.5}]
    # When broken is mended, only the missing stages run; the other stages are cached.
    (project / "mended").touch()
    (project / "data/shapes/report").mkdir(parents=True)
    (project / "data/shapes/report/Table_VIII.md").write_text("# the tables\n")
    state = reproduce([], None, return_state=True)
    assert state.is_completed()
    assert state.message == "6 stages: 2 ran, 4 were up to date"
    assert outcomes(prefect_server) == {
        "first": "Cached", "side@left": "Cached", "side@right": "Cached", "joined": "Cached",
        "broken": "Completed", "after": "Completed",
    }  # fmt: skip
    assert artifact(prefect_server, "report-shapes-table-viii") == "# the tables\n"
    output = subprocess.run([*DVC, "status"], capture_output=True, text=True, check=True)
    assert "up to date" in output.stdout


@pytest.mark.slow
def test_twelve_trainings_never_share_one_of_four_gpus(
    prefect_server: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,7")
    (project / "dvc.yaml").write_text(GPU_GRAPH)
    state = reproduce([], 1, return_state=True)
    assert state.is_completed(), state.message
    held: dict[str, list[tuple[int, int]]] = {}
    for n in range(1, 13):
        gpu, began, ended = (project / f"on-{n}").read_text().split()
        held.setdefault(gpu, []).append((int(began), int(ended)))
    assert set(held) == {"0", "1", "2", "7"}
    for times in held.values():
        times.sort()
        assert all(ended <= began for (_, ended), (began, _) in itertools.pairwise(times))
    assert (project / "plain").read_text() == "none:\n"


@pytest.mark.slow
def test_a_second_run_is_refused_and_says_who_is_at_work(prefect_server: str, project: Path) -> None:
    (project / "dvc.yaml").write_text("stages: {a: {cmd: touch a, outs: [a]}}\n")
    with Workspace(project).hold({"name": "nightly"}):
        state = reproduce([], 1, return_state=True)
    assert state.is_failed()
    assert "flow run 'nightly' (process " in str(state.message)
    assert not (project / "a").exists()
    assert reproduce([], 1, return_state=True).is_completed()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_or_hangup_ends_everything_and_the_next_run_goes_on(
    prefect_server: str,
    project: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    how: signal.Signals,
) -> None:
    (project / "dvc.yaml").write_text(
        "stages:\n  a: {cmd: echo 1 > a, outs: [a]}\n"
        "  b: {cmd: 'echo $$ > pid; test -e fast || sleep 300; cp a b', deps: [a], outs: [b]}\n"
    )
    environment = {**os.environ, "PREFECT_API_URL": prefect_server}
    flow = subprocess.Popen(
        [sys.executable, "-m", "flows.reproduce"], env=environment, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    while not (project / "pid").exists() or not (project / "pid").read_text():
        assert flow.poll() is None
        time.sleep(0.1)
    pid = int((project / "pid").read_text())
    os.killpg(flow.pid, how)
    _, output = flow.communicate(timeout=180)
    assert flow.returncode == 130
    assert "what is finished stays" in output
    assert not is_alive(pid)
    (project / "fast").touch()
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    main(["--targets", "b"])
    assert "Completed: 2 stages: 1 ran, 1 were up to date" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--targets", "nothing"], "nothing"), (["--cpu-slots", "0"], "argument --cpu-slots: 0: at least 1")],
)
def test_mistakes_end_before_a_server_starts(
    project: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "dvc.yaml").write_text("stages: {a: {cmd: 'true'}}\n")
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_a_server_that_does_not_start_is_told_in_one_line(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "dvc.yaml").write_text("stages: {a: {cmd: 'true'}}\n")
    monkeypatch.setattr("flows.server.lifetime.START_S", 0)
    with (
        temporary_settings({PREFECT_HOME: project / "home"}, restore_defaults={PREFECT_API_URL}),
        pytest.raises(SystemExit) as exit_,
    ):
        main([])
    assert exit_.value.code == 2
    output = capsys.readouterr().err
    assert output.startswith("error: the Prefect server on http://127.0.0.1:")
    assert output.endswith(f"did not answer; see {project / 'home/server.log'}\n")
    assert output.count("\n") == 1
