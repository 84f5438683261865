"""What dvc.lock has recorded outlives a kill: a cut lock is noticed, and its records come back from a copy.

DVC writes dvc.lock over itself. Plain ``dvc repro``, ``dvc commit`` and the like leave a beginning of it when they are
killed meanwhile: unreadable if it ends within a word, and else a lock that has forgotten stages, unnoticed.
:mod:`flows.dvc_command` replaces each lock whole, and copies it: the root's to ``.state/dvc.lock.kept``, a system's,
which is beside its dvc.yaml, to ``.state/<system>.dvc.lock.kept``. When a lock differs from its copy, something
else has written it, and :func:`mend` looks:

- It ends within a record: that record goes, and all that the copy has beyond come back.
- It ends between two, and its stages are the first ones of the copy, in that order: the records of stages that
  dvc.yaml still declares come back. (``dvc remove`` takes a stage out of both files.)
- Anything else is somebody's will, such as another commit's dvc.lock: it stays, and is copied. So does a lock that
  cannot be read but was not cut either, which DVC refuses. Without a lock there is no copy: whoever deletes it starts
  over.

A record says which outputs a command made of which dependencies and parameters. That stays true, and DVC compares it
with what is there; so a record that comes back makes no stage up to date that isn't.
"""

import itertools
import json
import logging
import os
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.dvcfile import load_file
from dvc.exceptions import DvcException
from dvc.schema import COMPILED_LOCK_FILE_STAGE_SCHEMA
from dvc.utils.serialize import dumps_yaml, parse_yaml
from voluptuous import Invalid

from base.console import STATE
from flows.graph import graph_files, system_of
from flows.site_cache import open_repo
from flows.whole_files import leftover_of, rewritten

log = logging.getLogger("clicksight")

LOCK, RWLOCK = "dvc.lock", Path(".dvc/tmp/rwlock")
START = "schema: '2.0'\nstages:\n"
RECORD = re.compile(r"^  [^\s:]", re.MULTILINE)  # begins like this, and nothing else does
CONFLICT = re.compile(r"^(<{7}|={7}|>{7})", re.MULTILINE)
SHOWN_NAMES = 5


@dataclass(frozen=True)
class Lock:
    """What a lock holds, with what came back.

    Attributes:
        content: as DVC reads it.
        is_cut: it ended within a record, which is left out.
        restored: stages whose records came from the copy.
    """

    content: dict[str, Any]
    is_cut: bool = False
    restored: tuple[str, ...] = ()


def is_suspect(root: Path) -> bool:
    """Whether :func:`mend` has anything to do; some milliseconds, and no lock is needed."""
    return (
        any(_read(lock) != _read(_kept(lock, root)) for lock in _locks(root))
        or any(leftover_of(path).exists() for path in _written(root))
        or _is_cut_rwlock(root)
    )


def mend(root: Path) -> None:
    """Restore what a kill has cut in a workspace, sweep what it has left, and copy the lock.

    Args:
        root: the folder with dvc.yaml. The caller holds DVC's lock of it, so nobody else is writing.
    """
    for path in _written(root):
        leftover_of(path).unlink(missing_ok=True)
    if _is_cut_rwlock(root):
        (root / RWLOCK).unlink()
        log.warning("%s was cut short when DVC was killed; removed: it says which files DVC is using now", RWLOCK)
    for path in _locks(root):
        text = _read(path)
        if text is None:
            _kept(path, root).unlink(missing_ok=True)
            continue
        with suppress(DvcException):  # of a lock that is no lock, or a broken dvc.yaml: DVC reports it when asked
            lock = _restored(path, root, text)
            if lock.is_cut or lock.restored:
                _report(path, root, lock)
                write(path, lock.content)
            else:
                _keep(path, root, text)


def read(path: Path) -> dict[str, Any]:
    """Return what a lock holds, with the records that it has lost; the caller holds DVC's lock.

    Raises:
        DvcException: it is no lock.
    """
    root, text = _root_of(path), _read(path)
    if text is None:
        return {}
    if root is None or text == _read(_kept(path, root)):
        return dict(_parse(text))
    lock = _restored(path, root, text)
    if lock.is_cut or lock.restored:
        _report(path, root, lock)
    return lock.content


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a lock with the bytes that DVC gives it, and copy it; the caller holds DVC's lock."""
    text = dumps_yaml(content)
    with rewritten(path, lasts=True) as file:
        file.write(text)
    root = _root_of(path)
    if root is not None:
        _keep(path, root, text)


