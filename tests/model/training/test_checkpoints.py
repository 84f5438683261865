import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from shutil import copytree
from types import ModuleType

import pytest
import torch
from accelerate import Accelerator
from torch import nn
from training_runs import Killed

from model.training import checkpoints as checkpoints_module
from model.training.checkpoints import DIGESTS, Checkpoints, code_digest, find_damage
from model.training.trainer import Progress, start_accelerator

PHASES = {"source": (), "target": ("source",)}  # the phase target starts from the weights of the phase source


@pytest.fixture
def checkpoints(tmp_path, monkeypatch) -> Checkpoints:
    monkeypatch.chdir(tmp_path)
    return Checkpoints("methods/VGGsrc/seed-0", "data")


class Saver:
    """Writes a file as an accelerator would; with `fails`, it raises before it is done."""

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
    # only the last epoch is kept
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["source-epoch-00010", "target-epoch-00001"]


def test_a_finished_phase_is_read_back_and_its_epochs_go(checkpoints):
    assert checkpoints.finished("source") is None
    checkpoints.save_epoch("source", 3, Saver())
    weights = {"a": torch.arange(3.0)}
    checkpoints.finish("source", weights, {"chosen": {"epoch": 2}})
    assert checkpoints.finished("source") == {"chosen": {"epoch": 2}}
    assert torch.equal(checkpoints.read_weights("source")["a"], weights["a"])
    assert [path.name for path in checkpoints.folder.iterdir()] == ["source-finished"]
    assert find_damage(checkpoints.folder / "source-finished") is None
    checkpoints.remove()
    assert not checkpoints.folder.exists()


@pytest.mark.parametrize("writer", ["save_file", "write_json"])
def test_a_phase_is_finished_with_weights_and_result_or_not_at_all(checkpoints, monkeypatch, writer):
    """If a run is killed while it writes either file, before it deletes the epochs, the next run has the last epoch."""
    real = getattr(checkpoints_module, writer)

    def killed(content, path):
        if writer == "save_file" or path.name == "result.json":
            real(content, path)
            raise Killed
        real(content, path)

    checkpoints.save_epoch("source", 3, Saver())
    monkeypatch.setattr(checkpoints_module, writer, killed)
    with pytest.raises(Killed):
        checkpoints.finish("source", {"a": torch.arange(3.0)}, {"chosen": {"epoch": 2}})
    assert checkpoints.finished("source") is None
    assert checkpoints.last("source").endswith("source-epoch-00003")


DAMAGES = ("cut", "changed", "missing", "empty")


