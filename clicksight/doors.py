"""The command ``clicksight``: one place to find every command that people need, each the door to the module behind it.

    clicksight features --clicks 'logs/*.tsv.gz' --output features
    clicksight features --help

A door runs ``python -m MODULE`` with the same arguments in the same process, so that the module's own help, errors and
exit code are what one sees.
"""

import argparse
import pkgutil
import sys
from collections.abc import Sequence
from typing import NamedTuple


class Door(NamedTuple):
    """A command.

    Attributes:
        module: whose ``main(argv)`` runs it.
        purpose: what it is for, in a line.
    """

    module: str
    purpose: str


DOORS = {
    "features": Door("pipelines.build_click_features", "turn a click log into click features in Parquet"),
    "labels": Door("pipelines.label_from_clicks", "name pictures by what people clicked them for"),
    "tags": Door("pipelines.tags.tag_log", "turn a log of users' tags into posts and a vocabulary"),
    "train": Door("flows.reproduce", "run what is out of date of the stages in dvc.yaml: data, training, reports"),
    "predict": Door("clicksight.predict", "say what pictures show, by a trained model"),
    "export": Door("clicksight.neighbours.command", "write data as neighbouring tools read it"),
    "info": Door("clicksight.info", "say of any artifact what it is, where it comes from, and what reads it"),
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's own arguments: the name of a door, and what follows it."""
    width = max(map(len, DOORS))
    listed = "\n".join(f"  {name.ljust(width)}  {door.purpose}" for name, door in DOORS.items())
    parser = argparse.ArgumentParser(
        "clicksight",
        usage="clicksight COMMAND [ARGUMENTS]",
        description="What people click and tag says what pictures show.",
        epilog=f"commands:\n{listed}\n\nclicksight COMMAND --help describes one, with an example.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=DOORS, metavar="COMMAND", help="one of those below")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    given = list(sys.argv[1:] if argv is None else argv)
    name = build_parser().parse_args(given[:1]).command
    door = DOORS[name]
    # Modules check the paths on the command line and show its program's name in their usage.
    sys.argv = [f"clicksight {name}", *given[1:]]
    pkgutil.resolve_name(f"{door.module}:main")(given[1:])


if __name__ == "__main__":
    main()
