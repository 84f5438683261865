"""Confused categories against scikit-learn's confusion matrix, and the choice of pairs and pictures by hand."""

import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from report_data import write_data, write_pictures, write_run
from sklearn.metrics import confusion_matrix

from base.console import UserError
from report.intervals import estimate as estimate_of
from report.intervals import subtracted
from systems.mtmdd.report import confusions
from systems.mtmdd.report.runs import read_runs
from systems.mtmdd.runs import Point

NAMES = ["ant", "bee", "cat", "<dog>"]


def frame_of(rows: list[tuple[str, int, str, str, str, float]]) -> pl.DataFrame:
    """Return tests from (method, seed, image, category, predicted, probability)."""
    names = ["method", "seed", "image_id", "category", "predicted", "probability"]
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.col("probability").cast(pl.Float32))


def random_tests(methods: tuple[str, ...] = ("MTMDD-VM", "VGGsrc"), seeds: int = 3) -> pl.DataFrame:
    """Return tests of 40 images a seed in a random order, the first method first; several seeds test some images."""
    drawn = random.Random(5)
    rows = []
    for seed in range(seeds):
        for number in drawn.sample(range(70), 40):
            for method in methods:
                name = NAMES[number % 7 % 4]
                rows.append((method, seed, f"i{number:02d}", name, drawn.choice([name, *NAMES]), drawn.random()))
    drawn.shuffle(rows)
    return frame_of(sorted(rows, key=lambda row: row[0]))


@pytest.mark.parametrize("method", ["MTMDD-VM", "VGGsrc"])
def test_counts_are_those_of_scikit_learn(method: str) -> None:
    tests = random_tests()
    mine = tests.filter(method=method)
    matrix = confusion_matrix(mine["category"].to_list(), mine["predicted"].to_list(), labels=NAMES)
    found = confusions.confusions_table(tests).filter(method=method)
    assert {row[1:3]: row[3:5] for row in found.rows()} == {
        (NAMES[i], NAMES[j]): (matrix[i, j], matrix[i].sum())
        for i in range(4)
        for j in range(4)
        if i != j and matrix[i, j]
    }
    shares = found["confused"].to_numpy() / found["tested"].to_numpy()
    assert found["percent"].to_list() == (100 * shares).round(4).tolist()
    assert (np.diff(found["percent"].to_numpy()) <= 0).all()


def test_neither_method_is_favoured_by_the_choice_of_pairs() -> None:
    # of ten ants and five bees: ant as bee 4 and 0, ant as cat 2 and 3, bee as cat 1 and 1
    predicted = {
        "MTMDD-VM": ["bee"] * 4 + ["cat"] * 2 + ["ant"] * 4 + ["cat"] + ["bee"] * 4,
        "VGGsrc": ["cat"] * 3 + ["ant"] * 7 + ["bee"] * 4 + ["cat"],
    }
    tests = frame_of(
        [
            (method, 0, f"i{number:02d}", "ant" if number < 10 else "bee", name, 0.5)
            for method, names in predicted.items()
            for number, name in enumerate(names)
        ]
    )
    table = confusions.confusions_table(tests)
    # shares added up: 50 % for ant as cat; 40 % for both others, of which ant as bee has more tests
    assert confusions.most_confused(table, 9) == [("ant", "cat"), ("ant", "bee"), ("bee", "cat")]
    assert confusions.most_confused(table, 1) == [("ant", "cat")]
    texts = confusions.confusions_texts(tests, [("ant", "bee")])
    assert [column.group for column in texts.columns[3:]] == ["MTMDD-VM"] * 2 + ["VGGsrc"] * 2 + [
        "MTMDD-VM − VGGsrc"
    ] * 2
    assert list(texts.rows[0][:8]) == ["ant", "bee", "10", "4", "40.0", "0", "0.0", "+40.0"]
    assert confusions.sentence(tests, [("ant", "bee")]) == (
        "MTMDD-VM gets 7 of 15 wrong, 4 of them as in the table; VGGsrc gets 4 of 15 wrong, 0 of them as in the table."
    )


