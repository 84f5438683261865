"""Restore the records that dvc.lock loses when DVC is killed while it writes; they are taken from a copy of the lock.

DVC overwrites dvc.lock in place. If plain ``dvc repro``, ``dvc commit`` and the like are killed meanwhile, only the
beginning of the file is left: unreadable if it ends within a word, otherwise a valid lock that silently lacks stages.
:mod:`flows.dvc_command` replaces each lock whole, and writes a copy of it: of the root's lock to
``.state/dvc.lock.kept``, of a system's lock, which lies beside its dvc.yaml, to ``.state/<system>.dvc.lock.kept``. If a
lock differs from its copy, another program has written the lock, and :func:`mend` distinguishes three cases:

- The lock ends within a record. That record is dropped, and all records that only the copy has are restored.
- The lock ends between two records, and its stages are the first ones of the copy, in that order. The missing records
  of stages that dvc.yaml still declares are restored. (``dvc remove`` deletes a stage from both files.)
- Any other difference is intended, for example another commit's dvc.lock: the lock stays and is copied. A lock that
  cannot be read but was not cut stays too; DVC refuses it. If there is no lock, its copy is deleted, so a user who
  deletes a lock starts over.

A record names the outputs that a command made from its dependencies and parameters. This stays true, and DVC compares
the record with the present files. A restored record therefore never makes a stale stage look up to date.
"""

import itertools
import json
import logging
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping
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
RECORD = re.compile(r"^  [^\s:]", re.MULTILINE)  # the start of a record, and of nothing else
CONFLICT = re.compile(r"^(<{7}|={7}|>{7})", re.MULTILINE)
# A name over 128 characters or with a colon first, which may take several lines; an anchor; an escape. DVC may write a
# record with these in another way than before.
ODD = re.compile(r"^  [?:]|[&*]id\d{3}|\\", re.MULTILINE)
SHOWN_NAMES = 5


@dataclass(frozen=True)
class Lock:
    """The content of a lock, with the restored records.

    Attributes:
        content: as DVC reads it.
        is_cut: whether the lock ended within a record; the content omits that record.
        restored: the stages whose records were taken from the copy.
    """

    content: dict[str, Any]
    is_cut: bool = False
    restored: tuple[str, ...] = ()


class Records(MutableMapping[str, Any]):
    """The records of a lock by stage; a record that nobody reads or replaces is neither parsed nor written anew.

    In a lock of 600 stages that saves two thirds of the time between a stage's end and its record.

    Args:
        texts: each record as it stands in the lock.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts: dict[str, str | None] = dict(texts)  # None: the record is among the values
        self._values: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        text = self._texts[name]
        if text is not None:
            self[name] = parse_yaml(f"stages:\n{text}", LOCK)["stages"][name]
        return self._values[name]

    def __setitem__(self, name: str, record: Any) -> None:
        self._texts[name], self._values[name] = None, record

    def __delitem__(self, name: str) -> None:
        del self._texts[name]
        self._values.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def __contains__(self, name: object) -> bool:
        return name in self._texts  # without parsing the record

    @property
    def text(self) -> str:
        """The records as DVC writes them."""
        return "".join(
            dumps_yaml({"stages": {name: self._values[name]}}).removeprefix("stages:\n") if text is None else text
            for name, text in self._texts.items()
        )


def is_suspect(root: Path) -> bool:
    """Return True if :func:`mend` has work to do; takes some milliseconds and needs no lock."""
    return (
        any(_read(lock) != _read(_copy_of(lock, root)) for lock in _locks(root))
        or any(leftover_of(path).exists() for path in _replaced_files(root))
        or _is_cut_rwlock(root)
    )


def mend(root: Path) -> None:
    """Restore the files that a kill has cut, delete its temporary files, and copy the locks.

    Args:
        root: the folder with dvc.yaml. The caller holds DVC's lock for it, so no other process writes.
    """
    for path in _replaced_files(root):
        leftover_of(path).unlink(missing_ok=True)
    if _is_cut_rwlock(root):
        (root / RWLOCK).unlink()
        log.warning(
            "%s was cut short when DVC was killed; deleted (it lists the files that a running DVC uses)", RWLOCK
        )
    for path in _locks(root):
        text = _read(path)
        if text is None:
            _copy_of(path, root).unlink(missing_ok=True)
            continue
        with suppress(DvcException):  # the lock is invalid, or dvc.yaml is broken: DVC reports that itself
            lock = _read_restored(path, root, text)
            if lock.is_cut or lock.restored:
                _report(path, root, lock)
                write(path, lock.content)
            else:
                _write_copy(path, root, text)


def read(path: Path) -> dict[str, Any]:
    """Return the content of a lock, with its lost records restored; the caller holds DVC's lock.

    Raises:
        DvcException: the file is not a valid lock.
    """
    root, text = _root_of(path), _read(path)
    if text is None:
        return {}
    if root is None or text == _read(_copy_of(path, root)):
        records = _unparsed(text)
        return dict(_parse(text)) if records is None else {"schema": "2.0", "stages": records}
    lock = _read_restored(path, root, text)
    if lock.is_cut or lock.restored:
        _report(path, root, lock)
    return lock.content


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a lock, with the same bytes as DVC, and its copy; the caller holds DVC's lock."""
    records = content.get("stages")
    if not isinstance(records, Records):
        text = dumps_yaml(content)
    elif records and content == {"schema": "2.0", "stages": records}:
        text = START + records.text
    else:
        text = dumps_yaml({**content, "stages": dict(records)})
    with rewritten(path, durable=True) as file:
        file.write(text)
    root = _root_of(path)
    if root is not None:
        _write_copy(path, root, text)


