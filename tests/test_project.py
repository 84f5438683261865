"""Checks of the project itself: commands exist, packages are listed, presets are valid, no file names a machine."""

import ast
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, get_args

import pytest

from base.params import KEYS, Params, load_section, read_params, read_seeds, system_names
from pipelines.toy.animals import ANIMALS
from systems.dckt.clicks.config import ClicksParams
from systems.dckt.config import RunsParams
from systems.mtmdd.runs import load_points
from systems.siamese.config import PlanParams
from systems.tagging.config import PlanParams as TaggingPlanParams

ROOT = Path(__file__).parents[1]
PRESETS = [ROOT / "params.yaml", *sorted((ROOT / "presets").glob("*.yaml"))]
PACKAGES = ("base", "pipelines", "model", "report", "systems", "flows", "clicksight")
# Module and model of each section; KEYS has the modules of the sections that all systems share.
MODELS = {
    "synthesize": "pipelines.toy.synthesize.SynthesizeParams",
    "ingest": "pipelines.ingest.click_data.IngestParams",
    "select": "pipelines.splits.select.SelectParams",
    "segment": "pipelines.words.segmentation.SegmentParams",
    "vocabulary": "pipelines.words.vocabulary.VocabularyParams",
    "label_from_clicks": "pipelines.label_from_clicks.LabelParams",
    "pictures": "pipelines.tags.pictures.PictureParams",
    "tags": "pipelines.tags.layouts.TagLogParams",
    "tag_splits": "pipelines.tags.split.TagSplitParams",
    "cleaning.network": "model.classifier_params.ClassifierParams",
    "cleaning.train": "systems.cleaning.train.CleanerParams",
    "cleaning.score": "systems.cleaning.score.ScoreParams",
    "cleaning.clean": "systems.cleaning.clean.CleanParams",
    "cleaning.embed": "model.frozen_features.FrozenParams",
    "cleaning.denoise": "systems.cleaning.denoise.DenoiseParams",
    "cleaning.preparation": "systems.cleaning.preparation.PreparationParams",
    "mtmdd.network": "systems.mtmdd.config.NetworkParams",
    "mtmdd.objective": "systems.mtmdd.config.ObjectiveParams",
    "mtmdd.train": "systems.mtmdd.config.TrainParams",
    "mtmdd.cross_object": "systems.mtmdd.runs.CrossObjectParams",
    "mtmdd.evaluate": "systems.mtmdd.evaluate.EvaluateParams",
    "mtmdd.diagnose": "systems.mtmdd.diagnose.DiagnoseParams",
    "mtmdd.report": "systems.mtmdd.report.write.ReportParams",
    "annotation.plan": "systems.annotation.config.PlanParams",
    "annotation.ingest": "pipelines.annotations.ingest.IngestParams",
    "annotation.split": "pipelines.annotations.split.SplitParams",
    "annotation.network": "systems.annotation.config.NetworkParams",
    "annotation.train": "model.classifier_params.TrainParams",
    "annotation.stages": "systems.annotation.config.StagesParams",
    "annotation.evaluate": "systems.annotation.rules.RuleParams",
    "annotation.report": "systems.annotation.report.ReportParams",
    "siamese.plan": "systems.siamese.config.PlanParams",
    "siamese.network": "model.classifier_params.ClassifierParams",
    "siamese.train": "model.classifier_params.TrainParams",
    "siamese.fine_tuning": "systems.siamese.config.FineTuningParams",
    "siamese.frozen": "model.heads.HeadParams",
    "siamese.evaluate": "systems.siamese.evaluate.EvaluateParams",
    "siamese.report": "systems.siamese.report.ReportParams",
    "dckt.baselines": "systems.dckt.baselines.config.BaselineParams",
    "dckt.clicks": "systems.dckt.clicks.config.ClicksParams",
    "dckt.data": "systems.dckt.data.DataParams",
    "dckt.features": "systems.dckt.feature_params.FeatureParams",
    "dckt.network": "systems.dckt.config.NetworkParams",
    "dckt.objective": "systems.dckt.config.ObjectiveParams",
    "dckt.train": "systems.dckt.config.PhasesParams",
    "dckt.transfer": "systems.dckt.config.TransferParams",
    "dckt.runs": "systems.dckt.config.RunsParams",
    "dckt.report": "systems.dckt.report.write.ReportParams",
    "dckt.evaluate": "systems.dckt.evaluate.EvaluateParams",
    "tagging.plan": "systems.tagging.config.PlanParams",
    "tagging.network": "systems.tagging.config.NetworkParams",
    "tagging.loss": "systems.tagging.config.LossParams",
    "tagging.train": "systems.tagging.config.TrainParams",
    "tagging.baselines": "systems.tagging.baselines.BaselineParams",
    "tagging.evaluate": "systems.tagging.evaluate.EvaluateParams",
    "tagging.report": "systems.tagging.report.ReportParams",
}
PLAIN = {"data_sets", "picture_sets", "tag_logs", "toys", "seeds"}
PLAIN_OF_SYSTEMS = {"mtmdd.data_set", "mtmdd.runs"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = tuple(PROJECT["project"]["optional-dependencies"])
OPTIONAL = {"pyspark"}  # benchmarks/click_features.py skips this peer if it can't be imported
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def section_model(name: str) -> type[Params]:
    module, _, model = MODELS[name].rpartition(".")
    return getattr(importlib.import_module(module), model)


def with_nested(model: type[Params]) -> list[type[Params]]:
    """Return a model and, recursively, the models of its fields."""
    types = [part for field in model.model_fields.values() for part in (field.annotation, *get_args(field.annotation))]
    nested = [part for part in types if isinstance(part, type) and issubclass(part, Params)]
    return [model, *(deeper for part in nested for deeper in with_nested(part))]


def test_every_section_has_a_model_whose_keys_are_described() -> None:
    shared = {name for name in MODELS if "." not in name}
    assert set(KEYS) == PLAIN | shared
    assert {name.split(".")[0] for name in set(MODELS) - shared} == set(system_names())
    for name in MODELS:
        model = section_model(name)
        assert f"{model.__module__}.{model.__name__}" == MODELS[name]
        assert name not in shared or model.__module__ == KEYS[name]
        for part in with_nested(model):
            for key, field in part.model_fields.items():
                is_nested = isinstance(field.annotation, type) and issubclass(field.annotation, Params)
                assert field.description or is_nested, f"{name}, {part.__name__}.{key} has no description"


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.name)
def test_presets_are_whole_and_valid(preset: Path) -> None:
    content = read_params(preset)
    assert set(content) == {*KEYS, *system_names()}
    sections = {f"{system}.{key}" for system in system_names() for key in content[system]}
    assert sections == {name for name in MODELS if "." in name} | PLAIN_OF_SYSTEMS
    assert content["data_sets"]
    assert all(isinstance(raw, str) for raw in content["data_sets"].values())
    assert set(content["toys"].values()) <= set(ANIMALS)
    assert {content["mtmdd"]["data_set"], content["siamese"]["plan"]["data_set"]} <= set(content["data_sets"])
    assert set(content["mtmdd"]["cross_object"]["sources"]) <= set(content["data_sets"]) - {
        content["mtmdd"]["data_set"]
    }
    assert read_seeds(preset)
    of_siamese = load_section(PlanParams, "siamese.plan", preset).points
    of_dckt = load_section(RunsParams, "dckt.runs", preset).networks
    of_clicks = load_section(ClicksParams, "dckt.clicks", preset).runs
    of_tagging = load_section(TaggingPlanParams, "tagging.plan", preset).points
    of_annotation = load_section(section_model("annotation.plan"), "annotation.plan", preset).points
    points = [*load_points(preset), *of_siamese, *of_dckt, *of_clicks, *of_tagging, *of_annotation]
    assert len(points) * len(read_seeds(preset)) == num_trainings(preset)
    tagged = content["tagging"]["plan"]["data_set"]
    assert tagged in {**content["data_sets"], **content["tag_logs"]}
    assert not set(content["picture_sets"]) & set(content["data_sets"])
    assert content["tagging"]["plan"]["logged"] == ([tagged] if tagged in content["tag_logs"] else [])
    for name in MODELS:
        load_section(section_model(name), name, preset)


