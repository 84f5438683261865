"""The flow that brings every artifact up to date: one task per stage of DVC's graph, as many at once as there is room.

    python -m flows.reproduce                        # everything, as `dvc repro` would
    python -m flows.reproduce --targets train data/report --cpu-slots 4

Reads dvc.yaml, params.yaml and the workspace; writes what the stages write, dvc.lock, and Prefect's records of the run
(under .state/prefect, or on the server that PREFECT_API_URL names). A failed stage holds back only the stages after
it; the flow then fails and says which stage, with which exit code, and its last lines.
"""

import argparse
import os
import queue
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed
from pydantic import Field

from flows.server import interrupt_on_hangup, server
from flows.stages import Stage, StageFailed, Stopped, Workspace
from pipelines.console import UserError

REPORT = Path("data/report")
CpuSlots = Annotated[int | None, Field(ge=1)]
CPU = ""  # the slot of a stage that gets no GPU


@task(task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)  # DVC alone knows what is stale
def run_stage(workspace: Workspace, name: str, environment: Mapping[str, str], is_fresh: bool) -> State[Any]:
    """Run one DVC stage; the task's state is Cached when there was nothing to do.

    Args:
        workspace: where.
        name: the stage.
        environment: set for its processes.
        is_fresh: it was up to date when the flow began, and nothing upstream has run since.
    """
    logger = get_run_logger()
    try:
        if is_fresh or workspace.is_up_to_date(name):
            return Completed(name="Cached", message=f"stage {name} is up to date")
        workspace.run(name, environment, logger.info)
    except (StageFailed, UserError) as error:
        return Failed(message=str(error))
    except Stopped as error:
        return Cancelled(message=str(error))
    return Completed(message=f"stage {name} ran")


