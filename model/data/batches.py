"""Two-domain batches: source and target images in one step, either side running out on its own.

What a step holds is a pure function of (seed, phase, step): no state has to be saved to continue a run, and any number
of loader processes gives the same batches in the same order.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from base.seeding import derive_seed
from systems.mtmdd.config import DOMAINS, Domain
from systems.mtmdd.examples import Examples


class DomainBatch(NamedTuple):
    """The images of one domain in a step. B images, S pixels, K words."""

    images: Tensor  # uint8 (B, 3, S, S)
    labels: Tensor  # int64 (B,)
    clicks: Tensor | None  # float32 (B, K); source only, where clicks are predicted
    places: Tensor  # int64 (B,), rows of the examples


Batch = Mapping[Domain, DomainBatch]


class Draw(NamedTuple):
    """One image to load: its row, and the pass over its domain it is drawn in (None: the middle crop)."""

    domain: Domain
    place: int
    draw: int | None


def drawn(
    places: np.ndarray, batch_size: int, step: int, seed: int, purpose: str, start: int = 0
) -> Iterator[tuple[int, int]]:
    """Yield what a domain gives to a step, as (row, pass).

    The domain's images are gone through in a new random order in every pass; a batch may end one pass and begin the
    next, so all batches are full and every image is seen equally often.

    Passes over rows that were chosen at a later step are counted from the number of images drawn until then: no two
    passes of a phase have the same number, so none has the order and the crops of another.

    Args:
        places: the domain's training rows.
        batch_size: images per step.
        step: from 0.
        seed: the run's.
        purpose: tells streams apart, as in ``joint/source``.
        start: the step at which these rows were chosen.
    """
    order, current = None, -1
    for position in range((step - start) * batch_size, (step - start + 1) * batch_size):
        number, place = divmod(position, len(places))
        number += start * batch_size
        if order is None or number != current:
            order = np.random.default_rng(derive_seed(seed, "order", purpose, number)).permutation(places)
            current = number
        yield int(order[place]), number


class ImageDataset(Dataset):
    """Loads draws: crops, labels and click features.

    Args:
        examples: where from.
        image_size: side of the crops, pixels.
        seed: of the crops.
        with_clicks: whether source batches carry click features.
        mirrored: domains whose training images are mirrored half of the time.
    """

    def __init__(
        self,
        examples: Examples,
        image_size: int,
        seed: int,
        with_clicks: bool,
        mirrored: Sequence[Domain] = DOMAINS,
    ) -> None:
        self.examples = examples
        self.image_size = image_size
        self.seed = seed
        self.with_clicks = with_clicks
        self.mirrored = mirrored
        self._labels = examples.labels()
        self._image_ids = examples.rows["image_id"].to_list()

    def __getitems__(self, draws: Sequence[Draw]) -> Batch:
        """Return a whole batch; torch's loader asks for it in one call."""
        domains: dict[Domain, list[Draw]] = {}
        for draw in draws:
            domains.setdefault(draw.domain, []).append(draw)
        return {domain: self._load(domain, of_domain) for domain, of_domain in domains.items()}

    def _load(self, domain: Domain, draws: Sequence[Draw]) -> DomainBatch:
        size, images = self.image_size, self.examples.images
        mirror = domain in self.mirrored
        pixels = np.empty((len(draws), 3, size, size), np.uint8)
        for image, draw in zip(pixels, draws, strict=True):
            image[:] = images.crop(draw.place, size, self.seed, draw.draw, mirror).transpose(2, 0, 1)
        places = np.array([draw.place for draw in draws])
        clicks = None
        if domain == "source" and self.with_clicks:
            assert self.examples.clicks is not None
            clicks = torch.from_numpy(self.examples.clicks.vectors([self._image_ids[place] for place in places]))
        return DomainBatch(
            images=torch.from_numpy(pixels),
            labels=torch.from_numpy(self._labels[places]),
            clicks=clicks,
            places=torch.from_numpy(places),
        )


def training_batches(
    dataset: ImageDataset,
    places: Mapping[Domain, np.ndarray],
    batch_size: int,
    steps: range,
    purpose: str,
    workers: int,
    start: int = 0,
    parts: range = range(1),
    of: int = 1,
) -> Iterator[Batch]:
    """Yield one batch per step, or some parts of each step's batch, one after another.

    What a step holds does not depend on the number of parts: part i of n has each domain's draws from i/n to (i+1)/n.

    Args:
        dataset: loads the images.
        places: the training rows of each domain that takes part.
        batch_size: images of each domain in a step.
        steps: which; a continued run begins later.
        purpose: the phase's name.
        workers: loader processes; 0 loads in a thread of this one.
        start: the step at which these rows were chosen.
        parts: of each step, which are loaded here.
        of: the number of parts that a step has.
    """
    plan = _TrainingPlan(places, batch_size, steps, dataset.seed, purpose, start, parts, of)
    return _load(dataset, plan, workers)


def evaluation_batches(
    dataset: ImageDataset, domain: Domain, places: np.ndarray, batch_size: int, workers: int
) -> Iterator[Batch]:
    """Yield each row of a domain once, in order, as middle crops; the last batch may be smaller."""
    chunks = [places[start : start + batch_size] for start in range(0, len(places), batch_size)]
    return _load(dataset, [[Draw(domain, int(place), None) for place in chunk] for chunk in chunks], workers)


class _TrainingPlan(Sampler[list[Draw]]):
    """The draws of each part of each step; made as the loader asks for them."""

    def __init__(
        self,
        places: Mapping[Domain, np.ndarray],
        batch_size: int,
        steps: range,
        seed: int,
        purpose: str,
        start: int,
        parts: range,
        of: int,
    ) -> None:
        self.places = places
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        self.purpose = purpose
        self.start = start
        self.parts = parts
        self.of = of

    def __len__(self) -> int:
        return len(self.steps) * len(self.parts)

    def __iter__(self) -> Iterator[list[Draw]]:
        for step in self.steps:
            draws = {domain: self._draws(domain, step) for domain in self.places}
            for part in self.parts:
                inside = share_of(self.batch_size, part, self.of)
                yield [draw for of_domain in draws.values() for draw in of_domain[inside]]

    def _draws(self, domain: Domain, step: int) -> list[Draw]:
        places, purpose = self.places[domain], f"{self.purpose}/{domain}"
        found = drawn(places, self.batch_size, step, self.seed, purpose, self.start)
        return [Draw(domain, place, number) for place, number in found]


def share_of(number: int, part: int, of: int) -> slice:
    """Return the places that a part has of so many things: equal shares, or differing by one, in order."""
    return slice(number * part // of, number * (part + 1) // of)


def _load(dataset: ImageDataset, plan: Sampler[list[Draw]] | list[list[Draw]], workers: int) -> Iterator[Batch]:
    loader = DataLoader(
        dataset, batch_sampler=plan, collate_fn=_as_it_is, num_workers=workers, pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # a loader draws a seed when it begins; dropout must not depend on when that is
    )  # fmt: skip
    yield from loader if workers else _one_ahead(loader)


def _one_ahead(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yield the same batches, of which a thread makes the next while one is used.

    A step's computations, and decoding, let other threads of the process run: on a core to spare, or beside a GPU, what
    loading in this process takes is no time of the training's.
    """
    coming = iter(batches)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader") as thread:
        upcoming = thread.submit(next, coming, None)
        while (batch := upcoming.result()) is not None:
            upcoming = thread.submit(next, coming, None)
            yield batch


def _as_it_is(batch: Any) -> Any:
    return batch
