"""Checkpoints of a training run, from which an interrupted run continues.

Each run has one folder under ``.state/checkpoints``, named by the run and a fingerprint of everything that determines
its result. It lies outside the stage's output because DVC removes outputs before it runs a stage.

The folder has a subfolder for each finished phase and for the last epoch of the current phase. Each subfolder is
sealed: it holds the digests of its files. Without digests, a file that was cut, changed, emptied or lost (a full disk,
a crash of the machine) would be loaded unnoticed, since neither torch nor safetensors compare a checksum, and
Accelerate skips random states that it can't read.
"""

import hashlib
import json
import logging
import shutil
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor

from base.artifacts import whole_directory, write_json
from base.console import STATE
from model.folder import file_digest

log = logging.getLogger("clicksight")

DIGESTS = "digests.json"  # in a sealed folder: the digests of its other files
INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def code_digest() -> str:
    """Return a digest of all loaded modules that are not installed: this project's, and a system's in any folder.

    It identifies the code as a git revision would if everything were committed.
    """
    files = {}
    for name, module in sys.modules.items():
        if name == "__main__":  # the spec of a module that python -m runs has its real name
            name = getattr(module.__spec__, "name", name)
        # torch.compile loads modules that it has written outside torch's folder, under names within torch; so a module
        # also counts as installed if its top-level package is.
        paths = [getattr(each, "__file__", None) for each in (module, sys.modules.get(name.partition(".")[0]))]
        file = paths[0]
        if file and not any(path and path.startswith(INSTALLED) for path in paths) and Path(file).is_file():
            files[name] = file
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(files):
        digest.update(name.encode() + Path(files[name]).read_bytes())
    return digest.hexdigest()


def seal(folder: Path) -> None:
    """Write the digests of a folder's files into the folder, so that :func:`find_damage` can compare them."""
    write_json(_digests(folder), folder / DIGESTS)


def find_damage(folder: Path) -> str | None:
    """Return what is wrong with a sealed folder; None if it is unchanged since it was sealed."""
    try:
        sealed = json.loads((folder / DIGESTS).read_text(encoding="utf-8"))
        found = _digests(folder)
    except FileNotFoundError:
        return f"{DIGESTS} is missing"
    except ValueError:
        return f"{DIGESTS} cannot be read"
    except OSError as error:
        return str(error)
    if not isinstance(sealed, dict):
        return f"{DIGESTS} cannot be read"
    for name in sorted({*sealed, *found}):
        if name not in found:
            return f"{name} is missing"
        if name not in sealed:
            return f"{name} was added later"
        if found[name] != sealed[name]:
            return f"{name} has changed"
    return None


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / DIGESTS)
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}


class Checkpoints:
    """The resume state of one run.

    Args:
        run: its name, as in ``TDL/seed-0``.
        fingerprint: of its data and parameters (`model.training.task.Run`).
        num_processes: number of processes that train together; it is part of the run's identity, because another number
            rounds sums differently.
    """

    def __init__(self, run: str, fingerprint: str, num_processes: int = 1) -> None:
        what = " ".join(map(str, [fingerprint, num_processes, code_digest(), torch.__version__]))
        digest = hashlib.blake2b(what.encode(), digest_size=8).hexdigest()
        self.folder = STATE / "checkpoints" / f"{run.replace('/', '-')}-{digest}"

    def drop_damaged(self, phases: Mapping[str, Sequence[str]]) -> None:
        """Delete damaged checkpoints, with a warning, so that they are never loaded.

        A phase whose last epoch is damaged is trained again. So is a finished phase that is damaged, and with it every
        phase that started from its weights, because training again may give other weights on a GPU.

        Args:
            phases: the phases in order, each with the earlier phases that its weights start from.
        """
        lost = set()
        for folder in sorted(path for path in self.folder.glob("[!.]*") if path.is_dir()):
            damage = find_damage(folder)
            if damage is not None:
                log.warning("%s: %s: this checkpoint is damaged; it is deleted and trained again", folder, damage)
                shutil.rmtree(folder)
                lost.add(folder)
        again: set[str] = set()
        for phase, earlier in phases.items():
            if self._finished(phase) in lost or again.intersection(earlier):
                again.add(phase)
                for folder in (self._finished(phase), *self._epochs(phase)):
                    shutil.rmtree(folder, ignore_errors=True)

    def finished(self, phase: str) -> dict[str, Any] | None:
        """Return the saved result of a finished phase; None if the phase isn't finished."""
        path = self._finished(phase) / "result.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def weights(self, phase: str) -> Path:
        """Return the path of a finished phase's weights file."""
        return self._finished(phase) / "weights.safetensors"

    def finish(self, phase: str, weights: Mapping[str, Tensor], result: Mapping[str, Any]) -> None:
        """Save the weights and result of a finished phase in one step, and delete its epochs."""
        with whole_directory(self._finished(phase)) as temporary:
            save_file(dict(weights), temporary / self.weights(phase).name)
            write_json(result, temporary / "result.json")
            seal(temporary)
        for epoch in self._epochs(phase):
            shutil.rmtree(epoch)

    def save_epoch(self, phase: str, epoch: int, accelerator: Accelerator) -> None:
        """Save the state after an epoch, then delete the earlier epoch's state.

        Of several processes, only the first process's state is saved. The random states of the others are not needed,
        because they are seeded anew in every epoch.
        """
        earlier = self._epochs(phase)
        with whole_directory(self.folder / f"{phase}-epoch-{epoch:05d}") as temporary:
            accelerator.save_state(str(temporary), safe_serialization=True)
            seal(temporary)
        for path in earlier:
            shutil.rmtree(path)

    def load_epoch(self, phase: str, accelerator: Accelerator) -> None:
        """Load the last saved epoch, if any; call :meth:`drop_damaged` first."""
        epochs = self._epochs(phase)
        if epochs:
            accelerator.load_state(str(epochs[-1]))

    def last(self, phase: str) -> str:
        """Return the path of the last good checkpoint as text, for messages."""
        epochs = self._epochs(phase)
        return str(epochs[-1]) if epochs else "none yet in this phase"

    def read_weights(self, phase: str) -> dict[str, Tensor]:
        """Read the weights of a finished phase."""
        return load_file(self.weights(phase))

    def remove(self) -> None:
        """Delete the run's checkpoints, because the run is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _finished(self, phase: str) -> Path:
        return self.folder / f"{phase}-finished"

    def _epochs(self, phase: str) -> list[Path]:
        return sorted(self.folder.glob(f"{phase}-epoch-*"))
