"""In the dvc.yaml files each stage depends on the code that it runs and on the parameters that it reads."""

import ast
import itertools
import json
import os
from pathlib import Path, PurePosixPath

import pytest
from dvc.repo import Repo
from graph import FILES, PRESETS, ROOT, SAFE, definitions, modules_run, name_of, stages_of, stages_that_run

from base.code import Code, commands
from base.params import KEYS, system_names
from flows.preloaded import words_of

STAGES = definitions()
CODE = Code(ROOT, ["base", "pipelines", "model", "report", "systems"])


@pytest.mark.parametrize("name", [name for name in STAGES if name != "code"])
def test_a_stage_depends_on_the_code_that_it_runs_and_on_no_other(name: str) -> None:
    modules = modules_run(STAGES[name])
    digests = [dep for dep in STAGES[name]["deps"] if dep.startswith("data/code/")]
    if name == "mtmdd:commands":  # its data are the digests of other commands (tests/systems/mtmdd/test_commands.py)
        digests = digests[:1]
    assert modules
    assert set(modules) <= set(commands(CODE))  # otherwise its digest is never written
    assert digests == [f"data/code/{module}.json" for module in modules]


EVALUATIONS = {"mtmdd:evaluate", "mtmdd:evaluate_cross_object"}
TRAININGS = {"mtmdd:train", "mtmdd:train_cross_object"}
DIAGNOSES = {"mtmdd:diagnose", "mtmdd:click_ratios"}
COMMANDS = {"mtmdd:commands"}  # which has the digests of the comparison methods' commands
FEATURES = {"vocabulary", "click_features", "dckt:vocabulary", "dckt:click_features", "annotation:tag_vocabulary"}
SIAMESE = {"siamese:train", "siamese:evaluate"}
DCKT = {"dckt:train", "dckt:click_train"}
SYSTEMS = ("annotation", "cleaning", "dckt", "mtmdd", "siamese", "tagging")
REPORTS = {*(f"{name}:report" for name in SYSTEMS), "dckt:click_report", "report"}
MEASURED = ("evaluate", "baselines", "report")


@pytest.mark.parametrize(
    ("module", "stale"),
    [
        ("systems/cleaning/clean.py", {"cleaning:clean", "siamese:denoise"}),
        ("systems/cleaning/train.py", {"cleaning:train"}),
        # vocabularies and click features say in their metadata how queries became words
        ("pipelines/words/segmentation.py", {"segment", "dckt:segment", "label_from_clicks"} | FEATURES),
        ("systems/mtmdd/evaluate.py", EVALUATIONS | DIAGNOSES | COMMANDS),
        ("systems/mtmdd/measures.py", TRAININGS | EVALUATIONS | DIAGNOSES | COMMANDS),
        ("systems/mtmdd/report/texts.py", {"mtmdd:report"}),
        ("systems/siamese/task.py", SIAMESE),
        ("systems/siamese/labels.py", {"siamese:recipes"}),
        ("systems/dckt/selection.py", {"dckt:train"}),
        ("systems/tagging/claims.py", {"tagging:report"}),
        ("pipelines/tags/tag_log.py", {"tag_log"}),
        (
            "model/training/trainer.py",
            {*(f"{name}:train" for name in ("annotation", "cleaning", "siamese", "tagging"))}
            | (DCKT | TRAININGS | DIAGNOSES | COMMANDS),
        ),
        ("report/pages.py", {"cleaning:preparation"} | REPORTS),
        ("systems/annotation/rules.py", {f"annotation:{name}" for name in ("recipes", "train", *MEASURED)}),
        ("base/artifacts.py", set(STAGES) - {"code"}),
    ],
)
def test_an_edited_module_makes_its_stages_stale_and_no_others(module: str, stale: set[str]) -> None:
    assert stages_that_run(module, CODE) == stale


def test_the_code_stage_depends_on_every_package_that_stages_run() -> None:
    assert STAGES["code"]["deps"] == [*CODE.packages, "pyproject.toml"]
    assert STAGES["code"]["cmd"] == f"python -m base.code --packages {' '.join(CODE.packages)} --output data/code"


def test_every_file_beside_the_code_belongs_to_a_command() -> None:
    # The digests would omit a template whose file name no module contains.
    known = frozenset().union(*(CODE.closure(module) for module in commands(CODE)))
    tracked = {
        path.relative_to(ROOT).as_posix()
        for package in CODE.packages
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and path.name != "README.md"
    }
    assert tracked <= known


