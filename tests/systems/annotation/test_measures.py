"""Rules by phase, thresholds tuned on validation images alone, calibration, and stated metrics."""

import numpy as np
import pytest

from model.measures.calibration import fit_platt, sigmoid
from model.measures.label_sets import measure_sets
from model.measures.units import check_reduces
from systems.annotation.measures import Probabilities, Truth, given_sets, probabilities_of, run_units, stated
from systems.annotation.model import Said
from systems.annotation.rules import RuleParams, above, most_probable, tuned_thresholds

PARAMS = RuleParams(batch_size=1, top=1, thresholds=[0.3], bins=4)
RANDOM = np.random.default_rng(3)
HAS = RANDOM.random((14, 3)) < 0.5
HAS[:, 1] |= ~HAS.any(axis=1)
IS_TEST = np.arange(14) % 3 != 0
LOGITS = RANDOM.normal(0, 2, (14, 3)) + HAS
NAMES, LABELS = [f"i{n:02}" for n in range(14)], ["a", "b", "c"]


def test_probabilities_of_losses() -> None:
    logits = np.array([[0.0, np.log(3)], [800, 0]])
    assert probabilities_of(logits, "binary").tolist() == [[0.5, pytest.approx(0.75)], [1, 0.5]]
    assert probabilities_of(logits, "softmax").tolist() == [[pytest.approx(0.25), pytest.approx(0.75)], [1, 0]]


def test_rules_of_a_phase() -> None:
    p = sigmoid(LOGITS)
    found, has = Probabilities(p[~IS_TEST], p[IS_TEST]), Truth(HAS[~IS_TEST], HAS[IS_TEST])
    counts = np.full(IS_TEST.sum(), 2)
    sets = given_sets("labels", found, counts, has, PARAMS)
    wanted = {
        "top": most_probable(found.test, 1),
        "predicted": most_probable(found.test, 2),
        "true": most_probable(found.test, has.test.sum(axis=1)),
        "threshold=0.3": found.test >= 0.3,
        "tuned": above(found.test, tuned_thresholds(found.validation, has.validation)),
    }
    assert list(sets) == list(wanted)
    assert all((sets[rule] == wanted[rule]).all() for rule in wanted)
    assert list(given_sets("cnn", found, None, has, PARAMS)) == ["top"]
    assert "tuned" not in given_sets("fused", Probabilities(p[:0], p), None, Truth(HAS[:0], HAS), PARAMS)


def test_units_of_a_run() -> None:
    said = Said({"cnn": LOGITS - 1, "fused": LOGITS}, {"quantity_visual": HAS.sum(axis=1) + 0.3})
    units, scalings = run_units(said, "binary", NAMES, LABELS, HAS, IS_TEST, PARAMS)
    metrics = stated(units)
    check_reduces(metrics, units, scale=100, tolerance=1e-3)
    assert set(units.filter(metric="h_f1_cnn_top")["unit"]) == {
        name for name, t in zip(NAMES, IS_TEST, strict=True) if t
    }
    assert metrics["squared_errors"] == {"quantity_visual": pytest.approx(0.09)}
    assert metrics["quantity_accuracy_quantity_visual"] == 100
    right = measure_sets(most_probable(LOGITS[IS_TEST], HAS[IS_TEST].sum(axis=1)), HAS[IS_TEST])["h_f1"].value
    assert metrics["h_f1_fused_predicted"] == metrics["h_f1_fused_true"] == pytest.approx(100 * right, abs=1e-3)
    assert scalings["fused"] == fit_platt(LOGITS[~IS_TEST], HAS[~IS_TEST])
    units, scalings = run_units(said, "softmax", NAMES, LABELS, HAS, IS_TEST, PARAMS)
    assert scalings == {}
    assert not units["metric"].str.starts_with("ece").any()
