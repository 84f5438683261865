"""Fixtures for the tests of the toy: pictures of all animals in both domains."""

import numpy as np
import pytest

from pipelines.toy.animals import ANIMALS
from pipelines.toy.facts import View, view_of


@pytest.fixture(scope="session")
def views() -> dict[str, list[View]]:
    """Return the views of two pictures of each animal, one in each domain."""
    found: dict[str, list[View]] = {}
    for kind, animals in ANIMALS.items():
        for seed, animal in enumerate(animals.categories):
            for domain in ("source", "target"):
                stream = np.random.default_rng(seed)
                look = animals.draw_look(domain, stream)
                painting = animals.draw_picture(animal, look, domain, stream)
                found.setdefault(kind, []).append(view_of(animal, look, domain, painting))
    return found
