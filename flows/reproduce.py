"""The flow that brings every artifact up to date: one task per stage of DVC's graph, many at once.

    python -m flows.reproduce                        # everything, as `dvc repro` would
    python -m flows.reproduce --targets mtmdd:train data/sets/toy/splits --cpu-slots 4

Reads dvc.yaml, params.yaml and the workspace; writes what the stages write, dvc.lock, a log (.state/logs) and Prefect's
records of the run (under .state/prefect, or on the server that PREFECT_API_URL names). Prints a line per stage as it
ends, and warnings; `-v` prints all output. A failed stage holds back only the stages downstream of it; the flow then
fails, and its message has the stage, the exit code and the last lines.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows import page
from flows.command import add_options, run_here
from flows.stages import Workspace
from flows.walk import CpuSlots, in_workspace, run_graph


def _run_name() -> str:
    return f"reproduce {' '.join(flow_run.parameters['targets']) or 'everything'}"


@flow(name="reproduce", flow_run_name=_run_name, persist_result=False)
def reproduce(targets: list[str] = [], cpu_slots: CpuSlots = None) -> State[Any]:  # noqa: B006  shown in the page's form
    """Bring the targets up to date, stage by stage, as `dvc repro` would, independent stages at once.

    Args:
        targets: stages (`mtmdd:train` means its whole matrix) or outputs; none means everything.
        cpu_slots: stages at once on the CPUs; none means as many as there are cores.
    """
    return in_workspace(partial(_reproduce, targets, cpu_slots))


def _reproduce(targets: Sequence[str], cpu_slots: int | None, workspace: Workspace) -> State[Any]:
    state = run_graph(workspace, targets, cpu_slots).state()
    if state.is_completed():
        page.show_report(workspace.root)
    return state


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", default=[], help="stages or outputs (default: everything)")
    add_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the flow here and now; exit code 1 if a stage failed, 2 if nothing could be run."""
    options = build_parser().parse_args(argv)
    run_here(
        "reproduce",
        lambda: reproduce(options.targets, options.cpu_slots, return_state=True),
        # Find mistakes before the server starts.
        check=lambda: Workspace(Path.cwd()).stages(options.targets),
        verbose=options.verbose,
    )


if __name__ == "__main__":
    main()
