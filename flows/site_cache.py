"""DVC's site cache in the workspace, where nobody else can write: DVC unpickles what it finds there.

In its "site cache" DVC keeps the hashes of files that it has seen, and indexes; by default in /var/tmp/dvc, where every
user may write, so that another user's pickle runs as whoever types ``dvc checkout`` (CVE-2025-69872). ``.dvc/config``
puts it into ``.state/dvc``. DVC would make that folder writable for everybody, too: so a clone comes with it, with the
permissions of the clone's other files, and whatever opens the workspace here makes it its owner's alone.
"""

import os
import shutil
import stat
from pathlib import Path

from dvc.env import DVC_SITE_CACHE_DIR
from dvc.repo import Repo

from base.console import STATE, UserError

SITE_CACHE = STATE / "dvc"


def open_repo(root: Path, wait_for_lock: bool = False) -> Repo:
    """Return DVC's repository of a workspace, with a site cache that only this user can write to.

    Args:
        root: the folder with dvc.yaml.
        wait_for_lock: whether to wait as long as others have DVC's lock, not three seconds.

    Raises:
        UserError: as :func:`private_site_cache`.
    """
    return Repo(
        str(root), config={"core": {"site_cache_dir": str(private_site_cache(root))}}, _wait_for_lock=wait_for_lock
    )


def private_site_cache(root: Path) -> Path:
    """Return the folder of a workspace's site cache, which only this user can enter; the one that the user has named.

    What was put there while others could write to it is removed.

    Raises:
        UserError: the folder is not this user's, nor the workspace's owner's.
    """
    if DVC_SITE_CACHE_DIR in os.environ:
        return Path(os.environ[DVC_SITE_CACHE_DIR])
    folder = root / SITE_CACHE
    folder.parent.mkdir(exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if (
        not stat.S_ISDIR(status.st_mode)
        or status.st_uid not in (os.geteuid(), root.stat().st_uid)
        or not os.access(folder, os.R_OK | os.W_OK | os.X_OK)
    ):
        raise UserError(
            f"{folder}: DVC unpickles what it finds there, so it must be a folder of yours; remove it, or set "
            f"{DVC_SITE_CACHE_DIR} to another"
        )
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        _close(folder)
    return folder


def _close(folder: Path) -> None:
    """Take a site cache, and what others could write there, from everybody else."""
    below = folder / "repo"
    was_open = any(path.stat().st_mode & stat.S_IWOTH for path in (folder, below) if path.exists())
    folder.chmod(stat.S_IRWXU)
    if folder.parent.stat().st_mode & stat.S_IWOTH:
        folder.parent.chmod(0o755)  # DVC made it, too
    if was_open:
        for path in below.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
