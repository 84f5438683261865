"""The report's tables against numbers worked out by hand from the runs of `report_data`."""

import math
from pathlib import Path

import numpy as np
import pytest
from report_data import COMPONENTS, IMAGES, RIGHT, write_data, write_run

from base.console import UserError
from report.intervals import Estimate, wilson
from report.pages import number
from systems.mtmdd.report.runs import Runs, read_runs
from systems.mtmdd.report.tables import (
    chosen_epochs,
    claims_table,
    declines_compared,
    paired,
    paired_rmse,
    sweep_table,
    table_viii,
    trade_off_table,
    with_interval,
)
from systems.mtmdd.runs import Point, read_run

POINTS = [
    *(read_run(name) for name in RIGHT if name not in COMPONENTS and not name.startswith("cross_object")),
    *(Point("cross_object", method, source="birds") for method in ("VGGsrc", "MTMDD-VM")),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return read_runs(write_data(tmp_path_factory.mktemp("runs")).parent / "system/evaluations", POINTS, [0, 1])


def test_table_viii(runs: Runs) -> None:
    rows = {row["method"]: row for row in table_viii(runs).to_dicts()}
    assert list(rows) == ["VGGimg", "VGGsrc", "MTMDD-VM"]
    ours = rows["MTMDD-VM"]
    # 13 of 16 in both seeds, so that they show no variance; seed 1 has 8 of seed 0's images and 8 others. By image, the
    # sum of (recognised - 13/16) is 3/16 for 0-7 and 16-20, 6/16 for 8-12, -10/16 for 13-15, -13/16 for 21-23.
    variance = 24 / 23 * (13 * 3**2 + 5 * 6**2 + 3 * 10**2 + 3 * 13**2) / (16 * 32) ** 2
    interval = wilson(13 / 16, 39 / 256 / variance)
    assert ours["accuracy_target"] == 81.25
    assert (ours["low_target"], ours["high_target"]) == (round(100 * interval.low, 4), round(100 * interval.high, 4))
    assert (ours["deviation_target"], ours["images_target"], ours["seeds"]) == (0.0, 16, 2)
    # 6 and 7 of 9: 66.67 and 77.78, mean 72.22, deviation 11.11 / sqrt(2).
    assert (ours["accuracy_source"], ours["deviation_source"], ours["images_source"]) == (72.2222, 7.8567, 9)
    assert ours["rmse_source"] == 0.81
    assert (ours["published_source"], ours["published_target"]) == (77.3, 74.7)
    assert (ours["difference_source"], ours["difference_target"]) == (-5.0778, 6.55)


def test_a_method_without_a_source_recogniser_or_clicks_has_nulls(runs: Runs) -> None:
    row = table_viii(runs).row(0, named=True)
    missing = ("accuracy_source", "low_source", "high_source", "deviation_source", "images_source", "rmse_source")
    assert [row[name] for name in missing] == [None] * 6
    assert row["difference_source"] is None
    assert row["published_source"] == 76.5


def test_a_method_that_the_paper_lacks_has_no_published_numbers(tmp_path: Path) -> None:
    write_run(tmp_path / "ours/seed-0", 0, {"target": 3})
    row = table_viii(read_runs(tmp_path, [Point("methods", "ours")], [0])).row(0, named=True)
    assert (row["accuracy_target"], row["deviation_target"]) == (18.75, None)
    assert (row["published_target"], row["difference_target"]) == (None, None)


def test_the_trade_off_has_the_runs_that_predict_clicks_and_recognise_the_target(tmp_path: Path) -> None:
    write_data(tmp_path)
    evaluations = tmp_path / "system/evaluations"
    for seed in (0, 1):  # worse at clicks than the others, and 15 of 16 target images right
        write_run(evaluations / "click_gradient=shared-10" / f"seed-{seed}", seed, {"source": 5, "target": 15}, 0.95)
    names = [*RIGHT, "click_gradient=shared-10"]
    points = [read_run(name) for name in names if not name.startswith("cross_object")]
    table = trade_off_table(read_runs(evaluations, points, [0, 1]))
    found = [(row["run"], row["is_method"], row["rmse"], row["accuracy"]) for row in table.to_dicts()]
    # not VGGimg, which predicts no clicks, nor features=C, whose recognisers have other inputs, nor parts of the data
    assert found == [
        ("click_gradient=shared-10", False, 0.95, 93.75),
        ("MTMDD-VM", True, 0.81, 81.25),
        ("lambda=separate-0.4", False, 0.81, 75.0),
        ("lambda=separate-1", False, 0.81, 62.5),
    ]
    whole = {row["method"]: row for row in table_viii(read_runs(evaluations, points, [0, 1])).to_dicts()}["MTMDD-VM"]
    assert table.row(1, named=True)["low"] == whole["low_target"]
    assert table.row(1, named=True)["high"] == whole["high_target"]
    assert trade_off_table(read_runs(evaluations, [read_run("VGGimg")], [0, 1])).is_empty()


def test_the_sweeps_end_at_the_whole_data_and_have_the_decline(runs: Runs) -> None:
    table = sweep_table(runs, "out_of_class", whole=24)
    points = table.select("method", "reduced", "value", "accuracy_target", "decline").rows()
    assert points == [
        ("VGGsrc", "source", 1.0, 25.0, 31.25),
        ("VGGsrc", "source", 24.0, 56.25, None),
        ("MTMDD-VM", "source", 1.0, 75.0, 6.25),
        ("MTMDD-VM", "source", 24.0, 81.25, None),
    ]
    table = sweep_table(runs, "one_shot", whole=1.0)
    assert table.filter(method="VGGsrc").select("reduced", "value", "accuracy_target", "decline").rows() == [
        ("source", 0.4, 50.0, 6.25),
        ("source", 1.0, 56.25, None),
        ("target", 0.4, 18.75, 37.5),
        ("target", 1.0, 56.25, None),
    ]


def test_a_sweep_of_a_method_that_was_not_run_whole_has_no_decline(tmp_path: Path) -> None:
    write_run(tmp_path / "out_of_class=TDL-6/seed-0", 0, {"target": 4})
    table = sweep_table(read_runs(tmp_path, [Point("out_of_class", "TDL", 6)], [0]), "out_of_class", whole=24)
    assert table.select("value", "accuracy_target", "decline").rows() == [(6.0, 25.0, None)]


def test_a_sweep_of_a_component_point_ends_at_the_point(tmp_path: Path) -> None:
    points = [Point("components", "lambda=shared-0"), Point("one_shot", "lambda=shared-0", 0.4, "target")]
    for point, right in zip(points, (4, 2), strict=True):
        write_run(tmp_path / point.name / "seed-0", 0, {"target": right})
    table = sweep_table(read_runs(tmp_path, points, [0]), "one_shot", whole=1.0)
    assert table.select("method", "value", "accuracy_target", "decline").rows() == [
        ("lambda=shared-0", 0.4, 12.5, 12.5),
        ("lambda=shared-0", 1.0, 25.0, None),
    ]


def test_a_study_that_is_left_out_has_an_empty_table(tmp_path: Path) -> None:
    write_run(tmp_path / "TDL/seed-0", 0, {"target": 4})
    assert sweep_table(read_runs(tmp_path, [Point("methods", "TDL")], [0]), "one_shot", whole=1.0).is_empty()


def test_pairs_are_compared_image_by_image(runs: Runs) -> None:
    better, worse = Point("methods", "MTMDD-VM"), Point("methods", "VGGsrc")
    found = paired(runs, better, worse)
    interval = found.interval()
    assert interval.mean == pytest.approx(25.0)
    assert (found.num_seeds, found.seeds, found.num_runs) == (2, 0, 2)
    # The test images 9-12 of each seed differ. Seed 1 begins 8 images later, so these are the images 9-12 and 17-20,
    # and the images 8-15 are tested twice. By d and m: 9-12 (1, 2); 17-20 (1, 1); 8, 13-15 (0, 2); the other 12 (0, 1).
    residuals = 4 * (1 - 2 * 0.25) ** 2 + 4 * (1 - 0.25) ** 2 + 4 * (2 * 0.25) ** 2 + 12 * 0.25**2
    half = 1.959963984540054 * (24 / 23 * residuals) ** 0.5 / 32
    # Few images differ: the exact lower limit of 8 positive signs of 8 is 0.025^(1/8), on the scale from -25 to 25.
    assert 25 - 100 * half > 11
    assert (interval.low, interval.high) == pytest.approx((25 * (2 * 0.025 ** (1 / 8) - 1), 25 + 100 * half))
    assert paired(runs, worse, better).interval() == pytest.approx((-25.0, -interval.high, -interval.low))


def test_the_noise_of_all_runs_moderates_a_difference(tmp_path: Path) -> None:
    points = [Point("methods", name) for name in ("VGGsrc", "TDL", "TDL7", "MTTDL")]
    for point, counts in zip(points, ((4, 8, 5), (8, 4, 9), (4, 8, 8), (1, 13, 2)), strict=True):
        for seed, right in enumerate(counts):
            write_run(tmp_path / point.name / f"seed-{seed}", seed, {"target": right})
    runs = read_runs(tmp_path, points, [0, 1, 2])
    found, noise = paired(runs, points[0], points[1]), runs.noise
    assert noise is not None
    # differences of -4, 4 and -4 of 16: variance of their mean
    own = (25**2 + 25**2 + 25**2 - 3 * (25 / 3) ** 2) / 2 / 3
    weight = noise.degrees
    expected = (
        2 * noise.variance / 3 if math.isinf(weight) else (weight * 2 * noise.variance / 3 + 2 * own) / (weight + 2)
    )
    assert found.seeds == pytest.approx(expected)
    assert found.degrees == pytest.approx(min(weight + 2, 6))
    assert found.seeds != pytest.approx(own)


def test_pairs_on_different_images_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "TDL/seed-0", 0, {"target": 4})
    write_run(tmp_path / "TDL7/seed-0", 1, {"target": 4})
    points = [Point("methods", "TDL"), Point("methods", "TDL7")]
    with pytest.raises(UserError, match="tested on different target images: 16 and 16, with 8 in common"):
        paired(read_runs(tmp_path, points, [0]), *points)