def test_the_interval_is_that_of_the_paired_difference() -> None:
    tests = random_tests()
    ((category, predicted),) = confusions.most_confused(confusions.confusions_table(tests), 1)
    cells = confusions.confusions_texts(tests, [(category, predicted)]).rows[0]
    one, other = (
        tests.filter(method=method, category=category).select(
            "seed",
            pl.col("image_id").alias("unit"),
            pl.when(pl.col("predicted") == predicted).then(1.0).otherwise(0.0).alias("value"),
        )
        for method in ("MTMDD-VM", "VGGsrc")
    )
    _, low, high = estimate_of(subtracted(one, other), num_runs=2).interval()
    assert cells[-1] == f"{100 * low:+.1f} to {100 * high:+.1f}"


def test_a_category_with_one_image_has_no_interval_and_a_single_method_no_difference() -> None:
    rows = [(method, 0, "a", "ant", "bee", 0.5) for method in ("MTMDD-VM", "VGGsrc")]
    assert confusions.confusions_texts(frame_of(rows), [("ant", "bee")]).rows[0][-2:] == ["+0.0", "–"]
    assert len(confusions.confusions_texts(frame_of(rows[:1]), [("ant", "bee")]).columns) == 5


def test_methods_that_agree_on_every_image_have_no_interval() -> None:
    rows = [
        (method, seed, image, "ant", "bee" if image == "a" else "ant", 0.5)
        for method in ("MTMDD-VM", "VGGsrc") for seed in (0, 1) for image in ("a", "b", "c")
    ]  # fmt: skip
    assert confusions.confusions_texts(frame_of(rows), [("ant", "bee")]).rows[0][-2:] == ["+0.0", "–"]


def test_wrong_images_are_those_named_so_most_often() -> None:
    rows = []
    # images by (times by MTMDD-VM, times by VGGsrc) of two seeds, and probability of the wrong name
    for name, mine, others, sure in (("a", 1, 0, 0.9), ("b", 2, 1, 0.2), ("c", 1, 0, 0.95), ("d", 0, 0, 0.99),
                                     ("e", 1, 2, 0.3), ("f", 0, 1, 0.9)):  # fmt: skip
        for method, times in (("MTMDD-VM", mine), ("VGGsrc", others)):
            rows += [(method, seed, name, "ant", "bee" if seed < times else "ant", sure) for seed in (0, 1)]
    rows.append(("MTMDD-VM", 0, "g", "cat", "bee", 1.0))
    for order in range(3):
        random.Random(order).shuffle(rows)
        # the first method must be the same, whatever the order of the rows
        tests = frame_of(sorted(rows, key=lambda row: row[0]))
        found = confusions.wrong_images(tests, "ant", "bee", 4)
        assert found["image_id"].to_list() == ["e", "b", "c", "a"]
        assert found["caption"].to_list() == ["p 0.30", "p 0.20", "p 0.95", "p 0.90"]
        assert found["lines"][0].to_list() == ["MTMDD-VM 1/2", "VGGsrc 2/2"]


def test_typical_images_are_the_surest_then_training_images() -> None:
    rows = [
        ("MTMDD-VM", 0, "a", "ant", "ant", 0.5), ("MTMDD-VM", 1, "a", "ant", "ant", 0.75),
        ("MTMDD-VM", 0, "b", "ant", "ant", 0.99), ("MTMDD-VM", 1, "b", "ant", "bee", 0.99),
        ("MTMDD-VM", 0, "c", "ant", "bee", 1.0), ("MTMDD-VM", 0, "d", "ant", "ant", 0.5),
        ("MTMDD-VM", 0, "e", "bee", "bee", 1.0), ("VGGsrc", 0, "c", "ant", "ant", 1.0),
    ]  # fmt: skip
    training = pl.DataFrame({"image_id": ["z", "d", "y", "x"], "category": ["ant", "ant", "bee", "ant"]})
    found = confusions.typical_images(frame_of(rows), training, "ant", {"c"}, 4)
    # b counts 0 where it is named bee: 0.495; d is a training image of this seed, but shown already; of x and z, x
    assert found.select("image_id", "caption").rows() == [
        ("a", "p 0.62"), ("d", "p 0.50"), ("b", "p 0.49"), ("x", "training image")
    ]  # fmt: skip
    assert confusions.typical_images(frame_of(rows), training.clear(), "cat", set(), 3).is_empty()


