"""Lines of reference for RMSE-S: the errors of predictors that use no pixel."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from model.losses.count import l2_normalise
from systems.mtmdd.measures import Outcome, rmse
from systems.mtmdd.network import Prediction


def reference_rmse(outcome: Outcome, train_clicks: Tensor, train_labels: Tensor) -> dict[str, float]:
    r"""Return the RMSE-S of predictors that use no pixel, on the images of an outcome.

    - zero: v^ = 0; its RMSE-S is 1 if every image has clicks (the error of an image without clicks is 0)
    - untrained: v^ at right angles to v, as nearly every direction in R^K is; its RMSE-S is sqrt(2) if every image has
      clicks (the error of an image without clicks is 1)
    - constant: v^ = mean of N'(v) over the training images, the constant with the lowest RMSE-S on these images
    - category_means: v^ = the same mean over the training images of the image's own category, zero for a category
      without training images; it stands for a predictor that recognises every image and uses nothing else

    Args:
        outcome: images with their true click features and labels.
        train_clicks: v of the training images.
        train_labels: the training images' categories, numbered as the outcome's.

    Shape:
        train_clicks: (M, K); train_labels: (M,)
    """
    assert outcome.clicks is not None
    directions = l2_normalise(train_clicks)
    # sums can replace means, because the length of a prediction does not matter
    by_category = torch.zeros(int(max(train_labels.max(), outcome.labels.max())) + 1, directions.shape[1])
    by_category.index_add_(0, train_labels, directions)
    predictions = {
        "zero": torch.zeros_like(outcome.clicks),
        "constant": directions.mean(dim=0).expand_as(outcome.clicks),
        "category_means": by_category[outcome.labels],
    }
    errors = {
        name: rmse(replace(outcome, prediction=Prediction(None, predicted))) for name, predicted in predictions.items()
    }
    with_clicks = outcome.clicks.any(dim=1).double().mean().item()
    return {"zero": errors.pop("zero"), "untrained": round(math.sqrt(1 + with_clicks), 6), **errors}
