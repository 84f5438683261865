"""Runs a module after filling names from the parameter file into its arguments; the commands in dvc.yaml use it.

    python -m base.with_names --run TDL --seed 0 -- systems.mtmdd.train --recipe data/mtmdd/recipes/{run}.json ...
    DVC_STAGE=ingest@toy python -m base.with_names --each data_sets -- pipelines.ingest.click_data --raw {item} ...

DVC inserts values unescaped into a command's text, which a shell reads: a space would cut a path in two, and ``$(...)``
or ``;`` would run commands. So dvc.yaml names a value in braces, and this module fills the value in, without a shell.
Only ``${item}`` of a matrix is in a command itself: DVC writes it as options and quotes each value.

These names may be in braces: the names of the options before ``--``; with ``--each SECTION`` (or a path, as in
``dckt.data.domains``), ``key`` and ``item`` of the section's entry that the stage was made from, as in DVC's
``foreach`` (its key is the text after ``@`` in the stage's name, which DVC puts into DVC_STAGE); ``first_seed``, the
first of ``seeds``; and any other parameter by its path, as in ``mtmdd.data_set``.
"""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from base.terminal import printable

NAME = re.compile(r"\{(\w+(?:\.\w+)*)\}")
USAGE = "expected --NAME VALUE ... -- MODULE ARGUMENT ..."


def arguments_of(argv: Sequence[str], stage: str) -> list[str]:
    """Return the module and its arguments with all names filled in.

    Args:
        argv: the arguments after ``python -m base.with_names``.
        stage: the stage's name, as in ``synthesize@toy`` or ``stages/cleaning/dvc.yaml:score@toy``.

    Raises:
        ValueError: a name is unknown, or its value can't be part of a path; the message is for the user.
    """
    given, command = _options(argv)
    section = given.pop("each", None)
    names = {name: part_of_a_path(name, value) for name, value in given.items()}
    if section is not None:
        key = stage.partition("@")[2]
        names |= {"key": part_of_a_path("key", key), "item": str(_entry(section, key))}
    return [NAME.sub(lambda match: _value(match[1], names), argument) for argument in command]


def _options(argv: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the options with their values before ``--``, and the arguments after it; a value may even be ``--``."""
    given, index = {}, 0
    while index < len(argv) and argv[index] != "--":
        if not argv[index].startswith("--") or index + 1 == len(argv):
            raise ValueError(f"{argv[index]!r}: {USAGE}")
        given[argv[index].removeprefix("--")] = argv[index + 1]
        index += 2
    if index + 1 >= len(argv):
        raise ValueError(f"no module to run: {USAGE}")
    return given, list(argv[index + 1 :])


def part_of_a_path(name: str, value: str) -> str:
    """Return a value after checking that it can name a file or folder.

    Raises:
        ValueError: the value is empty, ``.`` or ``..``, or holds a slash or a character that can't be printed.
    """
    if value in ("", ".", "..") or "/" in value or not value.isprintable():
        raise ValueError(f"{name} = {value!r}: names a file or folder, so it can't be empty, hold /, or be . or ..")
    return value


def _params() -> Mapping[str, Any]:
    from base.params import read_params  # imported here because it takes 0.3 s, and most stages need no parameter

    return read_params()


def _entry(section: str, key: str) -> Any:
    found: Any = _params()
    for step in section.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    content = {str(name): value for name, value in (found or {}).items()}
    if key not in content:
        raise ValueError(f"parameter {section} has no {key!r}; it has {', '.join(content) or 'nothing'}")
    return content[key]


def _value(name: str, names: Mapping[str, str]) -> str:
    if name in names:
        return names[name]
    if name == "first_seed":
        from base.params import read_seeds

        return str(read_seeds()[0])
    value: Any = _params()
    for step in name.split("."):
        try:
            value = value[step]
        except (KeyError, TypeError):
            known = ", ".join([*names, "first_seed"])
            raise ValueError(f"{{{name}}}: no such name; there are {known}, and parameters") from None
    return part_of_a_path(name, str(value))


def filled(argv: Sequence[str]) -> list[str]:
    """Return the module and its arguments as :func:`arguments_of`; end with exit code 2 after printing an error."""
    try:
        return arguments_of(argv, os.environ.get("DVC_STAGE", ""))
    except ValueError as error:  # includes base.console.UserError
        sys.stderr.write(printable(f"error: {error}\n", keep="\n"))
        raise SystemExit(2) from None


def main(argv: Sequence[str] | None = None) -> None:
    """Replace this process by one that runs the module."""
    arguments = filled(sys.argv[1:] if argv is None else argv)
    os.execv(sys.executable, [sys.executable, "-m", *arguments])


if __name__ == "__main__":
    main()
