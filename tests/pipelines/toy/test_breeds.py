"""The toy's categories differ in attributes, and share them."""

from collections import Counter
from itertools import combinations

from pipelines.ingest.categories import normalise_category
from pipelines.toy.breeds import ATTRIBUTE_WORDS, BREEDS, Breed

SHARED = [breed for breed in BREEDS if breed.presence == "both"]


def differences(one: Breed, other: Breed) -> int:
    mine, theirs = one.attributes(), other.attributes()
    return sum(mine[name] != theirs[name] for name in mine)


def test_there_are_24_shared_categories_and_some_of_one_domain() -> None:
    assert len(SHARED) == 24
    assert Counter(breed.presence for breed in BREEDS) == {"both": 24, "source": 2, "target": 1}
    assert [breed.name for breed in BREEDS if breed.few] == ["frost spitz"]


def test_every_name_is_its_own_and_normalised() -> None:
    assert len({breed.name for breed in BREEDS}) == len({breed.chinese for breed in BREEDS}) == len(BREEDS)
    assert all(normalise_category(breed.name) == breed.name for breed in BREEDS)


def test_any_two_breeds_differ_in_what_can_be_seen() -> None:
    assert all(differences(one, other) >= 1 for one, other in combinations(BREEDS, 2))


def test_breeds_are_fine_grained() -> None:
    for breed in SHARED:
        nearest = min(differences(breed, other) for other in SHARED if other is not breed)
        assert nearest <= 2, breed.name


def test_every_attribute_value_has_words_and_is_shared_by_kinds() -> None:
    for attribute, words in ATTRIBUTE_WORDS.items():
        values = {breed.attributes()[attribute] for breed in SHARED}
        assert values == set(words)
        for value in values:
            kinds = {breed.name.split()[-1] for breed in SHARED if breed.attributes()[attribute] == value}
            assert len(kinds) >= 2, value
