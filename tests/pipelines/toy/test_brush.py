"""The brush draws at the right position; the domain decides on size, framing and light, whatever is drawn."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from pipelines.toy import brush
from pipelines.toy.brush import SHORT_SIDE, Brush, Look, choose_look, paint, place_animal
from pipelines.toy.layers import Layers
from pipelines.toy.scenes import SCENES_OF, Domain

POSES, EXTRAS = ("up", "down", "round"), ("none", "hat", "stick", "kite")


def stream(seed: int = 3) -> np.random.Generator:
    return np.random.default_rng(seed)


def ellipse_area(draw: Callable[[Brush], None], matrix: np.ndarray) -> tuple[int, float, float]:
    image = Image.new("L", (200, 100))
    draw(Brush(image, matrix, np.array([90.0, 50.0])))
    y, x = np.nonzero(np.asarray(image))
    return len(x), float(x.mean()), float(y.mean())


def test_the_brush_places_scales_and_mirrors() -> None:
    unit = 20.0
    upright, mirrored = np.array([[unit, 0], [0, unit]]), np.array([[-unit, 0], [0, unit]])
    for matrix, expected_x in ((upright, 110), (mirrored, 70)):
        area, x, y = ellipse_area(lambda brush: brush.ellipse((1, -0.5), (0.9, 0.4), 255), matrix)
        assert area == pytest.approx(np.pi * 18 * 8, rel=0.08)  # a filled shape includes the pixels of its outline
        assert (x, y) == (pytest.approx(expected_x, abs=0.6), pytest.approx(40, abs=0.6))
    assert Brush(Image.new("L", (9, 9)), mirrored, np.zeros(2)).unit == unit


def test_a_wide_animal_is_placed_as_wide_as_a_narrow_one() -> None:
    layers = Layers(Image.new("RGB", (240, 192)))
    narrow, wide = (place_animal(layers, extent, "target", stream()) for extent in ((2.0, 1.0), (4.0, 2.0)))
    assert narrow.unit == pytest.approx(2 * wide.unit)
    assert np.array_equal(narrow.middle, wide.middle)


def test_animals_are_smaller_in_the_open_air() -> None:
    layers = Layers(Image.new("RGB", (240, 192)))
    units = {d: np.mean([place_animal(layers, (3, 2), d, stream(seed)).unit for seed in range(50)]) for d in SCENES_OF}
    assert units["source"] < 0.95 * units["target"]


@pytest.mark.parametrize("domain", SCENES_OF)
def test_half_of_the_animals_look_the_other_way(domain: Domain) -> None:
    layers = Layers(Image.new("RGB", (240, 192)))
    ways = [np.sign(np.linalg.det(place_animal(layers, (3, 2), domain, stream(seed)).matrix)) for seed in range(400)]
    assert set(ways) == {-1.0, 1.0}
    assert np.mean(ways) == pytest.approx(0, abs=0.2)  # standard error 0.05


def test_grass_stands_before_the_paws_outdoors_only(monkeypatch: pytest.MonkeyPatch) -> None:
    grown = []
    monkeypatch.setattr(brush, "draw_blades", lambda image, stream: grown.append(image.size))
    for domain, scenes in SCENES_OF.items():
        for scene in scenes:
            before = len(grown)
            paint(lambda brush: None, (2, 2), Look("up", "none", scene), domain, stream())
            assert len(grown) - before == (scene == "grass")
    assert len(grown) == 1
    assert min(grown[0]) > SHORT_SIDE  # the size before the picture is reduced


def test_a_picture_is_what_is_drawn_in_it() -> None:
    look = Look("up", "none", "beach")

    def painted(colour: tuple[int, int, int]) -> np.ndarray:
        image = paint(lambda brush: brush.ellipse((0, 0), (1, 1), colour), (2, 2), look, "source", stream()).image
        assert image.height == SHORT_SIDE <= image.width <= 80
        return np.asarray(image, float)

    red, blue = painted((250, 0, 0)), painted((0, 0, 250))
    changed = np.abs(red - blue).max(axis=2) > 100
    # The disc fills 66 to 90 % of the height, so 34 to 64 % of a square of that side.
    assert 0.34 < changed.sum() / SHORT_SIDE**2 < 0.64
    assert not changed[[0, -1]].any()


def test_looks_are_drawn_by_their_shares() -> None:
    looks = [choose_look(POSES, EXTRAS, "target", stream(seed)) for seed in range(1000)]
    poses = [sum(look.pose == pose for look in looks) / 1000 for pose in POSES]
    extras = [sum(look.extra == extra for look in looks) / 1000 for extra in EXTRAS]
    # standard error 0.016
    assert poses == pytest.approx([0.5, 0.3, 0.2], abs=0.06)
    assert extras == pytest.approx([0.5, 0.2, 0.2, 0.1], abs=0.06)
    assert {look.scene for look in looks} == set(SCENES_OF["target"])
