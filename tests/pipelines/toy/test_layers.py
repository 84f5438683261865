"""Later parts of a drawing hide earlier ones, and the visible parts add up to the whole picture."""

import pytest
from PIL import Image, ImageDraw

from pipelines.toy.layers import BEHIND, Layers


def test_a_layer_is_what_was_drawn_since_the_last_and_is_not_hidden() -> None:
    image = Image.new("RGB", (10, 10), (100, 100, 100))
    drawing, layers = ImageDraw.Draw(image), Layers(image)
    drawing.rectangle((0, 0, 4, 9), fill=(130, 100, 90))  # 50 pixels, 30 levels away
    layers.mark("left")
    drawing.rectangle((0, 0, 9, 1), fill=(100, 200, 100))  # 20 pixels, half of them over the first, 100 levels away
    layers.mark("top", "green")
    drawing.rectangle((0, 0, 1, 0), fill=(100, 200, 100))  # the same colour as before
    layers.mark("nothing")
    behind, left, top, nothing = layers.areas()
    assert (behind.name, behind.share) == (BEHIND, pytest.approx(0.4))
    assert (left.name, left.colour, left.share, left.contrast) == ("left", "", pytest.approx(0.4), pytest.approx(30))
    assert (top.name, top.colour, top.share, top.contrast) == ("top", "green", pytest.approx(0.2), pytest.approx(100))
    assert (nothing.share, nothing.contrast) == (0, 0)
    assert sum(area.share for area in layers.areas()) == pytest.approx(1)
