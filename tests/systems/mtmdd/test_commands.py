"""A run's training depends on the code of its own command: adding or editing a method makes no other training stale."""

import json
import shutil
from pathlib import Path

import pytest
from graph import ROOT, SAFE

from base import code as base_code
from base.code import Code
from systems.mtmdd import dispatch, train
from systems.mtmdd.baselines.methods import BASELINES, COMPARED
from systems.mtmdd.commands import main

PACKAGES = ["base", "pipelines", "model", "report", "systems"]
CODE = Code(ROOT, PACKAGES)
HERE = "systems/mtmdd/baselines/"
RUNS = ["VGGimg", "tau=0.4", "out_of_class=DAN-6", *BASELINES]
SHARED = ("systems.mtmdd.train.json", "systems.mtmdd.evaluate.json")
OWN = sorted({command for method in BASELINES.values() for command in (method.train, method.evaluate) if command})


def own_files(command: str) -> set[str]:
    """Return the modules of the comparison methods that a command runs."""
    return {file for file in CODE.closure(command) if file.startswith(HERE) and not file.endswith("/__init__.py")}


def test_the_shared_commands_have_no_code_of_a_comparison_method() -> None:
    for command in ("systems.mtmdd.train", "systems.mtmdd.evaluate"):
        assert own_files(command) == set()


@pytest.mark.parametrize("command", OWN)
def test_a_methods_command_has_no_code_of_another_method(command: str) -> None:
    others = {CODE.file_of(other) for other in OWN} - {CODE.file_of(command)}
    mine = {CODE.file_of(command.removesuffix("_evaluate"))}
    assert own_files(command) & others <= mine
    assert f"{HERE}methods.py" not in own_files(command)
    if not command.endswith("_evaluate"):
        assert "systems/mtmdd/evaluate.py" not in CODE.closure(command)


def test_every_command_of_the_folder_belongs_to_a_method() -> None:
    commands = {name for name in base_code.commands(CODE) if name.startswith("systems.mtmdd.baselines.")}
    assert commands == set(OWN)


def write_params(folder: Path) -> None:
    content = {"mtmdd": {"runs": RUNS, "cross_object": {"methods": ["SCDA"], "sources": ["birds"]}}}
    (folder / "params.yaml").write_text(json.dumps(content))


def written(project: Path) -> dict[str, str]:
    base_code.main(["--packages", *PACKAGES, "--output", "data/code"])
    main(["--code", "data/code", "--output", "commands"])
    files = [*(project / "commands").iterdir(), *(project / "data/code" / name for name in SHARED)]
    return {file.name: file.read_text() for file in files}


def test_the_stage_depends_on_every_command_of_a_method() -> None:
    stage = SAFE.load((ROOT / "stages/mtmdd/dvc.yaml").read_text(encoding="utf-8"))["stages"]["commands"]
    assert stage["deps"] == [f"data/code/{name}.json" for name in ("systems.mtmdd.commands", *OWN)]


@pytest.mark.slow
def test_each_run_depends_on_its_own_commands_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = written(tmp_path)
    files = {name: json.loads(text) for name, text in before.items()}
    names = [*RUNS, "cross_object=SCDA-birds"]
    assert set(files) - set(SHARED) == {f"{name}.{step}.json" for name in names for step in ("train", "evaluate")}
    assert files["VGGimg.train.json"] == {"command": "systems.mtmdd.train", "code": {}}
    assert files["MDD-VM.train.json"] == files["tau=0.4.train.json"] == files["VGGimg.train.json"]
    assert files["DAN.train.json"]["command"] == "systems.mtmdd.baselines.dan"
    assert files["out_of_class=DAN-6.train.json"] == files["DAN.train.json"]
    assert files["DAN.evaluate.json"] == {"command": "systems.mtmdd.evaluate", "code": {}}
    assert files["cross_object=SCDA-birds.evaluate.json"]["command"] == "systems.mtmdd.baselines.scda_evaluate"
    assert {"model/losses/mmd.py", f"{HERE}dan.py"} <= set(files["DAN.train.json"]["code"])

    # a new method: its command, and its entry in the list; and edits of four others, each of other runs
    shutil.copy(tmp_path / HERE / "vse.py", tmp_path / HERE / "new_method.py")
    edits: dict[str, set[str]] = {
        f"{HERE}methods.py": set(),
        f"{HERE}dan.py": {"DAN.train.json", "out_of_class=DAN-6.train.json"},
        "model/losses/hardest_negative.py": {"VSE++.train.json"},
        f"{HERE}scda.py": {
            f"{run}.{step}.json" for run in ("SCDA", "cross_object=SCDA-birds") for step in ("train", "evaluate")
        },
        f"{HERE}racnn_evaluate.py": {"RACNN.evaluate.json"},
    }
    for edited in edits:
        with (tmp_path / edited).open("a") as file:
            file.write("\n# an edit\n")
    after = written(tmp_path)
    assert {name for name in before if before[name] != after[name]} == set().union(*edits.values())


def test_missing_digests_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main(["--code", "nowhere", "--output", "commands"])
    assert "systems.mtmdd.baselines.dan.json: no such file; run python -m base.code" in caplog.text


class Replaced(Exception):
    """Stands for the process's end in os.execv."""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the commands that have replaced the process."""
    found: list[list[str]] = []

    def execv(path: str, arguments: list[str]) -> None:
        found.append(arguments[1:])
        raise Replaced

    monkeypatch.setattr(dispatch.os, "execv", execv)
    return found


@pytest.mark.parametrize("method", ["DAN", "SCDA", "linear_probe"])
def test_the_shared_command_becomes_the_methods_own(method: str, recipe, tmp_path: Path, started) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(recipe(method).model_dump_json(exclude_none=True))
    arguments = ["--recipe", str(path), "--seed", "3"]
    arguments += [text for name in ("images", "split", "features", "output") for text in (f"--{name}", name)]
    with pytest.raises(Replaced):
        train.main(arguments)
    assert started == [["-m", COMPARED[method].train, *arguments]]


def test_a_methods_command_refuses_other_recipes(recipe, tmp_path: Path, started, caplog) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(recipe("DAN").model_dump_json(exclude_none=True))
    options = [f"--{name}={name}" for name in ("images", "split", "features", "output")]
    with pytest.raises(SystemExit, match="2"):
        train.main(["--recipe", str(path), "--seed", "0", *options], command="systems.mtmdd.baselines.dann")
    assert "belongs to python -m systems.mtmdd.baselines.dan, not to python -m systems.mtmdd.baselines.dann" in (
        caplog.text
    )
    assert started == []


def test_the_whole_presets_have_every_method_and_the_default_has_none() -> None:
    names = ("presets/toy_full.yaml", "presets/birds50_full.yaml", "params.yaml")
    *wholes, short = (SAFE.load(ROOT / name)["mtmdd"]["runs"] for name in names)
    assert all(set(COMPARED) <= set(whole) for whole in wholes)
    assert set(BASELINES) & set(short) == set()
