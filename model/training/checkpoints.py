"""Where a training run keeps its place, so that an interrupted one continues.

One folder per run under ``.state/checkpoints``, named by the run and a fingerprint of all that determines its result.
It lies outside the stage's output because DVC removes outputs before it runs a stage.

In it there is a folder for each finished phase and for the last epoch of the phase under way. Each is sealed: it holds
the digests of its files. A file that was cut, changed, emptied or lost (a full disk, a crash of the machine) would else
be loaded as it is, since neither torch nor safetensors compare a checksum, and Accelerate passes over random states
that it can't read.
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

log = logging.getLogger("clicksight")

DIGESTS = "digests.json"  # in a sealed folder: of its other files
INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def code_digest() -> str:
    """Return a digest of the loaded modules that are not installed ones: ours, and a system's wherever it lies.

    It is what a git revision would say, were all of it committed.
    """
    files = {}
    for name, module in sys.modules.items():
        if name == "__main__":  # what python -m runs has its own name here
            name = getattr(module.__spec__, "name", name)
        # torch.compile loads modules that it has written elsewhere, by names within torch: their package decides
        places = [getattr(of, "__file__", None) for of in (module, sys.modules.get(name.partition(".")[0]))]
        file = places[0]
        if file and not any(place and place.startswith(INSTALLED) for place in places) and Path(file).is_file():
            files[name] = file
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(files):
        digest.update(name.encode() + Path(files[name]).read_bytes())
    return digest.hexdigest()


def weights_digest(weights: str) -> str | None:
    """Return a digest of the file with a backbone's start weights; None where no file is named, or there is none.

    A path may hold other weights tomorrow. The name ``download`` stands for weights that torchvision has fixed.
    """
    path = Path(weights)
    if weights in ("none", "download") or not path.is_file():  # a missing one is an error when it is needed
        return None
    return file_digest(path)


def file_digest(path: Path) -> str:
    """Return a digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


def seal(folder: Path) -> None:
    """Write the digests of a folder's files into it, so that :func:`find_damage` can compare them."""
    write_json(_digests(folder), folder / DIGESTS)


def find_damage(folder: Path) -> str | None:
    """Return what is wrong with a sealed folder; None if it is as it was when it was sealed."""
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
            return f"{name} is not part of it"
        if found[name] != sealed[name]:
            return f"{name} is not as it was written"
    return None


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / DIGESTS)
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}


class Checkpoints:
    """The resume state of one run.

    Args:
        run: its name, as in ``TDL/seed-0``.
        fingerprint: of its data and parameters (`model.training.task.Run`).
        num_processes: that train together; another number is another run, because its sums are rounded otherwise.
    """

    def __init__(self, run: str, fingerprint: str, num_processes: int = 1) -> None:
        what = " ".join(map(str, [fingerprint, num_processes, code_digest(), torch.__version__]))
        digest = hashlib.blake2b(what.encode(), digest_size=8).hexdigest()
        self.folder = STATE / "checkpoints" / f"{run.replace('/', '-')}-{digest}"

    def drop_damaged(self, phases: Mapping[str, Sequence[str]]) -> None:
        """Remove what is damaged, with a warning, so that nothing of it is used.

        A phase whose last epoch is damaged begins anew. So does a phase that is finished and damaged, and with it what
        was begun from its weights: trained again, they may be others on a GPU.

        Args:
            phases: in their order, and of each the earlier phases that its weights start from.
        """
        lost = set()
        for folder in sorted(path for path in self.folder.glob("[!.]*") if path.is_dir()):
            damage = find_damage(folder)
            if damage is not None:
                log.warning("%s: %s: this checkpoint is damaged, so it is removed and trained again", folder, damage)
                shutil.rmtree(folder)
                lost.add(folder)
        again: set[str] = set()
        for phase, earlier in phases.items():
            if self._finished(phase) in lost or again.intersection(earlier):
                again.add(phase)
                for folder in (self._finished(phase), *self._epochs(phase)):
                    shutil.rmtree(folder, ignore_errors=True)

    def finished(self, phase: str) -> dict[str, Any] | None:
        """Return what was saved of a finished phase, or None."""
        path = self._finished(phase) / "result.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def weights(self, phase: str) -> Path:
        """Return the weights file of a finished phase."""
        return self._finished(phase) / "weights.safetensors"

    def finish(self, phase: str, weights: Mapping[str, Tensor], result: Mapping[str, Any]) -> None:
        """Save a finished phase, weights and result at once, and drop its epochs."""
        with whole_directory(self._finished(phase)) as temporary:
            save_file(dict(weights), temporary / self.weights(phase).name)
            write_json(result, temporary / "result.json")
            seal(temporary)
        for epoch in self._epochs(phase):
            shutil.rmtree(epoch)

    def save_epoch(self, phase: str, epoch: int, accelerator: Accelerator) -> None:
        """Save the state after an epoch; the one before is dropped once this one is whole.

        Of several processes the first one's is saved. The others' random states are not needed: they begin anew with
        every epoch.
        """
        earlier = self._epochs(phase)
        with whole_directory(self.folder / f"{phase}-epoch-{epoch:05d}") as temporary:
            accelerator.save_state(str(temporary), safe_serialization=True)
            seal(temporary)
        for path in earlier:
            shutil.rmtree(path)

    def load_epoch(self, phase: str, accelerator: Accelerator) -> None:
        """Load the last epoch that was saved, if any; :meth:`drop_damaged` comes before."""
        epochs = self._epochs(phase)
        if epochs:
            accelerator.load_state(str(epochs[-1]))

    def last(self, phase: str) -> str:
        """Say where the last good checkpoint is."""
        epochs = self._epochs(phase)
        return str(epochs[-1]) if epochs else "none yet in this phase"

    def read_weights(self, phase: str) -> dict[str, Tensor]:
        """Read the weights of a finished phase."""
        return load_file(self.weights(phase))

    def remove(self) -> None:
        """Forget the run: it is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _finished(self, phase: str) -> Path:
        return self.folder / f"{phase}-finished"

    def _epochs(self, phase: str) -> list[Path]:
        return sorted(self.folder.glob(f"{phase}-epoch-*"))
