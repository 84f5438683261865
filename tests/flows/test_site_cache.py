"""DVC's site cache is in the workspace: other users' pickles are not loaded, and other users cannot write there."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc_projects import DVC, ROOT, new_project

from base.console import UserError
from flows.site_cache import SITE_CACHE, private_site_cache
from flows.stages import Workspace

NOBODY = 65534
# DVC as on a machine where another user has put a pickle into /var/tmp/dvc; the folder "shared" stands for that.
ON_A_SHARED_MACHINE = """
import os, pickle, sys
from pathlib import Path
import dvc.dirs
from dvc.repo import Repo

os.environ["DVC_SYSTEM_CONFIG_DIR"] = os.environ["DVC_GLOBAL_CONFIG_DIR"] = "/nowhere"
dvc.dirs.APPNAME = os.path.relpath(sys.argv[1], "/var/tmp")

class Pickle:
    def __reduce__(self):
        return Path.touch, (Path(sys.argv[1], "taken"),)

with Repo(config={"core": {"site_cache_dir": f"/var/tmp/{dvc.dirs.APPNAME}"}}) as repo:  # DVC's default
    repo.state.links["dvc.yaml"] = Pickle()
if sys.argv[2] == "flow":
    from flows.site_cache import open_repo
    with open_repo(Path.cwd()) as repo:
        repo.checkout()
elif sys.argv[2] == "safe":
    from flows import dvc_command
    dvc_command.main(["checkout"])
else:
    from dvc.cli import main
    main(["checkout"])
"""
UNSET = "[core]\n    analytics = false\n    no_scm = True\n"


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_SITE_CACHE_DIR", raising=False)


def run_beside_a_foreign_pickle(shared: Path, how: str) -> bool:
    """Return True if the pickle was loaded."""
    (shared / "repo").mkdir(parents=True)
    subprocess.run([sys.executable, "-c", ON_A_SHARED_MACHINE, str(shared), how], check=True)
    return (shared / "taken").exists()


@pytest.mark.parametrize(("how", "is_set"), [("plain", True), ("safe", False), ("flow", False)])
def test_a_foreign_pickle_is_not_loaded(project: Path, tmp_path: Path, how: str, is_set: bool) -> None:
    if not is_set:  # the flows' DVC does not need the setting
        (project / ".dvc/config").write_text(UNSET)
    (project / "dvc.yaml").write_text("stages: {a: {cmd: echo > a.txt, outs: [a.txt]}}")
    subprocess.run([*DVC, "repro", "--quiet"], check=True, env={**os.environ, "DVC_SITE_CACHE_DIR": ".state/dvc"})
    assert not run_beside_a_foreign_pickle(tmp_path / "shared", how)
    assert list((project / ".state/dvc/repo").glob("*/links"))


def test_without_the_setting_it_is_loaded(project: Path, tmp_path: Path) -> None:
    # This shows that the test above can fail.
    (project / ".dvc/config").write_text(UNSET)
    (project / "dvc.yaml").write_text("stages: {a: {cmd: echo > a.txt, outs: [a.txt]}}")
    assert run_beside_a_foreign_pickle(tmp_path / "shared", "plain")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Yield a folder that all users can enter."""
    folder = Path(tempfile.mkdtemp(prefix="clicksight-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def clone(open_folder: Path) -> Path:
    """Make a copy of this repository's settings and folders, as git would clone them."""
    root = open_folder / "clone"
    files = subprocess.run(
        ["git", "ls-files", "-z", ".dvc", ".state"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    umask = os.umask(0o022)
    try:
        for name in filter(None, files):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, root / name)
        new_project(root)
    finally:
        os.umask(umask)
    (root / "dvc.yaml").write_text("stages: {a: {cmd: echo > a.txt, outs: [a.txt]}}")
    return root


def folders_where_another_can_write(root: Path) -> list[str]:
    if os.geteuid() == 0:
        done = subprocess.run(
            ["find", ".", "-type", "d", "-writable"], cwd=root, user=NOBODY, group=NOBODY, extra_groups=[],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        return done.stdout.split()
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    return [f"./{path.relative_to(root)}" for path in folders if mode(path) & stat.S_IWOTH]


def test_another_user_cannot_write_where_plain_dvc_has_run_in_a_fresh_clone(clone: Path) -> None:
    subprocess.run([*DVC, "status", "--quiet"], cwd=clone)
    assert len(list((clone / ".state/dvc/repo").glob("*/links"))) == 1
    assert folders_where_another_can_write(clone) == []
    Workspace(clone).stages()
    assert mode(clone / SITE_CACHE) == 0o700


def test_the_skeleton_is_what_keeps_others_out_of_a_fresh_clone(clone: Path) -> None:
    # DVC creates the folders writable for everybody; their content is not trusted, and they are made private.
    shutil.rmtree(clone / ".state")
    subprocess.run([*DVC, "status", "--quiet"], cwd=clone)
    assert "./.state/dvc/repo" in folders_where_another_can_write(clone)
    (links,) = (clone / ".state/dvc/repo").glob("*/links")
    assert private_site_cache(clone) == clone / SITE_CACHE
    assert not links.exists()
    assert folders_where_another_can_write(clone) == []
    assert mode(clone / SITE_CACHE) == 0o700


def test_a_closed_one_keeps_what_it_knows(project: Path) -> None:
    (project / "dvc.yaml").write_text("stages: {a: {cmd: echo > a.txt, outs: [a.txt]}}")
    Workspace(project).stages()
    (links,) = (project / ".state/dvc/repo").glob("*/links")
    assert private_site_cache(project) == project / SITE_CACHE
    assert links.exists()


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_is_no_folder_of_ours_is_refused(project: Path, tmp_path: Path, kind: str) -> None:
    shutil.rmtree(project / SITE_CACHE)
    if kind == "link":
        (project / SITE_CACHE).symlink_to(tmp_path)
    else:
        (project / SITE_CACHE).touch()
    (project / "dvc.yaml").write_text("stages: {}")
    with pytest.raises((UserError, FileExistsError), match=r"\.state/dvc"):
        Workspace(project).stages()


def test_another_users_folder_is_refused(project: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(project / SITE_CACHE, NOBODY, NOBODY)
    (project / "dvc.yaml").write_text("stages: {}")
    with pytest.raises(UserError, match=r"\.state/dvc: DVC unpickles .* set DVC_SITE_CACHE_DIR to another"):
        Workspace(project).stages()
    done = subprocess.run(
        [sys.executable, "-m", "flows.dvc_command", "status"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "DVC unpickles" in done.stderr


def test_the_one_that_the_user_names_is_taken(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "mine"))
    (project / "dvc.yaml").write_text("stages: {a: {cmd: echo > a.txt, outs: [a.txt]}}")
    Workspace(project).run("a", {}, lambda line: None)
    assert list((tmp_path / "mine/repo").glob("*/links"))
    assert not list((project / SITE_CACHE).glob("repo/*"))
