"""Measure trained towers in four cells: queries seen in training or new, images seen in training or new.

    python -m systems.dckt.clicks.evaluate --model data/dckt/clicks/models/weighted/seed-0 --data data/sets/toy \\
        --features data/dckt/clicks/embedded --queries data/dckt/clicks/queries.parquet \\
        --output data/dckt/clicks/evaluations/weighted/seed-0

In: a model folder, and what it was trained on.
Out: ``metrics.json`` and ``units.parquet`` (`schemas.UNITS`, one unit per query), shares from 0 to 1:

- ``ndcg_QUERY_IMAGE``: nDCG@k, the gains are clicks;
- ``map_QUERY_IMAGE``: mean average precision over all images of the cell, relevant are clicked ones;

with ``seen`` (the training split) or ``new`` (the test split) for QUERY and IMAGE. In the cell ``seen_seen`` the pairs
themselves were trained on. Queries that no image of the cell was clicked for are not measured.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from pydantic import ValidationError

from base import schemas
from base.artifacts import whole_directory, write_json, write_table
from base.console import UserError, stage
from base.params import DEFAULT_PATH, load_section
from model.folder import load_weights, read_run
from model.measures.units import reduce_units
from systems.dckt.baselines.networks import Sizes, encoders_of
from systems.dckt.baselines.two_tower import TwoTower
from systems.dckt.clicks.config import CELLS, KNOWN, MEASURES, PHASE, ClickEvaluateParams, ClickTrainParams, metric_of
from systems.dckt.clicks.data import Clicks, read_clicks
from systems.dckt.clicks.ranking import chosen_queries, rank
from systems.dckt.clicks.task import towers_of


def read_towers(folder: Path) -> tuple[TwoTower, dict[str, Any]]:
    """Return the towers of a model folder in evaluation mode, and its run.json.

    Raises:
        UserError: the folder is not a model folder of the stage `train`.
    """
    run = read_run(folder)
    try:
        params, sizes = ClickTrainParams.model_validate(run["params"]), Sizes(run["images"], run["queries"], 0)
        network = towers_of(sizes, params)
    except (KeyError, TypeError, ValidationError) as error:
        raise UserError(f"{folder}/run.json: not of two towers on clicks: {error}; train the model again") from None
    load_weights(network, folder, PHASE)
    if params.train.threads is not None:
        torch.set_num_threads(params.train.threads)
    return network.eval(), run


def measure(network: TwoTower, clicks: Clicks, params: ClickEvaluateParams, seed: int) -> pl.DataFrame:
    """Return the units of all cells.

    Args:
        network: in evaluation mode.
        clicks: the log.
        params: what is measured.
        seed: of the drawn queries, where a cell has too many.

    Raises:
        UserError: a cell has no query with a clicked image.
    """
    images_of, queries_of = encoders_of(network)
    image_codes, query_codes, gains = (
        images_of(clicks.image_features),
        queries_of(clicks.query_features),
        clicks.matrix(),
    )
    tables = []
    for query, image in CELLS:
        rows = np.flatnonzero(clicks.query_split == KNOWN[query])
        columns = np.flatnonzero(clicks.image_split == KNOWN[image])
        cell = gains[rows][:, columns]
        chosen = chosen_queries(cell, params.most_queries, seed)
        if not len(chosen):
            raise UserError(
                f"no {image} image was clicked for a {query} query (splits {KNOWN[image]}, {KNOWN[query]}); raise the "
                "shares of test queries or test images"
            )
        names = [clicks.queries[row] for row in rows[chosen]]
        codes = query_codes[rows[chosen]], image_codes[columns]
        tables.append(rank(names, *codes, cell[chosen], params.k, metric_of("", query, image)))
    return pl.concat(tables).sort("metric", "unit")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="the model folder")
    parser.add_argument("--data", type=Path, required=True, help="the data set's folder")
    parser.add_argument("--features", type=Path, required=True, help="frozen features of its images")
    parser.add_argument("--queries", type=Path, required=True, help="features of its queries")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage(f"evaluate {arguments.model}") as closing:
        params = load_section(ClickEvaluateParams, "dckt.clicks.evaluate", arguments.params)
        network, run = read_towers(arguments.model)
        clicks, _ = read_clicks(arguments.data, arguments.features, arguments.queries, int(run["seed"]))
        if (clicks.image_features.shape[1], clicks.query_features.shape[1]) != (run["images"], run["queries"]):
            raise UserError(f"{arguments.model} was trained on other features; give those that it was trained on")
        units = measure(network, clicks, params, int(run["seed"]))
        metrics: dict[str, Any] = dict(reduce_units(units))
        metrics["measured queries"] = {
            f"{query}_{image}": len(units.filter(metric=metric_of(MEASURES[0], query, image))) for query, image in CELLS
        }
        metrics |= {"k": params.k, "trained on": run["pairs"], "chosen": run["chosen"]}
        with whole_directory(arguments.output) as folder:
            write_json(metrics, folder / "metrics.json")
            write_table(units.to_arrow().cast(schemas.UNITS), folder / "units.parquet")
        closing.counts = {name: round(metrics[name], 4) for name in units["metric"].unique().sort()}
        closing.wrote[str(arguments.output)] = "metrics.json, units.parquet"
        closing.next_command = "python -m systems.dckt.clicks.report (see stages/dckt/dvc.yaml)"


if __name__ == "__main__":
    main()
