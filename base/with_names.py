"""Run a module with names from the parameter file in its arguments: what dvc.yaml's commands are made with.

    python -m base.with_names --run TDL --seed 0 -- systems.mtmdd.train --recipe data/mtmdd/recipes/{run}.json ...
    DVC_STAGE=ingest@toy python -m base.with_names --each data_sets -- pipelines.ingest.click_data --raw {item} ...

DVC puts values into a command's text as they are, and a shell reads it: a space would cut a path in two, and ``$(...)``
or ``;`` would run what stands there. So dvc.yaml names a value in braces, and here it is filled in, where no shell is.
Only ``${item}`` of a matrix stands in a command itself: DVC writes it as options and quotes each value.

In braces: what the options before ``--`` name; with ``--each SECTION``, ``key`` and ``item`` of the section's entry
that the stage is made of, as in DVC's ``foreach``: its key is what follows ``@`` in the stage's name, which DVC
puts into DVC_STAGE; ``first_seed``, the first of ``seeds``; and any other parameter by its path, as in
``mtmdd.data_set``.
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
        argv: what follows ``python -m base.with_names``.
        stage: the stage's name, as in ``synthesize@toy`` or ``stages/cleaning/dvc.yaml:score@toy``.

    Raises:
        ValueError: a name is not known, or its value can't be part of a path; for the user to read.
    """
    given, command = _options(argv)
    section = given.pop("each", None)
    names = {name: part_of_a_path(name, value) for name, value in given.items()}
    if section is not None:
        key = stage.partition("@")[2]
        names |= {"key": part_of_a_path("key", key), "item": str(_entry(section, key))}
    return [NAME.sub(lambda match: _value(match[1], names), argument) for argument in command]


def _options(argv: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return options and values before ``--``, and what follows; a value may be anything, ``--`` too."""
    given, place = {}, 0
    while place < len(argv) and argv[place] != "--":
        if not argv[place].startswith("--") or place + 1 == len(argv):
            raise ValueError(f"{argv[place]!r}: {USAGE}")
        given[argv[place].removeprefix("--")] = argv[place + 1]
        place += 2
    if place + 1 >= len(argv):
        raise ValueError(f"no module to run: {USAGE}")
    return given, list(argv[place + 1 :])


def part_of_a_path(name: str, value: str) -> str:
    """Return a value that names a file or folder.

    Raises:
        ValueError: it is empty, holds a slash or a control character, or leads elsewhere.
    """
    if value in ("", ".", "..") or "/" in value or not value.isprintable():
        raise ValueError(f"{name} = {value!r}: names a file or folder, so it can't be empty, hold /, or be . or ..")
    return value


def _params() -> Mapping[str, Any]:
    from base.params import read_params  # which takes 0.3 s to import: most stages need no parameter here

    return read_params()


def _entry(section: str, key: str) -> Any:
    content = {str(name): value for name, value in (_params().get(section) or {}).items()}
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
            there = ", ".join([*names, "first_seed"])
            raise ValueError(f"{{{name}}}: no such name; there are {there}, and parameters") from None
    return part_of_a_path(name, str(value))


def main(argv: Sequence[str] | None = None) -> None:
    """Replace this process by the module's."""
    try:
        arguments = arguments_of(sys.argv[1:] if argv is None else argv, os.environ.get("DVC_STAGE", ""))
    except ValueError as error:  # of which base.console.UserError is one
        sys.stderr.write(printable(f"error: {error}\n", keep="\n"))
        raise SystemExit(2) from None
    os.execv(sys.executable, [sys.executable, "-m", *arguments])


if __name__ == "__main__":
    main()
