"""A model folder's digest knows its weights and its run, and nothing else."""

import hashlib
from pathlib import Path

import pytest

from model.folder import files_digest, model_digest, weights_digest


def test_a_model_digest_changes_with_weights_and_run(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "joint.safetensors").write_bytes(b"weights")
    first = model_digest(tmp_path)
    (tmp_path / "curves").mkdir()
    (tmp_path / "cut_offs.parquet").write_bytes(b"of its words")
    assert model_digest(tmp_path) == first
    (tmp_path / "joint.safetensors").write_bytes(b"weightz")
    second = model_digest(tmp_path)
    (tmp_path / "run.json").write_text("{ }")
    assert len({first, second, model_digest(tmp_path)}) == 3


def test_a_digest_depends_on_names_and_contents_alone(tmp_path: Path) -> None:
    for folder, contents in (("a", ("1", "2")), ("b", ("1", "2")), ("c", ("2", "1"))):
        (tmp_path / folder).mkdir()
        for name, content in zip(("x", "y"), contents, strict=True):
            (tmp_path / folder / name).write_text(content)
    digests = {folder: files_digest([tmp_path / folder / "x", tmp_path / folder / "y"]) for folder in "abc"}
    assert digests["a"] == digests["b"] != digests["c"]
    assert files_digest([tmp_path / "a/y", tmp_path / "a/x"]) == digests["a"]


def test_a_folder_without_a_run_has_no_digest(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        model_digest(tmp_path)


def test_start_weights_are_named_by_their_content(tmp_path):
    path = tmp_path / "start.safetensors"
    assert weights_digest(str(path)) is None  # a missing file raises an error when it is loaded
    for content in (b"one", b"two"):
        path.write_bytes(content)
        assert weights_digest(str(path)) == hashlib.blake2b(content, digest_size=8).hexdigest()


@pytest.mark.parametrize("name", ["none", "download"])
def test_names_of_weights_are_not_files(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(b"one")
    assert weights_digest(name) is None
