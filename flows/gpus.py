"""The GPUs of this machine, and the global concurrency limits of Prefect that assign each GPU to one stage at a time.

Each GPU has a limit on the server, with a name such as ``gpu-0@hostname``; a stage occupies its one slot while it runs.
Flow runs in several workspaces therefore never put two stages on one GPU, and the page's Concurrency view shows which
GPUs are taken. If a person sets a limit to 0 there, the next stages don't get that GPU.

A slot is leased for a minute, and the lease is renewed while the stage runs, so it expires when the machine fails. The
flow's lock file lists the leases, so that the next run can release the leases of a killed run at once
(:func:`flows.walk.mark_crashed`). While no server answers, a flow run assigns its GPUs without the limits, as if no
other flow run existed.
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

LEASE_S = 60.0  # the shortest lease that Prefect grants
RENEW_S = 15.0
ANSWER_S = 10.0  # timeout of a request to the server
PATIENCE_S = 30.0  # how long to wait for a server that is busy or being restarted
# 423: other holders have all slots. 422: the limit has fewer slots than the one requested, so none.
REFUSED = (httpx.codes.LOCKED, httpx.codes.UNPROCESSABLE_ENTITY)


def find_gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the ids of the usable GPUs: those of CUDA_VISIBLE_DEVICES if it is set, otherwise all the driver lists."""
    if "CUDA_VISIBLE_DEVICES" in environment:
        return [gpu for gpu in environment["CUDA_VISIBLE_DEVICES"].split(",") if gpu.strip() not in ("", "-1")]
    if not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(
        ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    return listed.stdout.split() if listed.returncode == 0 else []


def limit_of(gpu: str) -> str:
    """Return the name of a GPU's limit, for example ``gpu-0@hostname``."""
    return re.sub(r"[^\w.@-]", "-", f"gpu-{gpu.strip()}@{platform.node()}")  # Prefect forbids some characters in names


class Limits:
    """The limits of some GPUs, as one flow run uses them; on exit all leases are released.

    Args:
        gpus: the GPUs' ids.
        save: stores values for the next flow run, which needs them if this one is killed: ``leases``, the leases' ids.
    """

    def __init__(self, gpus: Sequence[str], save: Callable[[Mapping[str, str]], None]) -> None:
        self._names = {gpu: limit_of(gpu) for gpu in gpus}
        self._save = save
        self._held: dict[str, UUID | None] = {}  # lease of each GPU that this run uses; None: taken without the server
        self._pending: dict[str, UUID] = {}  # leases that are still to be released
        self._log = get_run_logger()
        run = flow_run.id
        self._holder = ConcurrencyLeaseHolder(type="flow_run", id=UUID(run)) if run else None
        self._client = get_client(sync_client=True, httpx_settings={"timeout": ANSWER_S})
        self._request_lock = threading.Lock()  # one request at a time; the state doesn't change during a request
        self._silent_since: float | None = None
        self._is_without_server = False  # the server has not answered for PATIENCE_S
        self._ends = threading.Event()
        # Prefect keeps its settings and the logger's run in context variables, which a new thread would lack.
        self._renewer = threading.Thread(
            target=contextvars.copy_context().run, args=(self._renew_until_end,), daemon=True
        )

    def __enter__(self) -> Self:
        self._client.__enter__()
        self._renewer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ends.set()
        self._renewer.join()
        for gpu in list(self._held):
            self.give_back(gpu)
        self._client.__exit__(*error)

    def take(self, gpu: str) -> bool:
        """Occupy the limit of a GPU; return False at once if it is not available now."""
        with self._request_lock:
            lease = None
            if not self._skips_server():
                try:
                    lease = self._occupy(gpu)
                except httpx.HTTPError as error:
                    self._record_answer(error)
                if lease is None and not self._is_without_server:
                    return False
            self._held[gpu] = lease
            self._save_leases()
        return True

    def give_back(self, gpu: str) -> None:
        """Free the limit of a GPU, if this flow run has it."""
        with self._request_lock:
            if (lease := self._held.pop(gpu, None)) is not None:
                self._pending[gpu] = lease
                try:
                    if not self._skips_server():
                        self._release_pending(gpu)
                except httpx.HTTPError as error:  # without a release the lease expires, a minute after its last renewal
                    self._record_answer(error)
                self._save_leases()

    def _occupy(self, gpu: str) -> UUID | None:
        """Return a lease of a GPU's limit, or None if other holders have it; create the limit if it does not exist.

        Raises:
            httpx.HTTPError: the server does not answer, or answers with an error.
        """
        self._release_pending(gpu)
        name = self._names[gpu]
        while True:
            try:
                answer = self._client.increment_concurrency_slots_with_lease(
                    [name], 1, "concurrency", LEASE_S, self._holder
                )
            except httpx.HTTPStatusError as error:
                if error.response.status_code not in REFUSED:
                    raise
                self._record_answer()
                return None
            lent = ConcurrencyLimitWithLeaseResponse.model_validate(answer.json())
            if lent.limits:
                self._record_answer()
                return lent.lease_id
            self._client.release_concurrency_slots_with_lease(lent.lease_id)  # an empty lease: the limit does not exist
            try:
                self._client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
            except ObjectAlreadyExists:  # another flow run created it meanwhile
                continue

    def _release_pending(self, gpu: str) -> None:
        """Release a GPU's pending lease, if there is one.

        Raises:
            httpx.TransportError: the server does not answer.
        """
        if gpu in self._pending:
            # Prefect 3.8 can't free a slot of a limit that is 0 now (it divides by it); the release is retried later.
            with contextlib.suppress(httpx.HTTPStatusError):
                self._client.release_concurrency_slots_with_lease(self._pending[gpu])
                del self._pending[gpu]

    def _renew_until_end(self) -> None:
        """Renew the leases until the end, and request those that a silent server could not grant."""
        while not self._ends.wait(RENEW_S):
            for gpu in self._names:
                with self._request_lock:
                    if gpu in self._held and not self._ends.is_set():
                        self._renew(gpu)

    def _renew(self, gpu: str) -> None:
        try:
            lease = self._held[gpu]
            if lease is not None and self._is_renewed(lease):
                return
            self._held[gpu] = self._occupy(gpu)
        except httpx.HTTPError as error:
            self._record_answer(error)
            return
        self._save_leases()
        if lease is not None and self._held[gpu] is None:
            self._log.warning(
                "another flow run may use GPU %s too: the server was gone for longer than its lease of %s lasted",
                gpu, self._names[gpu],
            )  # fmt: skip

    def _is_renewed(self, lease: UUID) -> bool:
        """Renew a lease; return False if it has expired because the server was gone for too long, or has lost it."""
        try:
            self._client.renew_concurrency_lease(lease, LEASE_S)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.GONE:
                raise
            return False
        self._record_answer()
        return True

    def _skips_server(self) -> bool:
        """Return True if the server is known to be silent and the last attempt is less than PATIENCE_S ago."""
        return (
            self._is_without_server
            and self._silent_since is not None
            and time.monotonic() < self._silent_since + PATIENCE_S
        )

    def _record_answer(self, error: httpx.HTTPError | None = None) -> None:
        """Record whether the server has answered; log when that changes."""
        now = time.monotonic()
        if error is None:
            if self._is_without_server:
                self._log.info("the Prefect server answers again")
            self._silent_since, self._is_without_server = None, False
            return
        self._silent_since = self._silent_since or now
        if now >= self._silent_since + PATIENCE_S:
            if not self._is_without_server:
                self._log.warning(
                    "no answer from the Prefect server on %s (%s): this flow run assigns its GPUs without it; runs "
                    "in other workspaces may use the same GPUs",
                    self._client.api_url, str(error) or type(error).__name__,
                )  # fmt: skip
            self._silent_since, self._is_without_server = now, True

    def _save_leases(self) -> None:
        leases = [*self._held.values(), *self._pending.values()]
        self._save({"leases": " ".join(str(lease) for lease in leases if lease is not None)})
