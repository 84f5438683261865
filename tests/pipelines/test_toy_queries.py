"""What people type: true of the picture, in two languages, heavy-tailed, and now and then wrong."""

import re

import jieba
import numpy as np
import pytest

from pipelines.toy_breeds import ATTRIBUTE_WORDS, BREEDS, Breed
from pipelines.toy_drawing import Look
from pipelines.toy_queries import MOST_CLICKS, clicks_of, describe, write_query

MARSH, RIVER = (next(breed for breed in BREEDS if breed.name == name) for name in ("marsh hound", "river greyhound"))
LOOK = Look("running", "scarf", "rug")


def stream(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def queries(kind: str, breed: Breed = MARSH, look: Look = LOOK, number: int = 300) -> set[str]:
    return {write_query(kind, breed, look, [RIVER], stream(seed)) for seed in range(number)}


@pytest.mark.parametrize("breed", BREEDS, ids=[breed.name for breed in BREEDS])
@pytest.mark.parametrize("language", [0, 1], ids=["en", "zh"])
def test_descriptions_name_only_what_the_breed_has(breed: Breed, language: int) -> None:
    has = {words[value][language] for name, words in ATTRIBUTE_WORDS.items() for value in [breed.attributes()[name]]}
    for seed in range(30):
        text = describe(breed, ("en", "zh")[language], stream(seed))
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


@pytest.mark.parametrize("kind", ["name", "attributes", "generic", "off-topic"])
def test_both_languages_occur(kind: str) -> None:
    written = queries(kind)
    chinese = {query for query in written if re.search("[一-鿿]", query)}
    assert chinese
    assert written - chinese


def test_chinese_attributes_are_words_to_jieba_within_a_query() -> None:
    assert {"棕色", "耳朵", "照片"} <= set(jieba.lcut("一只棕色的垂着耳朵的狗的照片"))
    assert "斑点狗" in jieba.lcut("一只斑点狗的照片")


def test_mislabelled_pictures_are_clicked_less() -> None:
    def total(mislabelled: bool, seed: int) -> int:
        return sum(clicks for _, clicks in clicks_of(MARSH, LOOK, [RIVER], mislabelled, stream(seed)))

    rightly, wrongly = ([total(wrong, seed) for seed in range(300)] for wrong in (False, True))
    assert np.median(wrongly) < 0.5 * np.median(rightly)


def test_counts_are_heavy_tailed() -> None:
    counts = [n for seed in range(1000) for _, n in clicks_of(MARSH, LOOK, [RIVER], False, stream(seed))]
    assert min(counts) == 1
    assert np.median(counts) <= 2
    assert max(counts) <= MOST_CLICKS
    largest = sorted(counts, reverse=True)
    assert sum(largest[: len(counts) // 100]) > 0.2 * sum(counts)  # 1 % of the rows; of equal counts it would be 1 %
