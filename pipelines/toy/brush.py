"""How the toys' animals are painted: a brush in the animal's own coordinates, and the steps of a picture.

The source domain is the open air: small animals on grass, sand, snow or a street, as people find them on the web. The
target domain is a room: large, tightly framed animals in dim, coloured light.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from pipelines.toy.layers import Area, Layers
from pipelines.toy.scenes import GROUND, RGB, SCENES_OF, Domain, Light, choose_light, draw_blades, draw_scene, shine

Point = tuple[float, float]

SUPERSAMPLING = 3  # pixels drawn per pixel kept, in each direction
SHORT_SIDE = 64  # pixels
INK: RGB = (34, 28, 28)
# The colours of things that the animals wear, play with or eat.
TOYS: tuple[tuple[str, RGB], ...] = (("red", (206, 52, 56)), ("blue", (58, 96, 190)), ("green", (60, 150, 92)))
ANIMAL = "animal"  # the name of a layer, like GROUND and the things


@dataclass(frozen=True)
class Look:
    """What one picture shows beside the animal; people also search for these."""

    pose: str
    extra: str
    scene: str


class Painting(NamedTuple):
    """A picture, and what is known about it beyond its look.

    Attributes:
        image: RGB, short side 64 px.
        areas: the visible part of each layer: sky or wall, things, ground, animal, extra.
        light: the light of the picture.
    """

    image: Image.Image
    areas: tuple[Area, ...]
    light: Light


class Brush:
    """Draws shapes in the animal's own coordinates: it faces right, y points down, the trunk's middle is (0, 0)."""

    def __init__(
        self, image: Image.Image, matrix: np.ndarray, middle: np.ndarray, layers: Layers | None = None
    ) -> None:
        self.image = image
        self.layers = layers
        self.drawing = ImageDraw.Draw(image)
        self.matrix, self.middle = matrix, middle
        self.unit = float(np.hypot(*matrix[:, 0]))  # pixels

    def pixels(self, points: Sequence[Point] | np.ndarray) -> list[Point]:
        """Return the points' pixels in the image, rounded: the last bits of sines differ between machines."""
        placed = np.asarray(points) @ self.matrix.T + self.middle
        return [(float(x), float(y)) for x, y in np.round(placed, 3)]

    def on_mask(self) -> "Brush":
        """Return a brush that draws the same shapes on an empty mask of the image's size."""
        return Brush(Image.new("L", self.image.size), self.matrix, self.middle)

    def mark(self, name: str, colour: str = "") -> None:
        """End a layer of the picture, as `Layers.mark` does; a brush on a mask has no layers."""
        if self.layers is not None:
            self.layers.mark(name, colour)

    def polygon(self, points: Sequence[Point] | np.ndarray, fill: RGB | int) -> None:
        """Fill a polygon."""
        self.drawing.polygon(self.pixels(points), fill=fill)

    def ellipse(
        self, middle: Point, axes: Point, fill: RGB | int, turn: float = 0.0, tufts: np.ndarray | None = None
    ) -> None:
        """Fill an ellipse, turned by radians; tufts make its outline jagged by these shares of its radius."""
        steps = 24 if tufts is None else len(tufts)
        angles = np.arange(steps) * (2 * math.pi / steps)
        radius = np.ones(steps) if tufts is None else 1 + tufts
        x, y = axes[0] * radius * np.cos(angles), axes[1] * radius * np.sin(angles)
        cos, sin = math.cos(turn), math.sin(turn)
        self.polygon(np.stack([middle[0] + x * cos - y * sin, middle[1] + x * sin + y * cos], axis=1), fill)

    def line(self, points: Sequence[Point], width: float, fill: RGB | int) -> None:
        """Draw a line with round ends; its width is in the animal's unit."""
        pixels = self.pixels(points)
        thick = max(1, round(width * self.unit))
        self.drawing.line(pixels, fill=fill, width=thick, joint="curve")
        for x, y in (pixels[0], pixels[-1]):
            half = thick / 2
            self.drawing.ellipse((x - half, y - half, x + half, y + half), fill=fill)


def choose_look(poses: Sequence[str], extras: Sequence[str], domain: Domain, stream: np.random.Generator) -> Look:
    """Draw the circumstances of one picture at random: the first pose and the first extra have probability 1/2.

    Args:
        poses: three.
        extras: four.
        domain: the scene is one of this domain's.
        stream: random numbers.
    """
    return Look(
        pose=str(stream.choice(poses, p=(0.5, 0.3, 0.2))),
        extra=str(stream.choice(extras, p=(0.5, 0.2, 0.2, 0.1))),
        scene=str(stream.choice(SCENES_OF[domain])),
    )


def paint(
    draw_animal: Callable[[Brush], None], extent: Point, look: Look, domain: Domain, stream: np.random.Generator
) -> Painting:
    """Paint one picture: the scene, the animal in it, the light.

    Args:
        draw_animal: draws the animal and marks its layers; may use the same stream.
        extent: the animal's width and height in its own unit.
        look: only its scene is used.
        domain: decides scale, framing and light.
        stream: random numbers; the same stream gives the same picture.

    Returns:
        The image, its long side up to 80 px, with its visible areas and its light.
    """
    width = SHORT_SIDE + int(stream.integers(0, 17))
    size = (width * SUPERSAMPLING, SHORT_SIDE * SUPERSAMPLING)
    layers = draw_scene(look.scene, size, stream)
    draw_animal(place_animal(layers, extent, domain, stream))
    if domain == "source" and look.scene == "grass":
        draw_blades(layers.image, stream)
        layers.mark(GROUND)
    image = layers.image.resize((width, SHORT_SIDE), Image.Resampling.BOX)
    light = choose_light(domain, stream)
    return Painting(shine(image, light, domain, stream), layers.areas(), light)


def place_animal(layers: Layers, extent: Point, domain: Domain, stream: np.random.Generator) -> Brush:
    """Choose an animal's position and size: anywhere and small in the open air, filling the frame in a room."""
    width, height = layers.image.size
    share = stream.uniform(0.66, 0.9) if domain == "source" else stream.uniform(0.8, 1.02)
    unit = share * min(width / extent[0], height / extent[1])
    room = 1 - share if domain == "source" else 0.06
    x = width * (0.5 + stream.uniform(-0.4, 0.4) * room)
    y = height * (0.52 + stream.uniform(-0.3, 0.4) * room)
    tilt = stream.uniform(-0.14, 0.14)
    flip = -1.0 if stream.integers(2) else 1.0
    cos, sin = math.cos(tilt) * unit, math.sin(tilt) * unit
    return Brush(layers.image, np.array([[flip * cos, -flip * sin], [sin, cos]]), np.array([x, y]), layers)


def fur(steps: int, depth: float, stream: np.random.Generator) -> np.ndarray:
    """Return the outline of a shaggy coat: every second point sticks out by up to ``depth`` of the radius."""
    return np.where(np.arange(steps) % 2 == 0, stream.uniform(0.3, 1, steps) * depth, -0.04)
