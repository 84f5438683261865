"""The toy's scenes: outdoors for the source domain, rooms for the target domain, each with its own light."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from pipelines.toy.layers import Layers

Domain = Literal["source", "target"]
RGB = tuple[int, int, int]

CREAM: RGB = (232, 226, 214)
SCENES: dict[str, tuple[RGB, RGB]] = {  # the ground, and what is behind it
    "grass": ((96, 148, 70), (150, 196, 230)),
    "beach": ((218, 196, 148), (110, 176, 214)),
    "snow": ((226, 232, 240), (172, 186, 204)),
    "street": ((128, 126, 124), (186, 160, 140)),
    "rug": ((128, 62, 70), (168, 150, 126)),
    "wooden floor": ((150, 110, 74), (120, 134, 138)),
    "tiles": ((168, 172, 170), (108, 120, 104)),
}
SCENES_OF: dict[Domain, tuple[str, ...]] = {
    "source": ("grass", "beach", "snow", "street"),
    "target": ("rug", "wooden floor", "tiles"),
}
GROUND = "ground"  # the name of a layer, like the things
THING_OF = {"grass": "tree", "beach": "sail", "snow": "tree", "street": "house"}  # things outdoors, by scene
ROOM_THINGS = ("wall picture", "sofa")


@dataclass(frozen=True)
class Light:
    """The light of one picture.

    Attributes:
        across, down: how much brighter the right and the bottom are, -1 to 1.
        level: factor of every pixel.
        tint: factors of red, green and blue.
    """

    across: float
    down: float
    level: float
    tint: np.ndarray


def draw_scene(scene: str, size: tuple[int, int], stream: np.random.Generator) -> Layers:
    """Draw the ground, the horizon and the things of a scene; each thing and the ground are layers."""
    width, height = size
    ground, behind = (jitter(colour, 22, stream) for colour in SCENES[scene])
    image = Image.new("RGB", size, behind)
    drawing = ImageDraw.Draw(image)
    layers = Layers(image)
    horizon = height * float(stream.uniform(0.45, 0.72))
    if scene in SCENES_OF["source"]:
        for _ in range(int(stream.integers(2, 5))):
            draw_thing(drawing, scene, width, horizon, stream)
            layers.mark(THING_OF[scene])
    else:
        draw_room(drawing, layers, width, horizon, stream)
    drawing.rectangle((0, horizon, width, height), fill=ground)
    draw_floor(drawing, scene, size, horizon, ground, stream)
    layers.mark(GROUND)
    return layers


def draw_thing(
    drawing: ImageDraw.ImageDraw, scene: str, width: int, horizon: float, stream: np.random.Generator
) -> None:
    """Draw a tree, a house or a sail in front of the horizon."""
    x, extent = float(stream.uniform(0, width)), width * float(stream.uniform(0.08, 0.2))
    if scene == "street":
        wall = jitter((150, 104, 84), 40, stream)
        top = horizon - extent * 2.4
        drawing.rectangle((x - extent, top, x + extent, horizon), fill=wall)
        for row in range(3):
            left, upper = x - extent * 0.5, top + extent * (0.3 + 0.7 * row)
            drawing.rectangle((left, upper, left + extent * 0.4, upper + extent * 0.4), fill=(236, 220, 160))
    elif scene == "beach":
        drawing.polygon([(x, horizon - extent * 1.6), (x, horizon), (x + extent, horizon)], fill=CREAM)
    else:
        leaves = jitter((64, 110, 66) if scene == "grass" else (84, 112, 104), 22, stream)
        drawing.rectangle((x - extent * 0.12, horizon - extent, x + extent * 0.12, horizon), fill=(98, 74, 58))
        foot, tip = horizon - extent * 0.6, horizon - extent * 3
        drawing.polygon([(x - extent * 0.8, foot), (x, tip), (x + extent * 0.8, foot)], fill=leaves)


def draw_room(
    drawing: ImageDraw.ImageDraw, layers: Layers, width: int, horizon: float, stream: np.random.Generator
) -> None:
    """Draw a picture on the wall and a sofa."""
    left, top = float(stream.uniform(0, width * 0.8)), horizon * float(stream.uniform(0.05, 0.35))
    drawing.rectangle((left, top, left + width * 0.2, top + horizon * 0.35), fill=jitter((96, 84, 78), 30, stream))
    drawing.rectangle(
        (left + 5, top + 5, left + width * 0.2 - 5, top + horizon * 0.35 - 5), fill=jitter((170, 168, 150), 50, stream)
    )
    layers.mark("wall picture")
    left = float(stream.uniform(-0.2, 0.7)) * width
    drawing.rounded_rectangle(
        (left, horizon * 0.62, left + width * 0.5, horizon + 8), radius=14, fill=jitter((112, 96, 104), 46, stream)
    )
    layers.mark("sofa")


def draw_floor(
    drawing: ImageDraw.ImageDraw,
    scene: str,
    size: tuple[int, int],
    horizon: float,
    ground: RGB,
    stream: np.random.Generator,
) -> None:
    """Draw the texture of the ground: boards, tiles, a rug's stripes, stones or shells."""
    width, height = size
    line = shade(ground, 0.86)
    if scene in ("wooden floor", "tiles"):
        for x in range(-width, 2 * width, 30):
            drawing.line((width / 2 + (x - width / 2) * 0.6, horizon, x, height), fill=line, width=2)
    if scene in ("rug", "tiles"):
        for step in range(1, 5):
            y = horizon + (height - horizon) * (step / 5) ** 1.5
            drawing.line((0, y, width, y), fill=line, width=3)
    if scene in SCENES_OF["source"]:
        for x, y in stream.uniform((0, horizon), (width, height), size=(14, 2)).round(1):
            drawing.ellipse((x, y, x + 6, y + 4), fill=line)


