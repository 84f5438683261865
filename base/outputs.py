"""Checks that a command doesn't overwrite its inputs, the current folder or the home folder.

An output replaces what was at its path, so the path is checked before any work. The inputs are read from the command
line, where every stage names all of them, so no stage can forget to list them.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from base.raw_files import matches


def reason_not_to_write(output: Path, inputs: Iterable[Path] = ()) -> str:
    """Return why an output must not be written; an empty text if it may be.

    Args:
        output: a file or folder; what exists there would be replaced.
        inputs: what the command reads; an input may contain the output, but must not lie in it.
    """
    target = output.resolve()
    for folder, what in ((Path.cwd(), "the current folder"), (Path("~").expanduser(), "your home folder")):
        if folder.resolve().is_relative_to(target):
            return f"is or holds {what}, which the output would replace; name a new folder"
    for path in inputs:
        if path.resolve().is_relative_to(target) or path.absolute().is_relative_to(output.absolute()):
            return f"is or holds {path}, which this command reads; name another path"
    above = next(folder for folder in target.parents if folder.exists())
    return "" if above.is_dir() else f"{above} is a file and can't contain a folder; name another path"


def named_paths(arguments: Sequence[str]) -> tuple[Path | None, list[Path]]:
    """Return the output and the inputs that a command line names.

    Args:
        arguments: without the command. The output is the value of ``--output``, which argparse allows to be shortened;
            inputs are all other values that are existing paths, or globs. ``--previous`` may equal the output.
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
    """Return the values on a command line: all arguments except the options' names."""
    return [value for _, value in _options_and_values(arguments)]


def _options_and_values(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (option, value) for each value; a second value after ``--output`` has an empty option."""
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
