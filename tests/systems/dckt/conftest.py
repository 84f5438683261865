"""A trained run on pictures and sentences, made once for the tests of searching; each file works on a copy."""

import shutil
from pathlib import Path

import pytest
from search_data import write_trained


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_trained(folder)
    return folder


@pytest.fixture(scope="module")
def root(trained_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model`, `data` and params.yaml."""
    folder = tmp_path_factory.mktemp("search") / "root"
    shutil.copytree(trained_once, folder)
    return folder