def test_the_same_pictures_whatever_the_order_of_the_rows(tmp_path: Path) -> None:
    tests = random_tests().sort("method")
    write_pictures(tmp_path / "images", {"target": [f"i{number:02d}" for number in range(70)]})
    pairs = confusions.most_confused(confusions.confusions_table(tests), 3)
    training = pl.DataFrame({"image_id": ["i00"], "category": ["ant"]})
    one, other = (
        confusions.pairs_shown(frame, pairs, training, tmp_path / "images")
        for frame in (tests, tests.reverse().sort("method", maintain_order=True))
    )
    assert one == other
    assert [(pair.category, pair.predicted) for pair in one] == pairs
    titles = [title for title, _ in one[0].groups]
    assert titles == ["wrongly named", *pairs[0]]
    wrong = one[0].groups[0][1]
    assert wrong[0].alt == f"{pairs[0][0]}, named {pairs[0][1]}: image {wrong[0].image_id}"
    assert max(wrong[0].picture.width, wrong[0].picture.height) == 30  # never enlarged


def test_without_confusions_nothing_is_shown(tmp_path: Path) -> None:
    tests = frame_of([("MTMDD-VM", 0, "a", "ant", "ant", 1.0), ("MTMDD-VM", 0, "b", "ant", "ant", 1.0)])
    table = confusions.confusions_table(tests)
    assert table.is_empty()
    assert confusions.most_confused(table, 5) == []
    assert confusions.confusions_texts(tests, []).rows == []
    assert confusions.pairs_shown(tests, [], pl.DataFrame(), tmp_path) == []
    assert confusions.sentence(tests, []) == "MTMDD-VM gets 0 of 2 wrong, 0 of them as in the table."


@pytest.mark.parametrize(
    ("right", "rmse", "expected", "words"),
    [
        # MTMDD-VM* before MTMDD-VM; of the methods without clicks the best
        ({"MTMDD-VM": 9, "MTMDD-VM-star": 3, "VGGimg": 4, "VGGsrc": 5, "TDL": 16}, ("MTMDD", "TDL"),
         ["MTMDD-VM-star", "VGGsrc"], "VGGsrc is the best of the other methods here that predict no clicks."),
        # every method predicts clicks
        ({"MTMDD-VM": 9, "TDL7": 8, "TDL": 10}, ("MTMDD", "TDL"), ["MTMDD-VM", "TDL"],
         "TDL is the best of the other methods here."),
        # the joint network was not run
        ({"VGGimg": 4, "VGGsrc": 5}, (), ["VGGsrc", "VGGimg"], "VGGimg is the best of the other methods here that"),
        ({"VGGimg": 4}, (), ["VGGimg"], ""),
    ],
)  # fmt: skip
def test_what_is_compared(
    tmp_path: Path, right: dict[str, int], rmse: tuple[str, ...], expected: list[str], words: str
) -> None:
    for name, number in right.items():
        clicks = 0.9 if rmse and name.startswith(rmse) else None
        counts = {"target": number} if clicks is None else {"target": number, "source": 3}
        write_run(tmp_path / name / "seed-0", 0, counts, clicks)
    runs = read_runs(tmp_path, [Point("methods", name) for name in right], [0])
    found = confusions.compared(runs)
    assert found is not None
    assert found.methods == expected
    assert found.reason.startswith(words)
    assert bool(found.reason) == bool(words)


def test_without_a_recogniser_of_the_target_there_is_no_section(tmp_path: Path) -> None:
    write_run(tmp_path / "VGGsrc/seed-0", 0, {"source": 3})
    runs = read_runs(tmp_path, [Point("methods", "VGGsrc")], [0])
    assert confusions.section(runs, tmp_path, pl.DataFrame(), tmp_path) is None


def test_methods_that_were_tested_on_different_images_are_refused(tmp_path: Path) -> None:
    write_data(tmp_path)
    evaluations = tmp_path / "system/evaluations"
    path = evaluations / "VGGsrc/seed-1/predictions.parquet"
    pl.read_parquet(path)[:-1].write_parquet(path)
    with pytest.raises(UserError, match="MTMDD-VM and VGGsrc were tested on different target images"):
        confusions.read_tests(evaluations, ["MTMDD-VM", "VGGsrc"], [0, 1])
