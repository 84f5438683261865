"""What dvc.yaml promises: each stage lists the code it runs and the parameters it reads, and writes what is its own."""

import ast
import itertools
import shutil
from pathlib import Path, PurePosixPath

import pytest
from processes import new_project
from ruamel.yaml import YAML

from flows.closure import differences, expected_code, modules_run, stage_definitions
from flows.site_cache import open_repo
from pipelines.code import project_code
from pipelines.params import SECTIONS

ROOT = Path(__file__).parents[1]
PRESETS = [ROOT / "params.yaml", *sorted((ROOT / "presets").glob("*.yaml"))]
STAGES = stage_definitions(ROOT / "dvc.yaml")


def stages_of(preset: Path, folder: Path) -> list:
    """The stages that DVC makes of dvc.yaml with a preset's parameters."""
    shutil.copy(ROOT / "dvc.yaml", folder / "dvc.yaml")
    shutil.copy(preset, folder / "params.yaml")
    new_project(folder)
    with open_repo(folder) as repo:
        return list(repo.index.stages)


def test_deps_are_each_stages_import_closure() -> None:
    assert "\n".join(map(str, differences(ROOT))) == ""


def test_every_file_beside_the_code_belongs_to_a_stage() -> None:
    # A template that no module names by its file name would be missing from the closures.
    code = project_code(ROOT)
    known = frozenset().union(*(expected_code(code, definition) for definition in STAGES.values()))
    tracked = {
        path.relative_to(ROOT).as_posix()
        for package in ("pipelines", "model")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert tracked <= known


@pytest.mark.parametrize("name", STAGES)
def test_params_are_the_sections_that_the_stage_reads(name: str) -> None:
    definition = STAGES[name]
    read: set[str] = set()
    for module in modules_run(definition):
        source = project_code(ROOT).file_of(module)
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
            if path.parts[0] not in ("pipelines", "model", "params.yaml", "pyproject.toml"):
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
        command.startswith("python -m pipelines.with_names --each other_objects -- ")
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
