"""How good a predicted click feature is, and what it is to be compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import torch
from torch import Tensor

from base.seeding import derive_seed
from model.losses.count import l2_normalise
from model.losses.position import standardise
from systems.mtmdd.measures import Outcome, percent, rmse
from systems.mtmdd.network import Prediction

TABLE_IV = (10.0, 1.0, 0.1, 0.01, 0.001, 0.0001)  # the bandwidths B that the paper compares


def percent_within(features: Tensor, bandwidth: float, batch_normalised: bool = True) -> float:
    """Return how many of the sigmoid's inputs lie in [0, B], percent: Table IV's "Ratio".

    The inputs are the click features standardised per word over the images given. A word that none of them varies in
    has the input 0 everywhere, which lies inside.

    Args:
        features: v or v^.
        bandwidth: B, in standard deviations; of raw features in their own unit.
        batch_normalised: False takes the features as they are, as a loss with ``position_input: raw`` does.

    Shape:
        features: (N, K)
    """
    inputs = standardise(features) if batch_normalised else features
    return percent(int(((inputs >= 0) & (inputs <= bandwidth)).sum()), inputs.numel())


def sigmoid_inputs(
    true: Tensor, predicted: Mapping[str, Tensor], bandwidths: Sequence[float], batch_normalised: bool = True
) -> pl.DataFrame:
    """Return the shares of sigmoid inputs in [0, B], a row per bandwidth, the widest first.

    Args:
        true: v of some images.
        predicted: v^ of the same images, by the name of its column.
        bandwidths: B, besides those of Table IV.
        batch_normalised: as in :func:`percent_within`.

    Returns:
        Columns bandwidth, true_percent, ``<name>_percent`` for each prediction, and normal_percent: the share of a
        standard normal distribution, which the paper's ratios at B = 1 and 0.1 fit.
    """
    widths = sorted({*TABLE_IV, *bandwidths}, reverse=True)
    columns = {"true": true, **predicted}
    shares = {
        f"{name}_percent": [percent_within(features, width, batch_normalised) for width in widths]
        for name, features in columns.items()
    }
    normal = torch.special.ndtr(torch.tensor(widths, dtype=torch.float64)) - 0.5
    return pl.DataFrame({"bandwidth": widths, **shares, "normal_percent": (100 * normal).round(decimals=4).tolist()})


def reference_rmse(outcome: Outcome, train_clicks: Tensor, train_labels: Tensor) -> dict[str, float]:
    r"""Return the RMSE-S of predictors that look at no pixel, on the images of an outcome.

    - zero: v^ = 0; 1 if every image has clicks (one without is predicted exactly)
    - constant: v^ = mean of N'(v) over the training images, the best constant for RMSE-S there
    - category_means: v^ = the same mean over the training images of the image's own category; zero for a category
      without any. It is told the category: a predictor that recognises perfectly and knows no more.

    Args:
        outcome: images with their true click features and labels.
        train_clicks: v of the training images.
        train_labels: their categories, numbered as the outcome's.

    Shape:
        train_clicks: (M, K); train_labels: (M,)
    """
    assert outcome.clicks is not None
    directions = l2_normalise(train_clicks)
    # the length of a prediction does not matter: sums do as well as means
    by_category = torch.zeros(int(max(train_labels.max(), outcome.labels.max())) + 1, directions.shape[1])
    by_category.index_add_(0, train_labels, directions)
    predictions = {
        "zero": torch.zeros_like(outcome.clicks),
        "constant": directions.mean(dim=0).expand_as(outcome.clicks),
        "category_means": by_category[outcome.labels],
    }
    return {
        name: rmse(replace(outcome, prediction=Prediction(None, predicted))) for name, predicted in predictions.items()
    }


def choose_samples(rows: pl.DataFrame, has_clicks: Sequence[bool], number: int, seed: int) -> list[int]:
    """Return the places of sample images, ascending: with clicks, from different categories while there are any left.

    Args:
        rows: columns image_id and category.
        has_clicks: of each row.
        number: how many; fewer if there are no more.
        seed: of the choice.
    """
    drawn = (
        rows.select("image_id", "category")
        .with_row_index("place")
        .filter(pl.Series(has_clicks, dtype=pl.Boolean))
        .with_columns(
            by_image=pl.col("image_id").map_elements(lambda i: derive_seed(seed, "sample", i), pl.UInt64),
            by_category=pl.col("category").map_elements(lambda c: derive_seed(seed, "category", c), pl.UInt64),
        )
        .with_columns(turn=pl.col("by_image").rank("ordinal").over("category"))
        .sort("turn", "by_category")
    )
    return sorted(drawn["place"].head(number).to_list())


def sample_table(
    rows: pl.DataFrame, words: Sequence[str], true: Tensor, predicted: Mapping[str, Tensor], num_words: int
) -> pl.DataFrame:
    """Return true and predicted click features of sample images (Fig. 10), a row per image and word.

    Of each image the words are shown in which the true or a predicted feature is largest: of 1,000 words drawn at
    random, as the paper draws 20, an image has clicks for hardly any.

    Args:
        rows: columns image_id and category, of the samples.
        words: the vocabulary, by word id.
        true: v of the samples.
        predicted: v^ of the samples, by the name of its column.
        num_words: shown per image.

    Returns:
        Columns image_id, category, word, true and one per prediction, all l2-normalised; images in their order, words
        by the true value, then the predicted ones, descending (ties: the vocabulary's order).
    """
    columns = {name: l2_normalise(features).numpy() for name, features in {"true": true, **predicted}.items()}
    frames = []
    for place, (image_id, category) in enumerate(rows.select("image_id", "category").iter_rows()):
        of_image = {name: features[place] for name, features in columns.items()}
        largest = np.max(list(of_image.values()), axis=0)
        shown = np.argsort(-largest, kind="stable")[:num_words]
        table = pl.DataFrame(
            {
                "image_id": [image_id] * len(shown),
                "category": [category] * len(shown),
                "word": [words[word] for word in shown],
                **{name: features[shown].astype(np.float64).round(4) for name, features in of_image.items()},
                "word_id": shown,
            }
        )
        order = list(of_image)
        frames.append(table.sort(*order, "word_id", descending=[*[True] * len(order), False]).drop("word_id"))
    return pl.concat(frames)
