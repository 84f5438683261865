import pytest
import torch

from model.checkpoints import Checkpoints, code_digest
from model.recipes import build_recipe


@pytest.fixture
def checkpoints(tmp_path, monkeypatch, network_params, objective_params, train_params) -> Checkpoints:
    monkeypatch.chdir(tmp_path)
    recipe = build_recipe("VGGsrc", network_params, objective_params, train_params)
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


def test_the_code_digest_is_stable():
    assert code_digest() == code_digest()