def num_trainings(preset: Path) -> int:
    params = read_params(preset)
    system, others = params["mtmdd"], [params[name]["plan"]["runs"] for name in ("annotation", "siamese", "tagging")]
    points = (
        sum(map(len, others))
        + len(params["dckt"]["runs"]["networks"])
        + len(params["dckt"]["clicks"]["runs"])
        + len(system["runs"])
        + len(system["cross_object"]["methods"]) * len(system["cross_object"]["sources"])
    )
    return points * len(read_seeds(preset))


def test_the_whole_toy_tells_how_much_it_trains() -> None:
    whole = ROOT / "presets/toy_full.yaml"
    stated = [int(number) for number in re.findall(r"(\d+) trainings", whole.read_text(encoding="utf-8"))]
    assert stated == [num_trainings(whole), num_trainings(ROOT / "params.yaml")]


def test_packages_are_those_on_disk() -> None:
    on_disk = {
        init.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for top in PACKAGES
        for init in (ROOT / top).rglob("__init__.py")
    }
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == on_disk
    for package in on_disk:
        for folder in (ROOT / package.replace(".", "/")).iterdir():
            holds_code = folder.is_dir() and any(folder.glob("*.py"))
            assert not holds_code or (folder / "__init__.py").exists(), f"{folder} has modules but no __init__.py"


