"""What tests of whole trainings look at."""

from pathlib import Path


class Killed(BaseException):
    """Stands for a killed process: nothing may be tidied up on its account."""


def read_curve(folder: Path, name: str) -> list[float]:
    lines = (folder / "plots" / "metrics" / f"{name}.tsv").read_text().splitlines()
    return [float(line.split("\t")[1]) for line in lines[1:]]


def contents(folder) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
