"""DVC's command line, quicker where dvc.lock is long: ``python -m flows.dvc_command repro --single-item STAGE``.

After each stage DVC reads the whole lock with a parser written in Python, which keeps comments and line breaks, and
writes it again; nobody else may begin or end a stage meanwhile. A lock has no comments: here the C parser reads it, by
which DVC itself reads it everywhere else. The bytes written are the same, but for floats of 16 digits and more with an
exponent, whose last digit DVC's way changes. (DVC 3.67; its maintainers point to that parser in treeverse/dvc#10942.)
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dvc import dvcfile
from dvc.cli import main
from dvc.utils.serialize import dump_yaml, load_yaml, modify_yaml


@contextmanager
def modify(path: str | os.PathLike[str], fs: Any = None) -> Iterator[dict[str, Any]]:
    """Yield what a YAML file holds, to be changed in place, and write it back; nothing is written after an error.

    Args:
        path: dvc.lock, or another file, which DVC's own function then takes.
        fs: DVC's file system; None: the local one.
    """
    if not dvcfile.is_lock_file(path):
        with modify_yaml(path, fs=fs) as content:
            yield content
        return
    exists = fs.exists(os.fspath(path)) if fs else os.path.exists(path)  # noqa: PTH110  like fs.exists
    lock: dict[str, Any] = load_yaml(path, fs=fs) if exists else {}
    yield lock
    dump_yaml(path, lock, fs=fs)


if __name__ == "__main__":
    dvcfile.modify_yaml = modify
    sys.exit(main(sys.argv[1:]))
