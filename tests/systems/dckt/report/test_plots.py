"""Tests of the plots."""

import io

import polars as pl
from PIL import Image

from report.intervals import Interval
from systems.dckt.report.plots import alpha_plot, iterations_plot

VALUES = [Interval(30, 29, 31), Interval(34, 33, 36), Interval(33, 31, 34)]


def size(picture: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(picture)).size


def test_alpha_is_drawn_with_and_without_a_start() -> None:
    with_start, without = (alpha_plot([0.01, 0.2, 1.0], VALUES, before) for before in (31.0, None))
    assert size(with_start) == size(without)
    assert with_start != without
    assert with_start == alpha_plot([0.01, 0.2, 1.0], VALUES, 31.0)


def test_iterations_are_drawn_as_means_over_seeds() -> None:
    seeds = [(seed, iteration, 30.0 + iteration + seed, None if iteration == 0 else 10.0 + seed)
             for seed in (0, 2) for iteration in range(4)]  # fmt: skip
    columns = ["seed", "iteration", "map", "chosen"]
    table = pl.DataFrame(seeds, schema=columns, orient="row")
    mean = pl.DataFrame(
        [(0, iteration, 31.0 + iteration, None if iteration == 0 else 11.0) for iteration in range(4)],
        schema=columns,
        orient="row",
    )
    assert iterations_plot({"DCKT": table}) == iterations_plot({"DCKT": mean})
    assert iterations_plot({"DCKT": table}) != iterations_plot({"DCKT": table, "all": table})
