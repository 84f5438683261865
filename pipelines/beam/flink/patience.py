"""How long a command waits for a cluster and its job before it gives up; nothing waits for ever."""

import time
from dataclasses import dataclass

from base.console import UserError


@dataclass(frozen=True)
class Patience:
    """How long a command waits, in seconds, before it gives up.

    Attributes:
        answer_s: for an answer of the cluster; a JobManager that starts again needs some 15 s.
        start_s: for a submitted job to appear on the cluster.
        lost_s: for a job to appear again after the cluster has answered that it doesn't know it.
        slots_s: for the cluster to have as many slots as the job needs.
        stalled_s: for any step of the job to read or write a record, or to begin or end.
        end_s: for a cancelled job to end.
    """

    answer_s: float = 180
    start_s: float = 180
    lost_s: float = 30
    slots_s: float = 180
    stalled_s: float = 3600
    end_s: float = 60


PATIENCE = Patience()


class LostError(Exception):
    """The cluster does not know the job (any more)."""


class Watch:
    """Raises an error when something has lasted too long."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._answered = self._known = self._moved = self._began = self._had_slots = time.monotonic()
        self._progress: object = None

    def answered(self) -> None:
        """Note that the cluster has answered everything."""
        self._answered = self._known = time.monotonic()

    def no_answer(self, address: str, is_unknown: bool, error: Exception) -> None:
        """Note that the cluster has not answered, or that it doesn't know the job.

        Raises:
            LostError, UserError: it has been so for too long.
        """
        now = time.monotonic()
        self._moved = self._had_slots = now
        if is_unknown:
            self._answered = now
            if now - self._known > self._patience.lost_s:
                raise LostError(f"the cluster at {address} does not know the job any more")
        elif now - self._answered > self._patience.answer_s:
            raise UserError(
                f"the cluster at {address} has not answered for {self._patience.answer_s:.0f} s ({error}); look at its "
                "JobManager (`make cluster-status` for the cluster on this machine), and run the command again"
            ) from error

    def has_slots(self, are_enough: bool, number: str) -> None:
        """Note whether the cluster has the slots that the job needs.

        Raises:
            UserError: it has lacked some for too long.
        """
        now = time.monotonic()
        if are_enough:
            self._had_slots = now
        elif now - self._had_slots > self._patience.slots_s:
            raise UserError(
                f"the cluster has had {number} for {self._patience.slots_s:.0f} s: start its TaskManagers, or give a "
                "smaller --parallelism"
            )

    def not_there(self, address: str) -> None:
        """Note that the submitted job is not on the cluster yet.

        Raises:
            LostError: it has not been there for too long.
        """
        if time.monotonic() - self._began > self._patience.start_s:
            raise LostError(f"the job did not appear on {address} in {self._patience.start_s:.0f} s")

    def progress(self, progress: object) -> None:
        """Note how far the job is.

        Raises:
            UserError: it has not got further for too long.
        """
        now = time.monotonic()
        if progress != self._progress:
            self._progress, self._moved = progress, now
        elif now - self._moved > self._patience.stalled_s:
            raise UserError(
                f"nothing has happened in the job for {self._patience.stalled_s:.0f} s, so it was cancelled: look at "
                "the TaskManagers' logs and at free slots, and run the command again"
            )
