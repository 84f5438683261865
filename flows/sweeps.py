"""The flow that runs a study of the graph, or only some of its runs and seeds.

    python -m flows.sweeps mtmdd
    python -m flows.sweeps mtmdd --runs MTMDD-VM one_shot=MTMDD-VM-source-0.4 --seeds 0 --report

The flow runs the chosen evaluations with every stage that they need, like `flows.reproduce`, and shows their metrics as
a table. With ``report`` it also builds the report, which needs every evaluation of the project, and shows the report's
tables and plots. The studies are read from the graph (flows/studies.py).
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
from flows.studies import rows_of, studies, study_of
from flows.walk import CpuSlots, in_workspace, run_graph

REPORT_STAGE = "report"


def _run_name() -> str:
    chosen = flow_run.parameters
    parts = [*chosen["runs"], *(f"seed {seed}" for seed in chosen["seeds"])]
    return f"sweep {chosen['study']} {', '.join(parts) or 'everything'}"


@flow(name="sweep", flow_run_name=_run_name, persist_result=False)
def sweep(
    study: str,
    runs: list[str] = [],  # noqa: B006  the page's form shows the default
    seeds: list[int] = [],  # noqa: B006
    report: bool = False,
    cpu_slots: CpuSlots = None,
) -> State[Any]:
    """Run a study, or some of its runs and seeds, with every stage that they need.

    Args:
        study: the study's name: a system's name, such as `mtmdd`, or one with a suffix, such as `mtmdd-cross_object`.
        runs: the runs, such as `TDL` or `one_shot=TDL-source-0.4`; none means all declared runs.
        seeds: the seeds; none means all declared seeds.
        report: bring the report up to date too, which needs every evaluation of the project.
        cpu_slots: the number of stages that run at once on the CPUs; none means one per core.
    """
    return in_workspace(partial(_sweep, study, runs, seeds, report, cpu_slots))


def _sweep(
    name: str, runs: Sequence[str], seeds: Sequence[int], report: bool, cpu_slots: int | None, workspace: Workspace
) -> State[Any]:
    study = study_of(name, studies(workspace.matrices()))
    selected = study.select(runs, seeds)
    walked = run_graph(workspace, [*selected, *([REPORT_STAGE] if report else [])], cpu_slots)
    metrics = {stage: page.flat(values) for stage, values in workspace.metrics_of(selected).items()}
    rows = list(rows_of(study, selected, walked.outcome, metrics))
    page.show_table(page.key_of("sweep", name), rows, f"Study {name}: {len(rows)} evaluations")
    state = walked.state()
    if report and state.is_completed():
        page.show_report(workspace.root)
    return state


def main(argv: Sequence[str] | None = None) -> None:
    """Run the flow in this process; the exit code is 1 if a stage failed and 2 if nothing could be run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", help="the study's name, such as mtmdd or mtmdd-cross_object")
    parser.add_argument("--runs", nargs="+", default=[], help="runs, such as TDL or tau=0.4 (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[], help="seeds (default: all)")
    parser.add_argument("--report", action="store_true", help="bring the report up to date too")
    add_options(parser)
    options = parser.parse_args(argv)
    chosen = options.runs, options.seeds
    run_here(
        "sweep",
        lambda: sweep(options.study, *chosen, options.report, options.cpu_slots, return_state=True),
        check=lambda: study_of(options.study, studies(Workspace(Path.cwd()).matrices())).select(*chosen),
        verbose=options.verbose,
    )


if __name__ == "__main__":
    main()
