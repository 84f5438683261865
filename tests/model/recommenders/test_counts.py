import numpy as np
import pytest

from model.recommenders.counts import interpolated, most_used, own

HISTORIES = np.array([[3, 0, 1], [0, 0, 0]])
COUNTS = np.array([2, 6, 2])


def test_counting_by_hand() -> None:
    assert most_used(COUNTS, 2).tolist() == [[0.2, 0.6, 0.2]] * 2
    assert own(HISTORIES).tolist() == [[0.75, 0, 0.25], [0, 0, 0]]
    assert interpolated(HISTORIES, COUNTS, 6)[0] == pytest.approx([(3 + 1.2) / 10, 3.6 / 10, (1 + 1.2) / 10])
    assert interpolated(HISTORIES, COUNTS, 6)[1] == pytest.approx([0.2, 0.6, 0.2])


def test_the_weight_goes_from_the_users_own_to_the_most_used() -> None:
    assert interpolated(HISTORIES, COUNTS, 1e-9)[0] == pytest.approx(own(HISTORIES)[0], abs=1e-8)
    assert interpolated(HISTORIES, COUNTS, 1e9)[0] == pytest.approx([0.2, 0.6, 0.2], abs=1e-8)


def test_nothing_was_given() -> None:
    assert most_used(np.zeros(3), 1).tolist() == [[0, 0, 0]]
