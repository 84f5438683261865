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


def draws_of_step(
    rows: np.ndarray, batch_size: int, step: int, seed: int, purpose: str, start: int = 0
) -> Iterator[Draw]:
    """Yield a stream's draws of one step.

    Every pass goes through the rows in a new random order; a batch may end one pass and begin the next, so all batches
    are full and every row is drawn equally often.

    Passes over rows that were chosen at a later step are numbered from the number of draws before that step: no two
    passes of a phase have the same number, so no two have the same order and crops.

    Args:
        rows: the stream's training rows.
        batch_size: draws per step.
        step: from 0.
        seed: the run's seed.
        purpose: a name that distinguishes streams, as in ``joint/source``.
        start: the step at which these rows were chosen.
    """
    order, current_pass = None, -1
    for position in range((step - start) * batch_size, (step - start + 1) * batch_size):
        pass_number, index = divmod(position, len(rows))
        pass_number += start * batch_size
        if order is None or pass_number != current_pass:
            order = np.random.default_rng(derive_seed(seed, "order", purpose, pass_number)).permutation(rows)
            current_pass = pass_number
        yield Draw(int(order[index]), pass_number)


def training_batches(
    load: Load,
    rows: Mapping[str, np.ndarray],
    batch_size: int,
    steps: range,
    seed: int,
    purpose: str,
    workers: int,
    start: int = 0,
    parts: range = range(1),
    num_parts: int = 1,
) -> Iterator[Loaded]:
    """Yield one batch per step, or some parts of each step's batch, one after another.

    The draws of a step don't depend on the number of parts: part i of n has each stream's draws from i/n to (i+1)/n.

    Args:
        load: loads draws.
        rows: the training rows of each stream.
        batch_size: draws of each stream in a step.
        steps: the steps to load; a continued run begins at a later step.
        seed: the run's seed.
        purpose: the phase's name.
        workers: number of loader processes; 0 loads in a thread of this process.
        start: the step at which these rows were chosen.
        parts: the parts of each step to load.
        num_parts: the number of parts of a step.
    """
    return _load(load, _TrainingPlan(rows, batch_size, steps, seed, purpose, start, parts, num_parts), workers)


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
        parts: range,
        num_parts: int,
    ) -> None:
        self.rows = rows
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        self.purpose = purpose
        self.start = start
        self.parts = parts
        self.num_parts = num_parts

    def __len__(self) -> int:
        return len(self.steps) * len(self.parts)

    def __iter__(self) -> Iterator[list[tuple[str, Draw]]]:
        for step in self.steps:
            draws = {stream: self._draws(stream, step) for stream in self.rows}
            for part in self.parts:
                inside = share_of(self.batch_size, part, self.num_parts)
                yield [(stream, draw) for stream, its_draws in draws.items() for draw in its_draws[inside]]

    def _draws(self, stream: str, step: int) -> list[Draw]:
        purpose = f"{self.purpose}/{stream}"
        return list(draws_of_step(self.rows[stream], self.batch_size, step, self.seed, purpose, self.start))


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
