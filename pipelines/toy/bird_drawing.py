"""Draw the toy's birds: side views like the dogs of `drawing`, with the same brush, scenes and light.

A picture is a pure function of bird, look, domain and random stream.
"""

import numpy as np
from PIL import Image, ImageChops

from pipelines.toy import drawing
from pipelines.toy.birds import Bird, Colour, Legs
from pipelines.toy.brush import ANIMAL, INK, TOYS, Brush, Look, Painting, Point, choose_look, paint
from pipelines.toy.scenes import CREAM, RGB, Domain, jitter, shade

EXTENT: Point = (3.6, 2.8)  # of a bird with beak, tail and legs, in its own unit: about half the length of a trunk
COLOURS = dict[Colour, RGB](drawing.COLOURS.items()) | {"blue": (66, 104, 176), "green": (82, 142, 70)}
HORN: RGB = (226, 160, 52)  # of beaks and legs
WOOD: RGB = (96, 68, 46)
LEGS: dict[Legs, float] = {"low": 0.34, "tall": 0.86}
POSES = ("standing", "flying", "pecking")
EXTRAS = ("nothing", "berry", "worm", "branch")


def draw_look(domain: Domain, stream: np.random.Generator) -> Look:
    """Draw the circumstances of one picture at random: half of the birds stand, half have nothing with them."""
    return choose_look(POSES, EXTRAS, domain, stream)


def draw_picture(bird: Bird, look: Look, domain: Domain, stream: np.random.Generator) -> Painting:
    """Draw one bird with its visible attributes; the other arguments are those of `brush.paint`."""
    return paint(lambda brush: draw_bird(brush, bird, look, stream), EXTENT, look, domain, stream)


def draw_bird(brush: Brush, bird: Bird, look: Look, stream: np.random.Generator) -> None:
    """Draw the bird from back to front: branch, far wing, tail, legs, neck, trunk, pattern, wing, head, meal."""
    rx, ry = 0.80 * stream.uniform(0.94, 1.06), 0.46 * stream.uniform(0.92, 1.08)
    plumage = jitter(COLOURS[bird.colour], 16, stream)
    lift = float(stream.uniform(-0.1, 0.1))
    colour, hue = TOYS[int(stream.integers(len(TOYS)))]
    mark = jitter(INK if sum(COLOURS[bird.colour]) > 300 else (206, 190, 160), 14, stream)
    flying = look.pose == "flying"

    if look.extra == "branch":
        y = ry * 0.8 + LEGS[bird.legs] + 0.06
        brush.line([(-1.5, y + 0.1), (0.2, y), (1.5, y - 0.12)], 0.14, WOOD)
        brush.line([(0.7, y - 0.04), (1.1, y - 0.42)], 0.07, WOOD)
        brush.mark("branch")
    if flying:
        brush.polygon([(0.25, -0.2), (-0.1, -1.15), (-0.62, -1.3), (-0.45, -0.1)], shade(plumage, 0.72))
    draw_tail(brush, bird, rx, plumage, lift)
    draw_legs(brush, bird, ry, flying)
    head = (rx * 0.9 + 0.05, -ry - 0.2 - 0.26 * (bird.legs == "tall"))
    if look.pose == "pecking":
        head = (rx + 0.3, 0.3)
    brush.line([(rx * 0.55, -ry * 0.2), head], 0.36 if bird.legs == "low" else 0.24, plumage)
    brush.ellipse((0, 0), (rx, ry), plumage, turn=-0.18)

    mask = brush.on_mask()
    mask.ellipse((0, 0), (rx, ry), 255, turn=-0.18)
    draw_pattern(brush, mask.image, bird, rx, ry, mark, stream)
    draw_wing(brush, bird, plumage, flying)
    draw_head(brush, bird, head, plumage, mark)
    brush.mark(ANIMAL)
    draw_meal(brush, bird, look, head, hue)
    if look.extra in ("berry", "worm"):
        brush.mark(look.extra, colour if look.extra == "berry" else "")


def draw_tail(brush: Brush, bird: Bird, rx: float, plumage: RGB, lift: float) -> None:
    """Draw a tail at the left end of the trunk: short, long, forked or fanned."""
    x, y, fill = -rx * 0.75, 0.1, shade(plumage, 0.82)
    if bird.tail == "stub":
        brush.polygon([(x, y - 0.14), (x - 0.38, y + 0.02 + lift), (x - 0.3, y + 0.22 + lift), (x, y + 0.14)], fill)
    elif bird.tail == "long":
        brush.polygon([(x, y - 0.15), (x - 1.12, y + 0.3 + lift), (x - 1.06, y + 0.46 + lift), (x, y + 0.15)], fill)
    elif bird.tail == "forked":
        for end in (-0.24, 0.46):
            brush.polygon([(x, y - 0.16), (x - 0.98, y + end + lift), (x - 0.3, y + 0.1), (x, y + 0.16)], fill)
    else:
        ends = [(x - 0.72 + 0.12 * abs(step), y + 0.08 + 0.17 * step + lift) for step in range(-3, 4)]
        brush.polygon([(x, y - 0.12), *ends, (x, y + 0.14)], fill)
        for tip in ends[1:-1]:
            brush.line([(x, y), tip], 0.035, shade(plumage, 0.55))