def test_declines_are_compared_where_all_four_runs_exist(runs: Runs) -> None:
    rows = declines_compared(runs, "MTMDD-VM", "VGGsrc")
    assert [(row["what"], round(row["estimate"].mean, 6)) for row in rows] == [
        ("with 1 source categories", 31.25 - 6.25),
        ("with 0.4 of the source's training images", 6.25 - 6.25),
        ("with 0.4 of the target's training images", 37.5 - 50.0),
    ]
    assert {row["estimate"].num_runs for row in rows} == {4}
    assert declines_compared(runs, "MTMDD-VM", "VGGimg") == []


def test_claims_have_the_published_difference_and_a_verdict_of_ours(runs: Runs) -> None:
    table = claims_table(runs)
    assert table["claim"].is_sorted()
    verdicts = {(row["better"], row["worse"], row["claim"]): row for row in table.to_dicts() if row["claim"] != 7}
    ours = verdicts["MTMDD-VM", "VGGsrc", 5]
    assert (ours["published"], ours["difference"], ours["verdict"]) == (2.5, 25.0, "holds")
    # All 8 images that differ have one sign, which is weaker evidence than their mean; five other claims are tested.
    assert ours["p"] == pytest.approx(2 * 0.5**8, abs=1e-6)  # rounded
    assert (table["p"].count(), table["p_holm"].count()) == (6, 6)
    # Table VIII: 74.7 - 73.3; MTTDL was not run.
    unknown = verdicts["MTMDD-VM", "MTTDL", 5]
    assert (unknown["published"], unknown["difference"], unknown["verdict"]) == (1.4, None, "not run")
    # Table III: 57.3 - 44.2.
    assert verdicts["embedding=CONV+biFC", "embedding=FC", 1]["published"] == 13.1
    sevens = table.filter(claim=7, worse="VGGsrc")
    assert sevens["verdict"].to_list() == ["holds", "open", "open"]
    assert sevens["published"].null_count() == 3