class Slots:
    """Which stages may run at once: one per GPU, and so many on the CPUs.

    Args:
        cpu_slots: stages at once on the CPUs, at least 1.
        gpus: ids of the GPUs, as CUDA_VISIBLE_DEVICES takes them; without one, GPU stages share the CPU slots.
    """

    def __init__(self, cpu_slots: int, gpus: Sequence[str]) -> None:
        self._has_gpus = bool(gpus)
        self._free = {True: list(gpus), False: [CPU] * cpu_slots}
        self._threads = max(1, (os.cpu_count() or 1) // (cpu_slots + len(gpus)))

    def take(self, stage: Stage) -> str | None:
        """Return a free slot for a stage, None if it has to wait."""
        free = self._free[stage.on_gpu and self._has_gpus]
        return free.pop(0) if free else None

    def give_back(self, slot: str) -> None:
        """Free a slot."""
        self._free[slot != CPU].append(slot)

    def environment(self, slot: str) -> dict[str, str]:
        """Return what a stage's processes see: their GPU, and their share of the cores.

        Training, evaluation and scoring set the number of threads that their parameters name, whatever stands here.
        With ``threads: null`` they take this share, and their last digits may then depend on the machine and its slots.
        """
        threads = {name: str(self._threads) for name in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS")}
        own = {name: count for name, count in threads.items() if name not in os.environ}
        return own | ({"CUDA_VISIBLE_DEVICES": slot} if self._has_gpus else {})


def find_gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the ids of the GPUs at hand: those of CUDA_VISIBLE_DEVICES if it is set, or all that the driver lists."""
    if "CUDA_VISIBLE_DEVICES" in environment:
        return [gpu for gpu in environment["CUDA_VISIBLE_DEVICES"].split(",") if gpu.strip() not in ("", "-1")]
    if not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(
        ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    return listed.stdout.split() if listed.returncode == 0 else []


def _run_name() -> str:
    return f"reproduce {' '.join(flow_run.parameters['targets']) or 'everything'}"


@flow(name="reproduce", flow_run_name=_run_name, persist_result=False)
def reproduce(targets: list[str] = [], cpu_slots: CpuSlots = None) -> State[Any]:  # noqa: B006  shown in the page's form
    """Bring the targets up to date, stage by stage, as `dvc repro` would, independent stages at once.

    Args:
        targets: stages (`train` means its whole matrix) or outputs; none means everything.
        cpu_slots: stages at once on the CPUs; none means as many as there are cores.
    """
    interrupt_on_hangup()  # started from the page, this is a process of its own
    logger = get_run_logger()
    workspace = Workspace(Path.cwd())
    stages = workspace.stages(targets)
    gpus, num_slots = find_gpus(), cpu_slots or os.cpu_count() or 1
    logger.info(
        "%d stages, %d at once on the CPUs, %s", len(stages), num_slots,
        f"GPU stages on GPUs {', '.join(gpus)}" if gpus else "no GPU: training runs on the CPUs",
    )  # fmt: skip
    try:
        ended = _walk(workspace, stages, Slots(num_slots, gpus))
    except UserError as error:  # DVC's lock stayed taken; nothing has been started
        return Failed(message=str(error))
    except BaseException:  # Ctrl-C, cancelled from the page, a defect: no process outlives the flow
        workspace.stop()
        raise
    return _conclude(workspace, stages, ended)


def _walk(workspace: Workspace, stages: Mapping[str, Stage], slots: Slots) -> dict[str, State[Any]]:
    """Run stages as those upstream complete; return each one's final state, of those that could be started."""
    stale = workspace.stale()
    waiting = dict(stages)
    running: dict[str, tuple[PrefectFuture[Any], str]] = {}
    completed: dict[str, PrefectFuture[Any]] = {}
    ended: dict[str, State[Any]] = {}
    finished: queue.SimpleQueue[str] = queue.SimpleQueue()
    while True:
        for name, stage in list(waiting.items()):
            upstream = stage.upstream & stages.keys()
            if upstream <= completed.keys() and (slot := slots.take(stage)) is not None:
                before = [completed[other] for other in sorted(upstream)]  # shown as edges in the page
                is_fresh = name not in stale and all(ended[other].name == "Cached" for other in upstream)
                future = run_stage.submit(
                    workspace, name, slots.environment(slot), is_fresh, wait_for=before, return_state=False
                )
                future.add_done_callback(partial(_put, finished, name))
                running[name] = future, slot
                del waiting[name]
        if not running:
            return ended
        name = finished.get()
        future, slot = running.pop(name)
        future.wait()  # takes the final state over; without it `state` would ask the server, which lags behind
        slots.give_back(slot)
        ended[name] = future.state
        if future.state.is_completed():
            completed[name] = future


def _put(finished: queue.SimpleQueue[str], name: str, future: PrefectFuture[Any]) -> None:
    finished.put(name)


def _conclude(workspace: Workspace, stages: Mapping[str, Stage], ended: Mapping[str, State[Any]]) -> State[Any]:
    """Publish what there is to see, and say how the flow ended."""
    outcome = {name: ended[name].name if name in ended else "Held back" for name in stages}
    create_table_artifact(
        key="stages", table=[{"stage": name, "outcome": how} for name, how in outcome.items()], description="Stages"
    )
    metrics = [{"file": path, **_flat(values)} for path, values in workspace.metrics().items()]
    if metrics:
        create_table_artifact(key="metrics", table=metrics, description="Metrics of every evaluation")
    failed = [state.message or name for name, state in ended.items() if not state.is_completed()]
    held_back = [name for name, how in outcome.items() if how == "Held back"]
    if failed:
        return Failed(message="\n\n".join([*failed, f"held back: {', '.join(held_back) or 'none'}"]))
    for page in sorted((workspace.root / REPORT).glob("*.md")):
        create_markdown_artifact(
            key=f"report-{page.stem.lower().replace('_', '-')}", markdown=page.read_text(encoding="utf-8")
        )
    cached = sum(how == "Cached" for how in outcome.values())
    return Completed(message=f"{len(stages)} stages: {len(stages) - cached} ran, {cached} were up to date")


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten nested metrics: ``{"target": {"accuracy": 0.7}}`` becomes ``{"target.accuracy": 0.7}``."""
    if not isinstance(values, dict):
        return {prefix: values}
    parts = (_flat(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in values.items())
    return {key: value for part in parts for key, value in part.items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the flow here and now; exit code 1 if a stage failed, 2 if nothing could be run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", default=[], help="stages or outputs (default: everything)")
    parser.add_argument("--cpu-slots", type=int, help="stages at once on the CPUs (default: the number of cores)")
    options = parser.parse_args(argv)
    try:
        if options.cpu_slots is not None and options.cpu_slots < 1:
            raise UserError(f"--cpu-slots {options.cpu_slots}: at least 1")
        Workspace(Path.cwd()).stages(options.targets)  # a mistake is told before the server starts
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    interrupt_on_hangup()
    try:
        with server():
            state = reproduce(options.targets, options.cpu_slots, return_state=True)
    except UserError as error:  # the server did not start
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; what is finished stays, the next run goes on from there\n")
        raise SystemExit(130) from None
    sys.stderr.write(f"\n{state.name}: {state.message}\n")
    if not state.is_completed():
        raise SystemExit(1)


if __name__ == "__main__":
    main()
