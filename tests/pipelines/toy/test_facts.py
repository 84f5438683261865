"""A view has everything that can be seen and nothing else; a label set has the facts that take up enough of it."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipelines.toy.animals import ANIMALS
from pipelines.toy.breeds import BREEDS
from pipelines.toy.brush import Look, Painting
from pipelines.toy.facts import MOST_LABELS, Fact, View, imagine, name_light, view_of
from pipelines.toy.layers import Area
from pipelines.toy.scenes import Domain, Light

DOG = next(breed for breed in BREEDS if breed.name == "castle terrier")  # grey and striped
LOOK = Look("running", "ball", "grass")
AREAS = (
    Area("behind", "", 0.4, 0),
    Area("tree", "", 0.06, 90),
    Area("tree", "", 0.02, 90),
    Area("ground", "", 0.37, 80),
    Area("animal", "", 0.14, 100),
    Area("ball", "red", 0.006, 70),
)


def seen(*areas: Area, look: Look = LOOK, level: float = 1.1, domain: Domain = "source") -> View:
    painting = Painting(Image.new("RGB", (1, 1)), areas, Light(0, 0, level, np.ones(3)))
    return view_of(DOG, look, domain, painting)


def test_a_view_has_all_that_can_be_seen() -> None:
    facts = seen(*AREAS).facts()
    assert {fact[:2] for fact in facts} == {
        ("creature", "castle terrier"), ("colour", "grey"), ("pattern", "striped"), ("ears", "pointed"),
        ("tail", "stub"), ("build", "sturdy"), ("coat", "shaggy"), ("pose", "running"), ("scene", "grass"),
        ("light", "sunny"), ("extra", "ball"), ("extra colour", "red"), ("things", "tree"),
    }  # fmt: skip
    assert Fact("things", "tree", pytest.approx(0.08)) in facts
    assert Fact("scene", "grass", 0.37) in facts


@pytest.mark.parametrize(
    ("index", "area", "lost"),
    [
        (5, Area("ball", "red", 0.001, 70), {("extra", "ball"), ("extra colour", "red")}),
        (5, Area("ball", "green", 0.006, 20), {("extra", "ball"), ("extra colour", "red")}),
        (1, Area("tree", "", 0.004, 90), {("things", "tree")}),
        (1, Area("tree", "", 0.06, 20), {("things", "tree")}),
    ],
    ids=["small ball", "green ball on grass", "hidden tree", "tree like the sky"],
)
def test_what_is_hidden_or_like_its_ground_is_no_fact(index: int, area: Area, lost: set[tuple[str, str]]) -> None:
    areas = [*AREAS[:index], area, *AREAS[index + 1 :]]
    left = {fact[:2] for fact in seen(*areas).facts()}
    whole = {fact[:2] for fact in seen(*AREAS).facts()}
    one_tree = {("thing", "tree")} if ("things", "tree") in lost else set()  # the second tree remains
    assert left == whole - lost | one_tree


def test_labels_are_what_takes_up_enough() -> None:
    assert seen(*AREAS).labels() == ["ball", "castle terrier", "grey", "red", "striped", "sunny", "tree"]
    large = [area._replace(share=0.5) if area.name == "ground" else area for area in AREAS]
    assert "grass" in seen(*large).labels()
    small = [area._replace(share=0.02) for area in AREAS if area.name not in ("tree", "ball")]
    assert seen(*small, look=replace(LOOK, extra="nothing"), level=1).labels() == ["castle terrier"]


def test_eight_labels_are_the_most_and_leave_out_what_is_smallest() -> None:
    areas = [Area("wall picture", "", 0.05, 90), Area("sofa", "", 0.2, 90), *AREAS]
    areas = [area._replace(share=0.5) if area.name == "ground" else area for area in areas]
    labels = seen(*areas, level=1.1).labels()
    assert len(labels) == MOST_LABELS == 8
    assert {"sofa", "grass", "castle terrier"} <= set(labels)
    assert not {"ball", "red"} & set(labels)  # 0.006 of the picture


def test_light_has_a_name_where_it_is_bright_or_dark() -> None:
    assert [name_light(level, "source") for level in (0.83, 1.0, 1.17)] == ["cloudy", "", "sunny"]
    assert [name_light(level, "target") for level in (0.61, 0.8, 0.99)] == ["dim", "", "bright"]


@pytest.mark.parametrize("kind", ANIMALS)
@pytest.mark.parametrize("domain", ["source", "target"])
def test_drawn_pictures_have_one_to_eight_labels(kind: str, domain: Domain) -> None:
    animals, numbers = ANIMALS[kind], Counter[int]()
    for seed, animal in enumerate([*animals.categories] * 3):
        stream = np.random.default_rng(seed)
        look = animals.draw_look(domain, stream)
        view = view_of(animal, look, domain, animals.draw_picture(animal, look, domain, stream))
        labels = view.labels()
        assert animal.name in labels
        assert set(labels) <= {fact.value for fact in view.facts()}
        assert sum(view.shares.values()) == pytest.approx(1)
        numbers[len(labels)] += 1
    assert 1 <= min(numbers) <= 2 < 6 <= max(numbers) <= MOST_LABELS
    assert numbers.most_common(1)[0][1] < 0.5 * numbers.total()  # so the number of labels is worth predicting


def test_an_imagined_picture_has_another_animal_in_it() -> None:
    view = seen(*AREAS)
    for seed in range(60):
        other = imagine(view, ANIMALS["dogs"], np.random.default_rng(seed))
        assert other.animal.name != view.animal.name
        assert (other.extra_colour != "") == (other.look.extra != "nothing")
