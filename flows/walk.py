"""Walking DVC's graph: one Prefect task per stage, as many at once as there is room, and how it ended.

Every flow does its work in :func:`in_workspace`, which has the workspace for itself, and runs stages with
:func:`run_graph`. A failed stage holds back only the stages after it.
"""

import os
import queue
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import httpx
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.futures import PrefectFuture
from prefect.runtime import deployment, flow_run
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelled, Completed, Crashed, Failed
from pydantic import Field

from base.console import UserError
from flows import page
from flows.gpus import Limits, find_gpus, limit_of
from flows.hangup import go_on_unheard, interrupt_on_hangup
from flows.stages import Stage, StageFailed, Stopped, Workspace

CpuSlots = Annotated[int | None, Field(ge=1)]
CPU = ""  # the slot of a stage that gets no GPU
HELD_BACK = "Held back"
ASK_AGAIN_S = 2.0  # for a GPU that other flow runs have
RETRIES = 1  # of a question to the server while stages wait; Prefect's five would take a minute
UNFINISHED = [how for how in StateType if how not in TERMINAL_STATES]

ended_as: ContextVar[State[Any] | None] = ContextVar("ended_as", default=None)
"""How the work of the last flow run in this process ended, also if its server could not be told."""


@task(task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)  # DVC alone knows what is stale
def run_stage(
    workspace: Workspace, name: str, environment: Mapping[str, str], is_up_to_date: bool | None
) -> State[Any]:
    """Run one DVC stage; the task's state is Cached when there was nothing to do.

    Args:
        workspace: where.
        name: the stage.
        environment: set for its processes.
        is_up_to_date: whether it is, as far as that was known when the flow began; None: DVC has to be asked.
    """
    logger = get_run_logger()
    try:
        if workspace.is_up_to_date(name) if is_up_to_date is None else is_up_to_date:
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
        limits: the GPUs' limits on the server, which say whether other flow runs have one; none if there are no others.
    """

    def __init__(self, cpu_slots: int, gpus: Sequence[str], limits: Limits | None = None) -> None:
        self._limits = limits
        self._has_gpus = bool(gpus)
        self._free = {True: list(gpus), False: [CPU] * cpu_slots}
        self._threads = max(1, (os.cpu_count() or 1) // (cpu_slots + len(gpus)))
        self._says_waiting = False
        self.are_refused = False
        """A stage has to wait for a GPU that is free here, and will not be told when it can be had."""

    def take(self, stage: Stage, is_fresh: bool = False) -> str | None:
        """Return a free slot for a stage, None if it has to wait; nobody else's GPU is needed to find it up to date."""
        free = self._free[stage.on_gpu and self._has_gpus]
        if self._limits is None or free is self._free[False] or is_fresh:
            return free.pop(0) if free else None
        if self.are_refused:
            return None
        for gpu in free:
            if self._limits.take(gpu):
                free.remove(gpu)
                self._says_waiting = False
                return gpu
        self.are_refused = bool(free)
        if free and not self._says_waiting:
            self._says_waiting = True
            get_run_logger().info(
                "%s waits for a GPU: other flow runs have %s, or someone keeps them free (see Concurrency in the page)",
                stage.name, ", ".join(map(limit_of, free)),
            )  # fmt: skip
        return None

    def give_back(self, slot: str) -> None:
        """Free a slot."""
        if self._limits is not None and slot != CPU:
            self._limits.give_back(slot)
        self._free[slot != CPU].append(slot)

    def environment(self, slot: str) -> dict[str, str]:
        """Return what a stage's processes see: their GPU, and their share of the cores.

        Training, evaluation and scoring set the number of threads that their parameters name, whatever stands here.
        With ``threads: null`` they take this share, and their last digits may then depend on the machine and its slots.
        """
        threads = {name: str(self._threads) for name in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS")}
        own = {name: count for name, count in threads.items() if name not in os.environ}
        return own | ({"CUDA_VISIBLE_DEVICES": slot} if self._has_gpus else {})


@dataclass(frozen=True)
class Walked:
    """How the stages of a graph ended.

    Attributes:
        outcome: by stage: Cached, Completed, Failed, Cancelled, or Held back by another's failure.
        failures: what those that did not complete said.
    """

    outcome: Mapping[str, str]
    failures: Sequence[str]

    def state(self) -> State[Any]:
        """Return the state that a flow ends in."""
        held_back = [name for name, how in self.outcome.items() if how == HELD_BACK]
        if self.failures:
            return Failed(message="\n\n".join([*self.failures, f"held back: {', '.join(held_back) or 'none'}"]))
        cached = sum(how == "Cached" for how in self.outcome.values())
        total = len(self.outcome)
        return Completed(message=f"{total} stages: {total - cached} ran, {cached} were up to date")


def in_workspace(job: Callable[[Workspace], State[Any]]) -> State[Any]:
    """Do a flow's work in the current folder, alone; what the user can mend becomes the flow's failure, in plain words.

    However it ends, no process that it has started is left.
    """
    interrupt_on_hangup()
    if deployment.id:  # started from the page, this is a process of its own
        go_on_unheard()
    workspace = Workspace(Path.cwd())
    try:
        with (
            workspace.hold({"name": str(flow_run.name), "run": str(flow_run.id)}) as killed,
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: RETRIES}),
        ):
            mark_crashed(killed)
            state = job(workspace)
    except UserError as error:
        state = Failed(message=str(error))
    except BaseException as error:  # Ctrl-C, cancelled from the page, a defect
        workspace.stop()
        if isinstance(error, KeyboardInterrupt):
            ended_as.set(Cancelled(message="interrupted"))
        raise
    ended_as.set(state)
    return state


