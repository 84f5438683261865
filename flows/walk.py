"""Walking DVC's graph: one Prefect task per stage, and as many stages at once as there are slots.

Every flow does its work in :func:`in_workspace`, which locks the workspace, and runs stages with :func:`run_graph`. A
failed stage holds back only the stages downstream of it.
"""

import os
import queue
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
from flows.display import Display, current, label_of
from flows.gpus import Limits, find_gpus, limit_of
from flows.hangup import go_on_unheard, interrupt_on_hangup
from flows.stages import Stage, StageFailed, Stopped, Workspace
from flows.time_left import TimeLeft, seconds_before

CpuSlots = Annotated[int | None, Field(ge=1)]
CPU = ""  # the slot of a stage without a GPU
HELD_BACK = "Held back"
MANY_MODULES = 6  # stale stages from which a preloaded process, which takes 7 s of a core, is worth it
ASK_AGAIN_S = 2.0  # between two requests for a GPU that other flow runs hold
RETRIES = 1  # of a request to the server while stages wait; Prefect's five would take a minute
UNFINISHED = [how for how in StateType if how not in TERMINAL_STATES]

ended_as: ContextVar[State[Any] | None] = ContextVar("ended_as", default=None)
"""The final state of the last flow run in this process, kept here in case its server is gone."""


@task(task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)  # DVC alone knows what is stale
def run_stage(
    workspace: Workspace, name: str, environment: Mapping[str, str], is_up_to_date: bool | None
) -> State[Any]:
    """Run one DVC stage; the task's state is Cached if the stage was up to date.

    Args:
        workspace: the workspace of the stage.
        name: the stage.
        environment: variables for its processes.
        is_up_to_date: whether the stage is up to date, if the flow knows it already; None asks DVC.
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
    """The slots in which stages run: one per GPU, and a number of CPU slots.

    Args:
        cpu_slots: stages at once on the CPUs, at least 1.
        gpus: ids of the GPUs, as CUDA_VISIBLE_DEVICES takes them; without GPUs, GPU stages share the CPU slots.
        limits: the GPUs' limits on the server, by which flow runs share the GPUs; None without GPUs.
    """

    def __init__(self, cpu_slots: int, gpus: Sequence[str], limits: Limits | None = None) -> None:
        self.on_cpus, self.on_gpus = cpu_slots, len(gpus)
        self._limits = limits
        self._has_gpus = bool(gpus)
        self._free = {True: list(gpus), False: [CPU] * cpu_slots}
        self._threads = max(1, (os.cpu_count() or 1) // (cpu_slots + len(gpus)))
        self._logged_waiting = False
        self.are_refused = False
        """True while a stage waits for a GPU that another flow run holds; the walk has to ask for it again."""

    def take(self, stage: Stage, is_fresh: bool = False) -> str | None:
        """Return a free slot for a stage, or None if it has to wait.

        Args:
            stage: the stage.
            is_fresh: the stage is known to be up to date, so that it needs no GPU's limit.
        """
        free = self._free[stage.on_gpu and self._has_gpus]
        if self._limits is None or free is self._free[False] or is_fresh:
            return free.pop(0) if free else None
        if self.are_refused:
            return None
        for gpu in free:
            if self._limits.take(gpu):
                free.remove(gpu)
                self._logged_waiting = False
                return gpu
        self.are_refused = bool(free)
        if free and not self._logged_waiting:
            self._logged_waiting = True
            get_run_logger().info(
                "%s waits for a GPU: other flow runs hold %s, or their limits are 0 (see Concurrency in the page)",
                stage.name, ", ".join(map(limit_of, free)),
            )  # fmt: skip
        return None

    def give_back(self, slot: str) -> None:
        """Free a slot."""
        if self._limits is not None and slot != CPU:
            self._limits.give_back(slot)
        self._free[slot != CPU].append(slot)

    def environment(self, slot: str) -> dict[str, str]:
        """Return the variables for a stage's processes: their GPU, and their share of the cores.

        Training, evaluation and scoring use the number of threads that their parameters name, if they name one. With
        ``threads: null`` they use this share, and their last digits may then depend on the machine and its slots.
        """
        threads = {name: str(self._threads) for name in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS")}
        own = {name: count for name, count in threads.items() if name not in os.environ}
        return own | ({"CUDA_VISIBLE_DEVICES": slot} if self._has_gpus else {})


@dataclass(frozen=True)
class Walked:
    """How the stages of a graph ended.

    Attributes:
        outcome: by stage: Cached, Completed, Failed, Cancelled, or Held back (a stage upstream failed).
        failures: the messages of the stages that did not complete.
    """

    outcome: Mapping[str, str]
    failures: Sequence[str]

    def state(self) -> State[Any]:
        """Return the final state of the flow."""
        held_back = [name for name, how in self.outcome.items() if how == HELD_BACK]
        if self.failures:
            return Failed(message="\n\n".join([*self.failures, f"held back: {', '.join(held_back) or 'none'}"]))
        cached = sum(how == "Cached" for how in self.outcome.values())
        total = len(self.outcome)
        return Completed(message=f"{total} stages: {total - cached} ran, {cached} were up to date")


def in_workspace(job: Callable[[Workspace], State[Any]]) -> State[Any]:
    """Do a flow's work in the current folder, which is locked meanwhile; return the flow's final state.

    A UserError becomes a failed state with its message. However the work ends, all processes that it started end too.
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
            workspace.processes.close()
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
    """Mark a killed flow run and its tasks as crashed on the server, and free its GPUs.

    Args:
        killed: what the run wrote into the lock file (:meth:`flows.stages.Workspace.hold`); its stages have ended.
    """
    if "run" not in killed:
        return
    run = UUID(killed["run"])
    crashed: State[Any] = Crashed(message=f"its process {killed.get('pid')} was killed; what was finished stays")
    try:
        with get_client(sync_client=True) as client:
            for lease in killed.get("leases", "").split():
                with suppress(httpx.HTTPStatusError):  # the limit was set to 0; the lease runs out by itself
                    client.release_concurrency_slots_with_lease(UUID(lease))
            state = client.read_flow_run(run).state
            if state is not None and not state.is_final():
                client.set_flow_run_state(run, crashed, force=True)
            for task_run in client.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])),
                task_run_filter=TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=UNFINISHED))),
            ):
                client.set_task_run_state(task_run.id, crashed, force=True)
    except (httpx.HTTPError, ObjectNotFound):  # the run was on another server, or no server can be reached
        return


