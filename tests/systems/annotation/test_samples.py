"""Samples at equal distances, and their captions."""

from io import BytesIO

import numpy as np
from PIL import Image

from systems.annotation.samples import COLUMNS, Sample, draw_samples, lines, sample_rows


def test_rows_at_equal_distances() -> None:
    assert sample_rows(3, 9).tolist() == [0, 4, 8]
    assert sample_rows(8, 3).tolist() == [0, 1, 2]
    assert sample_rows(1, 5).tolist() == [0]


def test_long_lists_are_broken_between_names() -> None:
    assert lines([]) == ""
    assert lines(["a", "b c"]) == "a, b c"
    broken = lines(["golden retriever"] * 4).split("\n")
    assert len(broken) == 2
    assert broken[0] == "golden retriever, golden retriever,"


def test_a_picture_has_a_row_for_each_four_and_stable_bytes() -> None:
    samples = [Sample(np.full((9, 9, 3), 20 * n, np.uint8), ["cat", "dog"], ["dog", "red"]) for n in range(COLUMNS + 1)]
    png = draw_samples(samples)
    one_row = Image.open(BytesIO(draw_samples(samples[:1]))).size
    width, height = Image.open(BytesIO(png)).size
    assert width == one_row[0]
    assert abs(height - 2 * one_row[1]) <= 1  # rounded to pixels
    assert draw_samples(samples) == png
