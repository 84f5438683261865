import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.words.word_forms import exact_forms, joined_words, number_forms, standard_spelling, without_accents


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("dog", ["dogs"]),
        ("dogs", ["dog"]),
        ("finch", ["finches", "finchs"]),
        ("finches", ["finche", "finch"]),
        ("puppy", ["puppies", "puppys"]),
        ("monkey", ["monkeys"]),
        ("wolf", ["wolfs", "wolves"]),
        ("wolves", ["wolve", "wolv", "wolf", "wolfe"]),
        ("knife", ["knifes", "knives"]),
        ("potato", ["potatos", "potatoes"]),
        ("goose", ["geese"]),
        ("geese", ["goose"]),
        ("fisherman", ["fishermen"]),
        ("women", ["woman"]),
        ("grass", ["grasses"]),
        ("bus", ["buses"]),
        ("ibis", ["ibises"]),
        ("ox", []),  # two letters
        ("k9", []),
        ("狗", []),
        ("größe", []),
    ],
)
def test_numbers_of_words(word, expected):
    assert number_forms(word) == expected


@settings(max_examples=50, deadline=None)
@given(st.text("abdegiknoprtuwy", min_size=3, max_size=8).filter(lambda word: not re.search("(man|men|i|u|f)$", word)))
def test_a_regular_plural_is_taken_back(word):
    [plural, *_] = number_forms(word)
    assert plural != word
    assert word in number_forms(plural)


def test_spellings_are_one_word():
    assert standard_spelling("grey") == standard_spelling("gray") == "gray"
    assert exact_forms("harbour") == exact_forms("harbor") == ["harbor", "harbour"]
    assert exact_forms("greyhound") == ["greyhound"]
    assert standard_spelling("frisé") == "frise"
    assert without_accents("ångström й हिं") == "angstrom й हिं"


def test_joined_words_are_adjacent():
    assert dict(joined_words(["a", "b", "c"])) == {"ab": ("a", "b"), "abc": ("a", "b", "c"), "bc": ("b", "c")}
    assert list(joined_words(["alone"])) == []
