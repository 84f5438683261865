"""Batches of one or more streams in one step; each stream's passes begin and end independently of other streams.

A stream is a name with rows to draw from: the images of a domain, image-text pairs, images with their users. The draws
of a step are a pure function of (seed, phase, step): no state has to be saved to continue a run, and any number of
loader processes gives the same batches in the same order. The system's `Load` function loads the draws.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from base.console import UserError, is_user_error
from base.seeding import derive_seed
from model.data.parcels import Parcel, Pinned

SIGNAL_S = 5.0  # the time within which the system reports the death of a process to its parent


class Draw(NamedTuple):
    """One row to load, and the number of the pass over its stream in which it is drawn; None outside of training."""

    row: int
    pass_number: int | None


# Loads the draws of a stream as a NamedTuple of tensors; the first axis of each tensor is the draws.
Load = Callable[[str, Sequence[Draw]], Any]
Batch = Mapping[str, Any]  # the result of `Load` for each stream


class Loaded(NamedTuple):
    """A batch, and the rows of each stream from which it was loaded."""

    rows: Mapping[str, list[int]]
    batch: Batch


class Passes:
    """The passes over some rows of a stream, from which steps draw.

    Every pass goes through the rows in a new random order; a batch may end one pass and begin the next, so all batches
    are full and every row is drawn equally often.

    Passes over rows that were chosen at a later step are numbered from the number of draws before that step: no two
    passes of a phase have the same number, so no two have the same order and crops.

    Args:
        rows: the rows.
        batch_size: draws of these rows in a step.
        seed: the run's seed.
        purpose: a name that distinguishes streams and groups, as in ``joint/source``.
        start: the step at which these rows were chosen.
    """

    def __init__(self, rows: np.ndarray, batch_size: int, seed: int, purpose: str, start: int = 0) -> None:
        self.rows, self.batch_size, self.seed, self.purpose, self.start = rows, batch_size, seed, purpose, start
        self._order, self._order_of = rows, -1  # of the last pass that was drawn from; the next step needs it again

    def draws(self, step: int) -> Iterator[Draw]:
        """Yield the draws of a step; steps count from 0, for the whole phase."""
        first = (step - self.start) * self.batch_size
        for position in range(first, first + self.batch_size):
            number, index = divmod(position, len(self.rows))
            number += self.start * self.batch_size
            if number != self._order_of:
                random = np.random.default_rng(derive_seed(self.seed, "order", self.purpose, number))
                self._order, self._order_of = random.permutation(self.rows), number
            yield Draw(int(self._order[index]), number)


def draws_of_step(
    rows: np.ndarray, batch_size: int, step: int, seed: int, purpose: str, start: int = 0
) -> Iterator[Draw]:
    """Yield a stream's draws of one step from rows that are one group; :class:`Passes` has the arguments."""
    return Passes(rows, batch_size, seed, purpose, start).draws(step)


