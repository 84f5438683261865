"""DVC's site cache, moved to a folder of the workspace that only its owner can write to.

DVC keeps indexes and the hashes of known files in its "site cache" and unpickles them from there. The default is
/var/tmp/dvc, where every user may write, so another user's pickle would run as the user who types ``dvc checkout``
(CVE-2025-69872). ``.dvc/config`` moves the site cache to ``.state/dvc``. DVC would create that folder writable for
everybody, too. A clone therefore contains the folder, with the permissions of the clone's other files, and this module
makes it private to its owner whenever a flow opens the workspace.
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
        wait_for_lock: whether to wait until DVC's lock is free, instead of for three seconds.

    Raises:
        UserError: as :func:`private_site_cache`.
    """
    return Repo(
        str(root), config={"core": {"site_cache_dir": str(private_site_cache(root))}}, _wait_for_lock=wait_for_lock
    )


def private_site_cache(root: Path) -> Path:
    """Return the folder of a workspace's site cache, made private to this user.

    If DVC_SITE_CACHE_DIR is set, return that folder unchanged. If others could write to the workspace's site cache,
    delete its content.

    Raises:
        UserError: the folder belongs neither to this user nor to the workspace's owner, or cannot be used.
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
            f"{folder}: DVC unpickles files in this folder, so it must be a folder that you own and can use; delete "
            f"it, or set {DVC_SITE_CACHE_DIR} to another folder"
        )
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        _close(folder)
    return folder


def _close(folder: Path) -> None:
    """Make a site cache private to its owner, and delete what other users could have written there."""
    below = folder / "repo"
    was_open = any(path.stat().st_mode & stat.S_IWOTH for path in (folder, below) if path.exists())
    folder.chmod(stat.S_IRWXU)
    if folder.parent.stat().st_mode & stat.S_IWOTH:
        folder.parent.chmod(0o755)  # DVC created this folder as well
    if was_open:
        for path in below.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
