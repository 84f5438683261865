"""What the flows print where git has no repository, or refuses it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dvc_projects import ROOT

from base.console import UserError
from flows.stages import Workspace


@pytest.fixture
def unversioned(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a project whose DVC expects git, without a repository; git has no settings of the user."""
    (project / "dvc.yaml").write_text("stages: {a: {cmd: touch a, deps: [b], outs: [a]}}\n")
    (project / ".dvc" / "config").write_text((ROOT / ".dvc" / "config").read_text())
    (project / "b").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return project


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=root, env=environment, capture_output=True, text=True, timeout=180,
        check=False,
    )  # fmt: skip


def test_without_a_repository_the_message_is_git_init(unversioned: Path) -> None:
    message = f"{unversioned}: no git repository, which DVC needs; run `git init` there"
    with pytest.raises(UserError, match=message):
        Workspace(unversioned).stages()
    ended = run(unversioned, "flows.reproduce")
    assert ended.returncode == 2
    assert ended.stderr == f"error: {message} (for example after unpacking an archive)\n"
    subprocess.run(["git", "init", "--quiet"], cwd=unversioned, check=True)
    assert list(Workspace(unversioned).stages()) == ["a"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
@pytest.mark.parametrize("module", ["flows.reproduce", "flows.serve"])
def test_a_repository_of_another_user_is_one_line(unversioned: Path, module: str) -> None:
    (unversioned / "deployments.yaml").write_text("[]\n")
    subprocess.run(["git", "init", "--quiet"], cwd=unversioned, check=True)
    for path in (unversioned, unversioned / ".git"):
        os.chown(path, 4321, 4321)
    ended = run(unversioned, module)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: {unversioned}: git refuses this repository (")
    assert ended.stderr.endswith(f"run `git config --global --add safe.directory {unversioned}`\n")
    assert ended.stderr.count("\n") == 1