def run_graph(workspace: Workspace, targets: Iterable[str], cpu_slots: int | None) -> Walked:
    """Bring targets and everything upstream of them up to date, and show the progress in Prefect's page.

    Args:
        workspace: the workspace.
        targets: stages (`mtmdd:train` means its whole matrix) or outputs; none means everything.
        cpu_slots: stages at once on the CPUs; None means one per core.

    Raises:
        UserError: there is no such stage or output, or another process keeps DVC's lock.
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
        except BaseException:  # a GPU is given back only when its stage has ended
            workspace.stop()
            raise
    outcome = {name: str(ended[name].name) if name in ended else HELD_BACK for name in stages}
    page.show_table("stages", [{"stage": name, "outcome": how} for name, how in outcome.items()], "Stages")
    page.show_metrics(workspace.metrics())
    return Walked(outcome, [state.message or name for name, state in ended.items() if not state.is_completed()])


def _walk(
    workspace: Workspace, stages: Mapping[str, Stage], slots: Slots, progress: page.Progress
) -> dict[str, State[Any]]:
    """Run each stage when the stages upstream have completed; return the final states of the stages that started."""
    stale = workspace.stale()
    if has_many_modules(stages, stale):
        workspace.processes.preload(slots.environment(CPU))
    shown = _begin_display(workspace, stages, slots, stale)
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
                if shown:
                    shown.started(name)
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
        future.wait()  # fetches the final state; without it `state` would ask the server, which lags behind
        slots.give_back(slot)
        ended[name] = future.state
        progress.show(len(ended))
        if shown:
            shown.ended(name, str(future.state.name))
        if future.state.is_completed():
            completed[name] = future


def has_many_modules(stages: Mapping[str, Stage], stale: Collection[str]) -> bool:
    """Return whether so many stale stages are Python modules that their processes should be forked from one."""
    return sum(stage.is_module for name, stage in stages.items() if name in stale) >= MANY_MODULES


def _begin_display(
    workspace: Workspace, stages: Mapping[str, Stage], slots: Slots, stale: Collection[str]
) -> Display | None:
    """Return the display of the terminal that runs the flow, with the run's stages; None if no terminal does."""
    shown = current.get()
    if shown is None:
        return None
    values = {name: point for matrix in workspace.matrices().values() for name, point in matrix.points.items()}
    up_to_date: set[str] = set()
    for name, stage in stages.items():  # those upstream come first
        if name not in stale and stage.upstream & stages.keys() <= up_to_date:
            up_to_date.add(name)
    labels = {name: label_of(name, values.get(name)) for name in stages}
    time_left = TimeLeft(stages, slots.on_cpus, slots.on_gpus, seconds_before(workspace.root), up_to_date)
    shown.begin(stages, labels, time_left)
    return shown


def _is_up_to_date(is_stale_for_good: bool | None, nothing_ran_upstream: bool) -> bool | None:
    """Return whether a stage is up to date, or None if only DVC knows.

    Asking DVC takes more than half a second in a graph of hundreds of stages.

    Args:
        is_stale_for_good: the value of :meth:`flows.stages.Workspace.stale` for the stage when the flow began, if any.
        nothing_ran_upstream: all stages upstream were up to date.
    """
    if is_stale_for_good:
        return False
    return True if is_stale_for_good is None and nothing_ran_upstream else None


def _put(finished: queue.SimpleQueue[str], name: str, future: PrefectFuture[Any]) -> None:
    finished.put(name)
