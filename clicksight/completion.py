"""Print the shell completion of the command `clicksight`: of its doors, their options, choices and files.

    clicksight completion bash > ~/.local/share/bash-completion/completions/clicksight
    clicksight completion zsh > ~/.zfunc/_clicksight    # with fpath+=~/.zfunc before compinit in ~/.zshrc

bash needs its package bash-completion for this; without it: source <(clicksight completion bash).
"""

import argparse
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

import shtab

SHELLS = ("bash", "zsh")
# Metavars of arguments that are paths, though their type is another one.
PATHS = ("FILE", "DIR", "FOLDER", "LOG", "NAMES", "PICTURES")


def whole_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command, with the parser of each door as that of a subcommand."""
    from clicksight.doors import DOORS  # the door to this module is one of them

    parser = argparse.ArgumentParser("clicksight")
    doors = parser.add_subparsers()
    for name, door in DOORS.items():
        own = pkgutil.resolve_name(f"{door.module}:build_parser")()
        found = doors.add_parser(name, help=door.purpose, parents=[own], add_help=False)
        for action in found._actions:  # argparse has no other list of them
            if action.type is Path or action.metavar in PATHS:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    return parser


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shell", choices=SHELLS, help="the shell")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    arguments = build_parser().parse_args(argv)
    sys.stdout.write(shtab.complete(whole_parser(), shell=arguments.shell) + "\n")


if __name__ == "__main__":
    main()
