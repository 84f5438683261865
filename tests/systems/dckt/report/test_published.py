"""Tests of the published figures: their own sums, which a wrong digit would break."""

import pytest

from systems.dckt.report.published import DATA_SETS, TABLE_2, TABLE_3


def test_averages_are_the_means_of_both_directions() -> None:
    assert len(TABLE_2) == 13
    for method, values in TABLE_2.items():
        assert len(values) == len(DATA_SETS)
        for value in values:
            # the paper rounds to one digit here, halves upwards
            mean = (value.image_to_text + value.text_to_image) / 2
            assert value.average == pytest.approx(mean, abs=0.0501), method


def test_both_tables_have_the_same_whole() -> None:
    assert TABLE_3["DCKT"] == tuple(value.average for value in TABLE_2["DCKT"])
