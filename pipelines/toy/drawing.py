"""Draw the toy's dogs: side views made of ellipses, capsules and tufts, in front of an outdoor or an indoor scene.

A picture is a pure function of breed, look, domain and random stream.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops

from pipelines.toy.breeds import Breed, Build, Colour
from pipelines.toy.brush import ANIMAL, INK, TOYS, Brush, Look, Painting, Point, choose_look, fur, paint
from pipelines.toy.scenes import CREAM, RGB, Domain, jitter, shade

EXTENT: Point = (3.5, 2.6)  # of a dog with tail and legs, in its own unit
COLOURS: dict[Colour, RGB] = {
    "brown": (118, 76, 50),
    "black": (52, 49, 54),
    "white": (228, 222, 210),
    "golden": (208, 162, 88),
    "grey": (136, 140, 148),
    "red": (166, 80, 44),
}
POSES = ("standing", "running", "sniffing")
EXTRAS = ("nothing", "collar", "scarf", "ball")


@dataclass(frozen=True)
class Figure:
    """A build's proportions; the unit is about half the length of a trunk."""

    trunk: Point  # half axes
    leg: float
    thickness: float


FIGURES: dict[Build, Figure] = {
    "sturdy": Figure(trunk=(0.88, 0.46), leg=0.56, thickness=0.25),
    "low": Figure(trunk=(1.12, 0.36), leg=0.30, thickness=0.20),
    "tall": Figure(trunk=(0.84, 0.34), leg=0.92, thickness=0.15),
}


def draw_look(domain: Domain, stream: np.random.Generator) -> Look:
    """Draw the circumstances of one picture at random: half of the dogs stand, half wear nothing."""
    return choose_look(POSES, EXTRAS, domain, stream)


def draw_picture(breed: Breed, look: Look, domain: Domain, stream: np.random.Generator) -> Painting:
    """Draw one dog with its breed's visible attributes; the other arguments are those of `brush.paint`."""
    return paint(lambda brush: draw_dog(brush, breed, look, stream), EXTENT, look, domain, stream)


def draw_dog(brush: Brush, breed: Breed, look: Look, stream: np.random.Generator) -> None:
    """Draw the dog from back to front: far legs, tail, near legs, trunk, coat pattern, neck, head, extra."""
    figure = FIGURES[breed.build]
    rx, ry = figure.trunk[0] * stream.uniform(0.94, 1.06), figure.trunk[1] * stream.uniform(0.92, 1.08)
    coat = jitter(COLOURS[breed.colour], 16, stream)
    dark, far = shade(coat, 0.7), shade(coat, 0.8)
    shaggy = breed.coat == "shaggy"

    draw_legs(brush, figure, rx, ry, look, far, breed, far_side=True)
    draw_tail(brush, breed, rx, ry, coat, stream)
    draw_legs(brush, figure, rx, ry, look, coat, breed, far_side=False)
    tufts = fur(28, 0.2, stream) if shaggy else None
    brush.ellipse((0, 0), (rx, ry), coat, tufts=tufts)
    head = (rx + 0.22, -ry - 0.28) if look.pose != "sniffing" else (rx + 0.42, 0.06)
    neck = 0.34 if breed.build != "tall" else 0.26
    brush.line([(rx * 0.66, -ry * 0.25), head], neck, coat)

    mask = brush.on_mask()
    mask.ellipse((0, 0), (rx, ry), 255, tufts=tufts)
    draw_pattern(brush, mask.image, breed, rx, ry, stream)
    if shaggy:
        for x in np.linspace(-0.75, 0.75, 9) * rx:
            y = float(stream.uniform(-0.3, 0.5)) * ry
            brush.line([(x, y), (x - 0.07, y + 0.2)], 0.035, dark)
    draw_head(brush, breed, head, coat, dark, tufts=fur(20, 0.2, stream) if shaggy else None)
    brush.mark(ANIMAL)
    draw_extra(brush, look, head, rx, ry, figure, stream)


def draw_legs(
    brush: Brush, figure: Figure, rx: float, ry: float, look: Look, fill: RGB, breed: Breed, far_side: bool
) -> None:
    """Draw the two legs of one side; a running dog's are spread, and socked dogs have cream paws."""
    swing = 0.45 if look.pose == "running" else 0.06
    for end, direction in ((-1, -1), (1, 1)):
        lean = direction * swing * (0.35 if far_side else 1.0)
        hip = (end * rx * (0.62 if far_side else 0.78), ry * 0.3)
        foot = (hip[0] + lean * figure.leg * 1.3, ry * 0.7 + figure.leg * (1 - 0.3 * abs(lean)))
        brush.line([hip, foot], figure.thickness, fill)
        if breed.pattern == "socked":
            knee = tuple(0.42 * h + 0.58 * f for h, f in zip(hip, foot, strict=True))
            brush.line(
                [(knee[0], knee[1]), foot], figure.thickness * 1.05, CREAM if not far_side else shade(CREAM, 0.85)
            )