def mark_crashed(killed: Mapping[str, str]) -> None:
    """Tell the server of a flow run that was killed: free its GPUs; neither it nor its tasks are running any more.

    Args:
        killed: what the run told of itself (:meth:`flows.stages.Workspace.hold`); its stages have ended.
    """
    if "run" not in killed:
        return
    run = UUID(killed["run"])
    crashed: State[Any] = Crashed(message=f"its process {killed.get('pid')} was killed; what was finished stays")
    try:
        with get_client(sync_client=True) as client:
            for lease in killed.get("leases", "").split():
                with suppress(httpx.HTTPStatusError):  # of a limit that was set to 0; it ends by itself
                    client.release_concurrency_slots_with_lease(UUID(lease))
            state = client.read_flow_run(run).state
            if state is not None and not state.is_final():
                client.set_flow_run_state(run, crashed, force=True)
            for task_run in client.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])),
                task_run_filter=TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=UNFINISHED))),
            ):
                client.set_task_run_state(task_run.id, crashed, force=True)
    except (httpx.HTTPError, ObjectNotFound):  # a run on another server, or none can be reached
        return


def run_graph(workspace: Workspace, targets: Iterable[str], cpu_slots: int | None) -> Walked:
    """Bring targets up to date with all that they need, and show how it goes.

    Args:
        workspace: where.
        targets: stages (`mtmdd:train` means its whole matrix) or outputs; none means everything.
        cpu_slots: stages at once on the CPUs; none means as many as there are cores.

    Raises:
        UserError: there is no such stage or output, or DVC's lock stays taken.
    """
    stages = workspace.stages(targets)
    gpus, num_slots = find_gpus(), cpu_slots or os.cpu_count() or 1
    get_run_logger().info(
        "%d stages, %d at once on the CPUs, %s", len(stages), num_slots,
        f"GPU stages on GPUs {', '.join(gpus)}" if gpus else "no GPU: training runs on the CPUs",
    )  # fmt: skip
    progress = page.Progress(max(1, len(stages)))
    with Limits(gpus, workspace.tell) if gpus else nullcontext() as limits:
        try:
            ended = _walk(workspace, stages, Slots(num_slots, gpus, limits), progress)
        except BaseException:  # a GPU is given back when its stage has ended
            workspace.stop()
            raise
    outcome = {name: str(ended[name].name) if name in ended else HELD_BACK for name in stages}
    page.show_table("stages", [{"stage": name, "outcome": how} for name, how in outcome.items()], "Stages")
    page.show_metrics(workspace.metrics())
    return Walked(outcome, [state.message or name for name, state in ended.items() if not state.is_completed()])


def _walk(
    workspace: Workspace, stages: Mapping[str, Stage], slots: Slots, progress: page.Progress
) -> dict[str, State[Any]]:
    """Run stages as those upstream complete; return each one's final state, of those that could be started."""
    stale = workspace.stale()
    waiting = dict(stages)
    running: dict[str, tuple[PrefectFuture[Any], str]] = {}
    completed: dict[str, PrefectFuture[Any]] = {}
    ended: dict[str, State[Any]] = {}
    finished: queue.SimpleQueue[str] = queue.SimpleQueue()
    while True:
        slots.are_refused = False
        for name, stage in list(waiting.items()):
            upstream = stage.upstream & stages.keys()
            if not upstream <= completed.keys():
                continue
            is_up_to_date = _is_up_to_date(stale.get(name), all(ended[other].name == "Cached" for other in upstream))
            if (slot := slots.take(stage, is_fresh=bool(is_up_to_date))) is not None:
                before = [completed[other] for other in sorted(upstream)]  # shown as edges in the page
                future = run_stage.submit(
                    workspace, name, slots.environment(slot), is_up_to_date, wait_for=before, return_state=False
                )
                future.add_done_callback(partial(_put, finished, name))
                running[name] = future, slot
                del waiting[name]
        if not running and not slots.are_refused:
            return ended
        try:
            name = finished.get(timeout=ASK_AGAIN_S if slots.are_refused else None)
        except queue.Empty:
            continue
        future, slot = running.pop(name)
        future.wait()  # takes the final state over; without it `state` would ask the server, which lags behind
        slots.give_back(slot)
        ended[name] = future.state
        progress.show(len(ended))
        if future.state.is_completed():
            completed[name] = future


def _is_up_to_date(is_stale_for_good: bool | None, nothing_ran_upstream: bool) -> bool | None:
    """Return what is known of a stage without DVC, which takes over half a second where there are hundreds; None: ask.

    Args:
        is_stale_for_good: what :meth:`flows.stages.Workspace.stale` said of it when the flow began, if anything.
        nothing_ran_upstream: all stages before it were up to date.
    """
    if is_stale_for_good:
        return False
    return True if is_stale_for_good is None and nothing_ran_upstream else None


def _put(finished: queue.SimpleQueue[str], name: str, future: PrefectFuture[Any]) -> None:
    finished.put(name)
