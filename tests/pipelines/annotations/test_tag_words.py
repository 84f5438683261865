"""A tag is one word, whatever is in it."""

import pyarrow as pa
import pytest

from base.schemas import QUERIES
from pipelines.annotations.tag_words import tag_word, tag_words


@pytest.mark.parametrize(
    ("tag", "word"),
    [
        ("New  York", "new york"),
        ("rock'n-roll", "rock'n-roll"),
        ("猫咪 可爱", "猫咪 可爱"),
        ("Ｃat", "cat"),
        ("\u00ad ", ""),
    ],
)
def test_words(tag: str, word: str) -> None:
    assert tag_word(tag) == word


def test_the_words_of_a_log_are_sorted_by_tag_and_each_tag_is_listed_once() -> None:
    found = tag_words(pa.array(["b", "New York", " ", "b"]))
    assert found.schema == QUERIES
    assert found.to_pylist() == [
        {"query": " ", "words": []}, {"query": "New York", "words": ["new york"]}, {"query": "b", "words": ["b"]},
    ]  # fmt: skip
