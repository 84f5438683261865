"""The measures of a run by annotator, which is a phase's probabilities with a rule; `systems.annotation.evaluate`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from model.measures.average_precision import average_precision
from model.measures.calibration import Platt, fit_platt, reliability_units, sigmoid
from model.measures.label_sets import nearest_counts, quantity_units, set_units
from model.measures.units import reduce_units
from systems.annotation.config import FUSED, JOINT, LABELS, QUANTITY, QUANTITY_VISUAL
from systems.annotation.model import Said
from systems.annotation.rules import RuleParams, above, most_probable, tuned_thresholds

PREDICTED_BY = {FUSED: QUANTITY_VISUAL, LABELS: QUANTITY, JOINT: JOINT}  # the phase that predicts a phase's quantity
SQUARED_ERROR = "quantity_mse_"  # metrics that begin so are no percentages


class Probabilities(NamedTuple):
    """A phase's probabilities. V validation images, N test images, C labels."""

    validation: np.ndarray  # float64 (V, C)
    test: np.ndarray  # float64 (N, C)


def probabilities_of(logits: np.ndarray, loss: str) -> np.ndarray:
    """Return probabilities, float64: sigmoid; for the loss `softmax`, whose labels share the probability 1, softmax."""
    z = np.asarray(logits, np.float64)
    if loss != "softmax":
        return sigmoid(z)
    shares = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def main_phase(phases: Sequence[str]) -> str:
    """Return the phase whose annotations are compared by all rules: with tags if the run has them."""
    return LABELS if LABELS in phases else FUSED


def given_sets(
    phase: str, found: Probabilities, said: Said, test_rows: np.ndarray, true: np.ndarray, has_validation: np.ndarray,
    params: RuleParams, is_main: bool,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return the label sets of the test images by the name of the rule.

    Args:
        phase: whose probabilities.
        found: the probabilities.
        said: the run's outputs for validation and test images.
        test_rows: the rows of `said` that are test images.
        true: labels of the test images.
        has_validation: labels of the validation images.
        params: k and the thresholds.
        is_main: whether all rules are applied, or only those with k and with the predicted number.
    """
    sets = {"top": most_probable(found.test, params.top)}
    if (by := PREDICTED_BY.get(phase)) in said.quantities:
        counts = nearest_counts(said.quantities[by][test_rows], found.test.shape[1])
        sets["predicted"] = most_probable(found.test, counts)
    if is_main:
        sets["true"] = most_probable(found.test, true.sum(axis=1))
        sets |= {f"threshold={p:g}": above(found.test, p) for p in params.thresholds}
        if has_validation.any():
            sets["tuned"] = above(found.test, tuned_thresholds(found.validation, has_validation))
    return sets


def run_units(
    said: Said,
    loss: str,
    names: Sequence[str],
    labels: Sequence[str],
    has: np.ndarray,
    is_test: np.ndarray,
    params: RuleParams,
) -> tuple[pl.DataFrame, dict[str, Platt]]:
    """Return all units of a run on its test images, and each phase's calibration.

    Args:
        said: outputs for validation and test images.
        loss: of the run.
        names: of the images.
        labels: names.
        has: whether an image has a label.
        is_test: whether an image is a test image; the others calibrate and tune.
        params: the rules.

    Shape:
        names, is_test: (V + N,); has: bool (V + N, C)
    """
    test_rows = np.flatnonzero(is_test)
    tested, true, held_out = [names[int(row)] for row in test_rows], has[is_test], has[~is_test]
    tables, scalings = [], {}
    for phase, logits in said.logits.items():
        both = probabilities_of(logits, loss)
        found = Probabilities(both[~is_test], both[is_test])
        is_main = phase in (FUSED, LABELS)
        for rule, sets in given_sets(phase, found, said, test_rows, true, held_out, params, is_main).items():
            tables.append(set_units(f"_{phase}_{rule}", tested, sets, true))
        tables.append(average_precision(f"map_{phase}", labels, found.test.T, true.T))
        if loss != "softmax" and held_out.any():
            scalings[phase] = fit_platt(logits[~is_test], held_out)
            calibrated = scalings[phase].probabilities(logits[is_test])
            tables.append(reliability_units(f"ece_{phase}", found.test, true, params.bins))
            tables.append(reliability_units(f"ece_calibrated_{phase}", calibrated, true, params.bins))
    for phase, estimated in said.quantities.items():
        counts = true.sum(axis=1)
        tables.append(quantity_units(f"_{phase}", tested, estimated[is_test], counts, len(labels)))
    return pl.concat(tables).sort("metric", "unit"), scalings


def stated(units: pl.DataFrame) -> dict[str, Any]:
    """Return the metrics of units as metrics.json states them: rounded, in percent, and squared errors apart."""
    metrics = reduce_units(units)
    percent = {
        name: None if value is None else round(100 * value, 4)
        for name, value in metrics.items()
        if not name.startswith(SQUARED_ERROR)
    }
    errors = {
        name.removeprefix(SQUARED_ERROR): None if value is None else round(value, 4)
        for name, value in metrics.items()
        if name.startswith(SQUARED_ERROR)
    }
    return percent | {"squared_errors": errors}
