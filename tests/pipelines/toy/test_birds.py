"""The toy's birds differ in attributes, share attributes, and have some of the dogs' words."""

from collections import Counter
from itertools import combinations

from pipelines.ingest.categories import normalise_category
from pipelines.toy.birds import ATTRIBUTE_WORDS, BIRDS, Bird
from pipelines.toy.breeds import ATTRIBUTE_WORDS as DOG_WORDS
from pipelines.toy.breeds import BREEDS

SHARED = [bird for bird in BIRDS if bird.presence == "both"]


def differences(one: Bird, other: Bird) -> int:
    mine, theirs = one.attributes(), other.attributes()
    return sum(mine[name] != theirs[name] for name in mine)


def words_of(attributes: dict[str, dict[str, tuple[str, str]]], language: int) -> set[str]:
    return {words[language] for values in attributes.values() for words in values.values()}


def test_they_are_as_many_as_the_dogs_and_of_their_own_names() -> None:
    assert Counter(bird.presence for bird in BIRDS) == Counter(breed.presence for breed in BREEDS)
    assert [bird.few for bird in BIRDS].count(True) == 1
    for names in ([one.name for one in (*BIRDS, *BREEDS)], [one.chinese for one in (*BIRDS, *BREEDS)]):
        assert len(set(names)) == len(names)
    assert all(normalise_category(bird.name) == bird.name for bird in BIRDS)


def test_species_differ_and_are_fine_grained() -> None:
    assert all(differences(one, other) >= 1 for one, other in combinations(BIRDS, 2))
    for bird in SHARED:
        nearest = min(differences(bird, other) for other in SHARED if other is not bird)
        assert nearest <= 2, bird.name


def test_every_attribute_value_has_words_and_is_shared_by_kinds() -> None:
    for attribute, words in ATTRIBUTE_WORDS.items():
        assert {bird.attributes()[attribute] for bird in SHARED} == set(words)
        for value in words:
            kinds = {bird.name.split()[-1] for bird in SHARED if bird.attributes()[attribute] == value}
            assert len(kinds) >= 2, value


def test_some_words_are_the_dogs_and_some_are_not() -> None:
    for language in (0, 1):
        birds, dogs = words_of(ATTRIBUTE_WORDS, language), words_of(DOG_WORDS, language)
        assert len(birds & dogs) == 13  # 6 colours, 3 patterns, 2 lengths of tails, 2 of legs
        assert len(birds - dogs) == 11
        assert len(birds) == 24  # each word stands for one value
