"""dvc.yaml as it is, run by DVC: no value of the parameter file is read by a shell, and each arrives as it stands."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from base.with_names import arguments_of
from flows.closure import stage_definitions

ROOT = Path(__file__).parents[1]
YAML_FILE = YAML(typ="safe", pure=True)
STAGES = stage_definitions(ROOT / "dvc.yaml")
EVIL = 'it\'s "one"; touch pwned; $(touch pwned) `touch pwned` & touch pwned | touch pwned > pwned * {raw} --'
RAW = f"raw data/{EVIL}"
# In the place of a module that works: notes its arguments and makes its output.
STUB = """
import json, pathlib, sys
with open("argv.jsonl", "a") as lines:
    lines.write(json.dumps(sys.argv[1:]) + chr(10))
output = pathlib.Path(sys.argv[sys.argv.index("--output") + 1])
output.parent.mkdir(parents=True, exist_ok=True)
output.mkdir() if output.suffix != ".parquet" else output.touch()
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with this graph and these packages, whose parameters are hostile, in a folder of its own."""
    for package in ("pipelines", "model"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    for module in ("synthesize", "ingest", "score", "vocabulary"):
        (tmp_path / "pipelines" / f"{module}.py").write_text(STUB)
    for module in ("train_cleaner", "train", "diagnose"):
        (tmp_path / "model" / f"{module}.py").write_text(STUB)
    params = YAML_FILE.load(ROOT / "params.yaml")
    params |= {"raw": RAW, "toys": {EVIL: EVIL}, "other_objects": {EVIL: RAW}, "seeds": [EVIL]}
    params["methods"]["names"] = params["cross_object"]["methods"] = params["cross_object"]["sources"] = [EVIL]
    (tmp_path / "params.yaml").write_text(json.dumps(params))  # which is YAML
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    (tmp_path / ".dvc/config").write_text("[core]\n    analytics = false\n    no_scm = True\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    return tmp_path


def repro(project: Path, names: list[str]) -> tuple[list[list[str]], str]:
    """Run stages alone, with all they depend on there; return the arguments of the commands, and what DVC printed."""
    with Repo(str(project)) as repo:
        for stage in repo.index.stages:
            for dep in stage.deps if stage.name in names else ():
                place = project / dep.def_path
                if not place.exists():
                    place.mkdir(parents=True)
    (project / "argv.jsonl").unlink(missing_ok=True)
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", *names]
    ended = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    lines = (project / "argv.jsonl").read_text().splitlines() if (project / "argv.jsonl").exists() else []
    return [json.loads(line) for line in lines], ended.stdout + ended.stderr


@pytest.mark.slow
def test_hostile_values_arrive_as_they_stand(project: Path) -> None:
    names = ["ingest", f"synthesize@{EVIL}", f"score_other@{EVIL}"]
    found, printed = repro(project, names)
    other = f"data/other/{EVIL}"
    assert found == [
        ["--raw", RAW, "--output", "data/ingested"],
        ["--animals", EVIL, "--output", f"data/raw/{EVIL}"],
        ["--raw", RAW, "--output", f"{other}/ingested"],
        ["--images", f"{other}/ingested/images", "--output", f"{other}/cleaner"],
        ["--images", f"{other}/ingested/images", "--model", f"{other}/cleaner", "--output", f"{other}/scores"],
    ], printed
    assert not list(project.rglob("*pwned"))


@pytest.mark.slow
def test_a_matrixs_hostile_values_arrive_as_they_stand(project: Path) -> None:
    found, printed = repro(project, [f"train@{EVIL}-{EVIL}", f"train_cross_object@{EVIL}-{EVIL}-{EVIL}"])
    assert len(found) == 2, printed
    own, cross = (dict(zip(arguments[::2], arguments[1::2], strict=True)) for arguments in found)
    assert own == {
        "--recipe": f"data/recipes/methods/{EVIL}.json",
        "--seed": EVIL,
        "--images": "data/ingested/images",
        "--split": f"data/splits/seed-{EVIL}.parquet",
        "--features": "data/features",
        "--output": f"data/models/methods/{EVIL}/seed-{EVIL}",
    }
    assert cross["--source-split"] == f"data/other/{EVIL}/splits/seed-{EVIL}.parquet"
    assert cross["--output"] == f"data/models/cross_object/{EVIL}/{EVIL}/seed-{EVIL}"
    assert not list(project.rglob("*pwned"))


@pytest.mark.slow
def test_a_seed_that_is_no_number_is_refused_by_name(project: Path) -> None:
    found, printed = repro(project, ["vocabulary"])
    assert found == []
    assert "error: params.yaml: seeds: " in printed
    assert "is not a whole number >= 0" in printed
    assert not list(project.rglob("*pwned"))


@pytest.mark.parametrize("name", STAGES)
def test_commands_hold_no_value_but_what_dvc_quotes(name: str) -> None:
    cmd = STAGES[name]["cmd"]
    for command in cmd if isinstance(cmd, list) else [cmd]:
        assert set(re.findall(r"\$\{[^}]*\}", command)) <= {"${item}"}
        if "${item}" in command:  # of a foreach, it may be a text, which DVC doesn't quote
            assert "matrix" in STAGES[name]
            assert command.startswith("python -m base.with_names ${item} -- ")
        assert not set(command.replace("${item}", "")) & set("$`'\"\\;&|<>()*?[]!#~")


def test_names_are_filled_in_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("raw: '{method} {raw}'\ntoys: {a b: 3, 7: x}\nseeds: [4, 5]\n")
    argv = [
        "--method",
        "--",
        "--seed",
        "{method}",
        "--",
        "m",
        "--a",
        "{raw}",
        "{seed}-{method}/{first_seed}",
        "{}",
        "{a,b}",
    ]
    assert arguments_of(argv, "") == ["m", "--a", "{method} {raw}", "{method}---/4", "{}", "{a,b}"]
    for key, item in (("a b", "3"), ("7", "x")):
        argv = ["--each", "toys", "--", "m", "{key}={item}"]
        assert arguments_of(argv, f"sub/dvc.yaml:synthesize@{key}") == ["m", f"{key}={item}"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--a", "x", "--", "m", "{b}"], "{b}: no such name; there are a, raw, first_seed"),
        (["--a", "../x", "--", "m"], "a = '../x': names a file or folder"),
        (["--a", "..", "--", "m"], "a = '..': names a file or folder"),
        (["--a", "", "--", "m"], "a = '': names a file or folder"),
        (["--a", "x\ny", "--", "m"], r"a = 'x\ny': names a file or folder"),
        (["--a", "x", "y", "--", "m"], "'y': expected --NAME VALUE ... -- MODULE"),
        (["--a"], "'--a': expected"),
        (["--a", "x", "--"], "no module to run: expected"),
        (["--each", "toys", "--", "m"], "parameter toys has no 'cat'; it has dog, ../up"),
        (["--each", "other_objects", "--", "m"], "parameter other_objects has no 'cat'; it has nothing"),
    ],
)
def test_what_is_no_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("toys: {dog: dogs, ../up: dogs}\nother_objects: {}\n")
    with pytest.raises(ValueError, match=re.escape(message)):
        arguments_of(argv, "synthesize@cat")
    with pytest.raises(ValueError, match=re.escape("key = '../up': names a file or folder")):
        arguments_of(["--each", "toys", "--", "m"], "synthesize@../up")
