"""The GPUs of this machine, and Prefect's global concurrency limits that say who has one.

Each GPU has a limit on the server, named as in ``gpu-0@hostname``; a stage occupies its one slot while it runs. So flow
runs in several workspaces never put two stages on one GPU, and the page's Concurrency page shows which are taken. There
a person can set a limit to 0, which keeps the GPU free from the next stage on.

A slot is lent for a minute, and the loan is renewed while the stage runs: it ends by itself when the machine fails. The
flow's lock file lists the leases, so that the next run gives back at once what a killed one held
(:func:`flows.walk.mark_crashed`). While no server answers, a flow run hands out its GPUs by itself, as if alone.
"""

import contextlib
import contextvars
import os
import platform
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Self
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.objects import ConcurrencyLeaseHolder
from prefect.client.schemas.responses import ConcurrencyLimitWithLeaseResponse
from prefect.exceptions import ObjectAlreadyExists
from prefect.runtime import flow_run

LEASE_S = 60.0  # the shortest that Prefect lends for
RENEW_S = 15.0
ANSWER_S = 10.0  # in which the server has to answer
PATIENCE_S = 30.0  # a busy server, or one that is being started again, is waited for so long
# 423: others have all slots. 422: it has fewer slots than the one asked for, so none.
REFUSED = (httpx.codes.LOCKED, httpx.codes.UNPROCESSABLE_ENTITY)


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


def limit_of(gpu: str) -> str:
    """Return the name of a GPU's limit, as in ``gpu-0@hostname``."""
    return re.sub(r"[^\w.@-]", "-", f"gpu-{gpu.strip()}@{platform.node()}")  # Prefect forbids some characters in names


class Limits:
    """The limits of some GPUs, for one flow run; on exit all that it holds is given back.

    Args:
        gpus: their ids.
        tell: takes what the next run has to know should this one be killed: ``leases``, their ids.
    """

    def __init__(self, gpus: Sequence[str], tell: Callable[[Mapping[str, str]], None]) -> None:
        self._names = {gpu: limit_of(gpu) for gpu in gpus}
        self._tell = tell
        self._held: dict[str, UUID | None] = {}  # the lease of each GPU that we have; None without the server's consent
        self._owed: dict[str, UUID] = {}  # leases that could not be given back yet
        self._log = get_run_logger()
        run = flow_run.id
        self._holder = ConcurrencyLeaseHolder(type="flow_run", id=UUID(run)) if run else None
        self._client = get_client(sync_client=True, httpx_settings={"timeout": ANSWER_S})
        self._asking = threading.Lock()  # one request at a time, and nothing changes during one
        self._silent_since: float | None = None
        self._is_alone = False  # the server has been silent for too long
        self._ends = threading.Event()
        # Prefect keeps its settings and the run that logs in context variables, which a new thread would not have.
        self._keeper = threading.Thread(target=contextvars.copy_context().run, args=(self._keep,), daemon=True)

    def __enter__(self) -> Self:
        self._client.__enter__()
        self._keeper.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ends.set()
        self._keeper.join()
        for gpu in list(self._held):
            self.give_back(gpu)
        self._client.__exit__(*error)

    def take(self, gpu: str) -> bool:
        """Occupy the limit of a GPU; return whether we have it now. Waits for nobody."""
        with self._asking:
            lease = None
            if not self._goes_alone():
                try:
                    lease = self._occupy(gpu)
                except httpx.HTTPError as error:
                    self._hear(error)
                if lease is None and not self._is_alone:
                    return False
            self._held[gpu] = lease
            self._note()
        return True

    def give_back(self, gpu: str) -> None:
        """Free the limit of a GPU, if we have it."""
        with self._asking:
            if (lease := self._held.pop(gpu, None)) is not None:
                self._owed[gpu] = lease
                try:
                    if not self._goes_alone():
                        self._pay_back(gpu)
                except httpx.HTTPError as error:  # else the lease ends by itself, a minute after its last renewal
                    self._hear(error)
                self._note()

    def _occupy(self, gpu: str) -> UUID | None:
        """Return a lease of a GPU's limit, which is made if there is none; None if it is not to be had.

        Raises:
            httpx.HTTPError: the server does not answer, or not to this question.
        """
        self._pay_back(gpu)
        name = self._names[gpu]
        while True:
            try:
                answer = self._client.increment_concurrency_slots_with_lease(
                    [name], 1, "concurrency", LEASE_S, self._holder
                )
            except httpx.HTTPStatusError as error:
                if error.response.status_code not in REFUSED:
                    raise
                self._hear()
                return None
            lent = ConcurrencyLimitWithLeaseResponse.model_validate(answer.json())
            if lent.limits:
                self._hear()
                return lent.lease_id
            self._client.release_concurrency_slots_with_lease(lent.lease_id)  # of nothing: there is no such limit
            try:
                self._client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
            except ObjectAlreadyExists:  # another flow run was faster
                continue

    def _pay_back(self, gpu: str) -> None:
        """Give back a GPU's lease, if one is owed.

        Raises:
            httpx.TransportError: the server does not answer.
        """
        if gpu in self._owed:
            # Prefect 3.8 can't free a slot of a limit that was set to 0 meanwhile (it divides by it): later, then.
            with contextlib.suppress(httpx.HTTPStatusError):
                self._client.release_concurrency_slots_with_lease(self._owed[gpu])
                del self._owed[gpu]

    def _keep(self) -> None:
        """Renew the leases until the end, and get those that a silent server could not give."""
        while not self._ends.wait(RENEW_S):
            for gpu in self._names:
                with self._asking:
                    if gpu in self._held and not self._ends.is_set():
                        self._renew(gpu)

    def _renew(self, gpu: str) -> None:
        try:
            lease = self._held[gpu]
            if lease is not None and self._is_renewed(lease):
                return
            self._held[gpu] = self._occupy(gpu)
        except httpx.HTTPError as error:
            self._hear(error)
            return
        self._note()
        if lease is not None and self._held[gpu] is None:
            self._log.warning(
                "another flow run may be on GPU %s too: the server was away for longer than it had lent %s",
                gpu, self._names[gpu],
            )  # fmt: skip

    def _is_renewed(self, lease: UUID) -> bool:
        """Renew a lease; return False if it has ended: the server was away for too long, or forgot it."""
        try:
            self._client.renew_concurrency_lease(lease, LEASE_S)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.GONE:
                raise
            return False
        self._hear()
        return True

    def _goes_alone(self) -> bool:
        """Whether the server is known to be silent, and was asked not long ago."""
        return self._is_alone and self._silent_since is not None and time.monotonic() < self._silent_since + PATIENCE_S

    def _hear(self, error: httpx.HTTPError | None = None) -> None:
        """Remember whether the server has answered; say so when that changes."""
        now = time.monotonic()
        if error is None:
            if self._is_alone:
                self._log.info("the Prefect server answers again")
            self._silent_since, self._is_alone = None, False
            return
        self._silent_since = self._silent_since or now
        if now >= self._silent_since + PATIENCE_S:
            if not self._is_alone:
                self._log.warning(
                    "no answer from the Prefect server on %s (%s): this flow run hands out its GPUs by itself; runs "
                    "in other workspaces may use the same ones",
                    self._client.api_url, str(error) or type(error).__name__,
                )  # fmt: skip
            self._silent_since, self._is_alone = now, True

    def _note(self) -> None:
        leases = [*self._held.values(), *self._owed.values()]
        self._tell({"leases": " ".join(str(lease) for lease in leases if lease is not None)})