class Shares(NamedTuple):
    """The share of each step that a process loads, and the groups of rows that the draws come from.

    With g groups, the rows of each stream are cut into g runs of equal length (to one row). A step has batch_size / g
    draws of each, group after group, and each group has passes of its own. So a part of a step has draws of its own
    groups alone, if their number is a multiple of the number of parts. A stream with fewer rows than groups is one
    group.

    Attributes:
        parts: the parts of each step to load, one after another.
        num_parts: the number of parts of a step. Part i of n has each stream's draws from i/n to (i+1)/n.
        groups: the number of groups.
    """

    parts: range = range(1)
    num_parts: int = 1
    groups: int = 1

    def inside(self, batch_size: int) -> slice:
        """Return the draws of a step that all parts together have."""
        first, last = (share_of(batch_size, part, self.num_parts) for part in (self.parts[0], self.parts[-1]))
        return slice(first.start, last.stop)

    def groups_read(self, num_rows: int, batch_size: int) -> dict[int | None, slice]:
        """Return the groups from which the parts have draws, each with its rows; None: there is one group."""
        if self.groups == 1 or num_rows < self.groups:
            return {None: slice(0, num_rows)}
        inside, each = self.inside(batch_size), batch_size // self.groups
        read = range(inside.start // each, -(-inside.stop // each))
        return {group: share_of(num_rows, group, self.groups) for group in read}

    def rows_read(self, rows: np.ndarray, batch_size: int) -> np.ndarray:
        """Return the rows of a stream from which the parts have draws."""
        return np.concatenate([rows[inside] for inside in self.groups_read(len(rows), batch_size).values()])


WHOLE = Shares()


def training_batches(
    load: Load,
    rows: Mapping[str, np.ndarray],
    batch_size: int,
    steps: range,
    seed: int,
    purpose: str,
    workers: int,
    start: int = 0,
    shares: Shares = WHOLE,
) -> Iterator[Loaded]:
    """Yield one batch per step, or some parts of each step's batch, one after another.

    The draws of a step depend on the number of groups, and not on the number of parts.

    Args:
        load: loads draws.
        rows: the training rows of each stream; with several groups, rows that lie together follow each other.
        batch_size: draws of each stream in a step.
        steps: the steps to load; a continued run begins at a later step.
        seed: the run's seed.
        purpose: the phase's name.
        workers: number of loader processes; 0 loads in a thread of this process.
        start: the step at which these rows were chosen.
        shares: the parts of each step to load.
    """
    return _load(load, _TrainingPlan(rows, batch_size, steps, seed, purpose, start, shares), workers)


def evaluation_batches(load: Load, stream: str, rows: np.ndarray, batch_size: int, workers: int) -> Iterator[Any]:
    """Yield batches that `load` makes of a stream's rows, each row once and in order; the last may be smaller."""
    chunks = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    plan = [[(stream, Draw(int(row), None)) for row in chunk] for chunk in chunks]
    for loaded in _load(load, plan, workers):
        yield loaded.batch[stream]


def share_of(number: int, part: int, num_parts: int) -> slice:
    """Return one part's slice of `number` items; sizes differ by at most one."""
    return slice(number * part // num_parts, number * (part + 1) // num_parts)


class _Loader(Dataset):
    """Loads lists of draws with their streams; torch's loader passes a whole list in one call."""

    def __init__(self, load: Load) -> None:
        self.load = load

    def __getitems__(self, draws: Sequence[tuple[str, Draw]]) -> Loaded | Parcel | Exception:
        """Return the loaded draws; in a loader process a parcel, or a user error (torch would add a traceback)."""
        if get_worker_info() is None:
            return self._loaded(draws)
        try:
            return Parcel(self._loaded(draws))
        except Exception as error:
            if not is_user_error(error):
                raise
            return error

    def _loaded(self, draws: Sequence[tuple[str, Draw]]) -> Loaded:
        by_stream: dict[str, list[Draw]] = {}
        for stream, draw in draws:
            by_stream.setdefault(stream, []).append(draw)
        return Loaded(
            {stream: [draw.row for draw in its_draws] for stream, its_draws in by_stream.items()},
            {stream: self.load(stream, its_draws) for stream, its_draws in by_stream.items()},
        )


class _TrainingPlan(Sampler[list[tuple[str, Draw]]]):
    """The draws of each part of each step, computed when the loader needs them."""

    def __init__(
        self,
        rows: Mapping[str, np.ndarray],
        batch_size: int,
        steps: range,
        seed: int,
        purpose: str,
        start: int,
        shares: Shares,
    ) -> None:
        self.batch_size, self.steps, self.shares = batch_size, steps, shares
        self.passes: dict[str, dict[int | None, Passes]] = {}
        for stream, of_stream in rows.items():
            self.passes[stream] = {
                group: Passes(
                    of_stream[inside],
                    batch_size if group is None else batch_size // shares.groups,
                    seed,
                    f"{purpose}/{stream}" + ("" if group is None else f"/group {group}"),
                    start,
                )
                for group, inside in shares.groups_read(len(of_stream), batch_size).items()
            }

    def __len__(self) -> int:
        return len(self.steps) * len(self.shares.parts)

    def __iter__(self) -> Iterator[list[tuple[str, Draw]]]:
        for step in self.steps:
            drawn = [(stream, *self._draws(stream, step)) for stream in self.passes]
            for part in self.shares.parts:
                inside = share_of(self.batch_size, part, self.shares.num_parts)
                yield [
                    (stream, draw)
                    for stream, first, draws in drawn
                    for draw in draws[inside.start - first : inside.stop - first]
                ]

    def _draws(self, stream: str, step: int) -> tuple[int, list[Draw]]:
        """Return the draws of the groups that are read, and the place of the first of them in the step."""
        of_stream = self.passes[stream]
        draws = [draw for passes in of_stream.values() for draw in passes.draws(step)]
        first = next(iter(of_stream))
        return 0 if first is None else first * of_stream[first].batch_size, draws


def _load(load: Load, plan: Any, workers: int) -> Iterator[Loaded]:
    loader = DataLoader(
        _Loader(load), batch_sampler=plan, collate_fn=_as_it_is, num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # a loader draws a seed when it starts; that must not change dropout's numbers
    )  # fmt: skip
    yield from _received(loader) if workers else _one_ahead(loader)


def _received(loader: Iterable[Parcel | Exception]) -> Iterator[Loaded]:
    """Yield the batches that loader processes send.

    Raises:
        UserError: a process died while it sent a batch; in other moments `dead_loaders_reported` reports its death.
        UserError or OSError: a process could not load a batch, for a reason that the user can remove.
    """
    coming = iter(loader)
    while True:
        try:
            sent = next(coming, None)
            received = sent.content() if isinstance(sent, Parcel | Pinned) else sent
        except (ConnectionError, EOFError) as error:
            time.sleep(SIGNAL_S)  # usually torch's signal handler ends this with its own error, which names the process
            raise _dead(str(error) or "while it sent a batch") from error
        if received is None:
            return
        if isinstance(received, Exception):
            raise received
        yield received


@contextmanager
def dead_loaders_reported() -> Iterator[None]:
    """Turn torch's error about a loader process that has died into a user error.

    torch raises this error in the main thread at any place, from a signal handler.

    Raises:
        UserError: a loader process was killed while the block ran.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker (pid"):
            raise
        raise _dead(str(error).strip()) from error


def _dead(how: str) -> UserError:
    return UserError(
        f"a process that loads images has died ({how}); probably the memory ran out: lower train.workers or "
        "train.batch_size"
    )


def _one_ahead(batches: Iterable[Loaded]) -> Iterator[Loaded]:
    """Yield the same batches; a thread loads the next batch while the caller uses the current one.

    A step's computations and the decoding of images release Python's lock: with a spare core, or with a GPU, loading in
    this process takes no time from the training.
    """
    coming = iter(batches)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader") as thread:
        upcoming = thread.submit(next, coming, None)
        while (batch := upcoming.result()) is not None:
            upcoming = thread.submit(next, coming, None)
            yield batch


def _as_it_is(batch: Any) -> Any:
    return batch
