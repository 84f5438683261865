"""Queries are true of the picture, in two languages, have heavy-tailed clicks, and are sometimes wrong."""

import re
from collections import Counter

import jieba
import numpy as np
import pytest

from pipelines.toy import bird_drawing, drawing
from pipelines.toy.birds import BIRDS as SPECIES
from pipelines.toy.breeds import BREEDS
from pipelines.toy.brush import Look
from pipelines.toy.queries import BIRDS, DOGS, MOST_CLICKS, Animal, Phrases, clicks_of, describe, write_query
from pipelines.toy.scenes import SCENES_OF

MARSH, RIVER = (next(breed for breed in BREEDS if breed.name == name) for name in ("marsh hound", "river greyhound"))
LOOK = Look("running", "scarf", "rug")


def stream(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


ANIMALS = [(DOGS, breed) for breed in BREEDS] + [(BIRDS, bird) for bird in SPECIES]


def queries(kind: str, number: int = 300) -> set[str]:
    return {write_query(DOGS, kind, MARSH, LOOK, [RIVER], stream(seed)) for seed in range(number)}


@pytest.mark.parametrize(("phrases", "animal"), ANIMALS, ids=[animal.name for _, animal in ANIMALS])
@pytest.mark.parametrize("language", [0, 1], ids=["en", "zh"])
def test_descriptions_name_only_what_the_animal_has(phrases: Phrases, animal: Animal, language: int) -> None:
    has = {words[value][language] for name, words in phrases.words.items() for value in [animal.attributes()[name]]}
    for seed in range(30):
        text = describe(phrases, animal, ("en", "zh")[language], stream(seed))
        rest = text
        for words in sorted(has, key=len, reverse=True):
            rest = rest.replace(words, "")
        assert rest.strip() == "", text


def test_names_and_mis_clicks() -> None:
    assert all("marsh hound" in query.lower() or "沼泽猎犬" in query for query in queries("name"))
    assert all("river greyhound" in query.lower() or "河流灵缇" in query for query in queries("mis-click"))


def test_looks_are_what_the_picture_shows() -> None:
    seen = {query.lower() for query in queries("look")}
    assert seen == {"dog running", "奔跑的狗", "dog wearing a scarf", "戴围巾的小狗"}


@pytest.mark.parametrize(
    ("phrases", "poses", "extras"),
    [
        (DOGS, drawing.POSES, drawing.EXTRAS),
        (BIRDS, bird_drawing.POSES, bird_drawing.EXTRAS),
    ],
    ids=["dogs", "birds"],
)
def test_everything_drawn_outdoors_but_the_commonest_has_words(phrases: Phrases, poses: tuple, extras: tuple) -> None:
    assert set(phrases.looks) == {*poses[1:], *extras[1:], *SCENES_OF["source"]}


def test_who_looks_for_birds_never_says_dog() -> None:
    for phrases, word, other in ((DOGS, "狗", "鸟"), (BIRDS, "鸟", "狗")):
        texts = [text for group in (phrases.names, phrases.descriptions, phrases.generic) for text in group["zh"]]
        assert sum(word in text for text in texts) > 8
        assert not any(other in text for text in texts)


@pytest.mark.parametrize("kind", ["name", "attributes", "generic", "off-topic"])
def test_both_languages_occur(kind: str) -> None:
    written = queries(kind)
    chinese = {query for query in written if re.search("[一-鿿]", query)}
    assert chinese
    assert written - chinese


def test_chinese_attributes_are_words_to_jieba_within_a_query() -> None:
    assert {"棕色", "耳朵", "照片"} <= set(jieba.lcut("一只棕色的垂着耳朵的狗的照片"))
    assert "斑点狗" in jieba.lcut("一只斑点狗的照片")


def test_kinds_of_queries_and_languages_have_their_shares() -> None:
    # Each kind has a single phrase here, which names the kind.
    marked = Phrases(
        words={name: dict.fromkeys(words, ("attributes", "attributes")) for name, words in DOGS.words.items()},
        names={"en": ("name {}",), "zh": ("名 {}",)},
        descriptions={"en": ("described {}",), "zh": ("述 {}",)},
        looks=dict.fromkeys(DOGS.looks, ("look", "貌")),
        generic={"en": ("generic",), "zh": ("类",)},
    )
    kinds: Counter[str] = Counter()
    named: Counter[int] = Counter()
    chinese = titles = 0
    for seed in range(600):
        for query, _ in clicks_of(marked, MARSH, LOOK, [RIVER], False, stream(seed)):
            english = query.lower()
            is_chinese = bool(re.search("[一-鿿]", query))
            chinese += is_chinese
            titles += not is_chinese and query != english
            first = english.split()[0]
            named[english.count("attributes")] += 1
            if first in ("name", "名"):
                is_mistake = RIVER.name in english or RIVER.chinese in english
                assert is_mistake != (MARSH.name in english or MARSH.chinese in english)
                kinds["mis-click" if is_mistake else "name"] += 1
            else:
                of_first = {"described": "attributes", "述": "attributes", "look": "look", "貌": "look"}
                kinds[of_first.get(first) or ("generic" if english in ("generic", "类") else "off-topic")] += 1
    total = kinds.total()
    assert total > 10_000  # 20 queries a picture; a share's standard error is 0.005 at most
    shares = {kind: count / total for kind, count in kinds.items()}
    assert shares == pytest.approx(
        {"name": 0.22, "attributes": 0.44, "look": 0.12, "generic": 0.13, "off-topic": 0.04, "mis-click": 0.05},
        abs=0.02,
    )
    assert [named[number] / (total - named[0]) for number in (1, 2, 3)] == pytest.approx([1 / 3] * 3, abs=0.03)
    assert set(named) == {0, 1, 2, 3}
    assert chinese / total == pytest.approx(0.4, abs=0.02)
    assert titles / (total - chinese) == pytest.approx(0.08, abs=0.02)


def test_a_picture_has_twenty_queries_and_a_mislabelled_one_six() -> None:
    for mislabelled, mean in ((False, 20.0), (True, 6.0)):
        numbers = [len(clicks_of(DOGS, MARSH, LOOK, [RIVER], mislabelled, stream(seed))) for seed in range(400)]
        assert np.mean(numbers) == pytest.approx(mean, abs=0.7)  # standard errors 0.16 and 0.09
        assert min(numbers) >= (3 if mislabelled else 10)


def test_mislabelled_pictures_are_clicked_less() -> None:
    def total(mislabelled: bool, seed: int) -> int:
        return sum(clicks for _, clicks in clicks_of(DOGS, MARSH, LOOK, [RIVER], mislabelled, stream(seed)))

    rightly, wrongly = ([total(wrong, seed) for seed in range(300)] for wrong in (False, True))
    assert np.median(wrongly) < 0.5 * np.median(rightly)


def test_counts_are_heavy_tailed() -> None:
    counts = [n for seed in range(1000) for _, n in clicks_of(DOGS, MARSH, LOOK, [RIVER], False, stream(seed))]
    assert min(counts) == 1
    assert np.median(counts) <= 2
    assert max(counts) <= MOST_CLICKS
    largest = sorted(counts, reverse=True)
    assert sum(largest[: len(counts) // 100]) > 0.2 * sum(counts)  # of 1 % of the rows; equal counts would give 1 %
