"""What a command must not write over: what it reads, and the folders that it and its user stand in.

An output replaces what stood in its place, so the place is looked at before any work. A command's inputs are taken from
its command line, where every stage names all of them: so no stage can forget to.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from base.raw_files import matches


def why_not(output: Path, inputs: Iterable[Path] = ()) -> str:
    """Say why an output must not be written; empty if it may.

    Args:
        output: a file or folder; what stands there would be replaced.
        inputs: what the command reads; they may hold the output, but not lie in it.
    """
    place = output.resolve()
    for folder, what in ((Path.cwd(), "the current folder"), (Path("~").expanduser(), "your home folder")):
        if folder.resolve().is_relative_to(place):
            return f"is or holds {what}, and an output replaces what is there; name a folder of its own"
    for path in inputs:
        if path.resolve().is_relative_to(place) or path.absolute().is_relative_to(output.absolute()):
            return f"is or holds {path}, which this command reads; name another place"
    above = next(folder for folder in place.parents if folder.exists())
    return "" if above.is_dir() else f"{above} is a file, no folder can be in it; name another place"


def named_paths(arguments: Sequence[str]) -> tuple[Path | None, list[Path]]:
    """Return the output and the inputs that a command line names.

    Args:
        arguments: without the command. The output is what follows ``--output``, which argparse lets one shorten; inputs
            are all other values that are paths of something, or globs. ``--previous`` may be the output.
    """
    output: Path | None = None
    inputs: list[Path] = []
    previous: list[Path] = []
    for option, value in _options_and_values(arguments):
        if len(option) > len("--") and "--output".startswith(option):
            output = Path(value)
            continue
        found = matches(value) or [path for path in [Path(value)] if os.path.lexists(path)]
        (previous if option == "--previous" else inputs).extend(found)
    others = [path for path in previous if output is None or path.resolve() != output.resolve()]
    return output, inputs + others


def values_of(arguments: Sequence[str]) -> list[str]:
    """Return the values that a command line names: all of its arguments but the options' names."""
    return [value for _, value in _options_and_values(arguments)]


def _options_and_values(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each value with the option that it follows; a second value of the output follows none."""
    option = ""
    for argument in arguments:
        value = argument
        if argument.startswith("--"):
            option, equals, value = argument.partition("=")
            if not equals:
                continue
        yield option, value
        if len(option) > len("--") and "--output".startswith(option):
            option = ""