def draw_tail(brush: Brush, breed: Breed, rx: float, ry: float, coat: RGB, stream: np.random.Generator) -> None:
    """Draw a tail at the left end of the trunk: stub, long, curled over the back, or bushy."""
    lift = float(stream.uniform(-0.12, 0.12))
    root = (-rx * 0.9, -ry * 0.35)
    if breed.tail == "stub":
        brush.line([root, (root[0] - 0.16, root[1] - 0.14 + lift)], 0.15, coat)
    elif breed.tail == "long":
        bends = ((0.0, 0.0), (-0.3, 0.02), (-0.55, -0.12), (-0.78, -0.4))
        brush.line([(root[0] + x, root[1] + y + lift * -x * 2) for x, y in bends], 0.11, coat)
    elif breed.tail == "curled":
        angles = np.linspace(0.6, 5.2, 12)
        spiral = [(0.27 - 0.016 * step) for step in range(12)]
        points = [
            (root[0] + 0.02 + r * -math.cos(a) * 1.1 + 0.1, root[1] - 0.26 + lift * 0.5 + r * math.sin(a))
            for a, r in zip(angles, spiral, strict=True)
        ]
        brush.line(points, 0.13, coat)
    else:
        brush.ellipse(
            (root[0] - 0.26, root[1] - 0.16 + lift), (0.44, 0.19), shade(coat, 1.06), turn=0.7 + lift,
            tufts=fur(22, 0.28, stream),
        )  # fmt: skip


def draw_pattern(
    brush: Brush, body: Image.Image, breed: Breed, rx: float, ry: float, stream: np.random.Generator
) -> None:
    """Draw the coat's pattern on the trunk: dark on light coats, light on dark coats."""
    if breed.pattern == "plain":
        return
    base = COLOURS[breed.colour]
    mark = jitter(INK if sum(base) > 300 else (196, 176, 148), 14, stream)
    marks = brush.on_mask()
    if breed.pattern == "spotted":
        for step in range(9):
            x = (-0.8 + 0.2 * step) * rx + float(stream.uniform(-0.06, 0.06))
            y = float(stream.uniform(-0.7, 0.7)) * ry
            marks.ellipse((x, y), (float(stream.uniform(0.07, 0.13)),) * 2, 255)
    elif breed.pattern == "striped":
        for x in np.linspace(-0.75, 0.75, 6) * rx + float(stream.uniform(-0.05, 0.05)):
            marks.line([(x - 0.06, -ry), (x + 0.06, ry * 0.6)], 0.08, 255)
    elif breed.pattern == "saddled":
        marks.ellipse((-0.1 * rx, -0.75 * ry), (0.78 * rx, 0.8 * ry), 255)
    else:
        mark = CREAM
        marks.ellipse((0.95 * rx, 0.45 * ry), (0.36 * rx, 0.6 * ry), 255)
    brush.image.paste(mark, (0, 0), ImageChops.multiply(body, marks.image))


def draw_head(brush: Brush, breed: Breed, head: Point, coat: RGB, dark: RGB, tufts: np.ndarray | None) -> None:
    """Draw skull, muzzle, nose, eye and ears."""
    x, y = head
    long_nose = breed.build != "sturdy"
    far_ear = shade(coat, 0.6)
    if breed.ears == "pointed":
        brush.polygon([(x - 0.02, y - 0.2), (x + 0.12, y - 0.68), (x + 0.24, y - 0.18)], far_ear)
    elif breed.ears == "round":
        brush.ellipse((x + 0.16, y - 0.3), (0.15, 0.17), far_ear)
    brush.ellipse(head, (0.36, 0.32), coat, tufts=tufts)
    muzzle = 0.26 if long_nose else 0.17
    brush.ellipse((x + 0.24 + muzzle / 2, y + 0.09), (muzzle + 0.06, 0.14 if long_nose else 0.18), shade(coat, 1.12))
    brush.ellipse((x + 0.28 + muzzle * 1.45, y + 0.04), (0.075, 0.065), INK)
    brush.ellipse((x + 0.13, y - 0.08), (0.075, 0.075), (246, 244, 238))
    brush.ellipse((x + 0.15, y - 0.07), (0.05, 0.055), INK)
    if breed.ears == "floppy":
        brush.ellipse((x - 0.17, y + 0.14), (0.15, 0.36), dark, turn=0.18)
    elif breed.ears == "pointed":
        brush.polygon([(x - 0.3, y - 0.12), (x - 0.2, y - 0.7), (x + 0.05, y - 0.24)], dark)
    else:
        brush.ellipse((x - 0.2, y - 0.27), (0.18, 0.2), dark)


def draw_extra(
    brush: Brush, look: Look, head: Point, rx: float, ry: float, figure: Figure, stream: np.random.Generator
) -> None:
    """Draw what the dog wears or plays with, in a colour that does not depend on its breed."""
    colour, hue = TOYS[int(stream.integers(len(TOYS)))]
    chest = (rx * 0.66, -ry * 0.25)
    throat = tuple(0.55 * c + 0.45 * h for c, h in zip(chest, head, strict=True))
    across = (chest[1] - head[1], head[0] - chest[0])
    length = math.hypot(*across)
    half = (across[0] / length * 0.19, across[1] / length * 0.19)
    if look.extra in ("collar", "scarf"):
        ends = [(throat[0] - half[0], throat[1] - half[1]), (throat[0] + half[0], throat[1] + half[1])]
        brush.line(ends, 0.1 if look.extra == "collar" else 0.2, hue)
        if look.extra == "scarf":
            brush.line([ends[1], (ends[1][0] - 0.1, ends[1][1] + 0.36)], 0.16, shade(hue, 0.85))
    elif look.extra == "ball":
        brush.ellipse((rx + 0.55, ry * 0.7 + figure.leg - 0.06), (0.17, 0.17), hue)
    if look.extra != "nothing":
        brush.mark(look.extra, colour)