@pytest.mark.parametrize("name", STAGES)
def test_params_are_the_sections_that_the_stage_reads(name: str) -> None:
    read: set[str] = set()
    for module in modules_run(STAGES[name]):
        if module == "base.with_names":
            continue
        source = CODE.file_of(module)
        assert source is not None
        for node in ast.walk(ast.parse((ROOT / source).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "load_section":
                read.add(ast.literal_eval(node.args[1]))
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "read_seeds":
                read.add("seeds")
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "read_data_sets":
                read.add("data_sets")
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "load_points":
                read |= {"mtmdd.runs", "mtmdd.cross_object"}
    filled_in = (
        {"toys.${key}"} if name == "synthesize" else set()
    )  # the toy's animals, which the command gets as an argument
    assert set(STAGES[name].get("params", [])) == read | filled_in
    assert {section.split(".")[0] for section in read} <= {*KEYS, *system_names()}


def check_graph(params: Path, folder: Path) -> None:
    """Check that no two stages share an output, something makes every dependency, and no command needs a shell."""
    stages = stages_of(params, folder)

    def path_of(item) -> PurePosixPath:
        return PurePosixPath(os.path.relpath(item.fs_path, folder))

    outputs = sorted(path_of(out) for stage in stages for out in stage.outs)
    assert len(outputs) == len(set(outputs))
    for one, other in itertools.pairwise(outputs):
        assert one not in other.parents, f"{other} lies inside {one}"
    content = SAFE.load(params)
    given = {PurePosixPath(raw) for raw in content["data_sets"].values()}
    given |= {PurePosixPath(domain["pairs"]) for domain in content["dckt"]["data"]["domains"].values()}
    given |= {PurePosixPath("data/raw", name) for name in content["annotation"]["plan"]["sets"]}
    made_or_given, folders = {*given, *outputs}, {folder for output in outputs for folder in output.parents}
    for stage in stages:
        assert words_of(stage.cmd), f"{name_of(stage)}: no plain module, so that no preloaded process can run it"
        for dep in stage.deps:
            path = path_of(dep)
            if path.parts[0] not in (*CODE.packages, "params.yaml", "pyproject.toml"):
                made = path in folders or {path, *path.parents} & made_or_given
                assert made, f"{name_of(stage)}: nothing makes {path}"


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.name)
def test_graph_resolves_and_no_output_is_shared(preset: Path, tmp_path: Path) -> None:
    check_graph(preset, tmp_path)


def test_the_graph_resolves_without_runs_and_without_tag_logs(tmp_path: Path) -> None:
    params = SAFE.load(ROOT / "params.yaml")
    params["siamese"]["plan"] |= {"denoised": [], "runs": [], "frozen": []}
    params["tagging"]["plan"] |= {"logged": [], "runs": [], "baselines": [], "examples": []}
    params["tag_logs"] = {}
    (tmp_path / "none.yaml").write_text(json.dumps(params), encoding="utf-8")
    (tmp_path / "graph").mkdir()
    check_graph(tmp_path / "none.yaml", tmp_path / "graph")


@pytest.mark.parametrize("preset", ["params.yaml", "presets/toy_full.yaml"])
def test_the_toy_trains_and_evaluates_every_run_once(preset: str, tmp_path: Path) -> None:
    params = SAFE.load(ROOT / preset)
    names = [name_of(stage) for stage in stages_of(ROOT / preset, tmp_path)]
    cross = params["mtmdd"]["cross_object"]
    expected = {"": len(params["mtmdd"]["runs"]), "_cross_object": len(cross["methods"]) * len(cross["sources"])}
    counts = {("mtmdd", study): count for study, count in expected.items()}
    for system in ("annotation", "siamese", "tagging"):
        counts[system, ""] = len(params[system]["plan"]["runs"])
    for (system, study), count in counts.items():
        for command in ("train", "evaluate"):
            found = [name for name in names if name.startswith(f"{system}:{command}{study}@")]
            assert len(found) == count * len(params["seeds"])
    assert len(names) == len(set(names))


def test_dvc_finds_no_graph_but_those() -> None:
    with Repo(str(ROOT)) as repo:
        found = {Path(stage.path) for stage in repo.index.stages}
    assert found == set(FILES)


def test_every_system_has_its_graph_and_its_place_in_the_report() -> None:
    with_reports = [file.parent.name for file in FILES[1:] if "report" in SAFE.load(file)["stages"]]
    assert [file.parent.name for file in FILES[1:]] == system_names()
    folders = [f"data/{name}/report" for name in with_reports]
    assert STAGES["report"]["deps"] == ["data/code/report.index.json", *folders]
    assert STAGES["report"]["cmd"] == f"python -m report.index --systems {' '.join(folders)} --output data/report"
