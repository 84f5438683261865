"""Evaluations of made-up runs, as systems.dckt.evaluate and .compare write them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from base.artifacts import write_json
from model.measures.units import reduce_units, units_of
from systems.dckt.config import read_run
from systems.dckt.evaluate import METRICS, write_evaluation

QUERIES = 120


def write_run(folder: Path, run: str, value: float, seed: int) -> None:
    """Write one evaluation: average precisions around a value, equally hard queries in every run, a little luck."""
    names = [f"pair {number:03d}" for number in range(QUERIES)]
    hardness = np.random.default_rng(7).normal(0, 0.1, QUERIES)
    luck = np.random.default_rng([seed, round(1e4 * value)]).normal(0, 0.004)
    units = [
        units_of(metric, names, np.clip(value + shift + luck + hardness, 0, 1), 1.0)
        for metric, shift in zip(METRICS, (0.02, -0.02, 0.0), strict=True)
    ]
    table = pl.concat(units).sort("metric", "unit")
    metrics: dict = {**reduce_units(table), "pairs": QUERIES, "categories": 4}
    if not read_run(run).is_baseline:
        metrics["chosen"] = [{"phase": "target", "epoch": 3, "value": 30.0 + seed}]
        metrics |= {"validation_map": [], "chosen_pairs": []}
        if read_run(run).base != "before":
            metrics["chosen"].append({"phase": "transfer", "epoch": 4 + seed, "value": 45.0})
            metrics["validation_map"] = [31.0 + seed, 40.0, 44.0, 45.0, 44.5]
            metrics["chosen_pairs"] = [10.0, 12.0, 14.0, 15.0, 16.0]
    write_evaluation(metrics, table, folder)


def write_evaluations(
    folder: Path, values: Mapping[str, float], seeds: Sequence[int] = (0, 1, 2, 3, 4), alpha: float = 0.2
) -> Path:
    """Write the plan, and the evaluations of runs with their values; return the folder."""
    kinds = {kind: [run for run in values if read_run(run).is_baseline == kind] for kind in (False, True)}
    plan = {"networks": kinds[False], "baselines": kinds[True], "seeds": list(seeds), "alpha": alpha}
    write_json(plan, folder / "runs.json")
    for run, value in values.items():
        for seed in seeds:
            write_run(folder / run / f"seed-{seed}", run, value, seed)
    return folder
