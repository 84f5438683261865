"""The most clicked words and their weights."""

import math

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that
from click_buckets import bucket

from base.params import ParamsError, validate_section
from base.schemas import VOCABULARY
from pipelines.beam.runner import pipeline
from pipelines.beam.shuffle import Packer
from pipelines.words.vocabulary import (
    WORD_CLICKS,
    MostClickedWords,
    VocabularyParams,
    document_frequencies,
    most_clicked,
    vocabulary_table,
    word_clicks,
)


def ranked(batch: pa.RecordBatch) -> list[tuple[str, int]]:
    return list(zip(*[column.to_pylist() for column in batch.columns], strict=True))


def test_word_clicks_count_a_word_once_per_query_and_no_overflow():
    rows = [("a", "dog dog red", 2), ("b", "dog dog red", 3), ("a", "dog", 10**12), ("c", "?", 9)]
    assert sorted(ranked(word_clicks(bucket(*rows)))) == [("dog", 10**12 + 5), ("red", 5)]
    many = bucket(*((f"image {i}", "dog", 10**12) for i in range(300)))  # above 255: no arithmetic in 8 bits
    assert ranked(word_clicks(many)) == [("dog", 300 * 10**12)]


def test_most_clicked_ties_go_by_code_point():
    words = pa.record_batch([["狗", "b", "a", "Z", "b", "c", "é"], [5, 2, 5, 5, 3, 9, 5]], schema=WORD_CLICKS)
    everything = [("c", 9), ("Z", 5), ("a", 5), ("b", 5), ("é", 5), ("狗", 5)]
    assert ranked(most_clicked(words)) == everything
    assert ranked(most_clicked(words, 3)) == everything[:3]
    assert ranked(most_clicked(words, 100)) == everything


def test_most_clicked_leaves_out_words_without_clicks():
    words = pa.record_batch([["a", "b", "a"], [0, 1, 0]], schema=WORD_CLICKS)
    assert ranked(most_clicked(words)) == [("b", 1)]


@pytest.mark.parametrize("top_words", [1, 4, 50])
def test_transform_equals_counting_by_dictionary(top_words):
    generator = np.random.default_rng(3)
    rows = [
        (f"i{generator.integers(9)}", " ".join(f"w{word}" for word in generator.integers(0, 30, 3)), int(clicks))
        for clicks in generator.integers(1, 50, 90)
    ]
    totals: dict[str, int] = {}
    for _, query, clicks in rows:
        for word in set(query.split()):
            totals[word] = totals.get(word, 0) + clicks
    expected = sorted(totals.items(), key=lambda item: (-item[1], item[0]))[:top_words]

    def check_words(found):
        assert [ranked(batch) for batch in found] == [expected]

    def check_number(found):
        assert found == [len(totals)]

    with pipeline() as job:
        buckets = (
            job
            | beam.Create([rows[:20], rows[20:]])
            | beam.FlatMap(lambda part: Packer().pack([bucket(*part).to_batch()]))
        )
        words, num_words = buckets | MostClickedWords(top_words, Packer())
        assert_that(words, check_words)
        assert_that(num_words, check_number, label="num_words")


def test_weights_by_hand():
    words = pa.record_batch([["dog", "red", "cat"], [9, 5, 2]], schema=WORD_CLICKS)
    matrix = pa.record_batch(
        {"image_id": ["a", "b", "c", "d"], "word_ids": [[0, 1], [0], [], [0, 2]], "clicks": [[1, 2], [3], [], [4, 5]]}
    )
    frequencies = document_frequencies(matrix, words)
    assert frequencies.tolist() == [4, 3, 1, 1]
    table = vocabulary_table(words, frequencies + document_frequencies(matrix.slice(2, 1), words))
    assert table.schema == VOCABULARY
    assert table["word_id"].to_pylist() == [0, 1, 2]
    assert table["document_frequency"].to_pylist() == [3, 1, 1]
    assert table["idf"].to_pylist() == [math.log(5 / 3), math.log(5), math.log(5)]


def test_a_word_in_every_image_weighs_nothing():
    words = pa.record_batch([["dog"], [9]], schema=WORD_CLICKS)
    assert vocabulary_table(words, np.array([7, 7]))["idf"].to_pylist() == [0.0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"top_words": 0, "fit_on": "all"}, "vocabulary.top_words = 0: .*greater than or equal to 1"),
        ({"top_words": 5, "fit_on": "test"}, "vocabulary.fit_on = 'test': .*'all' or 'train'"),
        ({"fit_on": "all"}, "parameter vocabulary.top_words is missing"),
    ],
)
def test_parameter_errors(values, message):
    with pytest.raises(ParamsError, match=message):
        validate_section(VocabularyParams, "vocabulary", values, where="test")
