"""Publishes an output in an object store: a reader finds the whole older output or the whole new one.

A store can't rename a folder. So each build has a folder of its own, ``OUTPUT/build-NAME/``, and the object
``OUTPUT/current.json`` says which one is current, and which files it has. This pointer is written last, in a single
request. The build before the current one stays, for readers that have just opened it; an older one is deleted.

The name begins with a digest of the inputs and options. A run that fails deletes its folder; one that was killed can't,
so the next run with the same inputs and options does. Unfinished folders of other inputs are named in a log line.
"""

import json
import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from base.console import UserError
from base.stores import Location, StorePath

POINTER = "current.json"
UNFINISHED = "unfinished"  # an object in the folder of a build that is not yet published
RANDOM = 8  # hexadecimal digits of a folder's name
BUILDS = "build-*"

log = logging.getLogger("clicksight")


def pointer_of(output: StorePath) -> dict[str, Any] | None:
    """Return the contents of an output's pointer; None if nothing has been published there.

    Raises:
        UserError: the object has another content, or the store gives no access.
    """
    path = output / POINTER
    try:
        content = json.loads(path.read_text())
        return {"build": str(content["build"]), "former": content["former"], "files": dict(content["files"])}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: is no pointer to a build; name another folder") from None


def current(path: Location) -> Location:
    """Return the folder of an output's current build; any other path as it is."""
    if not isinstance(path, StorePath) or (pointer := pointer_of(path)) is None:
        return path
    return path / pointer["build"]


@contextmanager
def published(output: StorePath, name: str) -> Iterator[StorePath]:
    """Yield a folder for a new build, which is the output's current one after the block, if that succeeds.

    Args:
        output: the address that readers know.
        name: the same for the same inputs and options.

    Raises:
        UserError: the store gives no access, or another run with the same inputs has begun meanwhile.
    """
    if "/" not in output.key:
        raise UserError(f"{output}: is a whole bucket; name a folder in it, as in {output}/features")
    pointer = pointer_of(output)
    for killed in output.glob(f"build-{name}-*"):
        if pointer is None or killed.name not in (pointer["build"], pointer["former"]):
            log.info("%s: is deleted, a killed run with the same inputs had left it", killed)
            killed.remove_all()
    folder = output / f"build-{name}-{uuid.uuid4().hex[:RANDOM]}"
    (folder / UNFINISHED).put_text("")  # shows before any work that the store can be written
    try:
        yield folder
        if not (folder / UNFINISHED).exists():
            raise UserError(f"{folder}: another run with the same inputs has deleted this; wait for that one")
        _publish(output, folder)
    except BaseException:
        _remove_unpublished(folder)
        raise


def _publish(output: StorePath, folder: StorePath) -> None:
    """Write the pointer; then delete what it makes superfluous, and name what no pointer has ever named."""
    files = {path.key.removeprefix(f"{folder.key}/"): size for path, size in folder.objects()}
    files.pop(UNFINISHED, None)
    before = pointer_of(output)  # read again: another run may have published meanwhile
    former = before and before["build"]
    text = json.dumps({"build": folder.name, "former": former, "files": dict(sorted(files.items()))}, indent=2)
    (output / POINTER).put_text(f"{text}\n")
    try:
        (folder / UNFINISHED).unlink()
        if before and before["former"]:
            (output / before["former"]).remove_all()
        others = [str(path) for path in output.glob(BUILDS) if path.name not in (folder.name, former)]
    except (UserError, FileNotFoundError) as error:
        log.warning("%s is published, but what it replaces could not be deleted (%s)", folder, error)
        return
    if others:
        log.warning("unfinished builds of other runs; delete them if none still runs: %s", ", ".join(others))


def _remove_unpublished(folder: StorePath) -> None:
    """Delete a run's folder unless its pointer is written; name the folder if that fails."""
    try:
        pointer = pointer_of(folder.parent)
        if (pointer is None or pointer["build"] != folder.name) and folder.exists():
            folder.remove_all()
    except (UserError, FileNotFoundError) as error:
        log.warning("%s: an unfinished build is left here and could not be deleted; the next run with the same "
        "inputs deletes it (%s)", folder, error)  # fmt: skip
