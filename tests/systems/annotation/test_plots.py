"""What the plots show, and that equal tables give equal bytes."""

import polars as pl

from base.schemas import ANNOTATIONS
from systems.annotation.plots import counted, draw_quantities, draw_reliability

ROWS = pl.DataFrame(
    [("a", ["x"], [0.9, 0.2, 0.1], 1.4), ("b", ["x", "z"], [0.6, 0.3, 0.8], 2.5), ("c", ["y"], [0.1, 0.4, 0.2], 9.0)],
    schema=pl.Schema(ANNOTATIONS), orient="row",
)  # fmt: skip


def test_numbers_of_labels() -> None:
    true, predicted = counted(ROWS, 3)
    assert true.tolist() == [1, 2, 1]
    assert predicted.tolist() == [1, 3, 3]
    assert counted(ROWS.with_columns(quantity=None), 3)[1].tolist() == []


def test_pictures_have_stable_bytes_and_change_with_the_rows() -> None:
    for draw in (draw_quantities, lambda rows: draw_reliability(rows, ["x", "y", "z"], 4)):
        assert draw(ROWS) == draw(ROWS)
        assert draw(ROWS) != draw(ROWS[:2])
    assert draw_quantities(ROWS.with_columns(quantity=pl.lit(None, pl.Float32))).startswith(b"\x89PNG")
