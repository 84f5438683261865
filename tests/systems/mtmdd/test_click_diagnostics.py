import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import norm

from systems.mtmdd.click_diagnostics import (
    TABLE_IV,
    choose_samples,
    percent_within,
    sample_table,
    sigmoid_inputs,
)


def test_shares_of_normal_features_are_the_papers():
    # a million values: the standard error at B = 1 is 0.05 points
    features = torch.randn(2000, 500, generator=torch.Generator().manual_seed(0)) * 7 + 3
    for bandwidth, papers in ((1.0, 34.36), (0.1, 3.90)):
        expected = 100 * (norm.cdf(bandwidth) - 0.5)
        assert percent_within(features, bandwidth) == pytest.approx(expected, abs=0.2)
        assert expected == pytest.approx(papers, abs=0.25)


@pytest.mark.parametrize("bandwidth", [10, 0.7, 0.01])
def test_shares_against_numpy(bandwidth):
    features = np.random.default_rng(0).exponential(0.3, (31, 7)).astype(np.float32)
    exact = features.astype(np.float64)
    inputs = (exact - exact.mean(axis=0)) / np.sqrt(exact.var(axis=0) + 1e-5)
    expected = 100 * np.mean((inputs >= 0) & (inputs <= bandwidth))
    assert percent_within(torch.from_numpy(features), bandwidth) == round(expected, 4)


def test_a_word_that_never_varies_lies_inside():
    # second column by hand: (1, 5), mean 3, gives about -1 and 1; 1 is not reached because of the variance's 1e-5
    features = torch.tensor([[0.5, 1.0], [0.5, 5.0]])
    assert percent_within(features, 1.0) == 75.0
    assert percent_within(features, 0.9) == 50.0


def test_the_table_has_a_row_per_bandwidth():
    features = torch.rand(9, 4, generator=torch.Generator().manual_seed(1))
    assert percent_within(torch.tensor([[-0.2, 0.0, 0.3, 1.1]]), 0.3, batch_normalised=False) == 50.0
    table = sigmoid_inputs(features, {"predicted": features * 2, "other": features.square()}, [0.05, 0.1])
    assert table["bandwidth"].to_list() == sorted({*TABLE_IV, 0.05}, reverse=True)
    assert table.columns == ["bandwidth", "true_percent", "predicted_percent", "other_percent", "normal_percent"]
    row = table.row(by_predicate=pl.col("bandwidth") == 1.0, named=True)
    assert row["true_percent"] == percent_within(features, 1.0) == row["predicted_percent"]
    assert row["other_percent"] == percent_within(features.square(), 1.0)
    normal = [100 * (norm.cdf(width) - 0.5) for width in table["bandwidth"]]
    assert table["normal_percent"].to_list() == pytest.approx(normal, abs=5.1e-5)  # four decimals


ROWS = pl.DataFrame({"image_id": list("abcdefg"), "category": ["x", "x", "x", "y", "y", "z", "z"]})
ELIGIBLE = [True, True, False, True, True, False, False]


@pytest.mark.parametrize("seed", range(5))
def test_samples_are_eligible_and_go_round_the_categories(seed):
    two, three = (choose_samples(ROWS, ELIGIBLE, number, seed) for number in (2, 3))
    assert sorted(ROWS["category"][row] for row in two) == ["x", "y"]
    assert set(two) < set(three) <= {0, 1, 3, 4}
    assert three == sorted(three)
    assert choose_samples(ROWS, ELIGIBLE, 99, seed) == [0, 1, 3, 4]


def test_samples_depend_on_seed_and_not_on_the_order_of_rows():
    chosen = {tuple(choose_samples(ROWS, ELIGIBLE, 2, seed)) for seed in range(8)}
    assert len(chosen) > 1
    turned = choose_samples(ROWS.reverse(), ELIGIBLE[::-1], 2, 3)
    assert sorted(6 - place for place in turned) == choose_samples(ROWS, ELIGIBLE, 2, 3)


def test_sample_table_by_hand():
    rows = pl.DataFrame({"image_id": ["i", "j"], "category": ["x", "y"]})
    true = torch.tensor([[0.0, 3, 4, 0], [0, 0, 0, 2]])
    predicted = torch.tensor([[2.0, 0, 1, -2], [1, 1, 1, 1]])
    table = sample_table(rows, ["p", "q", "r", "s"], true, {"predicted": predicted}, num_words=3)
    assert table.columns == ["image_id", "category", "word", "true", "predicted"]
    # i: N'(v) = (0, .6, .8, 0), N'(v^) = (2/3, 0, 1/3, -2/3): the largest are r .8, p 2/3, q .6; s is below 0
    # j: N'(v) = (0, 0, 0, 1), N'(v^) = 1/2 each: s, then p and q, the first of the equal words
    assert table.rows() == [
        ("i", "x", "r", 0.8, 0.3333), ("i", "x", "q", 0.6, 0.0), ("i", "x", "p", 0.0, 0.6667),
        ("j", "y", "s", 1.0, 0.5), ("j", "y", "p", 0.0, 0.5), ("j", "y", "q", 0.0, 0.5),
    ]  # fmt: skip
