"""The real dvc.yaml files, run by DVC: no shell interprets a parameter's value, and commands get it unchanged."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo
from graph import ROOT, SAFE, definitions, write_graph

from base.with_names import arguments_of

STAGES = definitions()
EVIL = 'it\'s "one"; touch pwned; $(touch pwned) `touch pwned` & touch pwned | touch pwned > pwned * {raw} --'
RAW = f"raw data/{EVIL}"
# The key is shorter, because ruamel.yaml folds a key of 80 to 128 characters in dvc.lock and cannot read it again.
KEY = 'it\'s "1"; touch pwned & $(touch pwned)`touch pwned`|>*{raw} --'
# A replacement for modules: it records its arguments and creates its output.
STUB = """
import json, pathlib, sys
with open("argv.jsonl", "a") as lines:
    lines.write(json.dumps(sys.argv[1:]) + chr(10))
output = pathlib.Path(sys.argv[sys.argv.index("--output") + 1])
output.parent.mkdir(parents=True, exist_ok=True)
(output / "images").mkdir(parents=True) if output.suffix != ".parquet" else output.touch()  # images: of ingest
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a project with this graph and these packages in a temporary folder, with hostile parameters."""
    ignored = shutil.ignore_patterns("__pycache__")
    for package in ("base", "pipelines", "model", "report", "systems"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for module in ("toy/synthesize", "ingest/click_data", "words/vocabulary"):
        (tmp_path / "pipelines" / f"{module}.py").write_text(STUB)
    for module in ("cleaning/train", "cleaning/score", "mtmdd/train", "mtmdd/diagnose"):
        (tmp_path / "systems" / f"{module}.py").write_text(STUB)
    params = SAFE.load(ROOT / "params.yaml")
    params |= {"data_sets": {KEY: RAW}, "toys": {KEY: EVIL}, "seeds": [EVIL]}
    params["mtmdd"] |= {"data_set": EVIL, "runs": [EVIL], "cross_object": {"methods": [EVIL], "sources": [EVIL]}}
    hostile = tmp_path / "hostile.yaml"
    hostile.write_text(json.dumps(params))  # JSON is YAML
    write_graph(tmp_path, hostile)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    return tmp_path


def repro(project: Path, names: list[str]) -> tuple[list[list[str]], str]:
    """Run stages without their upstream stages; return the arguments of the commands, and DVC's output."""
    with Repo(str(project)) as repo:
        for stage in repo.index.stages:
            for dep in stage.deps if stage.addressing in names else ():
                path = Path(dep.fs_path)
                if not path.exists():
                    path.mkdir(parents=True)
    (project / "argv.jsonl").unlink(missing_ok=True)
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", *names]
    ended = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    lines = (project / "argv.jsonl").read_text().splitlines() if (project / "argv.jsonl").exists() else []
    return [json.loads(line) for line in lines], ended.stdout + ended.stderr


@pytest.mark.slow
def test_hostile_values_arrive_as_they_stand(project: Path) -> None:
    cleaning = "stages/cleaning/dvc.yaml"
    names = [f"synthesize@{KEY}", f"ingest@{KEY}", f"{cleaning}:train@{KEY}", f"{cleaning}:score@{KEY}"]
    found, printed = repro(project, names)
    folder = f"data/sets/{KEY}"
    assert found == [
        ["--animals", EVIL, "--output", f"data/raw/{KEY}"],
        ["--raw", RAW, "--output", f"{folder}/ingested"],
        ["--images", f"{folder}/ingested/images", "--output", f"{folder}/cleaner"],
        ["--images", f"{folder}/ingested/images", "--model", f"{folder}/cleaner", "--output", f"{folder}/scores"],
    ], printed
    assert not list(project.rglob("*pwned"))


