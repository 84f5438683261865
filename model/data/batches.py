"""Batches of one or more streams in one step, each stream running out on its own.

A stream is a name with rows to draw from: the images of a domain, image-text pairs, images with their users. What a
step draws is a pure function of (seed, phase, step): no state has to be saved to continue a run, and any number of
loader processes gives the same batches in the same order. What a draw loads is the system's business (`Load`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from base.seeding import derive_seed


class Draw(NamedTuple):
    """One row to load, and the pass over its stream that it is drawn in; None outside of training."""

    row: int
    turn: int | None


# Loads the draws of a stream: a NamedTuple of tensors, the first axis of each the draws.
Load = Callable[[str, Sequence[Draw]], Any]
Batch = Mapping[str, Any]  # what was loaded, by stream


class Loaded(NamedTuple):
    """A batch, and the rows of each stream that it was loaded from."""

    rows: Mapping[str, list[int]]
    batch: Batch


def draws_of_step(
    rows: np.ndarray, batch_size: int, step: int, seed: int, purpose: str, start: int = 0
) -> Iterator[Draw]:
    """Yield what a stream gives to a step.

    The rows are gone through in a new random order in every pass; a batch may end one pass and begin the next, so all
    batches are full and every row is seen equally often.

    Passes over rows that were chosen at a later step are counted from the number of draws until then: no two passes of
    a phase have the same number, so none has the order and the crops of another.

    Args:
        rows: the stream's training rows.
        batch_size: draws per step.
        step: from 0.
        seed: the run's.
        purpose: tells streams apart, as in ``joint/source``.
        start: the step at which these rows were chosen.
    """
    order, current = None, -1
    for position in range((step - start) * batch_size, (step - start + 1) * batch_size):
        turn, place = divmod(position, len(rows))
        turn += start * batch_size
        if order is None or turn != current:
            order = np.random.default_rng(derive_seed(seed, "order", purpose, turn)).permutation(rows)
            current = turn
        yield Draw(int(order[place]), turn)


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
    of: int = 1,
) -> Iterator[Loaded]:
    """Yield one batch per step, or some parts of each step's batch, one after another.

    What a step holds does not depend on the number of parts: part i of n has each stream's draws from i/n to (i+1)/n.

    Args:
        load: loads draws.
        rows: the training rows of each stream that takes part.
        batch_size: draws of each stream in a step.
        steps: which; a continued run begins later.
        seed: the run's.
        purpose: the phase's name.
        workers: loader processes; 0 loads in a thread of this one.
        start: the step at which these rows were chosen.
        parts: of each step, which are loaded here.
        of: the number of parts that a step has.
    """
    return _load(load, _TrainingPlan(rows, batch_size, steps, seed, purpose, start, parts, of), workers)


def evaluation_batches(load: Load, stream: str, rows: np.ndarray, batch_size: int, workers: int) -> Iterator[Any]:
    """Yield each row of a stream once, in order, as what `load` makes of it; the last batch may be smaller."""
    chunks = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    plan = [[(stream, Draw(int(row), None)) for row in chunk] for chunk in chunks]
    for loaded in _load(load, plan, workers):
        yield loaded.batch[stream]


def share_of(number: int, part: int, of: int) -> slice:
    """Return one part's slice of `number` items; sizes differ by at most one."""
    return slice(number * part // of, number * (part + 1) // of)


class _Loader(Dataset):
    """Loads lists of draws, each with its stream; torch's loader asks for a whole list in one call."""

    def __init__(self, load: Load) -> None:
        self.load = load

    def __getitems__(self, draws: Sequence[tuple[str, Draw]]) -> Loaded:
        by_stream: dict[str, list[Draw]] = {}
        for stream, draw in draws:
            by_stream.setdefault(stream, []).append(draw)
        return Loaded(
            {stream: [draw.row for draw in of_stream] for stream, of_stream in by_stream.items()},
            {stream: self.load(stream, of_stream) for stream, of_stream in by_stream.items()},
        )


class _TrainingPlan(Sampler[list[tuple[str, Draw]]]):
    """The draws of each part of each step; made as the loader asks for them."""

    def __init__(
        self,
        rows: Mapping[str, np.ndarray],
        batch_size: int,
        steps: range,
        seed: int,
        purpose: str,
        start: int,
        parts: range,
        of: int,
    ) -> None:
        self.rows = rows
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        self.purpose = purpose
        self.start = start
        self.parts = parts
        self.of = of

    def __len__(self) -> int:
        return len(self.steps) * len(self.parts)

    def __iter__(self) -> Iterator[list[tuple[str, Draw]]]:
        for step in self.steps:
            draws = {stream: self._draws(stream, step) for stream in self.rows}
            for part in self.parts:
                inside = share_of(self.batch_size, part, self.of)
                yield [(stream, draw) for stream, of_stream in draws.items() for draw in of_stream[inside]]

    def _draws(self, stream: str, step: int) -> list[Draw]:
        purpose = f"{self.purpose}/{stream}"
        return list(draws_of_step(self.rows[stream], self.batch_size, step, self.seed, purpose, self.start))


def _load(load: Load, plan: Any, workers: int) -> Iterator[Loaded]:
    loader = DataLoader(
        _Loader(load), batch_sampler=plan, collate_fn=_as_it_is, num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # a loader draws a seed when it begins; dropout must not depend on when that is
    )  # fmt: skip
    yield from loader if workers else _one_ahead(loader)


def _one_ahead(batches: Iterable[Loaded]) -> Iterator[Loaded]:
    """Yield the same batches, of which a thread makes the next while one is used.

    A step's computations, and decoding, let other threads of the process run: on a core to spare, or beside a GPU,
    loading in this process takes none of the training's time.
    """
    coming = iter(batches)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader") as thread:
        upcoming = thread.submit(next, coming, None)
        while (batch := upcoming.result()) is not None:
            upcoming = thread.submit(next, coming, None)
            yield batch


def _as_it_is(batch: Any) -> Any:
    return batch