def draw_legs(brush: Brush, bird: Bird, ry: float, flying: bool) -> None:
    """Draw two thin legs with toes; in flight they stretch behind."""
    length = LEGS[bird.legs]
    for x, fill in ((-0.1, shade(HORN, 0.75)), (0.16, HORN)):
        hip = (x, ry * 0.8)
        if flying:
            brush.line([hip, (x - length * 0.9, ry * 0.8 + length * 0.6)], 0.07, fill)
        else:
            foot = (x, ry * 0.8 + length)
            brush.line([hip, foot], 0.07, fill)
            brush.line([(x - 0.08, foot[1]), (x + 0.17, foot[1])], 0.06, fill)


def draw_pattern(
    brush: Brush, body: Image.Image, bird: Bird, rx: float, ry: float, mark: RGB, stream: np.random.Generator
) -> None:
    """Draw spots or stripes on the trunk; a cap belongs to the head, bars to the wing."""
    marks = brush.on_mask()
    if bird.pattern == "spotted":
        for step in range(11):
            x = (-0.85 + 0.17 * step) * rx + float(stream.uniform(-0.05, 0.05))
            y = (0.55 if step % 2 else -0.25) * ry + float(stream.uniform(-0.12, 0.12))
            marks.ellipse((x, y), (float(stream.uniform(0.07, 0.11)),) * 2, 255)
    elif bird.pattern == "striped":
        for x in np.linspace(-0.8, 0.8, 6) * rx + float(stream.uniform(-0.05, 0.05)):
            marks.line([(x + 0.08, -ry), (x - 0.08, ry)], 0.08, 255)
    brush.image.paste(mark, (0, 0), ImageChops.multiply(body, marks.image))


def draw_wing(brush: Brush, bird: Bird, plumage: RGB, flying: bool) -> None:
    """Draw the near wing, folded or raised; barred birds have two white bars on it."""
    dark = shade(plumage, 0.72)
    if flying:
        brush.polygon([(0.38, -0.12), (0.12, -1.0), (-0.2, -1.36), (-0.42, -1.3), (-0.52, 0.02)], dark)
        bars = [[(0.2, -0.5), (-0.46, -0.44)], [(0.12, -0.86), (-0.44, -0.8)]]
    elif bird.pattern in ("spotted", "striped"):
        brush.ellipse((-0.3, -0.08), (0.42, 0.17), dark, turn=-0.32)  # small, so that the marks stay visible
        return
    else:
        brush.ellipse((-0.2, -0.02), (0.56, 0.24), dark, turn=-0.32)
        bars = [[(0.06, -0.28), (-0.02, 0.14)], [(-0.22, -0.2), (-0.3, 0.2)]]
    if bird.pattern == "barred":
        for bar in bars:
            brush.line(bar, 0.13, CREAM)


def draw_head(brush: Brush, bird: Bird, head: Point, plumage: RGB, mark: RGB) -> None:
    """Draw crest, beak, skull, cap and eye."""
    x, y = head
    if bird.head == "crested":
        for lean, height in ((-0.46, 0.44), (-0.24, 0.62), (0.0, 0.58)):
            brush.polygon([(x - 0.2, y - 0.1), (x + lean, y - height), (x + 0.12, y - 0.2)], shade(plumage, 0.8))
    if bird.beak == "long":
        brush.polygon([(x + 0.16, y - 0.1), (x + 1.02, y + 0.1), (x + 0.16, y + 0.14)], HORN)
    elif bird.beak == "short":
        brush.polygon([(x + 0.18, y - 0.13), (x + 0.5, y + 0.04), (x + 0.18, y + 0.17)], HORN)
    else:
        brush.polygon([(x + 0.14, y - 0.2), (x + 0.42, y - 0.14), (x + 0.52, y + 0.3), (x + 0.34, y + 0.12),
                       (x + 0.14, y + 0.16)], HORN)  # fmt: skip
    brush.ellipse(head, (0.3, 0.29), plumage)
    if bird.pattern == "capped":
        brush.polygon([(x - 0.3, y - 0.06), (x - 0.2, y - 0.27), (x, y - 0.34), (x + 0.21, y - 0.25),
                       (x + 0.3, y - 0.06)], mark)  # fmt: skip
    brush.ellipse((x + 0.1, y - 0.03), (0.085, 0.085), (246, 244, 238))
    brush.ellipse((x + 0.12, y - 0.02), (0.055, 0.055), INK)


def draw_meal(brush: Brush, bird: Bird, look: Look, head: Point, hue: RGB) -> None:
    """Draw what the bird has at the tip of its beak, in a colour that does not depend on its species."""
    reach = {"short": 0.52, "long": 1.0, "hooked": 0.5}[bird.beak]
    x, y = head[0] + reach, head[1] + 0.12
    if look.extra == "berry":
        brush.ellipse((x, y + 0.06), (0.15, 0.15), hue)
    elif look.extra == "worm":
        brush.line([(x - 0.04, y - 0.02), (x + 0.06, y + 0.16), (x - 0.06, y + 0.32), (x + 0.05, y + 0.5)], 0.09,
                   (214, 120, 128))  # fmt: skip