def restore(text: str, copy: str, declared_stages: Callable[[], Collection[str]]) -> Lock:
    """Return the content of a lock, with its lost records restored.

    Args:
        text: the lock's text.
        copy: the text of its copy; empty if there is no copy.
        declared_stages: returns the names of the stages in dvc.yaml.

    Raises:
        DvcException: the lock cannot be read for another reason than a cut.
    """
    known, known_texts = _records(copy)
    starts = [match.start() for match in RECORD.finditer(text)]
    content = _read_if_whole(text, starts, known_texts)
    is_cut = content is None
    if content is None:
        content = {"schema": "2.0", "stages": {}} | _without_last(text, starts)
    names = list(content.get("stages", {}))
    lost = [name for name in known if name not in names]
    if lost and not is_cut:
        stages = declared_stages() if names == list(known)[: len(names)] else ()
        lost = [name for name in lost if name in stages]
    records = {**content.get("stages", {}), **{name: known[name] for name in lost}}
    return Lock({**content, "stages": records} if lost else content, is_cut, tuple(lost))


def _read_if_whole(text: str, starts: list[int], known_texts: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the content of a lock; None if it cannot be read, or its last record is incomplete."""
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
    """Return the content of a cut lock without its last record.

    Raises:
        DvcException: the lock cannot be read without that record either, so it was not cut.
    """
    if not starts and START.startswith(text.rstrip(" ").strip("\0")):  # after a power failure a file may hold zeros
        return {}
    if not starts or CONFLICT.search(text):
        raise DvcException(f"{LOCK} cannot be read, and was not cut short")
    content = _parse(text[: starts[-1]])
    return {name: value for name, value in content.items() if value is not None}


def _records(text: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the records of a copy, as DVC reads them and as text; empty if the copy cannot be read."""
    try:
        records = dict(_parse(text).get("stages") or {})
    except DvcException:
        return {}, {}
    starts = [*(match.start() for match in RECORD.finditer(text)), len(text)]
    texts = [text[start:end] for start, end in itertools.pairwise(starts)]
    return records, dict(zip(records, texts, strict=True)) if len(texts) == len(records) else {}


def _unparsed(text: str) -> Records | None:
    """Return the records of a lock; None if its text is not as DVC writes it, or one record refers to another."""
    starts = [match.start() for match in RECORD.finditer(text)]
    if not starts or text[: starts[0]] != START or not text.endswith("\n"):
        return None
    if ODD.search(text) or not text.replace("\n", "").isprintable():
        return None
    texts = [text[start:end] for start, end in itertools.pairwise([*starts, len(text)])]
    heads = "".join(f"{record.partition(chr(10))[0]}\n" for record in texts)
    try:
        names = list(parse_yaml(f"stages:\n{heads}", LOCK)["stages"])
    except DvcException:  # a name that takes several lines
        return None
    return Records(dict(zip(names, texts, strict=True))) if len(names) == len(texts) else None


def _parse(text: str) -> dict[str, Any]:
    content = parse_yaml(text, LOCK)
    if not isinstance(content, dict) or not isinstance(content.get("stages") or {}, dict):
        raise DvcException(f"{LOCK} holds no records of stages")
    return content


def _locks(root: Path) -> list[Path]:
    """Return the path of each dvc.yaml's lock."""
    return [file.with_name(LOCK) for file in graph_files(root)]


def _copy_of(path: Path, root: Path) -> Path:
    """Return the path of a lock's copy: ``.state/dvc.lock.kept``, or ``.state/mtmdd.dvc.lock.kept`` for a system."""
    system = system_of(root, path.absolute())
    return root / STATE / f"{system}{'.' if system else ''}{LOCK}.kept"


def _replaced_files(root: Path) -> list[Path]:
    """Return all files that this project replaces whole: locks, their copies, and DVC's list of the files in use."""
    locks = _locks(root)
    return [*locks, *(_copy_of(lock, root) for lock in locks), root / RWLOCK]


def _root_of(path: Path) -> Path | None:
    """Return the workspace that a lock belongs to; None if there is none. Such a lock has no copy."""
    return next((folder for folder in path.absolute().parents if (folder / ".dvc").is_dir()), None)


def _read_restored(path: Path, root: Path, text: str) -> Lock:
    return restore(text, _read(_copy_of(path, root)) or "", lambda: _declared_stages(path.with_name("dvc.yaml"), root))


def _declared_stages(graph: Path, root: Path) -> Collection[str]:
    with open_repo(root) as repo:
        return set(load_file(repo, str(graph)).resolver.get_keys())


def _write_copy(path: Path, root: Path, text: str) -> None:
    copy = _copy_of(path, root)
    copy.parent.mkdir(exist_ok=True)
    with rewritten(copy) as file:
        file.write(text)


def _report(path: Path, root: Path, lock: Lock) -> None:
    name, copy = (os.path.relpath(file, root) for file in (path.absolute(), _copy_of(path, root)))
    number, shown = len(lock.restored), ", ".join(lock.restored[:SHOWN_NAMES])
    more = f" and {number - SHOWN_NAMES} more" if number > SHOWN_NAMES else ""
    log.warning(
        "%s %s, probably because DVC was killed while it wrote it; %s",
        name, "ends within a record" if lock.is_cut else "has lost its last records",
        f"restored from {copy}: {number} stages ({shown}{more})" if number else f"{copy} has none of the lost records",
    )  # fmt: skip


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", errors="replace")  # a cut file may end within a character
    except FileNotFoundError:
        return None


def _is_cut_rwlock(root: Path) -> bool:
    text = _read(root / RWLOCK)
    try:
        json.loads("{}" if text is None else text)
    except ValueError:
        return True
    return False
