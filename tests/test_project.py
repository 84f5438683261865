"""The project's own promises: commands exist, packages are listed, presets hold, nothing tells where it was made."""

import importlib
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pipelines.params import SECTIONS, Params, read_params, read_seeds, validate_section

ROOT = Path(__file__).parents[1]
PRESETS = [ROOT / "params.yaml", *sorted((ROOT / "presets").glob("*.yaml"))]
MODELS = {
    "synthesize": "SynthesizeParams",
    "ingest": "IngestParams",
    "cleaner": "CleanerParams",
    "score": "ScoreParams",
    "clean": "CleanParams",
    "select": "SelectParams",
    "preparation": "PreparationParams",
    "segment": "SegmentParams",
    "vocabulary": "VocabularyParams",
    "network": "NetworkParams",
    "objective": "ObjectiveParams",
    "train": "TrainParams",
    "methods": "MethodsParams",
    "components": "ComponentsParams",
    "out_of_class": "OutOfClassParams",
    "one_shot": "OneShotParams",
    "evaluate": "EvaluateParams",
    "diagnose": "DiagnoseParams",
    "report": "ReportParams",
}
PLAIN = {"raw", "toys", "seeds"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def section_model(name: str) -> type[Params]:
    return getattr(importlib.import_module(SECTIONS[name]), MODELS[name])


def test_every_section_has_a_model_beside_its_stage() -> None:
    assert set(SECTIONS) == PLAIN | set(MODELS)
    for name in MODELS:
        model = section_model(name)
        assert model.__module__ == SECTIONS[name]
        for key, field in model.model_fields.items():
            is_nested = isinstance(field.annotation, type) and issubclass(field.annotation, Params)
            assert field.description or is_nested, f"{name}.{key} says nothing of itself"


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.name)
def test_presets_are_whole_and_valid(preset: Path) -> None:
    content = read_params(preset)
    assert set(content) == set(SECTIONS)
    assert isinstance(content["raw"], str)
    assert all(isinstance(toy, str) for toy in content["toys"])
    assert read_seeds(preset)
    for name in MODELS:
        validate_section(section_model(name), name, content[name], str(preset))


def test_packages_are_those_on_disk() -> None:
    on_disk = {
        init.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for top in ("pipelines", "flows", "model")
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
            module = ROOT / f"{command.split()[-1].replace('.', '/')}.py"
            assert module.exists() or command.split()[-1].split(".")[0] not in ("pipelines", "model", "flows"), command


def test_readme_shows_the_commands_that_ci_runs() -> None:
    readme = commands(ROOT / "README.md")
    assert {"make repro", "make test"} <= set(readme)
    assert re.search(r"^make test$", (ROOT / ".ci/run").read_text(), re.MULTILINE)


def test_constraints_are_names_and_versions_and_cover_what_is_asked_for() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line)] == []
    pinned = {line.split("==")[0] for line in lines}
    assert len(pinned) == len(lines)
    asked = PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["dev"]
    names = {re.split(r"[<>=!~\[; ]", requirement)[0] for requirement in asked}
    assert {re.sub(r"[_.]", "-", name).lower() for name in names} <= pinned


def _found(pattern: str) -> dict[str, Any]:
    found = {}
    for path in tracked():
        if path.suffix in {".jpg", ".png", ".parquet", ".safetensors", ".ttf"}:
            continue
        hits = re.findall(pattern, path.read_text(encoding="utf-8", errors="replace"))
        if hits:
            found[path.relative_to(ROOT).as_posix()] = hits
    return found


# The patterns are put together here so that this file does not hold what it looks for.
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
    assert _found(pattern) == {}
