"""Reads parameter files; no other module does.

A file has the keys that all systems share (`KEYS`), and for each system a key with that system's sections.

DVC writes YAML 1.2 (``1e-05`` is a number there, a string to YAML 1.1 readers), so ruamel.yaml reads it. A section is
validated by the pydantic model in the module of the stage that owns it; unknown keys, wrong types and values out of
range are errors that name file, key, value and range.
"""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from base.console import UserError
from base.inputs import check_file

DEFAULT_PATH = Path("params.yaml")

SYSTEMS = Path(__file__).parents[1] / "systems"  # each folder's name is a top-level key
# The other top-level keys of a parameter file, each with its meaning or the module that describes it.
KEYS = {
    "data_sets": "name and raw folder of each data set (layouts: data/README.md); it is prepared into data/sets/<name>",
    "toys": "toy data sets that `synthesize` draws into data/raw/: name and animals; {} for none",
    "seeds": "the seeds of splits, initialisation and batches; one training of each run per seed",
    "synthesize": "pipelines.toy.synthesize",
    "ingest": "pipelines.ingest.click_data",
    "select": "pipelines.splits.select",
    "segment": "pipelines.words.segmentation",
    "vocabulary": "pipelines.words.vocabulary",
    "label_from_clicks": "pipelines.label_from_clicks",
    "tag_logs": "the log of users' tags of a data set, by the data set's name; {} for none",
    "picture_sets": "raw folder of the pictures of a tag log that is not of one of `data_sets`, by name; {} for none",
    "pictures": "pipelines.tags.pictures",
    "tags": "pipelines.tags.layouts",
    "tag_splits": "pipelines.tags.split",
}

Section = TypeVar("Section", bound="Params")


class ParamsError(UserError):
    """A parameter file that cannot be used; the message names the file, the value and what to do."""


class Params(BaseModel):
    """Base of every section: frozen, strict about unknown keys, no silent conversion from strings."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)


def read_params(path: Path = DEFAULT_PATH) -> dict[str, Any]:
    """Read a whole parameter file.

    Raises:
        ParamsError: the file doesn't exist, is not YAML or not a mapping, or has an unknown top-level key.
        UserError: it is not a regular file, which is needed because a parameter file is read more than once.
    """
    check_file(path)
    try:
        content = YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError:
        raise ParamsError(
            f"{path}: no such parameter file; run from the repository root or name a file with --params"
        ) from None
    except YAMLError as error:
        raise ParamsError(f"{path}: not YAML: {error}") from None
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: expected a mapping of sections, found {type(content).__name__}")
    known = [*KEYS, *system_names()]
    for key in content:
        if key not in known:
            raise ParamsError(f"{path}: unknown section {key!r}; known sections: {', '.join(known)}")
    return content


def system_names() -> list[str]:
    """Return the names of the existing systems, which are also their keys in a parameter file."""
    return sorted(folder.parent.name for folder in SYSTEMS.glob("*/__init__.py"))


def load_section(model: type[Section], name: str, path: Path = DEFAULT_PATH) -> Section:
    """Read and validate one section of a parameter file.

    Args:
        model: the section's pydantic model.
        name: the section's key in the file, as in ``ingest``; for a system's section both keys, as in ``mtmdd.train``.
        path: the parameter file.

    Raises:
        ParamsError: the section is missing, has an unknown key, or a value of the wrong type or out of range.
    """
    content: Any = read_params(path)
    for key in name.split("."):
        if not isinstance(content, dict) or key not in content:
            raise ParamsError(f"{path}: section {name!r} is missing; see {model.__module__} for its keys")
        content = content[key]
    return validate_section(model, name, content, where=str(path))


def validate_section(model: type[Section], name: str, content: Any, where: str) -> Section:
    """Validate a section that has already been read; ``where`` names its file in errors."""
    try:
        return model.model_validate({} if content is None else content)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            key = ".".join(str(part) for part in (name, *problem["loc"]))
            if problem["type"] == "extra_forbidden":
                known = ", ".join(field.alias or name for name, field in model.model_fields.items())
                lines.append(f"{where}: unknown parameter {key} (value {problem['input']!r}); known: {known}")
            elif problem["type"] == "missing":
                lines.append(f"{where}: parameter {key} is missing")
            else:
                lines.append(f"{where}: {key} = {problem['input']!r}: {problem['msg']}")
        raise ParamsError("\n".join(lines)) from None


def load_recipe(model: type[Section], path: Path, written_by: str) -> Section:
    """Read a recipe: what a training depends on besides data and seed, as JSON.

    Args:
        model: the recipe.
        path: its file.
        written_by: the command that writes recipes, for messages.

    Raises:
        UserError: the file doesn't exist, is not a regular file, or is not such a recipe.
    """
    check_file(path)
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such recipe; run python -m {written_by}") from None
    except ValidationError as error:
        raise UserError(f"{path}: not a recipe: {error}; run python -m {written_by}") from None


def read_data_sets(path: Path = DEFAULT_PATH) -> dict[str, str]:
    """Return the raw folder of each data set, by the data set's name and in the file's order.

    Raises:
        ParamsError: data_sets is not a mapping.
    """
    folders = read_params(path).get("data_sets") or {}
    if not isinstance(folders, dict):
        raise ParamsError(f"{path}: data_sets = {folders!r}: expected names with their raw folders")
    return {str(name): str(folder) for name, folder in folders.items()}


def read_seeds(path: Path = DEFAULT_PATH) -> list[int]:
    """Read the seeds of splits and trainings.

    Raises:
        ParamsError: there are no seeds, a seed is listed twice, or a seed is not a whole number >= 0.
    """
    seeds = read_params(path).get("seeds")
    if not isinstance(seeds, list) or not seeds:
        raise ParamsError(f"{path}: seeds = {seeds!r}: expected a list of different whole numbers, as in [0, 1, 2]")
    for seed in seeds:
        if type(seed) is not int or seed < 0:
            raise ParamsError(f"{path}: seeds: {seed!r} is not a whole number >= 0")
    if len(set(seeds)) < len(seeds):
        raise ParamsError(f"{path}: seeds = {seeds!r}: a seed is listed twice; list each seed once")
    return seeds
