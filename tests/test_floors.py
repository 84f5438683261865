"""The floors of the house: base <- {pipelines, model, report} <- systems <- {flows, benchmarks}; no other arrow."""

from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from base.code import Code

ROOT = Path(__file__).parents[1]
MIDDLE = {"pipelines", "model", "report"}
SYSTEMS = {f"systems/{folder.parent.name}" for folder in (ROOT / "systems").glob("*/__init__.py")}
# What each room may import from, besides itself.
BELOW = {
    "base": set(),
    **{room: {"base"} for room in sorted(MIDDLE)},
    "systems": {"base"},
    **{system: {"base", "systems"} | MIDDLE for system in sorted(SYSTEMS)},
    "flows": {"base", "systems"} | MIDDLE | SYSTEMS,
    "benchmarks": {"base", "systems", "flows"} | MIDDLE | SYSTEMS,
}
CODE = Code(ROOT, ["base", "pipelines", "model", "report", "systems", "flows", "benchmarks"])
MODULES = sorted(
    path.relative_to(ROOT).as_posix() for package in CODE.packages for path in (ROOT / package).rglob("*.py")
)


def room_of(file: str) -> str:
    parts = file.split("/")
    return "/".join(parts[:2]) if parts[0] == "systems" and len(parts) > 2 else parts[0]


@pytest.mark.parametrize("room", BELOW)
def test_a_room_imports_from_the_floors_below_it_only(room: str) -> None:
    modules = [file for file in MODULES if room_of(file) == room]
    assert modules
    found = {(file, other) for file in modules for other in CODE.direct(file) if room_of(other) != room}
    assert {pair for pair in found if room_of(pair[1]) not in BELOW[room]} == set()


def test_there_are_both_systems_and_all_modules_are_in_a_room() -> None:
    assert {"systems/cleaning", "systems/mtmdd"} <= SYSTEMS
    assert {room_of(file) for file in MODULES} == set(BELOW)


def test_no_modules_import_each_other_in_a_circle() -> None:
    # An __init__ that only documents its package is reached by all of its modules and reaches none.
    imports = {
        file: {other for other in CODE.direct(file) if other.endswith(".py") and not other.endswith("__init__.py")}
        for file in MODULES
    }
    list(TopologicalSorter(imports).static_order())  # raises CycleError, which names the circle


def test_every_folder_says_what_belongs_there() -> None:
    for file in MODULES:
        if file.endswith("__init__.py"):
            assert (ROOT / file).read_text(encoding="utf-8").startswith('"""'), f"{file} says nothing of its folder"


def test_no_folder_is_a_corridor() -> None:
    sizes = dict.fromkeys({Path(file).parent for file in MODULES}, 0)
    for file in MODULES:
        sizes[Path(file).parent] += not file.endswith("__init__.py")
    assert {folder.as_posix(): size for folder, size in sizes.items() if size > 25} == {}
