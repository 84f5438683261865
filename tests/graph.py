"""The project's stage graph as its files declare it: the root's dvc.yaml and one per system."""

import re
import shutil
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from ruamel.yaml import YAML

from base.code import Code

ROOT = Path(__file__).parents[1]
SAFE = YAML(typ="safe", pure=True)
FILES = [ROOT / "dvc.yaml", *sorted((ROOT / "stages").glob("*/dvc.yaml"))]
PRESETS = [ROOT / "params.yaml", *sorted((ROOT / "presets").glob("*.yaml"))]


def definitions() -> dict[str, dict[str, Any]]:
    """Return each stage's body by name (``mtmdd:train``), with unresolved templates and without ``foreach``."""
    found = {}
    for file in FILES:
        system = "" if file.parent == ROOT else f"{file.parent.name}:"
        for name, definition in SAFE.load(file)["stages"].items():
            found[f"{system}{name}"] = definition.get("do", definition)
    return found


def modules_run(definition: dict[str, Any]) -> list[str]:
    """Return the modules that a stage's cmd runs: base.with_names, if it is used, and the module that it runs."""
    return re.findall(r"(?:\bpython -m |(?<= -- ))([\w.]+)", definition["cmd"])


def stages_that_run(file: str, code: Code) -> set[str]:
    """Return the names of the stages that an edit of a source file makes stale, once the code stage has run."""
    return {
        name
        for name, definition in definitions().items()
        for dep in definition["deps"]
        if dep.startswith("data/code/") and file in code.closure(Path(dep).name.removesuffix(".json"))
    }


def write_graph(folder: Path, params: Path) -> None:
    """Write the project's graph and the parameters of a file into a folder."""
    for file in FILES:
        path = folder / file.relative_to(ROOT)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, path)
    shutil.copy(params, folder / "params.yaml")
    (folder / ".dvc" / "tmp").mkdir(parents=True)
    (folder / ".dvc" / "config").write_text(
        "[core]\n    analytics = false\n    no_scm = True\n    site_cache_dir = .dvc/tmp/site\n"
    )


def stages_of(params: Path, folder: Path) -> list[Any]:
    """Return the stages that DVC resolves from the graph with the parameters of a file."""
    write_graph(folder, params)
    with Repo(str(folder)) as repo:
        return list(repo.index.stages)


def name_of(stage: Any) -> str:
    """Return a stage's name, such as ``mtmdd:train@TDL-0``; it does not depend on the working folder."""
    folder = Path(stage.path).parent
    return f"{folder.name}:{stage.name}" if folder.parent.name == "stages" else stage.name
