import hashlib
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
import torch

from model.training.checkpoints import Checkpoints, code_digest, weights_digest
from systems.mtmdd.config import Recipe
from systems.mtmdd.recipes import build_recipe


@pytest.fixture
def recipe(network_params, objective_params, train_params) -> Recipe:
    return build_recipe("VGGsrc", network_params, objective_params, train_params)


@pytest.fixture
def checkpoints(tmp_path, monkeypatch, recipe) -> Checkpoints:
    monkeypatch.chdir(tmp_path)
    return Checkpoints("methods/VGGsrc/seed-0", recipe, 0, "data")


class Saver:
    """Writes what an accelerator would; fails on request in the middle of it."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.loaded: list[str] = []

    def save_state(self, folder: str, safe_serialization: bool) -> None:
        with open(f"{folder}/half", "w") as file:  # noqa: PTH123
            file.write("x")
        if self.fails:
            raise KeyboardInterrupt

    def load_state(self, folder: str) -> None:
        self.loaded.append(folder)


def test_the_last_whole_epoch_is_loaded(checkpoints):
    saver = Saver()
    checkpoints.load_epoch("source", saver)
    assert saver.loaded == []
    assert checkpoints.last("source") == "none yet in this phase"
    for epoch in (9, 10):
        checkpoints.save_epoch("source", epoch, saver)
    checkpoints.save_epoch("target", 1, saver)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save_epoch("source", 11, Saver(fails=True))
    checkpoints.load_epoch("source", saver)
    assert saver.loaded == [str(checkpoints.folder / "source-epoch-00010")]
    assert checkpoints.last("source") == saver.loaded[0]
    # only the last is kept
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["source-epoch-00010", "target-epoch-00001"]


def test_a_finished_phase_is_read_back_and_its_epochs_go(checkpoints):
    assert checkpoints.finished("source") is None
    checkpoints.save_epoch("source", 3, Saver())
    weights = {"a": torch.arange(3.0)}
    checkpoints.finish("source", weights, {"chosen": {"epoch": 2}})
    assert checkpoints.finished("source") == {"chosen": {"epoch": 2}}
    assert torch.equal(checkpoints.read_weights("source")["a"], weights["a"])
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["source.json", "source.safetensors"]
    checkpoints.remove()
    assert not checkpoints.folder.exists()


def test_the_folder_is_named_by_the_run(checkpoints):
    assert checkpoints.folder.as_posix().startswith(".state/checkpoints/methods-VGGsrc-seed-0-")


@pytest.fixture
def module(tmp_path, monkeypatch) -> Path:
    """A loaded module of this project that nobody needs."""
    path = tmp_path / "zebra.py"
    path.write_text("a = 1")
    found = ModuleType("model.zebra")
    found.__file__ = str(path)
    monkeypatch.setitem(sys.modules, "model.zebra", found)
    return path


def test_the_code_digest_changes_with_the_code(module, monkeypatch):
    before = code_digest()
    assert code_digest() == before
    module.write_text("a = 2")
    changed = code_digest()
    assert changed != before
    monkeypatch.setitem(sys.modules, "pipelines.zebra", sys.modules.pop("model.zebra"))
    assert code_digest() not in (before, changed)  # the same code by another name
    monkeypatch.setitem(sys.modules, "elsewhere.zebra", sys.modules.pop("pipelines.zebra"))
    not_ours = code_digest()
    module.write_text("a = 3")
    assert code_digest() == not_ours


def test_the_module_that_python_runs_is_digested_by_its_own_name(module, monkeypatch):
    imported = code_digest()
    running = sys.modules["model.zebra"]
    running.__spec__ = ModuleSpec("model.zebra", None)
    monkeypatch.delitem(sys.modules, "model.zebra")
    monkeypatch.setitem(sys.modules, "__main__", running)  # python -m model.zebra
    assert code_digest() == imported
    module.write_text("a = 2")
    assert code_digest() != imported


def test_other_code_and_other_processes_do_not_continue_a_run(checkpoints, recipe, module):
    assert Checkpoints("methods/VGGsrc/seed-0", recipe, 0, "data", 2).folder != checkpoints.folder
    before = Checkpoints("run", recipe, 0, "data").folder
    module.write_text("a = 2")
    assert Checkpoints("run", recipe, 0, "data").folder != before


def test_other_start_weights_at_the_same_place_do_not_continue_a_run(recipe, tmp_path):
    path = tmp_path / "start.safetensors"
    network = recipe.network.model_copy(update={"weights": str(path)})
    named = recipe.model_copy(update={"network": network})
    assert weights_digest(network) is None  # missing: told when it is loaded
    folders = set()
    for content in (b"one", b"two"):
        path.write_bytes(content)
        assert weights_digest(network) == hashlib.blake2b(content, digest_size=8).hexdigest()
        folders.add(Checkpoints("run", named, 0, "data").folder)
    assert len(folders) == 2
    for name in ("none", "download"):
        assert weights_digest(network.model_copy(update={"weights": name})) is None
