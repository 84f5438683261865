"""The one place where parameter files are read.

DVC writes YAML 1.2 (``1e-05`` is a number there, a string to YAML 1.1 readers), so ruamel.yaml reads it. A section is
validated by the pydantic model that stands beside the stage that owns it; unknown keys, wrong types and values out of
range are errors that name file, key, value and range.
"""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipelines.console import UserError
from pipelines.inputs import check_file

DEFAULT_PATH = Path("params.yaml")

# Every key a parameter file may have at its top level, and the module whose model describes it.
SECTIONS = {
    "raw": "the data set's folder, in Clickture's layout (see data/README.md)",
    "toys": "toy data sets that `synthesize` draws into data/raw/: name and animals; {} for a real data set",
    "other_objects": "sources of the cross-object study, prepared into data/other/<name>: name and raw folder",
    "seeds": "the seeds of splits, initialisation and batches; one training of each method per seed",
    "synthesize": "pipelines.synthesize",
    "ingest": "pipelines.ingest",
    "cleaner": "model.train_cleaner",
    "score": "pipelines.score",
    "clean": "pipelines.clean",
    "select": "pipelines.select",
    "preparation": "pipelines.preparation_report",
    "segment": "pipelines.segmentation",
    "vocabulary": "pipelines.vocabulary",
    "network": "model.config",
    "objective": "model.config",
    "train": "model.config",
    "methods": "model.methods",
    "components": "model.studies",
    "out_of_class": "model.recipes",
    "one_shot": "model.recipes",
    "cross_object": "model.recipes",
    "evaluate": "model.evaluate",
    "diagnose": "model.diagnose",
    "report": "pipelines.report",
}

Section = TypeVar("Section", bound="Params")


class ParamsError(UserError):
    """A parameter file that cannot be used; the message says where, which value, and what to do."""


class Params(BaseModel):
    """Base of every section: frozen, strict about unknown keys, no silent conversion from strings."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)


def read_params(path: Path = DEFAULT_PATH) -> dict[str, Any]:
    """Read a whole parameter file.

    Raises:
        ParamsError: no such file, not YAML, not a mapping, or a top-level key that no stage knows.
        UserError: it is not a regular file: a parameter file is read more than once.
    """
    check_file(path)
    try:
        content = YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError:
        raise ParamsError(
            f"{path}: no such parameter file; run from the repository root or name one with --params"
        ) from None
    except YAMLError as error:
        raise ParamsError(f"{path}: not YAML: {error}") from None
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: expected a mapping of sections, found {type(content).__name__}")
    for key in content:
        if key not in SECTIONS:
            raise ParamsError(f"{path}: unknown section {key!r}; known sections: {', '.join(SECTIONS)}")
    return content


def load_section(model: type[Section], name: str, path: Path = DEFAULT_PATH) -> Section:
    """Read and validate one section of a parameter file.

    Args:
        model: the section's pydantic model.
        name: the section's key in the file.
        path: the parameter file.

    Raises:
        ParamsError: the section is missing, has an unknown key, or a value of the wrong type or out of range.
    """
    content = read_params(path)
    if name not in content:
        raise ParamsError(f"{path}: section {name!r} is missing; see {SECTIONS[name]} for what it holds")
    return validate_section(model, name, content[name], where=str(path))


def validate_section(model: type[Section], name: str, content: Any, where: str) -> Section:
    """Validate a section that has been read already; ``where`` names its file in errors."""
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


def read_seeds(path: Path = DEFAULT_PATH) -> list[int]:
    """Read the seeds of splits and trainings.

    Raises:
        ParamsError: none, one twice, or one that is not a whole number >= 0.
    """
    seeds = read_params(path).get("seeds")
    if not isinstance(seeds, list) or not seeds:
        raise ParamsError(f"{path}: seeds = {seeds!r}: expected a list of different whole numbers, as in [0, 1, 2]")
    for seed in seeds:
        if type(seed) is not int or seed < 0:
            raise ParamsError(f"{path}: seeds: {seed!r} is not a whole number >= 0")
    if len(set(seeds)) < len(seeds):
        raise ParamsError(f"{path}: seeds = {seeds!r}: one stands there twice")
    return seeds
