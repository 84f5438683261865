"""The command ``clicksight``: one place to find every command that people need, each the door to the module behind it.

    clicksight features --clicks 'logs/*.tsv.gz' --output features
    clicksight features --help

A door runs ``python -m MODULE`` with the same arguments in the same process, so that the module's own help, errors and
exit code are what one sees.
"""

import argparse
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import NamedTuple

PIPE_CLOSED = 141  # the exit code that shells give to a program that SIGPIPE has ended


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
    "cut-offs": Door("clicksight.cut_offs", "learn when a word fits a picture, so that nothing may fit"),
    "index": Door("clicksight.index", "index pictures by the words that people would click them for"),
    "search": Door("clicksight.search", "search such an index by words or by a picture"),
    "serve": Door("clicksight.serve", "serve a page to try trained models: pictures in, what they show out"),
    "export": Door("clicksight.export", "write a trained model for other programs: ONNX, torch.export, a model card"),
    "info": Door("clicksight.info", "say of any artifact what it is, where it comes from, and what reads it"),
    "completion": Door("clicksight.completion", "print the completion of this command for bash or zsh"),
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
    try:
        pkgutil.resolve_name(f"{door.module}:main")(given[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # as in `clicksight predict ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes standard output at its end
        sys.exit(PIPE_CLOSED)


if __name__ == "__main__":
    main()
