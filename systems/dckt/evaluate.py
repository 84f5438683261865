"""Measure a trained run by retrieval among the target's test pairs: texts for each image, images for each text.

    python -m systems.dckt.evaluate --model data/dckt/models/DCKT/seed-0 --data data/dckt \\
        --output data/dckt/evaluations/DCKT/seed-0

In: a model folder, and the features and the split of the target.
Out: ``metrics.json`` and ``units.parquet`` (`schemas.UNITS`, one unit per test pair), shares from 0 to 1:

- ``map_image_to_text``, ``map_text_to_image``: mean average precision over all results, ranked by the cosine of the
  common representations; relevant are the items of the query's category;
- ``map``: the mean of both.

metrics.json also has the target's validation MAP and the number of chosen target pairs after each iteration.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from base import schemas
from base.artifacts import whole_directory, write_json, write_table
from base.console import UserError, stage
from base.params import DEFAULT_PATH, Params, load_section
from model.measures.retrieval import cosine_average_precision
from model.measures.units import reduce_units, units_of
from systems.dckt.config import TARGET, TRANSFER
from systems.dckt.features import TEST, PairFeatures, read_features

IMAGE_TO_TEXT, TEXT_TO_IMAGE, BOTH = METRICS = ("map_image_to_text", "map_text_to_image", "map")
CURVES = {"validation_map": "validation/target MAP", "chosen_pairs": "train/target images"}


class EvaluateParams(Params):
    """The parameters of an evaluation."""

    at_once: int = Field(description="similarities held in memory at once; no result depends on it", ge=1)


def measure(
    images: np.ndarray, texts: np.ndarray, pairs: PairFeatures, at_once: int
) -> tuple[dict[str, Any], pl.DataFrame]:
    """Return the metrics of a method's codes, and the units.

    Args:
        images, texts: codes of the pairs.
        pairs: the test pairs.
        at_once: similarities held in memory at once.

    Shape:
        images, texts: (N, K)

    Raises:
        UserError: there are fewer than two test pairs.
    """
    if len(pairs) < 2:
        raise UserError(f"{len(pairs)} test pairs; retrieval needs two or more: raise the share of the test split")
    labels = pairs.category
    forth, relevant = cosine_average_precision(images, texts, labels, labels, at_once)
    back, _ = cosine_average_precision(texts, images, labels, labels, at_once)
    counts = (relevant > 0).astype(np.float64)
    units = [
        units_of(IMAGE_TO_TEXT, pairs.ids, forth, counts),
        units_of(TEXT_TO_IMAGE, pairs.ids, back, counts),
        units_of(BOTH, pairs.ids, (forth + back) / 2, counts),
    ]
    table = pl.concat(units).sort("metric", "unit")
    metrics: dict[str, Any] = dict(reduce_units(table))
    return {**metrics, "pairs": len(pairs), "categories": len(np.unique(labels))}, table


def write_evaluation(metrics: dict[str, Any], units: pl.DataFrame, folder: Path) -> None:
    """Write both files of an evaluation."""
    write_json(metrics, folder / "metrics.json")
    write_table(units.to_arrow().cast(schemas.UNITS), folder / "units.parquet")


def iterations_of(model: Path) -> dict[str, list[float]]:
    """Return the curves of the transfer, a value per iteration; empty lists for a run without transfer."""
    folder, found = model / "curves" / TRANSFER / "plots" / "metrics", {}
    for key, name in CURVES.items():
        path = folder / f"{name}.tsv"
        found[key] = pl.read_csv(path, separator="\t").get_columns()[-1].to_list() if path.is_file() else []
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="the model folder")
    parser.add_argument("--data", type=Path, required=True, help="folder of the domains' folders")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage(f"evaluate {arguments.model}") as closing:
        params = load_section(EvaluateParams, "dckt.evaluate", arguments.params)
        from systems.dckt.trained import TargetModel  # torch takes seconds to import

        model = TargetModel(arguments.model)
        model.limit_threads()
        pairs = read_features(arguments.data / TARGET, int(model.run["seed"]))
        if list(pairs.categories) != model.categories:
            raise UserError(f"{arguments.data}: its target's categories are not those of {arguments.model}")
        test = pairs.subset(TEST)
        metrics, units = measure(model.image_codes(test.images), model.text_codes(test.texts), test, params.at_once)
        metrics |= {"trained on": model.run["pairs"], "chosen": model.run["chosen"], **iterations_of(arguments.model)}
        with whole_directory(arguments.output) as folder:
            write_evaluation(metrics, units, folder)
        closing.counts = {name: round(metrics[name], 4) for name in METRICS}
        closing.counts["test pairs"] = len(test)
        closing.wrote[str(arguments.output)] = "metrics.json, units.parquet"
        closing.next_command = "python -m systems.dckt.report.write (see stages/dckt/dvc.yaml)"


if __name__ == "__main__":
    main()
