"""Reads what evaluations of runs have measured: ``metrics.json`` and ``units.parquet`` of each run and seed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from base.artifacts import read_json, read_tables
from base.console import UserError
from model.measures.units import SCHEMA, check_reduces

METRICS_FILE, UNITS_FILE = "metrics.json", "units.parquet"


class Evaluations(NamedTuple):
    """The evaluations of several runs.

    Attributes:
        units: `base.schemas.UNITS` of all, with the columns `run` and `seed`.
        metrics: content of ``metrics.json`` by run and seed.
    """

    units: pl.DataFrame
    metrics: dict[tuple[str, int], dict[str, Any]]


def read_evaluations(
    folders: Mapping[str, Path], seeds: Sequence[int], listed: str, scale: float = 1.0, tolerance: float = 1e-6
) -> Evaluations:
    """Read ``FOLDER/seed-SEED/`` of each run and seed, and check that metrics are those of their units.

    Args:
        folders: by run, in the order of the result.
        seeds: of each run.
        listed: what lists runs and seeds, for the message.
        scale: from a ratio to a metric in metrics.json: 100 for percent.
        tolerance: of the check, in the metrics' unit.

    Raises:
        UserError: a file is missing, or a metric is not that of its units.
    """
    tables = [pl.DataFrame(schema={**SCHEMA, "run": pl.String, "seed": pl.Int32})]
    metrics: dict[tuple[str, int], dict[str, Any]] = {}
    for run, of_run in folders.items():
        for seed in seeds:
            folder = of_run / f"seed-{seed}"
            missing = [name for name in (METRICS_FILE, UNITS_FILE) if not (folder / name).is_file()]
            if missing:
                raise UserError(
                    f"{folder}: no {' and '.join(missing)}, but {listed} lists this run and seed; run `dvc repro`, or "
                    "take the run out of the parameter file"
                )
            metrics[run, seed] = read_json(folder / METRICS_FILE)
            units = pl.DataFrame(read_tables(folder / UNITS_FILE))
            try:
                check_reduces(metrics[run, seed], units, scale, tolerance)
            except ValueError as error:
                raise UserError(f"{folder}: {error}; evaluate the run again") from None
            tables.append(units.with_columns(run=pl.lit(run), seed=pl.lit(seed)))
    return Evaluations(pl.concat(tables), metrics)
