"""Packages import in one direction only.

base <- {pipelines, model, report} <- systems <- {flows, clicksight} <- benchmarks

examples/ stands above them all and imports none.
"""

import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from base.code import Code

ROOT = Path(__file__).parents[1]
MIDDLE = {"pipelines", "model", "report"}
SYSTEMS = {f"systems/{folder.parent.name}" for folder in (ROOT / "systems").glob("*/__init__.py")}
# The packages that each package may import from, besides itself.
MAY_IMPORT = {
    "base": set(),
    **{package: {"base"} for package in sorted(MIDDLE)},
    "systems": {"base"},
    **{system: {"base", "systems"} | MIDDLE for system in sorted(SYSTEMS)},
    "flows": {"base", "systems"} | MIDDLE | SYSTEMS,
    "clicksight": {"base", "systems"} | MIDDLE | SYSTEMS,
    "benchmarks": {"base", "systems", "flows", "clicksight"} | MIDDLE | SYSTEMS,
}
CODE = Code(ROOT, ["base", "pipelines", "model", "report", "systems", "flows", "clicksight", "benchmarks"])
MODULES = sorted(
    path.relative_to(ROOT).as_posix() for package in CODE.packages for path in (ROOT / package).rglob("*.py")
)


def package_of(file: str) -> str:
    parts = file.split("/")
    return "/".join(parts[:2]) if parts[0] == "systems" and len(parts) > 2 else parts[0]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_from_the_packages_below_it(package: str) -> None:
    modules = [file for file in MODULES if package_of(file) == package]
    assert modules
    found = {(file, other) for file in modules for other in CODE.direct(file) if package_of(other) != package}
    assert {pair for pair in found if package_of(pair[1]) not in MAY_IMPORT[package]} == set()


def test_there_are_both_systems_and_all_modules_are_in_a_package() -> None:
    assert {f"systems/{name}" for name in ("annotation", "cleaning", "dckt", "mtmdd", "siamese", "tagging")} <= SYSTEMS
    assert {package_of(file) for file in MODULES} == set(MAY_IMPORT)


def test_no_modules_import_each_other_in_a_circle() -> None:
    # Importing a module also imports its package's __init__, which only documents the package and imports nothing.
    imports = {
        file: {other for other in CODE.direct(file) if other.endswith(".py") and not other.endswith("__init__.py")}
        for file in MODULES
    }
    list(TopologicalSorter(imports).static_order())  # raises CycleError, which names the cycle


def test_examples_can_be_copied_into_other_projects() -> None:
    for path in sorted((ROOT / "examples").glob("*.py")):
        imported = set(re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))
        assert imported & {*CODE.packages, "clicksight"} == set(), path.name


def test_every_folder_says_what_belongs_there() -> None:
    for file in MODULES:
        if file.endswith("__init__.py"):
            assert (ROOT / file).read_text(encoding="utf-8").startswith('"""'), (
                f"{file} has no docstring that describes its folder"
            )


def test_no_folder_is_a_corridor() -> None:
    sizes = dict.fromkeys({Path(file).parent for file in MODULES}, 0)
    for file in MODULES:
        sizes[Path(file).parent] += not file.endswith("__init__.py")
    assert {folder.as_posix(): size for folder, size in sizes.items() if size > 25} == {}
