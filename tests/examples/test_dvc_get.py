"""README's `dvc get` and `dvc import` of click features, from a clone with a local remote."""

import subprocess
import sys
from pathlib import Path

import pytest
from click_builds import LOG, build, write_log
from documented import commands_of

DVC = [sys.executable, "-m", "dvc"]
FEATURES = "data/sets/toy/features"
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
    build(write_log(LOG, tmp_path / "log.tsv"), ours / FEATURES, "--no-history")
    run(ours, *DVC, "remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    run(ours, *DVC, "add", "-q", FEATURES)
    run(ours, *DVC, "push", "-q")
    run(ours, *GIT, "add", ".")
    run(ours, *GIT, "commit", "-qm", "features")
    run(tmp_path, *GIT, "clone", "-q", str(ours), str(clone))

    shown = [one.words[1:] for one in commands_of("README.md") if one.words[0] == "dvc"]
    assert [words[0] for words in shown] == ["get", "import"]
    for words in shown:
        run(theirs, *DVC, *(str(clone) if word == "PATH_OR_URL" else word for word in words))
    got, wanted = (sorted((folder / "click_features").iterdir()) for folder in (theirs, ours / FEATURES))
    assert [(one.name, one.read_bytes()) for one in got] == [(one.name, one.read_bytes()) for one in wanted]
    assert (theirs / "vocabulary.parquet").read_bytes() == (ours / FEATURES / "vocabulary.parquet").read_bytes()
    assert "rev_lock" in (theirs / "vocabulary.parquet.dvc").read_text()