def test_declines_are_claimed_against_each_method_that_learns_from_the_source(tmp_path: Path) -> None:
    methods = ["VGGimg", "TDL", "MTMDD-VM"]
    right = {"VGGimg": (6, 6), "TDL": (12, 4), "MTMDD-VM": (12, 10)}
    for name, (whole, reduced) in right.items():
        write_run(tmp_path / name / "seed-0", 0, {"target": whole})
        write_run(tmp_path / f"out_of_class={name}-6/seed-0", 0, {"target": reduced})
    points = [read_run(text) for name in methods for text in (name, f"out_of_class={name}-6")]
    table = claims_table(read_runs(tmp_path, points, [0]))
    # 8 of 16 lost against 2; VGGimg uses no source
    assert table.filter(claim=7).select("says", "worse", "difference").rows() == [
        ("ours declines less than TDL with 6 source categories", "TDL", 37.5)
    ]


def test_errors_of_clicks_are_compared_image_by_image(tmp_path: Path) -> None:
    good, bad, blind = (Point("components", f"lambda=separate-{value}") for value in ("0.4", "0", "0.2"))
    # RMSE-S 0.5 and 1; in the second run the images 0-3 have other errors than the rest
    errors = {good: [0.25] * 9, bad: [1.9] * 4 + [0.28] * 5, blind: []}
    for point, of_point in errors.items():
        write_run(tmp_path / point.name / "seed-0", 0, {"source": 4, "target": 5}, errors=of_point)
    studies = {"lambda": {point.method.partition("=")[2]: point for point in errors}}
    runs = read_runs(tmp_path, list(errors), [0], studies)
    found = paired_rmse(runs, good, bad)
    assert found is not None
    back = paired_rmse(runs, bad, good)
    assert back is not None
    # to first order an image has the value (e / R + R) / 2: 1.45 or 0.64 with R = 1, minus 0.5, so 0.95 or 0.14
    half = 1.959963984540054 * (9 / 8 * (4 * 0.45**2 + 5 * 0.36**2)) ** 0.5 / 9
    assert found.interval() == pytest.approx((50.0, 50 - 100 * half, 50 + 100 * half), rel=1e-6)
    assert back.interval() == pytest.approx((-50.0, -50 - 100 * half, -50 + 100 * half), rel=1e-6)
    assert paired_rmse(runs, good, blind) is None
    row = claims_table(runs).filter(measure="RMSE-S", better="lambda=separate-0.4").row(0, named=True)
    # Table VII: 100.0 - 81.9, times sqrt(2); at lambda = 0 nothing trains v^
    assert (row["claim"], row["published"], row["difference"]) == (4, 25.6, 50.0)
    assert (row["verdict"], row["p"], row["p_holm"]) == ("by construction", None, None)
    assert row["says"].endswith("; at λ = 0 nothing trains the prediction")


