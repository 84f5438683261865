"""Queries become vectors by their known words."""

import numpy as np
import pytest

from clicksight.queries import known_words, query_vectors
from pipelines.words.segmentation import Segmenter, SegmentParams

PARAMS = SegmentParams(stop_words=None, dictionary=None, user_dictionary=None, minimum_length=1, lemmas="en")


def test_known_and_unknown_words_of_queries() -> None:
    found = known_words(["Dogs and a dog, fires", "unicorn"], ["fire", "sky", "dog"], Segmenter(PARAMS))
    assert found == [([0, 2], {"and", "a"}), ([], {"unicorn"})]


def test_vectors_have_the_weights_of_words_and_length_1() -> None:
    vectors = query_vectors([[0, 2], [1], []], np.array([3.0, 2.0, 4.0]))
    assert vectors.dtype == np.float32
    assert vectors == pytest.approx(np.array([[0.6, 0, 0.8], [0, 1, 0], [0, 0, 0]]))
