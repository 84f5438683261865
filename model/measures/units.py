"""Units: the measured values of each image, query or category, from which a metric is computed."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from base.schemas import UNITS

SCHEMA = pl.Schema(UNITS)


def units_of(
    metric: str, names: Sequence[str], numerators: np.ndarray, denominators: np.ndarray | float
) -> pl.DataFrame:
    """Return the units of a metric as `base.schemas.UNITS`.

    Args:
        metric: the metric's name, as in ``accuracy_target``.
        names: of the units, each once.
        numerators: of each unit.
        denominators: of each unit, or one number for all; >= 0. A unit whose denominator is 0 doesn't count.

    Shape:
        names, numerators, denominators: (n,)

    Raises:
        ValueError: a name is listed twice, a value is NaN or infinite, or a denominator is negative.
    """
    denominators = np.broadcast_to(np.asarray(denominators, np.float64), (len(names),))
    numerators = np.asarray(numerators, np.float64)
    if len(set(names)) < len(names):
        raise ValueError(f"{metric}: a unit is listed twice")
    if not np.isfinite(numerators).all() or not np.isfinite(denominators).all() or (denominators < 0).any():
        raise ValueError(f"{metric}: numerators must be finite, denominators finite and not negative")
    columns = {
        "metric": [metric] * len(names),
        "unit": list(names),
        "numerator": numerators,
        "denominator": denominators,
    }
    return pl.DataFrame(columns, schema=SCHEMA)


def reduce_units(units: pl.DataFrame) -> dict[str, float | None]:
    """Return each metric's value, sum of numerators over sum of denominators; None if all denominators are 0.

    Args:
        units: `base.schemas.UNITS`, of any number of metrics.
    """
    sums = units.group_by("metric", maintain_order=True).agg(pl.col("numerator", "denominator").sum())
    return {
        metric: numerator / denominator if denominator > 0 else None
        for metric, numerator, denominator in sums.iter_rows()
    }


def check_reduces(
    metrics: Mapping[str, object], units: pl.DataFrame, scale: float = 1.0, tolerance: float = 1e-6
) -> None:
    """Check that stated metrics equal the metrics that are computed from their units.

    Args:
        metrics: the content of ``metrics.json``; metrics without units are not checked.
        units: the units of the same evaluation.
        scale: the factor from a ratio to the stated number, as 100 for percent.
        tolerance: largest difference that rounding may cause, after scaling.

    Raises:
        ValueError: a metric differs; the message names it and both values.
    """
    for metric, value in reduce_units(units).items():
        stated = metrics.get(metric)
        found = None if value is None else scale * value
        if metric in metrics and (
            (stated is None) != (found is None)
            or (isinstance(stated, int | float) and found is not None and abs(stated - found) > tolerance)
        ):
            raise ValueError(f"{metric} is stated as {stated}, its units give {found}")