def damage(path: Path, kind: str) -> None:
    content = path.read_bytes()
    if kind == "missing":
        path.unlink()
    elif kind == "changed":  # one byte, in the middle of the numbers
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :])
    else:
        path.write_bytes(content[: len(content) // 2] if kind == "cut" else b"")


@pytest.fixture
def accelerator(train_params) -> Accelerator:
    """Return the accelerator of a tiny network with a momentum optimiser and one more object to save."""
    accelerator = start_accelerator(train_params)
    network = nn.Linear(30, 30)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network, optimizer = accelerator.prepare(network, optimizer)
    network(torch.ones(2, 30)).sum().backward()
    optimizer.step()
    accelerator.register_for_checkpointing(Progress(epoch=7))
    return accelerator


EPOCH_FILES = {"model.safetensors", "optimizer.bin", "random_states_0.pkl", "custom_checkpoint_0.pkl", DIGESTS}


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("name", sorted(EPOCH_FILES))
def test_a_damaged_epoch_is_named_and_never_loaded(checkpoints, accelerator, caplog, name, kind):
    checkpoints.save_epoch("source", 4, accelerator)
    folder = checkpoints.folder / "source-epoch-00004"
    assert {path.name for path in folder.iterdir()} == EPOCH_FILES
    checkpoints.drop_damaged(PHASES)
    assert caplog.text == ""
    assert checkpoints.last("source") == str(folder)
    damage(folder / name, kind)
    checkpoints.drop_damaged(PHASES)
    assert f"{folder}: {name} " in caplog.text
    assert "this checkpoint is damaged; it is deleted and trained again" in caplog.text
    assert checkpoints.last("source") == "none yet in this phase"
    saver = Saver()
    checkpoints.load_epoch("source", saver)
    assert saver.loaded == []


def test_of_two_epochs_the_later_that_is_whole_is_taken(checkpoints, accelerator):
    """A run that was killed before it deleted the earlier epoch leaves two epochs."""
    checkpoints.save_epoch("source", 4, accelerator)
    copytree(checkpoints.folder / "source-epoch-00004", checkpoints.folder / "source-epoch-00005")
    saver = Saver()
    checkpoints.load_epoch("source", saver)
    assert saver.loaded == [str(checkpoints.folder / "source-epoch-00005")]
    damage(checkpoints.folder / "source-epoch-00005" / "optimizer.bin", "cut")
    checkpoints.drop_damaged(PHASES)
    assert checkpoints.last("source").endswith("source-epoch-00004")


def test_a_file_that_does_not_belong_to_a_checkpoint_is_damage_too(checkpoints, accelerator, caplog):
    checkpoints.save_epoch("source", 4, accelerator)
    (checkpoints.folder / "source-epoch-00004" / "custom_checkpoint_1.pkl").write_bytes(b"")
    checkpoints.drop_damaged(PHASES)
    assert "custom_checkpoint_1.pkl was added later" in caplog.text
    assert checkpoints.last("source") == "none yet in this phase"


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("name", ["weights.safetensors", "result.json", DIGESTS])
def test_a_damaged_phase_is_not_finished_and_what_began_from_it_begins_anew(checkpoints, caplog, name, kind):
    checkpoints.finish("source", {"a": torch.arange(3000.0)}, {"chosen": {"epoch": 2}, "history": [{"x": 0.5}] * 9})
    checkpoints.save_epoch("target", 1, Saver())
    checkpoints.drop_damaged(PHASES)
    assert checkpoints.finished("source") is not None
    assert checkpoints.last("target").endswith("target-epoch-00001")
    damage(checkpoints.folder / "source-finished" / name, kind)
    checkpoints.drop_damaged(PHASES)
    assert "source-finished: " in caplog.text
    assert checkpoints.finished("source") is None
    assert checkpoints.last("target") == "none yet in this phase"


def test_a_damaged_epoch_costs_no_other_phase(checkpoints):
    checkpoints.finish("source", {"a": torch.arange(3.0)}, {"chosen": {"epoch": 2}})
    checkpoints.save_epoch("target", 1, Saver())
    damage(checkpoints.folder / "target-epoch-00001" / "half", "empty")
    checkpoints.drop_damaged(PHASES)
    assert checkpoints.finished("source") is not None
    assert checkpoints.last("target") == "none yet in this phase"


def test_the_folder_is_named_by_the_run(checkpoints):
    assert checkpoints.folder.as_posix().startswith(".state/checkpoints/methods-VGGsrc-seed-0-")


@pytest.fixture
def module(tmp_path, monkeypatch) -> Path:
    """Return the path of a loaded module that lies outside the installed packages and that nothing else uses."""
    path = tmp_path / "zebra.py"
    path.write_text("a = 1")
    found = ModuleType("model.zebra")
    found.__file__ = str(path)
    monkeypatch.setitem(sys.modules, "model.zebra", found)
    return path


def loaded(name: str, file: str | None) -> ModuleType:
    """Return a module object with this name and file, without loading the file."""
    module = ModuleType(name)
    module.__file__ = file
    return module


def test_the_code_digest_changes_with_the_code(module, monkeypatch):
    before = code_digest()
    assert code_digest() == before
    module.write_text("a = 2")
    changed = code_digest()
    assert changed != before
    monkeypatch.setitem(sys.modules, "pipelines.zebra", sys.modules.pop("model.zebra"))
    assert code_digest() not in (before, changed)  # the same code under another name


def test_the_code_of_a_system_counts_wherever_it_lies(module, monkeypatch):
    monkeypatch.setitem(sys.modules, "elsewhere.zebra", sys.modules.pop("model.zebra"))
    before = code_digest()
    module.write_text("a = 2")
    assert code_digest() != before


def test_installed_code_does_not_count(module, monkeypatch):
    before = code_digest()
    for name, file in [("zebras.of_pytest", pytest.__file__), ("zebras.of_python", json.__file__), ("built_in", None)]:
        monkeypatch.setitem(sys.modules, name, loaded(name, file))
    assert code_digest() == before


def test_code_that_an_installed_package_has_made_does_not_count(module, monkeypatch):
    """torch's compiler writes modules into a folder of temporary files and loads them under names within torch."""
    monkeypatch.delitem(sys.modules, "model.zebra")
    before = code_digest()
    monkeypatch.setitem(sys.modules, "torch.made.zebra", loaded("torch.made.zebra", str(module)))
    assert code_digest() == before


def test_the_module_that_python_runs_is_digested_by_its_own_name(module, monkeypatch):
    imported = code_digest()
    running = sys.modules["model.zebra"]
    running.__spec__ = ModuleSpec("model.zebra", None)
    monkeypatch.delitem(sys.modules, "model.zebra")
    monkeypatch.setitem(sys.modules, "__main__", running)  # python -m model.zebra
    assert code_digest() == imported
    module.write_text("a = 2")
    assert code_digest() != imported


def test_other_code_another_torch_other_data_and_other_processes_do_not_continue_a_run(module, monkeypatch):
    before = Checkpoints("run", "data").folder
    assert Checkpoints("run", "data", 1).folder == before
    assert Checkpoints("run", "data", 2).folder != before
    assert Checkpoints("run", "other data").folder != before
    module.write_text("a = 2")
    changed = Checkpoints("run", "data").folder
    assert changed != before
    monkeypatch.setattr(torch, "__version__", "0.1")
    assert Checkpoints("run", "data").folder not in (before, changed)
