"""The kinds of animals that can be drawn, with the data and functions of each."""

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
        nouns: the general word for them, in English and in Chinese.
        phrases: what people type when they search for them.
        draw_look: draws the circumstances of a picture at random, for a domain.
        draw_picture: draws a picture of a category with a look, in a domain.
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