def restore(text: str, kept: str, declared: Callable[[], Collection[str]]) -> Lock:
    """Return what a lock holds, with the records that it has lost.

    Args:
        text: of the lock.
        kept: the text of its copy; empty if there is none.
        declared: returns the stages of dvc.yaml.

    Raises:
        DvcException: the lock cannot be read, and not because it was cut.
    """
    known, known_texts = _records(kept)
    starts = [match.start() for match in RECORD.finditer(text)]
    content = _read_if_whole(text, starts, known_texts)
    is_cut = content is None
    if content is None:
        content = {"schema": "2.0", "stages": {}} | _without_last(text, starts)
    names = list(content.get("stages", {}))
    lost = [name for name in known if name not in names]
    if lost and not is_cut:
        stages = declared() if names == list(known)[: len(names)] else ()
        lost = [name for name in lost if name in stages]
    records = {**content.get("stages", {}), **{name: known[name] for name in lost}}
    return Lock({**content, "stages": records} if lost else content, is_cut, tuple(lost))


def _read_if_whole(text: str, starts: list[int], known_texts: Mapping[str, str]) -> dict[str, Any] | None:
    """Return what a lock holds; None if it cannot be read, or its last record is not whole."""
    try:
        content = _parse(text)
        records = content.get("stages")
        if not records:
            return content if "stages" in content and records is not None else None
        name, record = list(records.items())[-1]
        COMPILED_LOCK_FILE_STAGE_SCHEMA(record)
    except (DvcException, Invalid):
        return None
    tail, known = text[starts[-1] :], known_texts.get(name, "")
    return None if not text.endswith("\n") or (known != tail and known.startswith(tail)) else content


def _without_last(text: str, starts: list[int]) -> dict[str, Any]:
    """Return what a lock that was cut holds before its last record.

    Raises:
        DvcException: it cannot be read without that record either: it was not cut.
    """
    if not starts and START.startswith(text.rstrip(" ").strip("\0")):  # after a power failure a file may hold zeros
        return {}
    if not starts or CONFLICT.search(text):
        raise DvcException(f"{LOCK} cannot be read, and was not cut short")
    content = _parse(text[: starts[-1]])
    return {name: value for name, value in content.items() if value is not None}


def _records(text: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the records of a copy, as DVC reads them and as text; none if it cannot be read."""
    try:
        records = dict(_parse(text).get("stages") or {})
    except DvcException:
        return {}, {}
    starts = [*(match.start() for match in RECORD.finditer(text)), len(text)]
    texts = [text[start:end] for start, end in itertools.pairwise(starts)]
    return records, dict(zip(records, texts, strict=True)) if len(texts) == len(records) else {}


def _parse(text: str) -> dict[str, Any]:
    content = parse_yaml(text, LOCK)
    if not isinstance(content, dict) or not isinstance(content.get("stages") or {}, dict):
        raise DvcException(f"{LOCK} holds no records of stages")
    return content


def _locks(root: Path) -> list[Path]:
    """Return the lock of each dvc.yaml."""
    return [file.with_name(LOCK) for file in graph_files(root)]


def _kept(path: Path, root: Path) -> Path:
    """Return where a lock's copy is: ``.state/dvc.lock.kept``, of a system ``.state/mtmdd.dvc.lock.kept``."""
    system = system_of(root, path.absolute())
    return root / STATE / f"{system}{'.' if system else ''}{LOCK}.kept"


def _written(root: Path) -> list[Path]:
    """Return all files that are written whole."""
    locks = _locks(root)
    return [*locks, *(_kept(lock, root) for lock in locks), root / RWLOCK]


def _root_of(path: Path) -> Path | None:
    """Return the workspace that a lock belongs to; None if there is none, and so no copy."""
    return next((folder for folder in path.absolute().parents if (folder / ".dvc").is_dir()), None)


def _restored(path: Path, root: Path, text: str) -> Lock:
    return restore(text, _read(_kept(path, root)) or "", lambda: _declared(path.with_name("dvc.yaml"), root))


def _declared(graph: Path, root: Path) -> Collection[str]:
    with open_repo(root) as repo:
        return set(load_file(repo, str(graph)).resolver.get_keys())


def _keep(path: Path, root: Path, text: str) -> None:
    kept = _kept(path, root)
    kept.parent.mkdir(exist_ok=True)
    with rewritten(kept) as file:
        file.write(text)


def _report(path: Path, root: Path, lock: Lock) -> None:
    name, kept = (os.path.relpath(file, root) for file in (path.absolute(), _kept(path, root)))
    number, shown = len(lock.restored), ", ".join(lock.restored[:SHOWN_NAMES])
    more = f" and {number - SHOWN_NAMES} more" if number > SHOWN_NAMES else ""
    log.warning(
        "%s %s, as when DVC is killed while it writes; %s",
        name, "ends within a record" if lock.is_cut else "has lost its last records",
        f"restored from {kept}: {number} stages ({shown}{more})" if number else f"{kept} has nothing that was lost",
    )  # fmt: skip


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", errors="replace")  # a cut may leave half a character
    except FileNotFoundError:
        return None


def _is_cut_rwlock(root: Path) -> bool:
    text = _read(root / RWLOCK)
    try:
        json.loads("{}" if text is None else text)
    except ValueError:
        return True
    return False
