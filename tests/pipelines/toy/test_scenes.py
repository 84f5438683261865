"""The domains' scenes differ; light and colours stay in range."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipelines.toy.scenes import (
    SCENES,
    SCENES_OF,
    Domain,
    choose_light,
    draw_blades,
    draw_scene,
    jitter,
    shade,
    shine,
)

colours = st.tuples(*[st.integers(0, 255)] * 3)


def test_every_scene_belongs_to_one_domain() -> None:
    assert sorted(SCENES) == sorted(SCENES_OF["source"] + SCENES_OF["target"])


@pytest.mark.parametrize("scene", SCENES)
def test_the_ground_lies_below(scene: str) -> None:
    image = draw_scene(scene, (60, 48), np.random.default_rng(1)).image
    assert image.size == (60, 48)
    bottom = np.asarray(image, float)[40:].mean(axis=(0, 1))
    ground, behind = (np.array(colour) for colour in SCENES[scene])
    assert np.linalg.norm(bottom - ground) < np.linalg.norm(bottom - behind)


def test_rooms_are_darker_than_the_open_air() -> None:
    grey = Image.new("RGB", (40, 30), (150, 150, 150))

    def lit(domain: Domain, seed: int) -> float:
        stream = np.random.default_rng(seed)
        return float(np.asarray(shine(grey, choose_light(domain, stream), domain, stream)).mean())

    means = {domain: np.mean([lit(domain, seed) for seed in range(50)]) for domain in SCENES_OF}
    assert means["target"] < means["source"] - 20


@pytest.mark.parametrize(("domain", "level"), [("source", 5.0), ("target", 9.0)])
def test_pictures_have_their_domains_noise(domain: Domain, level: float) -> None:
    grey = Image.new("RGB", (60, 48), (120, 120, 120))  # so that no level is clipped
    found = []
    for seed in range(20):
        stream = np.random.default_rng(seed)
        pixels = np.asarray(shine(grey, choose_light(domain, stream), domain, stream), float)
        found.append((pixels[:, 1:] - pixels[:, :-1]).std() / np.sqrt(2))  # neighbours have the same light
    assert np.mean(found) == pytest.approx(level, rel=0.03)  # rounding to levels adds 1 %


def test_blades_of_grass_reach_up_from_the_lower_edge() -> None:
    bare = Image.new("RGB", (60, 48), (200, 200, 200))
    image = bare.copy()
    draw_blades(image, np.random.default_rng(1))
    changed = np.abs(np.asarray(image, int) - np.asarray(bare, int)).max(axis=2) > 0
    assert changed[-1].sum() > 20
    assert not changed[: 48 - 28].any()


@given(colours, st.floats(0, 4))
def test_shades_stay_in_range(colour: tuple[int, int, int], factor: float) -> None:
    assert all(0 <= channel <= 255 for channel in shade(colour, factor))
    assert shade(colour, 1) == colour


@given(colours, st.integers(0, 100), st.integers(0, 2**32))
def test_jitter_moves_by_no_more_than_the_spread(colour: tuple[int, int, int], spread: int, seed: int) -> None:
    moved = jitter(colour, spread, np.random.default_rng(seed))
    assert all(0 <= channel <= 255 for channel in moved)
    assert all(abs(after - before) <= spread + 1 for after, before in zip(moved, colour, strict=True))
