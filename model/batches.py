"""Two-domain batches: source and target images in one step, either side running out on its own.

What a step holds is a pure function of (seed, phase, step): no state has to be saved to continue a run, and any number
of loader processes gives the same batches in the same order.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from model.config import DOMAINS, Domain
from model.examples import Examples
from model.seeding import derive_seed


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


def drawn(places: np.ndarray, batch_size: int, step: int, seed: int, purpose: str) -> Iterator[tuple[int, int]]:
    """Yield what a domain gives to a step, as (row, pass).

    The domain's images are gone through in a new random order in every pass; a batch may end one pass and begin the
    next, so all batches are full and every image is seen equally often.

    Args:
        places: the domain's training rows.
        batch_size: images per step.
        step: from 0.
        seed: the run's.
        purpose: tells streams apart, as in ``joint/source``.
    """
    order, current = None, -1
    for position in range(step * batch_size, (step + 1) * batch_size):
        number, place = divmod(position, len(places))
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
        pixels = np.stack([images.crop(draw.place, size, self.seed, draw.draw, mirror) for draw in draws])
        places = np.array([draw.place for draw in draws])
        clicks = None
        if domain == "source" and self.with_clicks:
            assert self.examples.clicks is not None
            clicks = torch.from_numpy(self.examples.clicks.vectors([self._image_ids[place] for place in places]))
        return DomainBatch(
            images=torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(),
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
) -> DataLoader:
    """Return a loader of one batch per step.

    Args:
        dataset: loads the images.
        places: the training rows of each domain that takes part.
        batch_size: images of each domain in a step.
        steps: which; a continued run begins later.
        purpose: the phase's name.
        workers: loader processes; 0 loads in this one.
    """
    plan = _TrainingPlan(places, batch_size, steps, dataset.seed, purpose)
    return _loader(dataset, plan, workers)


def evaluation_batches(
    dataset: ImageDataset, domain: Domain, places: np.ndarray, batch_size: int, workers: int
) -> DataLoader:
    """Return a loader of each row of a domain once, in order, as middle crops; the last batch may be smaller."""
    chunks = [places[start : start + batch_size] for start in range(0, len(places), batch_size)]
    return _loader(dataset, [[Draw(domain, int(place), None) for place in chunk] for chunk in chunks], workers)


class _TrainingPlan(Sampler[list[Draw]]):
    """The draws of each step; made as the loader asks for them."""

    def __init__(
        self, places: Mapping[Domain, np.ndarray], batch_size: int, steps: range, seed: int, purpose: str
    ) -> None:
        self.places = places
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        self.purpose = purpose

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[Draw]]:
        for step in self.steps:
            yield [
                Draw(domain, place, number)
                for domain, places in self.places.items()
                for place, number in drawn(places, self.batch_size, step, self.seed, f"{self.purpose}/{domain}")
            ]


def _loader(dataset: ImageDataset, plan: Sampler[list[Draw]] | list[list[Draw]], workers: int) -> DataLoader:
    return DataLoader(
        dataset, batch_sampler=plan, collate_fn=_as_it_is, num_workers=workers, pin_memory=torch.cuda.is_available()
    )  # fmt: skip


def _as_it_is(batch: Any) -> Any:
    return batch
