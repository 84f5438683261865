"""The files of the stage graph, the root's dvc.yaml and one per system, and the names of their stages."""

from pathlib import Path

STAGES = "stages"  # each folder in it is named after a system and has a dvc.yaml


def graph_files(root: Path) -> list[Path]:
    """Return the dvc.yaml of the root and those of the systems."""
    return [root / "dvc.yaml", *sorted((root / STAGES).glob("*/dvc.yaml"))]


def system_of(root: Path, file: Path) -> str:
    """Return the system that a dvc.yaml belongs to; empty for the root's dvc.yaml."""
    return "" if file.parent == root else file.parent.name


def name_of(address: str) -> str:
    """Return a stage's name, ``mtmdd:train@TDL-0`` for DVC's address ``stages/mtmdd/dvc.yaml:train@TDL-0``.

    For a dvc.yaml that is neither the root's nor a system's, the name is the address itself.
    """
    file, _, name = address.rpartition("/dvc.yaml:")
    return f"{Path(file).name}:{name}" if Path(file).parent == Path(STAGES) else address


def address_of(name: str) -> str:
    """Return DVC's address of a stage, relative to the root; the inverse of :func:`name_of`."""
    system, is_of_system, stage = name.partition(":")
    return f"{STAGES}/{system}/dvc.yaml:{stage}" if is_of_system and "/" not in system else name
