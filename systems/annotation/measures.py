"""The measures of a run by annotator, which is a phase's probabilities with a rule; `systems.annotation.evaluate`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from model.measures.average_precision import average_precision
from model.measures.calibration import Platt, fit_platt, reliability_units, sigmoid
from model.measures.label_sets import nearest_counts, quantity_units, set_units
from model.measures.units import reduce_units
from systems.annotation.config import CHAIN, CNN, FUSED, JOINT, LABELS, QUANTITY, QUANTITY_VISUAL
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
    """Return the phase whose probabilities are shown: the last one that the run has."""
    return next(phase for phase in (LABELS, FUSED, CNN) if phase in phases)


class Truth(NamedTuple):
    """Whether an image has a label. V validation images, N test images, C labels."""

    validation: np.ndarray  # bool (V, C)
    test: np.ndarray  # bool (N, C)


def given_sets(
    phase: str, found: Probabilities, counts: np.ndarray | None, has: Truth, params: RuleParams
) -> dict[str, np.ndarray]:
    """Return the label sets of the test images by the name of the rule.

    All rules are applied to the phases `fused` and `labels`, only those with k and with the predicted number to others.

    Args:
        phase: whose probabilities.
        found: the probabilities.
        counts: predicted number of labels of the test images; None: it isn't predicted.
        has: the images' labels; those of the validation images tune thresholds.
        params: k and the thresholds.
    """
    sets = {"top": most_probable(found.test, params.top)}
    if counts is not None:
        sets["predicted"] = most_probable(found.test, counts)
    if phase in (FUSED, LABELS):
        sets["true"] = most_probable(found.test, has.test.sum(axis=1))
        sets |= {f"threshold={p:g}": above(found.test, p) for p in params.thresholds}
        if has.validation.any():
            sets["tuned"] = above(found.test, tuned_thresholds(found.validation, has.validation))
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
    truth = Truth(has[~is_test], has[is_test])
    tested = [names[int(row)] for row in np.flatnonzero(is_test)]
    tables, scalings = [], {}
    for phase, logits in said.logits.items():
        both = probabilities_of(logits, loss)
        found = Probabilities(both[~is_test], both[is_test])
        quantity = said.quantities.get(PREDICTED_BY.get(phase, ""))
        counts = None if quantity is None else nearest_counts(quantity[is_test], len(labels))
        for rule, sets in given_sets(phase, found, counts, truth, params).items():
            tables.append(set_units(f"_{phase}_{rule}", tested, sets, truth.test))
        tables.append(average_precision(f"map_{phase}", labels, found.test.T, truth.test.T))
        if loss != "softmax" and truth.validation.any():
            scalings[phase] = fit_platt(logits[~is_test], truth.validation)
            calibrated = scalings[phase].probabilities(logits[is_test])
            tables.append(reliability_units(f"ece_{phase}", found.test, truth.test, params.bins))
            tables.append(reliability_units(f"ece_calibrated_{phase}", calibrated, truth.test, params.bins))
    for rule, sets in said.paths.items():
        tables.append(set_units(f"_{CHAIN}_{rule}", tested, sets[is_test], truth.test))
    for phase, estimated in said.quantities.items():
        number = truth.test.sum(axis=1)
        tables.append(quantity_units(f"_{phase}", tested, estimated[is_test], number, len(labels)))
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