def commands(document: Path) -> list[str]:
    return re.findall(r"(?:^|`|&& )(make [a-z-]+|python -m [\w.]+)", document.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))])
def test_documented_commands_exist(name: str) -> None:
    for command in commands(ROOT / name):
        if command.startswith("make "):
            assert re.search(rf"^{command.split()[1]}:", MAKEFILE, re.MULTILINE), f"{name}: {command}"
        else:
            module = command.split()[-1]
            path = ROOT / module.replace(".", "/")
            is_there = path.with_name(f"{path.name}.py").exists() or (path / "__main__.py").exists()
            assert is_there or module.split(".")[0] not in (*PACKAGES, "benchmarks"), f"{name}: {command}"


def long_lines(text: str) -> list[str]:
    """Return the lines of Markdown over 120 columns that could be broken: no table rows, links alone or code blocks."""
    found, in_code = [], False
    for line in text.splitlines():
        in_code ^= line.lstrip().startswith("```")
        if len(line) > 120 and not in_code and not line.lstrip().startswith("|") and " " in line.strip("-* "):
            found.append(line)
    return found


def test_lines_of_markdown_have_at_most_120_columns() -> None:
    assert long_lines(f"{'x ' * 60}\n- {'y' * 130}\n```\n{'z ' * 70}\n```\n| {'a ' * 70}\n{'b ' * 61}") == ["b " * 61]
    pages = [path for path in tracked() if path.suffix == ".md"]
    assert pages
    assert {str(path): lines for path in pages if (lines := long_lines(path.read_text(encoding="utf-8")))} == {}


def test_readme_shows_the_commands_that_ci_runs() -> None:
    readme = commands(ROOT / "README.md")
    assert {"make repro", "make test"} <= set(readme)
    assert re.search(r"^make test$", (ROOT / ".ci/run").read_text(), re.MULTILINE)


def test_constraints_are_names_versions_and_digests_and_cover_what_is_asked_for() -> None:
    text = (ROOT / "constraints.txt").read_text()
    entries = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    entry = r"([a-z0-9-]+)==[0-9][0-9a-z.]*(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n"
    assert re.sub(entry, "", entries) == ""
    pinned = re.findall(entry, entries)
    assert len(set(pinned)) == len(pinned)
    assert declared(*EXTRAS) <= set(pinned)


