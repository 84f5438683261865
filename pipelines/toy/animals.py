"""The kinds of animals that can be drawn, with all that is known about each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.toy import bird_drawing, drawing, queries
from pipelines.toy.birds import BIRDS
from pipelines.toy.breeds import BREEDS
from pipelines.toy.brush import Look, Painting
from pipelines.toy.queries import Animal, Phrases
from pipelines.toy.scenes import Domain


@dataclass(frozen=True)
class Animals:
    """A kind of animal that can be drawn.

    Attributes:
        categories: its breeds or species.
        nouns: what any of them is called in English and in Chinese.
        phrases: what people type who look for it.
        draw_look: of a domain: the circumstances of a picture.
        draw_picture: of a category, a look and a domain.
    """

    categories: Sequence[Animal]
    nouns: tuple[str, str]
    phrases: Phrases
    draw_look: Callable[[Domain, np.random.Generator], Look]
    draw_picture: Callable[[Any, Look, Domain, np.random.Generator], Painting]


ANIMALS = {
    "dogs": Animals(BREEDS, ("dog", "小狗"), queries.DOGS, drawing.draw_look, drawing.draw_picture),
    "birds": Animals(BIRDS, ("bird", "小鸟"), queries.BIRDS, bird_drawing.draw_look, bird_drawing.draw_picture),
}
