"""Comparison methods on the CNN features of a trained run: a logistic regression, and TagNeighbour.

    python -m systems.annotation.baselines --model data/annotation/models/MS-CNN/seed-0 --seed 0 \\
        --data data/annotation/sets/toy --output data/annotation/evaluations/baselines/MS-CNN/seed-0

- ``logistic``: scikit-learn's logistic regression of each label on the mean of the last map, standardised;
- ``neighbours``: the same on these features and their mean over the training images with the most similar tags, by
  Jaccard's index: Johnson, Ballan, Fei-Fei, "Love thy neighbors: image annotation by exploiting image metadata" (ICCV
  2015), whose network pools over neighbours and is trained as a whole; here its last layer alone is.

Both give the top k labels. An image without tags has no neighbours, and the mean over all training images instead.
Out: ``metrics.json``, ``units.parquet`` (`schemas.UNITS`) with the metrics of `systems.annotation.evaluate`:
``MEASURE_logistic_top``, ``MEASURE_neighbours_top``, ``map_logistic``, ``map_neighbours``.
"""

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from scipy import sparse

from base import schemas
from base.artifacts import whole_directory, write_json, write_table
from base.console import UserError, progress, stage
from base.params import DEFAULT_PATH, load_section
from model.folder import device_at_hand
from model.measures.average_precision import average_precision
from model.measures.label_sets import set_units
from systems.annotation.config import CNN
from systems.annotation.data import AnnotatedImages
from systems.annotation.evaluate import batches_of
from systems.annotation.measures import stated
from systems.annotation.model import load_model
from systems.annotation.rules import RuleParams, most_probable

NEIGHBOURS = 6  # Johnson et al., section 4.3
INVERSE_PENALTY = 0.1  # C of scikit-learn: features are as many as images, so a strong penalty
ROUNDS = 200
BLOCK = 1024  # images whose similarities are in memory at a time


def jaccard_neighbours(tagged: sparse.csr_array, rows: np.ndarray, number: int) -> list[np.ndarray]:
    """Return for each image the rows of the images with the most similar tags, the most similar first.

    Jaccard's index is the number of common tags over that of all tags of the two. Images without a common tag are no
    neighbours, nor is the image itself; of equally similar ones the first is taken.

    Args:
        tagged: 0 or 1.
        rows: among which neighbours are searched, ascending.
        number: most neighbours of an image.

    Shape:
        tagged: (N, T)
    """
    others = tagged[rows]
    sizes = np.asarray(tagged.sum(axis=1)).ravel()
    found = []
    for start in range(0, tagged.shape[0], BLOCK):
        common = (tagged[start : start + BLOCK] @ others.T).toarray()
        mine = np.arange(start, start + len(common))
        union = sizes[mine][:, None] + sizes[rows][None, :] - common
        index = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
        index[mine[:, None] == rows[None, :]] = 0
        order = np.argsort(-index, axis=1, kind="stable")[:, :number]
        found += [rows[best[scores[best] > 0]] for best, scores in zip(order, index, strict=True)]
    return found


def pooled(features: np.ndarray, neighbours: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Return the mean features of each image's neighbours, (N, D); of all `rows` where it has none."""
    usual = features[rows].mean(axis=0)
    return np.stack([features[mine].mean(axis=0) if len(mine) else usual for mine in neighbours])


def logistic(features: np.ndarray, has: np.ndarray, train: np.ndarray, label: str) -> np.ndarray:
    """Return each label's probability for all images, by logistic regressions on standardised features of `train`.

    A label that no training image has, or all, gets this share as its probability.

    Shape:
        features: (N, D); has: bool (N, C); result: float64 (N, C)
    """
    from sklearn.linear_model import LogisticRegression  # takes seconds to import

    deviation = features[train].std(axis=0)
    x = (features - features[train].mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    found = np.empty(has.shape)
    for j in progress(range(has.shape[1]), label, "labels", has.shape[1]):
        y = has[train, j]
        if y.all() or not y.any():
            found[:, j] = y.mean()
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of rounds that don't suffice: an approximate solution will do
            fitted = LogisticRegression(C=INVERSE_PENALTY, max_iter=ROUNDS).fit(x[train], y)
        found[:, j] = fitted.predict_proba(x)[:, 1]
    return found


def evaluate(model: Path, data: Path, seed: int, params: RuleParams) -> tuple[dict[str, Any], pl.DataFrame]:
    """Return the content of metrics.json, and the units.

    Raises:
        UserError: the data set or the seed is not the one of the training.
    """
    loaded = load_model(model)
    recipe = loaded.recipe
    if recipe.train.threads is not None:
        torch.set_num_threads(recipe.train.threads)
    images = AnnotatedImages.read(data, seed, recipe.network.resize, cache=False, splits=("train", "test"))
    if (images.labels, images.tags) != (loaded.labels, loaded.tags) or loaded.run["seed"] != seed:
        raise UserError(f"{data}: its labels, tags or seed are not those that {model} was trained for")
    net: Any = loaded.phases[CNN]
    with torch.no_grad():
        parts = [
            net.features(pictures.to(device_at_hand())).float().cpu()
            for pictures, _ in batches_of(images, recipe.network.image_size, params.batch_size, "features")
        ]
    features = torch.cat(parts).double().numpy()
    train, tested = images.row_numbers("train"), images.row_numbers("test")
    of_neighbours = pooled(features, jaccard_neighbours(images.tagged, train, NEIGHBOURS), train)
    scores = {
        "logistic": logistic(features, images.has, train, "logistic"),
        "neighbours": logistic(np.hstack([features, of_neighbours]), images.has, train, "neighbours"),
    }
    names, true = [images.names[row] for row in tested], images.has[tested]
    tables = []
    for name, probabilities in scores.items():
        mine = probabilities[tested]
        tables.append(set_units(f"_{name}_top", names, most_probable(mine, params.top), true))
        tables.append(average_precision(f"map_{name}", images.labels, mine.T, true.T))
    units = pl.concat(tables).sort("metric", "unit")
    return stated(units), units


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="the model folder")
    parser.add_argument("--seed", type=int, required=True, help="of the run")
    parser.add_argument("--data", type=Path, required=True, help="the data set's folder")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage(f"baselines {arguments.model}") as closing:
        params = load_section(RuleParams, "annotation.evaluate", arguments.params)
        metrics, units = evaluate(arguments.model, arguments.data, arguments.seed, params)
        with whole_directory(arguments.output) as folder:
            write_json(metrics, folder / "metrics.json")
            write_table(units.to_arrow().cast(schemas.UNITS), folder / "units.parquet")
        closing.counts = {
            name: value for name, value in metrics.items() if name.startswith("h_f1_") and value is not None
        }
        closing.wrote[str(arguments.output)] = "metrics.json, units.parquet"
        closing.next_command = "python -m systems.annotation.report (see stages/annotation/dvc.yaml)"


if __name__ == "__main__":
    main()
