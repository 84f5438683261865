"""The filter that finds its thresholds: simulated scores whose wrong labels are known, and its verdicts row by row."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import f1_score

from systems.cleaning.mixture import UNSCORED, apply_mixture, fit


def simulated(num: int, categories: int, seed: int, wrong: float = 0.12) -> tuple[pl.DataFrame, np.ndarray]:
    """Return scored images with clicks, the more clicked the more often right, and which labels are wrong."""
    random = np.random.default_rng(seed)
    category = random.integers(0, categories, num)
    clicks = random.geometric(0.1, num)
    is_wrong = random.random(num) < np.clip(2 * wrong * np.exp(-clicks / 10), 0, 1)
    hard = random.normal(0, 0.8, categories)
    x = np.where(is_wrong, random.normal(-4, 1.5, num), random.normal(1.5 + hard[category], 1.5))
    images = pl.DataFrame(
        {
            "image_id": [f"{i:05d}" for i in range(num)],
            "category": [f"c{k:02d}" for k in category],
            "clicks": clicks,
            "probability": (1 / (1 + np.exp(-x))).astype(np.float32),
        }
    )
    return images, is_wrong


@pytest.mark.parametrize("seed", [0, 1])
def test_it_finds_nearly_the_best_threshold_and_expects_what_it_reaches(seed: int) -> None:
    images, is_wrong = simulated(3000, 20, seed)
    cleaned, expected = apply_mixture(images)
    dropped = ~cleaned["kept"].to_numpy()
    f1 = f1_score(is_wrong, dropped)
    p = images["probability"].to_numpy()
    assert f1 > max(f1_score(is_wrong, p < t) for t in np.quantile(p, np.linspace(0.01, 0.4, 60))) - 0.01
    assert expected["f1"] == pytest.approx(f1, abs=0.04)
    assert expected["wrong"] == pytest.approx(is_wrong.mean(), abs=0.02)
    assert expected["right_of_kept"] == pytest.approx(1 - is_wrong[~dropped].mean(), abs=0.02)


def test_the_verdict_can_be_read_off_the_row_and_clicks_lower_the_threshold() -> None:
    images, _ = simulated(2000, 10, 3)
    unscored = pl.DataFrame({"image_id": ["z"], "category": ["rare"], "clicks": [4], "probability": [None]})
    cleaned, _ = apply_mixture(
        pl.concat([images, unscored.cast(images.schema)]).sample(fraction=1.0, shuffle=True, seed=1)
    )
    assert cleaned["image_id"].to_list() == [*images["image_id"], "z"]
    scored = cleaned.filter(pl.col("probability").is_not_null())
    assert (scored["kept"] == (scored["probability"] >= scored["threshold"])).all()
    one = scored.filter(category="c03").sort(-pl.col("clicks"), "image_id")
    assert one["threshold"].is_sorted()
    assert one["half"].to_list() == ["first"] * -(-len(one) // 2) + ["second"] * (len(one) // 2)
    last = cleaned.row(-1, named=True)
    assert (last["kept"], last["rule"], last["threshold"]) == (False, UNSCORED, None)


def test_where_no_label_looks_wrong_all_are_kept() -> None:
    images, _ = simulated(500, 5, 0, wrong=0.0)
    cleaned, expected = apply_mixture(images.with_columns(pl.col("probability").clip(0.3, 1)))
    assert cleaned["kept"].all()
    assert expected == {"wrong": 0.0, "right_of_kept": 1.0, "f1": None}
    same = np.full(40, 0.5)
    assert fit(same, np.linspace(0, 1, 40), np.arange(40) % 4) is None
