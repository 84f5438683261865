"""DVC's command line, made quick for long locks and safe against kills.

    python -m flows.dvc_command repro --single-item STAGE

Quick: after each stage DVC reads the whole dvc.lock with a parser written in Python, and writes it again; meanwhile no
other stage can begin or end. Here only the stage's own record is written anew (:class:`flows.records.Records`), and the
C parser reads what has to be read, as its maintainers recommend in treeverse/dvc#10942. The written bytes are the same,
except for floats of 16 digits and more with an exponent: DVC's own way changes their last digit (DVC 3.67).

Safe: dvc.lock, and DVC's list of the files in use, are replaced instead of overwritten, so a kill leaves the old text
or the new one. Files that a kill of plain ``dvc`` has cut are mended first (:mod:`flows.records`). Between the end of a
stage's command and the write of its record, Ctrl-C waits; a second Ctrl-C does not.
"""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from dvc import cli, dvcfile, rwlock
from dvc.env import DVC_SITE_CACHE_DIR
from dvc.exceptions import NotDvcRepoError
from dvc.fs import localfs
from dvc.repo import Repo
from dvc.stage import run
from dvc.stage.exceptions import StageCmdFailedError
from dvc.utils.serialize import dump_yaml, modify_yaml

from base.console import described, is_user_error
from base.terminal import printable
from flows import preloaded, records
from flows.site_cache import open_repo, private_site_cache
from flows.whole_files import WholeFiles

_run_command, _run_text, _edit_rwlock = run.cmd_run, run._run, rwlock._edit_rwlock


class CtrlC:
    """Delays SIGINT."""

    def __init__(self) -> None:
        self._waits = self._came = False

    def hold(self) -> None:
        """Delay the next SIGINT, unless SIGINT is ignored."""
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
            self._waits = True

    def let_go(self) -> None:
        """Stop delaying.

        Raises:
            KeyboardInterrupt: a SIGINT came meanwhile.
        """
        if self._waits:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._waits = False
        if self._came:
            self._came = False
            raise KeyboardInterrupt

    def _note(self, number: int, frame: Any) -> None:
        if self._came:
            self.let_go()
        self._came = True


ctrl_c = CtrlC()


@contextmanager
def modify(path: str | os.PathLike[str], fs: Any = None) -> Iterator[dict[str, Any]]:
    """Yield the content of a YAML file, to be changed in place, and write it back; write nothing after an error.

    Args:
        path: a dvc.lock; for any other file DVC's own function is used.
        fs: DVC's file system; None means the local one.
    """
    if not dvcfile.is_lock_file(path):
        with modify_yaml(path, fs=WholeFiles(fs or localfs)) as content:
            yield content
        return
    ctrl_c.hold()
    try:
        lock = records.read(Path(path))
        yield lock
        records.write(Path(path), lock)
    finally:
        ctrl_c.let_go()


def dump(path: str | os.PathLike[str], content: Any, fs: Any = None) -> None:
    """Write a YAML file with DVC's bytes, whole or not at all."""
    dump_yaml(path, content, fs=WholeFiles(fs or localfs))


def run_command(stage: Any, dry: bool = False, run_env: Any = None) -> None:
    """Run a stage's command as DVC does; after its success delay Ctrl-C until the record is written."""
    ctrl_c.let_go()  # the last stage's record could not be written
    _run_command(stage, dry=dry, run_env=run_env)
    if not dry:
        ctrl_c.hold()


def run_text(executable: str | None, command: str, **options: Any) -> None:
    """Run one command of a stage as DVC does, in a shell, or in the preloaded process that waits for it."""
    words = preloaded.words_of(command)
    process, preloaded.waiting = preloaded.waiting, None  # it runs one command
    if process is None or words is None or not process.suits(options["env"]):
        _run_text(executable, command, **options)
    elif code := process.run(words, options["env"], options["cwd"]):
        raise StageCmdFailedError(command, code)


def edit_rwlock(lock_dir: str, fs: Any, hardlink: bool) -> AbstractContextManager[Any]:
    """Change DVC's list of the files in use as DVC does, but whole or not at all."""
    context: AbstractContextManager[Any] = _edit_rwlock(lock_dir, WholeFiles(fs), hardlink)
    return context


def main(argv: Sequence[str]) -> int:
    """Run a DVC command; return its exit code."""
    dvcfile.modify_yaml, dvcfile.dump_yaml = modify, dump
    run.cmd_run, run._run, rwlock._edit_rwlock = run_command, run_text, edit_rwlock
    with suppress(NotDvcRepoError):  # DVC reports it where the command needs a repository
        try:
            prepare(Path(Repo.find_root()))
        except Exception as error:
            if not is_user_error(error):
                raise
            sys.stderr.write(f"error: {printable(described(error))}\n")
            return 2
    return int(cli.main(argv))


def prepare(root: Path) -> None:
    """Make DVC use the workspace's own site cache, and mend the files that a kill has cut.

    Raises:
        UserError: the site cache belongs to another user.
    """
    os.environ[DVC_SITE_CACHE_DIR] = str(private_site_cache(root))
    if records.is_suspect(root):
        with open_repo(root, wait_for_lock=True) as repo, repo.lock:
            records.mend(root)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
