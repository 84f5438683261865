"""A picture is a function of breed, look, domain and stream, and every attribute changes pixels."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines.toy.breeds import ATTRIBUTE_WORDS, BREEDS, Breed
from pipelines.toy.brush import SHORT_SIDE, Look
from pipelines.toy.drawing import EXTRAS, POSES, draw_look, draw_picture
from pipelines.toy.scenes import SCENES_OF, Domain

DOG = BREEDS[0]
LOOK = Look("standing", "nothing", "grass")


def stream(seed: int = 3) -> np.random.Generator:
    return np.random.default_rng(seed)


def pixels(breed: Breed, look: Look = LOOK, domain: Domain = "source", seed: int = 3) -> np.ndarray:
    return np.asarray(draw_picture(breed, look, domain, stream(seed)).image, float)


@pytest.mark.parametrize("domain", ["source", "target"])
def test_size_and_mode(domain: Domain) -> None:
    sizes = set()
    for seed in range(40):
        image = draw_picture(DOG, draw_look(domain, stream(seed)), domain, stream(seed)).image
        assert image.mode == "RGB"
        assert image.height == SHORT_SIDE
        sizes.add(image.width)
    assert min(sizes) >= SHORT_SIDE
    assert max(sizes) <= 80
    assert len(sizes) > 5


def test_same_stream_same_picture_other_stream_other_picture() -> None:
    assert np.array_equal(pixels(DOG), pixels(DOG))
    first, second = (draw_picture(DOG, LOOK, "source", stream(seed)).image for seed in (3, 4))
    assert first.tobytes() != second.tobytes()


VALUES = [(attribute, value) for attribute, words in ATTRIBUTE_WORDS.items() for value in words]


@pytest.mark.parametrize(("attribute", "value"), VALUES, ids=[f"{a}-{v}" for a, v in VALUES])
def test_every_attribute_value_can_be_seen(attribute: str, value: str) -> None:
    original = DOG.attributes()[attribute]
    changed = replace(DOG, **{attribute: value})
    moved = np.abs(pixels(changed) - pixels(DOG)).max(axis=2) > 30  # levels; both have the same noise and light
    assert moved.any() == (value != original)


@pytest.mark.parametrize(
    "look", [replace(LOOK, pose=p) for p in POSES[1:]] + [replace(LOOK, extra=e) for e in EXTRAS[1:]]
)
def test_pose_and_extra_can_be_seen(look: Look) -> None:
    assert (np.abs(pixels(DOG, look) - pixels(DOG)).max(axis=2) > 30).any()


def test_looks_are_drawn_from_the_domains_scenes() -> None:
    for domain, scenes in SCENES_OF.items():
        looks = [draw_look(domain, stream(seed)) for seed in range(200)]
        assert {look.scene for look in looks} == set(scenes)
        assert {look.pose for look in looks} == set(POSES)
        assert {look.extra for look in looks} == set(EXTRAS)
