"""Tables of component studies against numbers worked out by hand."""

import polars as pl
import pytest
from report_data import write_ratios, write_run

from systems.mtmdd.config import NetworkParams, ObjectiveParams
from systems.mtmdd.report.component_studies import WORDS, reported, study_table, study_texts
from systems.mtmdd.report.runs import Runs, read_runs
from systems.mtmdd.runs import Point
from systems.mtmdd.studies import STUDIES

MTTDL, JOINT = Point("methods", "MTTDL"), Point("methods", "MTMDD-VM")
SHARED = Point("components", "mu=shared-0.1")
ALONE = Point("components", "lambda=shared-1")
MIXED = Point("components", "lambda=shared-0.4")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("runs")
    for point, right, rmse in (
        (MTTDL, {"source": 3, "target": 4}, 0.9),
        (JOINT, {"source": 6, "target": 9}, 0.7),
        (SHARED, {"target": 3}, None),
        (ALONE, {"source": 1, "target": 2}, 0.6),
        (MIXED, {"source": 5, "target": 7}, 0.8),
    ):
        write_run(folder / point.name / "seed-0", 0, right, rmse)
    studies = {
        "tau": {},
        "mu": {"separate-0.9": JOINT, "shared-0.1": SHARED},
        "lambda": {"shared-0.4": MIXED, "shared-1": ALONE, "separate-0.4": JOINT},
        "features": {"V": MTTDL, "V+C": JOINT},
        "kernels": {"3x8": SHARED},
    }
    return read_runs(folder, [MTTDL, JOINT, SHARED, ALONE, MIXED], [0], studies)


def test_every_study_has_words_and_a_baseline_that_can_be_run(
    network_params: NetworkParams, objective_params: ObjectiveParams
) -> None:
    assert set(WORDS) == set(STUDIES)
    papers = objective_params.model_copy(update={"click_gradient": 1.0, "recogniser_gradient": 1.0})
    for words in WORDS.values():
        study, _, value = words.baseline.format(series="shared").partition("=")
        assert not value or value in (*STUDIES[study].paper, *STUDIES[study].own(network_params, papers))


def test_a_study_is_reported_that_compares_and_has_runs_of_its_own(runs: Runs) -> None:
    assert reported(runs) == ["mu", "lambda"]


def test_values_are_compared_with_a_method_that_is_the_last_row(runs: Runs) -> None:
    table = study_table(runs, "mu")
    # 9 and 3 against MTTDL's 4 of 16 target images
    assert table.select("series", "value", "run", "accuracy_source", "accuracy_target", "gain").rows() == [
        ("separate", "0.9", "MTMDD-VM", 66.6667, 56.25, 31.25),
        ("shared", "0.1", "mu=shared-0.1", None, 18.75, -6.25),
        ("", None, "MTTDL", 33.3333, 25.0, None),
    ]
    # 5 of 16 images differ, each by 1: variance 16 / 15 * (11 * 0.3125^2 + 5 * 0.6875^2) / 16^2; the exact lower limit
    # of 5 positive signs of 5 is 0.025^(1/5), on the scale from -31.25 to 31.25
    half = 1.959963984540054 * (16 / 15 * (11 * 0.3125**2 + 5 * 0.6875**2)) ** 0.5 / 16
    low = 31.25 * (2 * 0.025 ** (1 / 5) - 1)
    found = table.row(0, named=True)
    assert (found["gain_low"], found["gain_high"]) == (round(low, 4), round(31.25 + 100 * half, 4))
    assert table["published_target"].null_count() == 3
    assert table["rmse_source"].to_list() == [0.7, None, 0.9]


def test_values_are_compared_within_their_series_and_stand_beside_the_paper(runs: Runs) -> None:
    table = study_table(runs, "lambda")
    names = ("series", "value", "gain", "published_source", "published_target", "published_rmse")
    # 7 against 2 of 16; with separate heads lambda = 1 was not run; published numbers from Table VII, the RMSE-S 0.87,
    # 0.81 and 0.819 times sqrt(2)
    assert table.select(names).rows() == [
        ("shared", "0.4", 31.25, 76.6, 75.6, 1.2304),
        ("shared", "1", None, 40.1, 63.5, 1.1455),
        ("separate", "0.4", None, 77.1, 73.3, 1.1582),
    ]
    assert table.schema["gain"] == pl.Float64


