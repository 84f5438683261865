"""Reads a model folder of the trainer: run.json and a weights file for each phase."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from base.console import UserError

TEXTS = "texts.parquet"  # of a model that finds texts: schemas.INDEXED


def read_run(folder: Path) -> dict[str, Any]:
    """Return the content of a model folder's run.json.

    Raises:
        UserError: run.json is missing, or is not a JSON object.
    """
    path = Path(folder) / "run.json"
    if not path.is_file():
        raise UserError(f"{path}: no such file; is {folder} a model folder, written by a train stage?")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"an object expected, found {type(content).__name__}")
    except ValueError as error:
        raise UserError(f"{path}: not as a train stage writes it: {error}; train the model again") from None
    return content


def load_weights(network: nn.Module, folder: Path, phase: str) -> None:
    """Load a phase's weights into its network, from a .safetensors file; nothing is unpickled.

    Raises:
        UserError: the folder has no weights file of that phase.
    """
    path = Path(folder) / f"{phase}.safetensors"
    if not path.is_file():
        raise UserError(f"{path}: no such file; {folder} has no weights of a phase {phase!r}: train the model again")
    network.load_state_dict(load_file(path))


def model_digest(folder: Path) -> str:
    """Return the digest of a model folder's run.json and weights, by which what was made with a model knows it again.

    Raises:
        FileNotFoundError: there is no run.json.
    """
    return files_digest([folder / "run.json", *folder.glob("*.safetensors")])


def files_digest(paths: Iterable[Path]) -> str:
    """Return a digest of files' names and contents; the folders that they are in, and their order, change nothing."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(paths, key=lambda path: path.name):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def weights_digest(weights: str) -> str | None:
    """Return a digest of the file with a backbone's start weights; None if no file is named, or the file is missing.

    The file at a path may change, so its digest is needed; ``download`` stands for weights that torchvision has fixed.
    """
    path = Path(weights)
    if weights in ("none", "download") or not path.is_file():  # a missing file raises an error when it is loaded
        return None
    return file_digest(path)


def file_digest(path: Path) -> str:
    """Return a digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


def device_at_hand() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
