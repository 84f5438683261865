"""`python -m flows.dvc_command` writes dvc.lock as DVC does, byte for byte."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import dump_yaml, modify_yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import DVC, new_project

from flows.dvc_command import modify

QUICK = [sys.executable, "-m", "flows.dvc_command"]
# What commands, paths and parameters may hold that YAML could write in several ways, or read as something else.
GRAPH = r"""
stages:
  words:
    matrix: {language: ["no", español, 中文, "1e3", "0x1F"]}
    cmd: ["echo '${item.language}' >> 'out ${item.language}'", "echo 'a: b # c' && echo \"it's\" && printf 'x\ty\n'"]
    params: [words, rates]
    outs: ["out ${item.language}"]
  long:
    cmd: >-
      echo one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
      > long.txt
    outs: [long.txt]
  lines:
    cmd: |
      echo first
      echo second > lines.txt
    outs: [lines.txt]
"""
PARAMS = """\
words: ["yes", "null", "", " padded ", "2026-11-22", "a\\nb", "~", "'", "very %s"]
rates: {low: 5e-4, high: 1.0e+20, none: null, whole: 7, on: true, empty: {}, text: "5e-4"}
"""


def write(root: Path) -> Path:
    root.mkdir(exist_ok=True)
    new_project(root)
    (root / "dvc.yaml").write_text(GRAPH, encoding="utf-8")
    (root / "params.yaml").write_text(PARAMS % ("long " * 40), encoding="utf-8")
    return root


@pytest.mark.slow
def test_a_graph_leaves_the_same_lock(project: Path, tmp_path: Path) -> None:
    twin = write(tmp_path / "twin")
    write(project)
    for params in (None, "words: [other]\nrates: {low: 0.25}\n"):
        for root, command in ((project, QUICK), (twin, DVC)):
            if params:
                (root / "params.yaml").write_text(params)
            subprocess.run([*command, "repro", "--quiet"], cwd=root, check=True)
        lock = (project / "dvc.lock").read_bytes()
        assert lock == (twin / "dvc.lock").read_bytes()
        assert lock.count(b"language") == 0
        assert "out 中文".encode() in lock
    assert subprocess.run([*DVC, "status", "--quiet"], cwd=project).returncode == 0


# DVC's own parser changes the last digit of longer ones with an exponent.
floats = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False).map(
    lambda number: float(f"{number:.9g}")
)
scalars = st.none() | st.booleans() | st.integers() | floats | st.text(max_size=90)
values = st.recursive(scalars, lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(), some, max_size=3))
stages = st.dictionaries(st.text(min_size=1, max_size=20), st.dictionaries(st.text(min_size=1), values, max_size=4))


@settings(deadline=None)
@given(before=stages, added=stages)
def test_any_lock_is_changed_as_dvc_changes_it(
    tmp_path_factory: pytest.TempPathFactory, before: dict[str, Any], added: dict[str, Any]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    locks = [folder / "one" / "dvc.lock", folder / "other" / "dvc.lock"]
    for lock, change in zip(locks, (modify, modify_yaml), strict=True):
        lock.parent.mkdir(exist_ok=True)
        dump_yaml(lock, {"schema": "2.0", "stages": before})
        with change(lock) as content:
            content["stages"].update(added)
    assert locks[0].read_bytes() == locks[1].read_bytes()


def test_comments_of_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text("stages:  # all\n  a:\n    cmd: 'true'\n")
    with modify(tmp_path / "dvc.yaml") as content:
        content["stages"]["b"] = {"cmd": "false"}
    assert (tmp_path / "dvc.yaml").read_text().startswith("stages:  # all\n  a:\n")


def test_an_error_leaves_the_lock_alone(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    dump_yaml(lock, {"schema": "2.0", "stages": {"a": {"cmd": "true"}}})
    before = lock.read_bytes()

    def break_off() -> None:
        with modify(lock) as content:
            content.clear()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert lock.read_bytes() == before


def test_a_lock_that_is_not_there_yet(tmp_path: Path) -> None:
    with modify(tmp_path / "dvc.lock") as content:
        content["schema"] = "2.0"
    assert (tmp_path / "dvc.lock").read_text() == "schema: '2.0'\n"
