"""DVC projects for tests, and whether a process that a test has started is alive."""

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
DVC = [sys.executable, "-m", "dvc"]


MIGRATE = """
import asyncio
from prefect.server.database import provide_database_interface
asyncio.run(provide_database_interface().create_db())
"""


def new_project(root: Path, has_database: bool = True) -> None:
    """Make a DVC project with this repository's DVC settings, but without git.

    Args:
        root: the project's folder.
        has_database: the project has Prefect's database, without runs; otherwise its first server has to make one, for
            which it works five seconds.
    """
    (root / ".dvc" / "tmp").mkdir(parents=True, exist_ok=True)
    (root / ".state" / "dvc" / "repo").mkdir(parents=True, exist_ok=True)
    (root / ".dvc" / "config").write_text((ROOT / ".dvc" / "config").read_text() + "    no_scm = True\n")
    if has_database:
        home = root / ".state" / "prefect"
        home.mkdir(mode=0o700, exist_ok=True)
        shutil.copy2(database(), home)


@functools.cache
def database() -> Path:
    """Return Prefect's database as a server makes it at its first start; it is made once in this process."""
    home = Path(tempfile.mkdtemp(prefix="clicksight-"))  # readable by this user only, as are copies of the file in it
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment = {**own, "PREFECT_HOME": str(home)}
    subprocess.run([sys.executable, "-c", MIGRATE], env=environment, umask=0o077, check=True, capture_output=True)
    return home / "prefect.db"


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie, whose exit status its new parent has not read yet, has ended too.
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")
