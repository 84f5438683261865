"""Table IX against numbers worked out by hand."""

from pathlib import Path

import polars as pl
import pytest
from report_data import write_run

from systems.mtmdd.report.cross_object import cross_object_table, cross_object_texts
from systems.mtmdd.report.runs import read_runs
from systems.mtmdd.report.tables import claims_table
from systems.mtmdd.runs import Point

SINGLE = Point("methods", "MTMDD-VM")
CROSS = Point("cross_object", "MTMDD-VM", source="birds")
CATS = Point("cross_object", "MTMDD-VM", source="cats")
ALONE = Point("cross_object", "TDL7", source="birds")


def table_of(folder: Path, **right: int):
    points = {"single": SINGLE, "cross": CROSS, "cats": CATS, "alone": ALONE}
    for name, number in right.items():
        write_run(folder / points[name].name / "seed-0", 0, {"source": 3, "target": number})
    return cross_object_table(read_runs(folder, [points[name] for name in right], [0]))


def test_what_another_source_costs_is_paired_by_image(tmp_path: Path) -> None:
    table = table_of(tmp_path, single=12, cross=9, cats=13)
    row, other = table.to_dicts()
    assert (row["method"], row["source"], other["source"]) == ("MTMDD-VM", "birds", "cats")
    assert (row["single"], row["cross"], other["single"], other["cross"]) == (75.0, 56.25, 75.0, 81.25)
    # 3 of 16 images differ, each by 1: mean 0.1875, variance 16 / 15 * (13 * 0.1875^2 + 3 * 0.8125^2) / 16^2; the exact
    # lower limit of 3 positive signs of 3 is 0.025^(1/3), on the scale from -18.75 to 18.75
    half = 100 * 1.959963984540054 * (16 / 15 * (13 * 0.1875**2 + 3 * 0.8125**2)) ** 0.5 / 16
    low = 18.75 * (2 * 0.025 ** (1 / 3) - 1)
    assert (row["lost"], row["lost_low"], row["lost_high"]) == (18.75, round(low, 4), round(18.75 + half, 4))
    assert other["lost"] == -6.25
    assert [row[f"published_{name}"] for name in ("dog_single", "dog_cross", "bird_single", "bird_cross")] == [
        74.7, 73.5, 73.8, 70.7,
    ]  # fmt: skip


def test_what_was_not_run_or_published_is_empty(tmp_path: Path) -> None:
    table = table_of(tmp_path, alone=4)
    row = table.row(0, named=True)
    assert row["cross"] == 25.0
    assert [name for name, value in row.items() if value is not None] == [
        "method", "source", "cross", "cross_low", "cross_high",
    ]  # fmt: skip
    texts = cross_object_texts(table)
    assert list(texts.rows[0][:5]) == ["TDL [7]", "birds", "–", "–", "25.0"]
    assert set(texts.rows[0][6:]) == {"–"}


def test_no_study_no_rows(tmp_path: Path) -> None:
    assert table_of(tmp_path, single=5).is_empty()


def test_texts_have_a_cell_for_each_heading(tmp_path: Path) -> None:
    texts = cross_object_texts(table_of(tmp_path, single=12, cross=9))
    assert [len(row) for row in texts.rows] == [len(texts.columns)]
    cells = {(column.heading, column.group): cell for column, cell in zip(texts.columns, texts.rows[0], strict=True)}
    assert cells["lost", "ours, on this data"] == "+18.8"
    assert cells["birds, single / cross", "published"] == "73.8 / 70.7"


def test_each_number_of_table_ix_stands_below_its_heading() -> None:
    row = {
        "method": "TDL7", "source": "birds",
        "single": 71.0, "single_low": 70.0, "single_high": 72.5, "single_deviation": 0.5,
        "cross": 61.0, "cross_low": 60.0, "cross_high": 62.5, "cross_deviation": 0.7,
        "lost": 10.0, "lost_low": -1.5, "lost_high": 21.5,
        "published_dog_single": 81.0, "published_dog_cross": 82.0, "published_bird_single": 83.0,
        "published_bird_cross": 84.0,
    }  # fmt: skip
    texts = cross_object_texts(pl.DataFrame([row]))
    assert [(c.group, c.heading, cell) for c, cell in zip(texts.columns, texts.rows[0], strict=True)] == [
        ("", "method", "TDL [7]"),
        ("", "other source", "birds"),
        ("ours, on this data", "Acc-T, single", "71.0 ± 0.5"),
        ("ours, on this data", "95 %", "70.0 to 72.5"),
        ("ours, on this data", "Acc-T, cross", "61.0 ± 0.7"),
        ("ours, on this data", "95 %", "60.0 to 62.5"),
        ("ours, on this data", "lost", "+10.0"),
        ("ours, on this data", "95 %", "-1.5 to +21.5"),
        ("published", "dogs, single / cross", "81.0 / 82.0"),
        ("published", "birds, single / cross", "83.0 / 84.0"),
    ]


@pytest.mark.parametrize(
    ("single", "cross", "verdict"),
    [(8, 8, "holds"), (8, 7, "open"), (16, 1, "contradicted"), (8, 13, "holds")],
)
def test_a_small_cost_is_one_of_at_most_the_papers_largest(
    tmp_path: Path, single: int, cross: int, verdict: str
) -> None:
    # no image differs: 0 is below 3.1; one of 16 differs: 6.2 points, -6 to 18; 15 of 16: 94 points, 82 to 106
    for point, right in ((SINGLE, single), (CROSS, cross)):
        for seed in (0, 1):
            write_run(tmp_path / point.name / f"seed-{seed}", seed, {"target": right})
    runs = read_runs(tmp_path, [SINGLE, CROSS], [0, 1])
    row = claims_table(runs).filter(better="MTMDD-VM", worse="cross_object=MTMDD-VM").row(0, named=True)
    assert (row["claim"], row["published"], row["verdict"]) == (8, 1.2, verdict)
