"""Write, for each run, the code of the commands that train and evaluate it, on which the run's stages depend.

    python -m systems.mtmdd.commands --code data/code --output data/mtmdd/commands

In: the parameter file's sections mtmdd.runs and .cross_object; the digests that `base.code` writes. Out:
``<run>.train.json`` and ``<run>.evaluate.json`` for each run: the command, and the digests of its code if it is not the
command that all runs share (`systems.mtmdd.train`, `systems.mtmdd.evaluate`), on which every run's stage depends.

All runs are one matrix in dvc.yaml, which has no way from a run to a module. With these files, a training of DAN
depends on the code of DAN, and an edit of DAN, or a new method, makes no other training stale.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from base.artifacts import whole_directory, write_json
from base.console import UserError, stage
from base.params import DEFAULT_PATH
from systems.mtmdd.baselines.methods import COMPARED
from systems.mtmdd.methods import Method
from systems.mtmdd.runs import Point, load_points

STEPS = ("train", "evaluate")


def command_of(point: Point, step: str) -> str | None:
    """Return the module of a run's own command; None if it has the shared one.

    Args:
        point: the run; a point of a component study has the shared commands.
        step: ``train`` or ``evaluate``.
    """
    method: Method | None = COMPARED.get(point.method)
    return None if method is None else getattr(method, step)


def own_code(command: str | None, step: str, code: Path) -> dict[str, object]:
    """Return the content of a run's file.

    Raises:
        UserError: there are no digests of the command.
    """
    if command is None:
        return {"command": f"systems.mtmdd.{step}", "code": {}}
    path = code / f"{command}.json"
    if not path.is_file():
        raise UserError(f"{path}: no such file; run python -m base.code (the stage `code`)")
    return {"command": command, "code": json.loads(path.read_text(encoding="utf-8"))}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--code", type=Path, required=True, help="the folder that base.code writes")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage("commands") as closing:
        points = load_points(arguments.params)
        with whole_directory(arguments.output) as folder:
            for point in points:
                for step in STEPS:
                    content = own_code(command_of(point, step), step, arguments.code)
                    write_json(content, folder / f"{point.name}.{step}.json")
        own = {command for point in points for step in STEPS if (command := command_of(point, step))}
        closing.wrote[str(arguments.output)] = f"the commands of {len(points)} runs, {len(own)} of them methods' own"


if __name__ == "__main__":
    main()