@pytest.fixture(scope="module")
def with_ratios(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("ratios")
    points = {value: Point("components", name) for value, name in
              {"0": "features=C_E", "0.1": "features=C", "0.4": "tau=0.4", "1": "tau=1"}.items()}  # fmt: skip
    wide = Point("components", "bandwidth=10")
    for point in (*points.values(), wide):
        write_run(folder / point.name / "seed-0", 0, {"target": 4}, 0.9)
    write_ratios(folder / points["0.1"].name, [0.6, 1.7, 0.9])
    write_ratios(folder / points["1"].name, [])
    write_ratios(folder / wide.name, [0.25, None], 10.0)
    measured = [points["0.1"], points["1"], wide]
    studies = {"tau": points, "bandwidth": {"10": wide, "0.01": points["0.1"]}, "mu": points}
    return read_runs(folder, [*points.values(), wide], [0], studies, measured)


def test_gradient_ratios_stand_beside_table_v(with_ratios: Runs) -> None:
    table = study_table(with_ratios, "tau")
    names = ("value", "gradient_ratio", "gradient_ratio_least", "gradient_ratio_largest", "published_ratio")
    # 0 and 0.4 are not measured, 1 has no count loss; published numbers from Table V
    assert table.select(names).rows() == [
        ("0", None, None, None, None),
        ("0.1", 0.9, 0.6, 1.7, 0.99),
        ("0.4", None, None, None, 19.84),
        ("1", None, None, None, None),
    ]
    texts = study_texts(table, "tau", {})
    headings = [(column.heading, column.group) for column in texts.columns]
    ours = headings.index(("gradient ratio", "ours, on this data"))
    assert [row[ours] for row in texts.rows] == ["–", "0.90 (0.60 to 1.70)", "–", "–"]
    theirs = headings.index(("gradient\nratio", "published"))
    assert [row[theirs] for row in texts.rows] == ["–", "0.99", "19.84", "–"]
    assert texts.groups == [("", 1), ("ours, on this data", theirs - 3), ("published", 3), ("", 1)]


def test_shares_of_inputs_stand_beside_table_iv(with_ratios: Runs) -> None:
    table = study_table(with_ratios, "bandwidth")
    assert table.select("value", "inputs_predicted", "inputs_true", "published_ratio").rows() == [
        ("10", 0.31, 0.125, 57.53),
        ("0.01", 0.31, 0.125, 0.27),
        (None, None, None, None),  # tau = 0
    ]
    texts = study_texts(table, "bandwidth", {})
    headings = [column.heading for column in texts.columns]
    shown = [headings.index(name) for name in ("v^ in\n[0, B], %", "v in\n[0, B], %", "in\n[0, B], %")]
    assert [[row[place] for place in shown] for row in texts.rows] == [
        ["0.31", "0.12", "57.53"], ["0.31", "0.12", "0.27"], ["–", "–", "–"],
    ]  # fmt: skip
    assert "gradient ratio" not in headings


def test_other_studies_have_no_ratio(with_ratios: Runs) -> None:
    assert not any("ratio" in name or "inputs" in name for name in study_table(with_ratios, "mu").columns)


def test_the_texts_leave_out_what_nothing_is_in(runs: Runs) -> None:
    texts = study_texts(study_table(runs, "mu"), "mu", {})
    assert [column.heading for column in texts.columns] == [
        "heads", "µ", "Acc-S, %", "Acc-T, %", "Acc-T, 95 %", "RMSE-S", "Acc-T −\nMTTDL", "95 %", "run",
    ]  # fmt: skip
    assert [row[:4] + row[6:7] + row[8:] for row in map(list, texts.rows)] == [
        ["separate heads", "0.9", "66.7", "56.2", "+31.2", "MTMDD-VM"],
        ["shared head", "0.1", "–", "18.8", "-6.2", "–"],
        ["", "MTTDL", "33.3", "25.0", "–", "MTTDL"],
    ]
    headings = [column.heading for column in study_texts(study_table(runs, "lambda"), "lambda", {}).columns]
    assert headings[6] == "Acc-T −\nλ = 1"
    assert headings[8:11] == ["Acc-S, %", "Acc-T, %", "RMSE-S\n× √2"]


def test_each_number_of_a_study_stands_below_its_heading() -> None:
    row = {
        "series": "shared", "value": "0.4", "run": "MTMDD-VM-star", "baseline": "lambda=shared-1",
        "accuracy_source": 11.0, "low_source": 10.0, "high_source": 12.0, "deviation_source": 0.5, "images_source": 9,
        "accuracy_target": 21.0, "low_target": 20.0, "high_target": 22.0, "deviation_target": 0.7, "images_target": 16,
        "rmse_source": 0.8764, "gain": 3.0, "gain_low": -1.5, "gain_high": 7.5,
        "published_source": 76.6, "published_target": 75.6, "published_rmse": 1.2304,
    }  # fmt: skip
    texts = study_texts(pl.DataFrame([row]), "lambda", {"predicting nothing": 1.0, "the category means": 0.8255})
    assert [(c.group, c.heading, cell) for c, cell in zip(texts.columns, texts.rows[0], strict=True)] == [
        ("", "heads", "shared head"),
        ("", "λ", "0.4"),
        ("ours, on this data", "Acc-S, %", "11.0 ± 0.5"),
        ("ours, on this data", "Acc-T, %", "21.0 ± 0.7"),
        ("ours, on this data", "Acc-T, 95 %", "20.0 to 22.0"),
        ("ours, on this data", "RMSE-S", "0.876"),
        ("ours, on this data", "Acc-T −\nλ = 1", "+3.0"),
        ("ours, on this data", "95 %", "-1.5 to +7.5"),
        ("published", "Acc-S, %", "76.6"),
        ("published", "Acc-T, %", "75.6"),
        ("published", "RMSE-S\n× √2", "1.230"),
        ("", "run", "MTMDD-VM*"),
    ]
    # the lines of reference have a name and an RMSE-S of ours, nothing else
    for cells, name, rmse in zip(
        texts.rows[1:], ("predicting nothing", "the category means"), ("1.000", "0.826"), strict=True
    ):
        assert list(cells[:2]) == ["", f"reference: {name}"]
        assert [cell for cell in cells[2:] if cell != "–"] == [rmse]
        assert cells[5] == rmse


def test_a_study_without_rmse_has_no_lines_of_reference(runs: Runs) -> None:
    table = study_table(runs, "mu").with_columns(rmse_source=pl.lit(None, pl.Float64))
    texts = study_texts(table, "mu", {"predicting nothing": 1.0})
    assert len(texts.rows) == len(table)
