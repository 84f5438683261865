"""The true facts about a drawn picture, from which captions, tags and label sets are made.

A `View` is a picture as a viewer sees it: things that the animal or the frame hides are not in it. A `Fact` has a
group (``colour``), a value (``brown``) and a share: the part of the picture's area on which it can be seen.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from pipelines.toy.animals import Animals
from pipelines.toy.brush import ANIMAL, TOYS, Look, Painting
from pipelines.toy.layers import BEHIND
from pipelines.toy.queries import Animal
from pipelines.toy.scenes import GROUND, ROOM_THINGS, THING_OF, Domain
from pipelines.toy.streams import pick

THINGS = (*dict.fromkeys(THING_OF.values()), *ROOM_THINGS)
LEAST_THING = 0.01  # share of the picture; a smaller visible part of a thing behind the animal goes unnoticed
LEAST_EXTRA = 0.0015  # the same for what the animal has: 7 of 4,600 pixels
LEAST_CONTRAST = 28  # levels of 255; a smaller difference to the background, as green on grass, goes unnoticed
UNCOLOURED = ("nothing", "worm", "branch")  # extras whose colour is always the same
# The darkest and the lightest third of the levels of light have a name; the levels between them have none.
LIGHTS: dict[Domain, tuple[tuple[float, str], tuple[float, str]]] = {
    "source": ((0.94, "cloudy"), (1.06, "sunny")),
    "target": ((0.733, "dim"), (0.867, "bright")),
}
# The smallest share of the picture at which an annotator notes a fact of the group; other groups are not labelled.
LEAST_LABELLED = {
    "creature": 0.0,
    "colour": 0.13,
    "pattern": 0.105,
    "scene": 0.39,
    "light": 0.36,
    "extra": 0.003,
    "extra colour": 0.005,
    "thing": 0.05,
    "things": 0.05,
}
MOST_LABELS = 8


class Fact(NamedTuple):
    """Something that can be seen.

    Attributes:
        group: ``creature``, an attribute of the animals, ``pose``, ``scene``, ``light``, ``extra``, ``extra colour``,
            ``thing``, or ``things`` if several of a kind can be seen.
        value: the generator's name for it; for ``thing`` and ``things`` the kind.
        share: of the picture's area, 0 to 1.
    """

    group: str
    value: str
    share: float


@dataclass(frozen=True)
class View:
    """A picture as a viewer sees it.

    Attributes:
        animal: all its attributes can be seen.
        domain: the domain of the scene.
        look: without the extra if it cannot be seen.
        extra_colour: its name; empty without an extra, or if its colour is always the same.
        light: its name; empty if it is neither bright nor dark.
        things: kinds of things behind the animal, and how many of each can be seen.
        shares: of the picture's area, by layer.
    """

    animal: Animal
    domain: Domain
    look: Look
    extra_colour: str
    light: str
    things: Mapping[str, int]
    shares: Mapping[str, float]

    def facts(self) -> list[Fact]:
        """Return all facts of the picture."""
        animal, ground = self.shares[ANIMAL], self.shares[GROUND]
        found = [Fact("creature", self.animal.name, animal)]
        found += [Fact(group, value, animal) for group, value in self.animal.attributes().items()]
        found += [Fact("pose", self.look.pose, animal), Fact("scene", self.look.scene, ground)]
        if self.light:
            found.append(Fact("light", self.light, self.shares[BEHIND]))
        if self.look.extra != "nothing":
            found.append(Fact("extra", self.look.extra, self.shares[self.look.extra]))
        if self.extra_colour:
            found.append(Fact("extra colour", self.extra_colour, self.shares[self.look.extra]))
        for kind, number in self.things.items():
            found.append(Fact("thing" if number == 1 else "things", kind, self.shares[kind]))
        return found

    def labels(self) -> list[str]:
        """Return what an annotator would note: 1 to 8 facts that take up enough of the picture, each once, sorted.

        A plain animal has no pattern to note. If there are more than 8, those that take up least are left out.
        """
        noted = [
            fact
            for fact in self.facts()
            if fact.share >= LEAST_LABELLED.get(fact.group, 2.0) and (fact.group, fact.value) != ("pattern", "plain")
        ]
        noted.sort(key=lambda fact: (fact.group != "creature", -fact.share, fact.value))
        return sorted(list(dict.fromkeys(fact.value for fact in noted))[:MOST_LABELS])


def view_of(animal: Animal, look: Look, domain: Domain, painting: Painting) -> View:
    """Return what a viewer sees of a painting."""
    shares: defaultdict[str, float] = defaultdict(float)
    things: Counter[str] = Counter()
    extra, extra_colour = "nothing", ""
    for area in painting.areas:
        shares[area.name] += area.share
        is_distinct = area.contrast >= LEAST_CONTRAST
        if area.name in THINGS and is_distinct and area.share >= LEAST_THING:
            things[area.name] += 1
        if area.name == look.extra and is_distinct and area.share >= LEAST_EXTRA:
            extra, extra_colour = look.extra, area.colour
    look = replace(look, extra=extra)
    return View(animal, domain, look, extra_colour, name_light(painting.light.level, domain), things, shares)


def name_light(level: float, domain: Domain) -> str:
    """Return the name of a level of light; an empty text if it has none."""
    (dark, dark_name), (light, light_name) = LIGHTS[domain]
    if level < dark:
        return dark_name
    return light_name if level > light else ""


def imagine(view: View, animals: Animals, stream: np.random.Generator) -> View:
    """Return a view, for the same domain, of a picture that was never drawn and has another animal in it."""
    others = [animal for animal in animals.categories if animal.name != view.animal.name]
    look = animals.draw_look(view.domain, stream)
    colour = "" if look.extra in UNCOLOURED else pick(TOYS, stream)[0]
    light = pick([name for _, name in LIGHTS[view.domain]], stream)
    return View(pick(others, stream), view.domain, look, colour, light, things={}, shares={})
