"""The simulation of deciding samples: its population, its order of answers, and that its tables have all cells."""

import numpy as np
import pytest

from benchmarks.studies import deciding_samples
from benchmarks.studies.deciding_samples import (
    MANY,
    PRESENT,
    drawn,
    population,
    quartiles,
    reports_table,
    samples_table,
)
from benchmarks.verdicts import POOL, TESTED, trainings
from report.intervals import Variances
from report.sample_size import Sample, variance_of


def test_more_images_are_drawn_of_the_same_kind() -> None:
    correct, is_tested = trainings(np.random.default_rng(0), 20, np.array([0.8]), np.array([0.0]), 2, times=3)
    assert correct.shape == (20, 1, 2, 3 * POOL)
    assert (is_tested.sum(axis=2) == 3 * TESTED).all()
    assert correct.mean() == pytest.approx(0.8, abs=0.01)


def test_the_population_has_the_variances_of_many_seeds() -> None:
    # luck 40, one seed's choice of images 8 beyond what seeds share (2)
    def of(seeds: int) -> Variances:
        return Variances(*(np.array([part]) for part in (0.0, (40 + 8) / seeds, 2.0, 8 / seeds + 2.0)))

    whole = population(of(MANY), 3)
    assert (whole.mean, whole.num_seeds, whole.degrees) == (0.03, PRESENT, PRESENT - 1)
    assert (whole.seeds, whole.shared, whole.units) == pytest.approx((48 / 5, 2.0, 8 / 5 + 2.0))
    assert variance_of(whole, MANY) == pytest.approx(48 / MANY + 2.0)


def test_quartiles_put_more_images_after_more_seeds() -> None:
    samples = [Sample(None, None, 1.0), Sample(8, 3, 1.0), Sample(90, 1, 1.0), Sample(7, 1, 1.0), Sample(20, 2, 1.0)]
    assert quartiles(samples) == "90 / 2 × images, 20 / 3 × images, 8"


def test_drawn_comparisons_fill_whole_batches() -> None:
    found = drawn(np.random.default_rng(0), 30, 2, 10, 40, is_fixed=True)
    assert found.mean.shape == (50,)
    assert found.mean.mean() == pytest.approx(0.1, abs=0.015)


def test_tables_have_a_cell_for_each_heading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding_samples, "CASES", ((2, 8),))
    draw = np.random.default_rng(0)
    for lines, rows in ((samples_table(draw, 20), 4), (reports_table(draw, 2), 2)):
        cells = [line.count("|") for line in lines]
        assert len(set(cells)) == 1
        assert len(cells) == rows + 2