@pytest.mark.slow
def test_a_matrixs_hostile_values_arrive_as_they_stand(project: Path) -> None:
    graph, folder = "stages/mtmdd/dvc.yaml", f"data/sets/{EVIL}"
    found, printed = repro(
        project, [f"{graph}:train@{EVIL}-{EVIL}", f"{graph}:train_cross_object@{EVIL}-{EVIL}-{EVIL}"]
    )
    assert len(found) == 2, printed
    own, cross = (dict(zip(arguments[::2], arguments[1::2], strict=True)) for arguments in found)
    assert own == {
        "--recipe": f"data/mtmdd/recipes/{EVIL}.json",
        "--seed": EVIL,
        "--images": f"{folder}/ingested/images",
        "--split": f"{folder}/splits/seed-{EVIL}.parquet",
        "--features": f"{folder}/features",
        "--output": f"data/mtmdd/models/{EVIL}/seed-{EVIL}",
    }
    assert cross["--source-split"] == f"data/sets/{EVIL}/splits/seed-{EVIL}.parquet"
    assert cross["--output"] == f"data/mtmdd/models/cross_object={EVIL}-{EVIL}/seed-{EVIL}"
    assert not list(project.rglob("*pwned"))


@pytest.mark.slow
def test_a_seed_that_is_no_number_is_refused_by_name(project: Path) -> None:
    found, printed = repro(project, [f"vocabulary@{KEY}"])
    assert found == []
    assert "error: params.yaml: seeds: " in printed
    assert "is not a whole number >= 0" in printed
    assert not list(project.rglob("*pwned"))


@pytest.mark.parametrize("name", STAGES)
def test_commands_hold_no_value_but_what_dvc_quotes(name: str) -> None:
    cmd = STAGES[name]["cmd"]
    for command in cmd if isinstance(cmd, list) else [cmd]:
        assert set(re.findall(r"\$\{[^}]*\}", command)) <= {"${item}"}
        if "${item}" in command:  # the item of a foreach may be a text, which DVC doesn't quote
            assert "matrix" in STAGES[name]
            assert command.startswith("python -m base.with_names ${item} -- ")
        assert not set(command.replace("${item}", "")) & set("$`'\"\\;&|<>()*?[]!#~")


def test_names_are_filled_in_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("mtmdd: {data_set: '{method} {raw}'}\ntoys: {a b: 3, 7: x}\nseeds: [4, 5]\n")
    argv = [
        "--method",
        "--",
        "--seed",
        "{method}",
        "--",
        "m",
        "--a",
        "{mtmdd.data_set}",
        "{seed}-{method}/{first_seed}",
        "{}",
        "{a,b}",
    ]
    assert arguments_of(argv, "") == ["m", "--a", "{method} {raw}", "{method}---/4", "{}", "{a,b}"]
    for key, item in (("a b", "3"), ("7", "x")):
        argv = ["--each", "toys", "--", "m", "{key}={item}"]
        assert arguments_of(argv, f"sub/dvc.yaml:synthesize@{key}") == ["m", f"{key}={item}"]
    Path("params.yaml").write_text("dckt: {data: {domains: {source: {pairs: x}, target: {}}}}\n")
    argv = ["--each", "dckt.data.domains", "--", "m", "--domain", "{key}"]
    assert arguments_of(argv, "stages/dckt/dvc.yaml:ingest@target") == ["m", "--domain", "target"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--a", "x", "--", "m", "{b}"], "{b}: no such name; there are a, first_seed, and parameters"),
        (["--a", "../x", "--", "m"], "a = '../x': names a file or folder"),
        (["--a", "..", "--", "m"], "a = '..': names a file or folder"),
        (["--a", "", "--", "m"], "a = '': names a file or folder"),
        (["--a", "x\ny", "--", "m"], r"a = 'x\ny': names a file or folder"),
        (["--a", "x", "y", "--", "m"], "'y': expected --NAME VALUE ... -- MODULE"),
        (["--a"], "'--a': expected"),
        (["--a", "x", "--"], "no module to run: expected"),
        (["--each", "toys", "--", "m"], "parameter toys has no 'cat'; it has dog, ../up"),
        (["--each", "data_sets", "--", "m"], "parameter data_sets has no 'cat'; it has nothing"),
        (["--each", "mtmdd.sets", "--", "m"], "parameter mtmdd.sets has no 'cat'; it has nothing"),
        (["--each", "toys.dog.x", "--", "m"], "parameter toys.dog.x has no 'cat'; it has nothing"),
    ],
)
def test_what_is_no_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("toys: {dog: dogs, ../up: dogs}\ndata_sets: {}\n")
    with pytest.raises(ValueError, match=re.escape(message)):
        arguments_of(argv, "synthesize@cat")
    with pytest.raises(ValueError, match=re.escape("key = '../up': names a file or folder")):
        arguments_of(["--each", "toys", "--", "m"], "synthesize@../up")
