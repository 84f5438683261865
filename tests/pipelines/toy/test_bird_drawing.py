"""A picture of a bird is a function of bird, look, domain and stream, and every attribute changes pixels."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines.toy.bird_drawing import EXTRAS, POSES, Look, draw_look, draw_picture
from pipelines.toy.birds import ATTRIBUTE_WORDS, BIRDS, Bird
from pipelines.toy.brush import SHORT_SIDE
from pipelines.toy.scenes import Domain

BIRD = BIRDS[0]
LOOK = Look("standing", "nothing", "grass")


def stream(seed: int = 3) -> np.random.Generator:
    return np.random.default_rng(seed)


def pixels(bird: Bird, look: Look = LOOK, domain: Domain = "source") -> np.ndarray:
    return np.asarray(draw_picture(bird, look, domain, stream()).image, float)


@pytest.mark.parametrize("domain", ["source", "target"])
def test_size_and_repetition(domain: Domain) -> None:
    first, again, other = (draw_picture(BIRD, LOOK, domain, stream(seed)).image for seed in (3, 3, 4))
    assert first.mode == "RGB"
    assert first.height == SHORT_SIDE
    assert first.tobytes() == again.tobytes() != other.tobytes()


VALUES = [(attribute, value) for attribute, words in ATTRIBUTE_WORDS.items() for value in words]


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize(("attribute", "value"), VALUES, ids=[f"{a}-{v}" for a, v in VALUES])
def test_every_attribute_value_can_be_seen_in_every_pose(attribute: str, value: str, pose: str) -> None:
    look = replace(LOOK, pose=pose)
    changed = replace(BIRD, **{attribute: value})
    moved = np.abs(pixels(changed, look) - pixels(BIRD, look)).max(axis=2) > 30  # both have the same noise and light
    assert moved.any() == (value != BIRD.attributes()[attribute])


@pytest.mark.parametrize(
    "look", [replace(LOOK, pose=p) for p in POSES[1:]] + [replace(LOOK, extra=e) for e in EXTRAS[1:]]
)
def test_pose_and_extra_can_be_seen(look: Look) -> None:
    assert (np.abs(pixels(BIRD, look) - pixels(BIRD)).max(axis=2) > 30).any()


def test_all_poses_and_extras_occur() -> None:
    looks = [draw_look("source", stream(seed)) for seed in range(200)]
    assert {look.pose for look in looks} == set(POSES)
    assert {look.extra for look in looks} == set(EXTRAS)
