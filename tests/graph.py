"""The project's stage graph as its files declare it: the root's dvc.yaml and one for each system."""

import re
import shutil
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
SAFE = YAML(typ="safe", pure=True)
FILES = [ROOT / "dvc.yaml", *sorted((ROOT / "stages").glob("*/dvc.yaml"))]
PRESETS = [ROOT / "params.yaml", *sorted((ROOT / "presets").glob("*.yaml"))]


def definitions() -> dict[str, dict[str, Any]]:
    """Each stage's body by its name, as in ``mtmdd:train``; templates unresolved, ``foreach`` unwrapped."""
    found = {}
    for file in FILES:
        system = "" if file.parent == ROOT else f"{file.parent.name}:"
        for name, definition in SAFE.load(file)["stages"].items():
            found[f"{system}{name}"] = definition.get("do", definition)
    return found


def modules_run(definition: dict[str, Any]) -> list[str]:
    """The modules that a stage's cmd runs: what fills in names first, then what it runs."""
    return re.findall(r"(?:\bpython -m |(?<= -- ))([\w.]+)", definition["cmd"])


def write_graph(folder: Path, params: Path) -> None:
    """Write the project's graph with some parameters into a folder."""
    for file in FILES:
        place = folder / file.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    shutil.copy(params, folder / "params.yaml")
    (folder / ".dvc" / "tmp").mkdir(parents=True)
    (folder / ".dvc" / "config").write_text(
        "[core]\n    analytics = false\n    no_scm = True\n    site_cache_dir = .dvc/tmp/site\n"
    )


def stages_of(params: Path, folder: Path) -> list[Any]:
    """The stages that DVC makes of the graph with some parameters."""
    write_graph(folder, params)
    with Repo(str(folder)) as repo:
        return list(repo.index.stages)


def name_of(stage: Any) -> str:
    """A stage's name, as in ``mtmdd:train@TDL-0``, wherever the present folder is."""
    folder = Path(stage.path).parent
    return f"{folder.name}:{stage.name}" if folder.parent.name == "stages" else stage.name
