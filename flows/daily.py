"""The flow for a new day's log: add it to the click features and the raw data set, then bring everything up to date.

    python -m flows.daily --log /incoming/2026-11-22.tsv
    python -m flows.daily                     # finishes the work of a killed run

1. Add the log to the click features in the folder ``features``, which other projects read
   (`build_click_features --previous`). The folder is replaced whole or not at all. The first run builds the features
   from the whole raw log.
2. Copy the log into the raw data set, to ``source/clicks/``.
3. Bring DVC's graph up to date: features, models, report.

Logs are identified by their content (SHA-256). A log that is already in the features and in the raw data set is
refused, so no click is counted twice. If a killed run has added the log to only one of the two, it is added to the
other. ``segment`` and ``vocabulary`` of params.yaml set how queries become words. After a change of
those parameters the features have to be built anew: move the folder away and run without a log.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows import page
from flows.command import add_options, run_here
from flows.processes import Stopped
from flows.stages import Workspace
from flows.walk import CpuSlots, in_workspace, run_graph

if TYPE_CHECKING:
    from flows.day import Day

FEATURES = "features"


def _run_name() -> str:
    return f"daily {Path(flow_run.parameters['log'] or 'no new log').name}"


@flow(name="daily", flow_run_name=_run_name, persist_result=False)
def daily(
    log: str | None = None, features: str = FEATURES, data_set: str | None = None, cpu_slots: CpuSlots = None
) -> State[Any]:
    """Add a new day's click log: first the features for other projects, then the models and the report.

    Args:
        log: the file, on the machine that runs the flow; none finishes the work of a killed run.
        features: the folder of click features that other projects use.
        data_set: the one of `data_sets` that gets the log; none means the first.
        cpu_slots: the number of stages that run at once on the CPUs; none means one per core.
    """
    return in_workspace(partial(_daily, log, features, data_set, cpu_slots))


def _daily(
    log: str | None, features: str, data_set: str | None, cpu_slots: int | None, workspace: Workspace
) -> State[Any]:
    day = _day(log, features, data_set, workspace)
    to_add = day.missing()
    if to_add:
        state = add_to_features(day, [str(file) for file in to_add], return_state=True)
        if not state.is_completed():
            return Failed(message=state.message)
    joined = day.join()
    page.show_markdown("daily", day.summary(to_add, joined))
    state = run_graph(workspace, [], cpu_slots).state()
    if state.is_completed():
        page.show_report(workspace.root)
    return state


def _day(log: str | None, features: str, data_set: str | None, workspace: Workspace) -> "Day":
    from flows.day import Day  # imports Beam

    return Day(workspace, Path(features), None if log is None else Path(log), data_set)


@task(name="add to the click features", cache_policy=NO_CACHE, persist_result=False)
def add_to_features(day: "Day", logs: Sequence[str]) -> State[Any]:
    """Build the click features, or add logs to them, in a separate process."""
    try:
        exit_code, lines = day.workspace.processes.run(day.command(logs), {}, get_run_logger().info)
    except Stopped as error:
        return Failed(message=f"the build of the click features {error}")
    if exit_code:
        return Failed(
            message=f"the click features are unchanged: their build had exit code {exit_code}; its last lines:\n"
            + "\n".join(lines)
        )
    return Completed(message=f"{len(logs)} files added to {day.features}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the flow in this process; the exit code is 1 if a stage failed and 2 if nothing could be run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", metavar="FILE", help="the new log; without it, finish the work of a killed run")
    parser.add_argument("--features", default=FEATURES, metavar="DIR", help=f"folder of features (default: {FEATURES})")
    parser.add_argument("--data-set", metavar="NAME", help="which of data_sets gets the log (default: the first)")
    add_options(parser)
    options = parser.parse_args(argv)
    run_here(
        "daily",
        lambda: daily(options.log, options.features, options.data_set, options.cpu_slots, return_state=True),
        check=lambda: _day(options.log, options.features, options.data_set, Workspace(Path.cwd())),
        verbose=options.verbose,
    )


if __name__ == "__main__":
    main()