def draw_blades(image: Image.Image, stream: np.random.Generator) -> None:
    """Draw blades of grass in front of the paws."""
    width, height = image.size
    drawing = ImageDraw.Draw(image)
    for x in stream.uniform(0, width, size=26).round(1):
        drawing.line((x, height, x + 4, height - float(stream.integers(8, 26))), fill=(74, 124, 58), width=3)


def choose_light(domain: Domain, stream: np.random.Generator) -> Light:
    """Draw the light of one picture: daylight from one side outdoors, dim and coloured lamps indoors."""
    across, down = stream.uniform(-1, 1), stream.uniform(-1, 1)
    if domain == "source":
        return Light(across, down, stream.uniform(0.82, 1.18), stream.uniform(0.94, 1.06, 3))
    return Light(across, down, stream.uniform(0.6, 1.0), stream.uniform(0.84, 1.12, 3))


def shine(image: Image.Image, light: Light, domain: Domain, stream: np.random.Generator) -> Image.Image:
    """Light the picture, then add sensor noise; lamps cause more slope and noise than daylight."""
    width, height = image.size
    slope, noise = (0.14, 5.0) if domain == "source" else (0.24, 9.0)
    across = np.linspace(-1, 1, width)[None, :] * light.across
    down = np.linspace(-1, 1, height)[:, None] * light.down
    pixels = np.asarray(image, dtype=np.float64)
    level = light.level + slope * (across + down)
    lit = pixels * level[:, :, None] * light.tint + stream.normal(0, noise, pixels.shape)
    return Image.fromarray(np.clip(np.round(lit), 0, 255).astype(np.uint8))


def shade(colour: RGB, factor: float) -> RGB:
    """Return a colour made darker (factor < 1) or lighter."""
    red, green, blue = (min(255, round(channel * factor)) for channel in colour)
    return red, green, blue


def jitter(colour: RGB, spread: int, stream: np.random.Generator) -> RGB:
    """Return a colour changed by up to ``spread`` levels: half of it in brightness, half in each channel."""
    brightness = stream.uniform(-spread / 2, spread / 2)
    moved = np.array(colour) + brightness + stream.uniform(-spread / 2, spread / 2, 3)
    red, green, blue = (int(channel) for channel in np.clip(np.round(moved), 0, 255))
    return red, green, blue
