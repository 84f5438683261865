"""DVC projects for tests, and whether a process that a test has started is alive."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DVC = [sys.executable, "-m", "dvc"]


def new_project(root: Path) -> None:
    """Make a DVC project with this repository's DVC settings, but without git."""
    (root / ".dvc" / "tmp").mkdir(parents=True, exist_ok=True)
    (root / ".state" / "dvc" / "repo").mkdir(parents=True, exist_ok=True)
    (root / ".dvc" / "config").write_text((ROOT / ".dvc" / "config").read_text() + "    no_scm = True\n")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie, whose exit status its new parent has not read yet, has ended too.
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")