def test_constraints_are_made_by_the_command_that_they_name() -> None:
    [command] = re.findall(r"^# (uv pip compile .*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert set(re.findall(r"--extra (\S+)", command)) == set(EXTRAS)
    assert "--generate-hashes" in command


def test_what_make_installs_first_is_pinned_with_its_digests() -> None:
    [recipe] = re.findall(r"^\t(sed .*/\^(\w+)==.*) > \S+", MAKEFILE, re.MULTILINE)
    shown = subprocess.run(
        ["sh", "-c", recipe[0].replace("$$", "$")], cwd=ROOT, capture_output=True, text=True, check=True
    )
    first, *digests = shown.stdout.splitlines()
    assert re.fullmatch(rf"{recipe[1]}==\S+ \\", first)
    assert digests
    assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?", line) for line in digests)
    assert not digests[-1].endswith("\\")
    assert recipe[1] in declared(*EXTRAS)  # otherwise the command would omit it


def declared(*extras: str) -> set[str]:
    """Return the names of the distributions that pyproject.toml requires, normalised as in constraints.txt."""
    project = PROJECT["project"]
    asked = project["dependencies"] + [name for extra in extras for name in project["optional-dependencies"][extra]]
    return {normal_name(re.split(r"[<>=!~\[; ]", requirement)[0]) for requirement in asked}


def normal_name(distribution: str) -> str:
    return re.sub(r"[_.]", "-", distribution).lower()


def imports(path: Path) -> set[str]:
    """Return the top-level names that a module imports anywhere in its code."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize(
    ("folders", "extras"),
    [(PACKAGES, ()), (("tests",), ("dev",)), (("benchmarks",), EXTRAS)],
    ids=["packages", "tests", "benchmarks"],
)
def test_every_import_is_of_a_distribution_that_is_asked_for(folders: tuple[str, ...], extras: tuple[str, ...]) -> None:
    modules = [path for path in tracked() if path.suffix == ".py"]
    ours = {path.stem for path in modules} | {*PACKAGES, "benchmarks", "tests"}
    mine = [path for path in modules if path.relative_to(ROOT).parts[0] in folders]
    others = {name for path in mine for name in imports(path)} - ours - sys.stdlib_module_names - OPTIONAL
    distributions = packages_distributions()
    asked = declared(*extras)
    # for a distribution that is not installed, such as an extra's, use the module's name
    found = {name: {normal_name(one) for one in distributions.get(name, [name])} for name in others}
    undeclared = {name for name in others if not asked & found[name]}
    assert others
    assert undeclared == set()


def test_make_works_in_a_folder_whose_path_has_spaces(tmp_path: Path) -> None:
    def make(*arguments: str) -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "CLICKSIGHT"))}
        command = ["make", "--directory", str(clone), "--no-print-directory", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    clone, tools = tmp_path / "my clone", tmp_path / "my clone" / "an environment" / "bin"
    tools.mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, clone)
    for name in ("ruff", "mypy"):
        (tools / name).write_text(f'#!/bin/sh\necho "its {name} $*"\n')
        (tools / name).chmod(0o755)
    lines = make("--silent", "lint", "CLICKSIGHT_VENV=an environment").splitlines()
    assert lines == ["its ruff check .", "its ruff format --check .", "its mypy "]

    planned = make("--dry-run", "setup").splitlines()
    assert planned[-1] == "touch .venv/.installed"
    assert shlex.split(planned[-2])[:2] == [f"VIRTUAL_ENV={clone}/.venv", ".venv/bin/uv"]
    (clone / ".venv").mkdir()
    (clone / ".venv/.installed").touch()
    assert make("--silent", "setup") == ""


def _matches(pattern: str) -> dict[str, Any]:
    found = {}
    for path in tracked():
        if path.suffix in {".jpg", ".png", ".parquet", ".safetensors", ".ttf"}:
            continue
        hits = re.findall(pattern, path.read_text(encoding="utf-8", errors="replace"))
        if hits:
            found[path.relative_to(ROOT).as_posix()] = hits
    return found


# The patterns are concatenated so that they do not match this file itself.
@pytest.mark.parametrize(
    "pattern",
    [
        r"(?<![\w.])/" + r"(?:work|home|root|Users)/\w+",
        r"(?i)(?:index|registry|mirror|files)[\w-]*\.[\w.-]+/" + r"(?:simple|pypi|packages)",
        r"--(?:extra-)?index" + r"-url|--find" + r"-links",
    ],
    ids=["machine path", "registry address", "registry option"],
)
def test_no_file_tells_where_it_was_made(pattern: str) -> None:
    assert _matches(pattern) == {}
