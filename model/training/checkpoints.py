"""Where a training run keeps its place, so that an interrupted one continues.

One folder per run under ``.state/checkpoints``, named by the run and a fingerprint of all that determines its result.
It lies outside the stage's output because DVC removes outputs before it runs a stage.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor

from base.artifacts import whole_directory, whole_file, write_json
from base.console import STATE
from systems.mtmdd.config import NetworkParams, Recipe

PACKAGES = ("model", "pipelines")


def code_digest() -> str:
    """Return a digest of this project's modules that are loaded: what a git revision would say, were it committed."""
    files = {}
    for name, module in sys.modules.items():
        if name == "__main__":  # what python -m runs has its own name here
            name = getattr(module.__spec__, "name", name)
        file = getattr(module, "__file__", None)
        if name.split(".")[0] in PACKAGES and file:
            files[name] = file
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(files):
        digest.update(name.encode() + Path(files[name]).read_bytes())
    return digest.hexdigest()


def weights_digest(network: NetworkParams) -> str | None:
    """Return a digest of the file with the start weights; None where no file is named, or there is none.

    A path may hold other weights tomorrow. The name ``download`` stands for weights that torchvision has fixed.
    """
    path = Path(network.weights)
    if network.weights in ("none", "download") or not path.is_file():  # a missing one is told when it is needed
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


class Checkpoints:
    """The resume state of one run.

    Args:
        run: its name, as in ``methods/TDL/seed-0``.
        recipe: what is trained.
        seed: the run's.
        data_fingerprint: of the examples.
        num_processes: that train together; another number is another run, because its sums are rounded otherwise.
    """

    def __init__(self, run: str, recipe: Recipe, seed: int, data_fingerprint: str, num_processes: int = 1) -> None:
        parts = [recipe.model_dump_json(), seed, data_fingerprint, weights_digest(recipe.network)]
        what = " ".join(map(str, [*parts, num_processes, code_digest(), torch.__version__]))
        fingerprint = hashlib.blake2b(what.encode(), digest_size=8).hexdigest()
        self.folder = STATE / "checkpoints" / f"{run.replace('/', '-')}-{fingerprint}"

    def finished(self, phase: str) -> dict[str, Any] | None:
        """Return what was saved of a finished phase, or None."""
        path = self.folder / f"{phase}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def weights(self, phase: str) -> Path:
        """Return the weights file of a finished phase."""
        return self.folder / f"{phase}.safetensors"

    def finish(self, phase: str, weights: Mapping[str, Tensor], result: Mapping[str, Any]) -> None:
        """Save a finished phase and drop its epochs. The weights come first: the result says that they are there."""
        with whole_file(self.weights(phase)) as temporary:
            save_file(dict(weights), temporary)
        write_json(result, self.folder / f"{phase}.json")
        for epoch in self._epochs(phase):
            shutil.rmtree(epoch)

    def save_epoch(self, phase: str, epoch: int, accelerator: Accelerator) -> None:
        """Save the state after an epoch; the one before is dropped once this one is whole."""
        earlier = self._epochs(phase)
        with whole_directory(self.folder / f"{phase}-epoch-{epoch:05d}") as temporary:
            accelerator.save_state(str(temporary), safe_serialization=True)
        for path in earlier:
            shutil.rmtree(path)

    def load_epoch(self, phase: str, accelerator: Accelerator) -> None:
        """Load the last epoch that was saved, if any."""
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

    def _epochs(self, phase: str) -> list[Path]:
        return sorted(self.folder.glob(f"{phase}-epoch-*"))
