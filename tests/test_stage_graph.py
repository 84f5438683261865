"""What dvc.yaml promises: each stage lists the code it runs and the parameters it reads, and writes what is its own."""

import ast
import itertools
import re
import shutil
from pathlib import Path, PurePosixPath

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from base.code import Code, commands
from base.params import SECTIONS

ROOT = Path(__file__).parents[1]
PRESETS = [ROOT / "params.yaml", *sorted((ROOT / "presets").glob("*.yaml"))]
STAGES = {
    name: definition.get("do", definition)  # templates unresolved, foreach unwrapped
    for name, definition in YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"].items()
}

CODE = Code(ROOT, ["base", "pipelines", "model", "report", "systems"])


def modules_run(definition: dict) -> list[str]:
    """The modules that a stage's cmd runs, as in ``python -m systems.mtmdd.train``."""
    commands = definition["cmd"] if isinstance(definition["cmd"], list) else [definition["cmd"]]
    return re.findall(r"\bpython -m ([\w.]+)", "\n".join(commands))


def stages_of(preset: Path, folder: Path) -> list:
    """The stages that DVC makes of dvc.yaml with a preset's parameters."""
    shutil.copy(ROOT / "dvc.yaml", folder / "dvc.yaml")
    shutil.copy(preset, folder / "params.yaml")
    (folder / ".dvc" / "tmp").mkdir(parents=True)
    (folder / ".dvc" / "config").write_text("[core]\n    analytics = false\n    no_scm = True\n")
    with Repo(str(folder)) as repo:
        return list(repo.index.stages)


@pytest.mark.parametrize("name", [name for name in STAGES if name != "code"])
def test_a_stage_depends_on_the_code_that_it_runs_and_on_no_other(name: str) -> None:
    definition = STAGES[name]
    modules = modules_run(definition)
    digests = [dep for dep in definition["deps"] if dep.startswith("data/code/")]
    assert modules
    assert set(modules) <= set(commands(CODE))  # else its digest is never written
    assert digests == [f"data/code/{module}.json" for module in dict.fromkeys(modules)]


def test_the_code_stage_depends_on_every_package_that_stages_run() -> None:
    assert STAGES["code"]["deps"] == [*CODE.packages, "pyproject.toml"]
    assert STAGES["code"]["cmd"] == f"python -m base.code --packages {' '.join(CODE.packages)} --output data/code"


def test_every_file_beside_the_code_belongs_to_a_command() -> None:
    # A template that no module names by its file name would be missing from the digests.
    known = frozenset().union(*(CODE.closure(module) for module in commands(CODE)))
    tracked = {
        path.relative_to(ROOT).as_posix()
        for package in CODE.packages
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert tracked <= known


@pytest.mark.parametrize("name", STAGES)
def test_params_are_the_sections_that_the_stage_reads(name: str) -> None:
    definition = STAGES[name]
    read: set[str] = set()
    for module in modules_run(definition):
        source = CODE.file_of(module)
        assert source is not None
        for node in ast.walk(ast.parse((ROOT / source).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "load_section":
                read.add(ast.literal_eval(node.args[1]))
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "read_seeds":
                read.add("seeds")
    filled_in = {"toys.${key}"} if name == "synthesize" else set()  # its animals, which are no dependency
    assert set(definition.get("params", [])) == read | filled_in
    assert read <= set(SECTIONS)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.name)
def test_graph_resolves_and_no_output_is_shared(preset: Path, tmp_path: Path) -> None:
    stages = stages_of(preset, tmp_path)
    outputs = sorted(PurePosixPath(out.def_path) for stage in stages for out in stage.outs)
    assert len(outputs) == len(set(outputs))
    for one, other in itertools.pairwise(outputs):
        assert one not in other.parents, f"{other} lies inside {one}"
    params = YAML(typ="safe", pure=True).load(preset)
    made_or_given = {*map(PurePosixPath, [params["raw"], *params["other_objects"].values()]), *outputs}
    folders = {folder for output in outputs for folder in output.parents}
    for stage in stages:
        for dep in stage.deps:
            path = PurePosixPath(dep.def_path)
            if path.parts[0] not in (
                "base",
                "pipelines",
                "model",
                "report",
                "systems",
                "params.yaml",
                "pyproject.toml",
            ):
                made = path in folders or {path, *path.parents} & made_or_given
                assert made, f"{stage.name}: nothing makes {path}"


def test_other_objects_are_prepared_by_the_commands_of_the_own_data_set() -> None:
    own = [
        "ingest",
        "train_cleaner",
        "score",
        "clean",
        "select",
        "segment",
        "vocabulary",
        "click_matrix",
        "click_features",
    ]
    commands = [STAGES[name]["cmd"].replace("data/", "data/other/{key}/").replace("{raw}", "{item}") for name in own]
    others = [STAGES[name] for name in ("score_other", "click_features_other")]
    assert [command for stage in others for command in map(command_of, stage["cmd"])] == [*map(command_of, commands)]
    assert all(
        command.startswith("python -m base.with_names --each other_objects -- ")
        for stage in others
        for command in stage["cmd"]
    )
    for key in ("params", "outs"):
        wanted = {name for stage in own for name in STAGES[stage].get(key, [])}
        given = [name.replace("data/other/${key}/", "data/") for stage in others for name in stage[key]]
        assert len(given) == len(set(given))
        assert all(any(name in (one, f"{PurePosixPath(one).parent}") for name in given) for one in wanted)


def command_of(cmd: str) -> str:
    """Return a command without what fills in its names."""
    return cmd.rpartition(" -- ")[2].removeprefix("python -m ")


@pytest.mark.parametrize("preset", ["params.yaml", "presets/toy_full.yaml"])
def test_the_toy_trains_and_evaluates_every_point_once(preset: str, tmp_path: Path) -> None:
    params = YAML(typ="safe", pure=True).load(ROOT / preset)
    names = [stage.name for stage in stages_of(ROOT / preset, tmp_path)]
    points, sweep, shot, cross, seeds = (
        params["components"]["points"],
        params["out_of_class"],
        params["one_shot"],
        params["cross_object"],
        len(params["seeds"]),
    )
    expected = {
        "": len(params["methods"]["names"]) * seeds,
        "_component": len(points) * seeds,
        "_out_of_class": len(sweep["methods"]) * len(sweep["categories"]) * seeds,
        "_one_shot": len(shot["methods"]) * len(shot["domains"]) * len(shot["shares"]) * seeds,
        "_cross_object": len(cross["methods"]) * len(cross["sources"]) * seeds,
    }
    for study, count in expected.items():
        for command in ("train", "evaluate"):
            assert sum(name.startswith(f"{command}{study}@") for name in names) == count
    assert len(names) == len(set(names))
