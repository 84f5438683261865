import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dvc_projects import ROOT

from base.console import UserError
from flows.server.password import password, password_file, write_private

NOBODY = 65534


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_it_is_random_private_and_stays(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        first = password(tmp_path)
    finally:
        os.umask(before)
    user, _, secret = first.partition(":")
    assert user == "clicksight"
    assert len(secret) >= 32
    assert mode(password_file(tmp_path)) == 0o600
    assert password(tmp_path) == first
    (tmp_path / "other").mkdir()
    assert password(tmp_path / "other") != first


def test_servers_that_start_at_once_have_the_same(tmp_path: Path) -> None:
    command = (
        "import sys, pathlib; from flows.server.password import password; print(password(pathlib.Path(sys.argv[1])))"
    )

    def start(_: int) -> str:
        return subprocess.run(
            [sys.executable, "-c", command, str(tmp_path)], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(start, range(4)))) == 1


@pytest.mark.parametrize("others", [0o040, 0o004, 0o644])
def test_what_others_may_have_read_is_replaced(tmp_path: Path, others: int) -> None:
    first = password(tmp_path)
    password_file(tmp_path).chmod(0o600 | others)
    second = password(tmp_path)
    assert second != first
    assert mode(password_file(tmp_path)) == 0o600


def test_an_own_one_is_taken_and_an_empty_one_is_not(tmp_path: Path) -> None:
    write_private(password_file(tmp_path), "me:hush\n")
    assert password(tmp_path) == "me:hush"
    write_private(password_file(tmp_path), "\n")
    assert password(tmp_path).startswith("clicksight:")


def test_another_users_workspace_is_told(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700 if os.geteuid() == 0 else 0)
    before = os.geteuid()
    try:
        if before == 0:
            os.seteuid(NOBODY)
        with pytest.raises(
            UserError, match=r"password\.lock: the file is another user's \(Permission denied\); start the server as"
        ):
            password(home)
    finally:
        os.seteuid(before)
        home.chmod(0o700)


def test_earlier_versions_left_it_open_to_all(tmp_path: Path) -> None:
    """Importing flows closes the folder of an older workspace, which has its database and logs."""
    home = tmp_path / ".state/prefect"
    home.mkdir(parents=True, mode=0o755)
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    for chosen, expected in (({"PREFECT_HOME": str(home.parent)}, 0o755), ({}, 0o700)):
        environment = {**own, "PYTHONPATH": str(ROOT), **chosen}
        subprocess.run([sys.executable, "-c", "import flows"], cwd=tmp_path, env=environment, check=True)
        assert mode(home) == expected
