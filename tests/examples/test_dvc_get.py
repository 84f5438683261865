"""`dvc get` and `dvc import` of click features, as README has them, from a clone with a local remote."""

import subprocess
import sys
from pathlib import Path

import pytest
from click_builds import LOG, build, digest, write_log

DVC = [sys.executable, "-m", "dvc"]
GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]


def run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_other_projects_get_and_import_the_features(tmp_path: Path) -> None:
    ours, clone, theirs = (tmp_path / name for name in ("ours", "clone", "theirs"))
    for folder in (ours, theirs):
        folder.mkdir()
        run(folder, *GIT, "init", "-q")
        run(folder, *DVC, "init", "-q")
    build(write_log(LOG, tmp_path / "log.tsv"), ours / "data/features", "--no-history")
    run(ours, *DVC, "remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    run(ours, *DVC, "add", "-q", "data/features")
    run(ours, *DVC, "push", "-q")
    run(ours, *GIT, "add", ".")
    run(ours, *GIT, "commit", "-qm", "features")
    run(tmp_path, *GIT, "clone", "-q", str(ours), str(clone))

    run(theirs, *DVC, "get", "-q", str(clone), "data/features", "-o", "got")
    assert digest(theirs / "got") == digest(ours / "data/features")
    run(theirs, *DVC, "import", "-q", str(clone), "data/features", "-o", "imported")
    assert digest(theirs / "imported") == digest(ours / "data/features")
    assert "rev_lock" in (theirs / "imported.dvc").read_text()