def test_the_interval_of_an_rmse_is_that_of_a_bootstrap(tmp_path: Path) -> None:
    one, other = Point("components", "tau=0"), Point("components", "tau=1")
    draw = np.random.default_rng(3)
    errors = draw.gamma(2.0, 0.5, (2, IMAGES["source"]))
    for point, of_point in zip((one, other), errors, strict=True):
        write_run(tmp_path / point.name / "seed-0", 0, {"source": 4, "target": 5}, errors=of_point.tolist())
    estimated = paired_rmse(read_runs(tmp_path, [one, other], [0]), one, other)
    assert estimated is not None
    found = estimated.interval()
    samples = draw.integers(0, IMAGES["source"], (20_000, IMAGES["source"]))
    roots = np.sqrt(errors[:, samples].mean(axis=2))
    assert found.mean == pytest.approx(100 * np.subtract(*np.sqrt(errors.mean(axis=1))[::-1]), abs=1e-4)
    # with 9 images, the bootstrap's deviation is sqrt(8 / 9) of the unbiased one; the rest is the error of first order
    deviation = 100 * np.std(roots[1] - roots[0]) * math.sqrt(9 / 8)
    assert (found.high - found.low) / 2 / 1.96 == pytest.approx(deviation, rel=0.1)


def test_a_claim_is_contradicted_by_several_seeds_and_never_by_one(tmp_path: Path) -> None:
    points = [Point("methods", "TDL"), Point("methods", "TDL7")]
    for seed in (0, 1, 2):
        write_run(tmp_path / f"TDL/seed-{seed}", seed, {"target": 2 + seed})
        write_run(tmp_path / f"TDL7/seed-{seed}", seed, {"target": 14})
    for seeds, verdict in (([0, 1, 2], "contradicted"), ([0], "one seed: no verdict")):
        table = claims_table(read_runs(tmp_path, points, seeds))
        row = table.filter(better="TDL").row(0, named=True)
        assert (row["verdict"], row["p"] is None) == (verdict, len(seeds) == 1)
        assert row["high"] < 0
    assert set(table.filter(worse="VGGsrc")["verdict"]) == {"not run"}


def test_what_chose_the_epochs_is_collected_over_all_runs(runs: Runs) -> None:
    assert len(runs.metrics) == 2 * len([point for point in RIGHT if point not in COMPONENTS])
    assert chosen_epochs(runs) == ["target validation accuracy"]


def test_a_difference_is_rounded_once() -> None:
    # 1.35, by two roundings, would be shown as 1.4
    found = Estimate(mean=1.3467, num_seeds=1, seeds=0.0, shared=0.0, units=0.0, degrees=0)
    shown = with_interval(found, ("mean", "low", "high"))
    assert [number(value) for value in shown.values()] == ["1.3"] * 3
