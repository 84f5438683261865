"""If a flow is interrupted or killed while it writes dvc.lock, no record is lost."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from dvc_projects import ROOT
from family import family
from served import until

from flows.stages import Workspace

GRAPH = """\
stages:
  a: {cmd: echo a >> ran; cp seed.txt a.txt, deps: [seed.txt], outs: [a.txt]}
  b: {cmd: echo b >> ran; cp a.txt b.txt, deps: [a.txt], outs: [b.txt]}
  c: {cmd: echo c >> ran; cp b.txt c.txt, deps: [b.txt], outs: [c.txt]}
"""
# If a file "pause" exists, a stage's DVC pauses after it has written the new lock and before it renames it.
SITECUSTOMIZE = """
import os, sys, time
if "flows.dvc_command" in sys.orig_argv:
    fsync = os.fsync
    def fsync_after_a_pause(handle):
        if os.path.exists("pause"):
            os.rename("pause", "paused")
            while os.path.exists("paused"):
                time.sleep(0.02)
        fsync(handle)
    os.fsync = fsync_after_a_pause
"""


def start(root: Path, api: str) -> subprocess.Popen[bytes]:
    with (root / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.reproduce", "--cpu-slots", "1"],
            cwd=root,
            env={
                **os.environ,
                "PREFECT_API_URL": api,
                "PYTHONPATH": f"{root / 'hook'}{os.pathsep}{ROOT}",
                "CUDA_VISIBLE_DEVICES": "",
            },
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def kill_all(flow: subprocess.Popen[bytes]) -> None:
    """Kill a flow and all its descendants at once, as if the machine failed."""
    processes = family(flow.pid)
    for step in (psutil.Process.suspend, psutil.Process.kill):
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                step(process)


@pytest.mark.slow
def test_a_flow_killed_while_the_lock_is_written(prefect_server: str, project: Path) -> None:
    (project / "dvc.yaml").write_text(GRAPH)
    (project / "seed.txt").write_text("1\n")
    (project / "hook").mkdir()
    (project / "hook" / "sitecustomize.py").write_text(SITECUSTOMIZE)
    lock, output = project / "dvc.lock", project / "output.txt"
    for name, how, exit_code in (("a", signal.SIGINT, 130), ("b", signal.SIGKILL, -signal.SIGKILL)):
        (project / "pause").touch()
        flow = start(project, prefect_server)
        until(lambda flow=flow: (project / "paused").exists() or flow.poll() is not None, 300, 0.02)
        assert flow.poll() is None, output.read_text()
        before = lock.read_text() if lock.exists() else ""
        assert f"  {name}:" not in before
        if how == signal.SIGKILL:
            kill_all(flow)
        else:
            flow.send_signal(how)
            time.sleep(0.5)  # the stage has received Ctrl-C
        (project / "paused").unlink()
        assert flow.wait(180) == exit_code, output.read_text()
        after = lock.read_text()
        assert (f"  {name}:" in after) == (how != signal.SIGKILL)
        assert after.startswith(before)
    assert start(project, prefect_server).wait(300) == 0
    assert "3 stages: 2 ran, 1 were up to date" in output.read_text()
    assert (project / "ran").read_text().split() == ["a", "b", "c"]  # the results of b came from DVC's cache
    assert Workspace(project).stale() == {}
    assert [path.name for path in project.rglob("*.partial")] == []
