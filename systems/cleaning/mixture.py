"""A filter that finds its thresholds from scores and clicks: a mixture of right and of wrong labels.

With x = ln(p / (1 - p)) of an image's own category, and its place in the order of clicks u in (0, 1) (0: most clicked
of its category), the model is

    P(wrong | u)          = 1 / (1 + exp(-(beta_0 + beta_1 (u - 1/2))))
    x | wrong             ~ N(m_1, v)
    x | right, category c ~ N(m_0 + d_c, v),    d_c ~ N(0, t)

and is fitted by EM. It begins with the images as wrong whose p is below 1 / C, that of a classifier that guesses among
C categories. d_c is the category's difficulty: of a species that the classifier hardly knows, a low p says less. With
one variance v the posterior falls strictly in p, so each image has a threshold for p, as in Table II. The images are
dropped that make the expected F1 largest (`reliability.cut_of_best_f1`). The truth is not used.
"""

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy.special import expit

from base import schemas
from systems.cleaning.reliability import cut_of_best_f1

UNSCORED = "category too small for the cleaner"  # the rule of images without a probability
ITERATIONS = 500
TOLERANCE = 1e-6  # of the largest change of a posterior
LEAST_P = 1e-7
LEAST_VARIANCE = 1e-3
FEWEST = 10  # images that must look wrong at the start; with fewer there is no second component, and all are kept


class Mixture(NamedTuple):
    """The fitted model.

    Shape:
        wrong: posterior probability that a label is wrong (N,); log_odds: beta_0 + beta_1 (u - 1/2) (N,);
        right_mean: m_0 + d_c (N,)

    Attributes:
        wrong_mean: m_1.
        variance: v.
    """

    wrong: np.ndarray
    log_odds: np.ndarray
    right_mean: np.ndarray
    wrong_mean: float
    variance: float

    def thresholds(self, cut: float) -> np.ndarray:
        """Return the p of each image at which the posterior of being wrong is `cut`: (N,)."""
        distance = self.right_mean - self.wrong_mean
        middle, odds = (self.right_mean + self.wrong_mean) / 2, np.log(cut / (1 - cut))
        x = middle + (self.log_odds - odds) * self.variance / np.maximum(distance, 1e-9)
        return np.where(distance > 1e-9, expit(x), 0.0)


def fit(p: np.ndarray, place: np.ndarray, category: np.ndarray) -> Mixture | None:
    """Fit the mixture; None where fewer than 10 images look wrong or the components coincide: all labels look right.

    Args:
        p: probability of the own category.
        place: u.
        category: numbers from 0; every number below the largest occurs.

    Shape:
        p, place: float (N,); category: int (N,)
    """
    p = np.clip(p.astype(np.float64), LEAST_P, 1 - LEAST_P)
    num = int(category.max()) + 1
    x, design = np.log(p / (1 - p)), np.stack([np.ones(len(p)), place - 0.5], axis=1)
    wrong = (p < 1 / num).astype(np.float64)
    if wrong.sum() < FEWEST or len(p) - wrong.sum() < FEWEST:
        return None
    beta, difficulty, spread = np.zeros(2), np.zeros(num), 0.25
    for _ in range(ITERATIONS):
        right = 1 - wrong
        wrong_mean = (wrong * x).sum() / wrong.sum()
        mean = (right * (x - difficulty[category])).sum() / right.sum()
        squares = wrong * (x - wrong_mean) ** 2 + right * (x - mean - difficulty[category]) ** 2
        variance = max(squares.mean(), LEAST_VARIANCE)
        weight = np.bincount(category, right, num) + variance / spread
        difficulty = np.bincount(category, right * (x - mean), num) / weight
        spread = max((difficulty**2 + variance / weight).mean(), LEAST_VARIANCE)
        for _ in range(2):  # Newton steps of the logistic regression; beta_1 has a standard normal prior
            odds = expit(design @ beta)
            hessian = (design * (odds * (1 - odds))[:, None]).T @ design + np.diag([1e-6, 1.0])
            beta = beta + np.linalg.solve(hessian, design.T @ (wrong - odds) - np.array([0.0, beta[1]]))
        right_mean = mean + difficulty[category]
        evidence = ((x - right_mean) ** 2 - (x - wrong_mean) ** 2) / (2 * variance)
        # A category harder than the wrong labels' mean would turn the order of p around; then p says nothing of it.
        log_odds = design @ beta
        new = expit(log_odds + np.where(right_mean > wrong_mean, evidence, 0.0))
        change, wrong = np.abs(new - wrong).max(), new
        if not 1e-3 < wrong.sum() < len(p) - 1e-3:
            return None
        if change < TOLERANCE:
            break
    return Mixture(wrong, log_odds, right_mean, float(wrong_mean), float(variance)) if mean > wrong_mean else None


def apply_mixture(images: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Decide for each image whether it is kept, with its own threshold for p; and state what to expect of it.

    Args:
        images: `image_id`, `category`, `clicks` (total, >= 0) and `probability` in [0, 1] or null.

    Returns:
        The columns of `schemas.CLEANED`, rows by image id, and `wrong` (expected share of wrong labels among the
        scored images), `right_of_kept` and `f1` (expected; 1 and null where all labels look right).
    """
    images = images.sort("image_id").with_columns(
        pl.col("probability").cast(pl.Float32),
        pl.len().over("category").cast(pl.Int32).alias("category_size"),
        pl.int_range(pl.len()).over("category", order_by=[-pl.col("clicks"), "image_id"]).alias("rank"),
    )
    scored = images.filter(pl.col("probability").is_not_null())
    place = ((scored["rank"] + 0.5) / scored["category_size"]).to_numpy()
    found = None
    if len(scored):
        codes = scored["category"].rank("dense").to_numpy().astype(np.int64) - 1
        found = fit(scored["probability"].to_numpy(), place, codes)
    thresholds, expected = np.zeros(len(scored), np.float32), {"wrong": 0.0, "right_of_kept": 1.0, "f1": None}
    if found is not None:
        cut = cut_of_best_f1(found.wrong)
        thresholds = found.thresholds(cut).astype(np.float32)
        kept = scored["probability"].to_numpy() >= thresholds
        f1 = 2 * found.wrong[~kept].sum() / ((~kept).sum() + found.wrong.sum())
        expected = {
            "wrong": float(found.wrong.mean()),
            "right_of_kept": float(1 - found.wrong[kept].mean()) if kept.any() else None,
            "f1": float(f1),
        }
    limits = scored.select("image_id", threshold=pl.Series(thresholds, dtype=pl.Float32))
    judged = images.join(limits, on="image_id", how="left", validate="1:1").with_columns(
        half=pl.when(2 * pl.col("rank") < pl.col("category_size")).then(pl.lit("first")).otherwise(pl.lit("second")),
        kept=(pl.col("probability") >= pl.col("threshold")).fill_null(value=False),
    )
    rule = (
        pl.when(pl.col("probability").is_null())
        .then(pl.lit(UNSCORED))
        .otherwise(pl.format("mixture, {}", pl.col("half")))
    )
    return judged.with_columns(rule=rule).select(schemas.CLEANED.names).sort("image_id"), expected
