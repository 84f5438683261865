import pytest

from systems.tagging.published import NUS_WIDE, YFCC100M


@pytest.mark.parametrize("table", [YFCC100M, NUS_WIDE])
def test_published_numbers_are_possible_but_for_one(table) -> None:
    for name, row in table.items():
        assert list(row.precision) == sorted(row.precision, reverse=True)
        assert list(row.accuracy) == sorted(row.accuracy)
        is_possible = list(row.recall) == sorted(row.recall)
        assert is_possible == (not (table is YFCC100M and name == "A6"))
        for k, precision, accuracy in zip((3, 5, 10), row.precision, row.accuracy, strict=True):
            assert precision <= accuracy <= min(100, k * precision + k)  # in percent, rounded


def test_a_value_is_found_by_measure_and_k() -> None:
    assert YFCC100M["A6"].at("precision", 5) == 39
    assert NUS_WIDE["A6"].at("recall", 10) == 70
    assert NUS_WIDE["A6"].at("recall", 4) is None
