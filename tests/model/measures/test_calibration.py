"""Platt scaling against scikit-learn's logistic regression, and reliability by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from model.measures.calibration import fit_platt, reliability, reliability_units, sigmoid
from model.measures.units import reduce_units


@given(st.integers(0, 10**6))
def test_the_fit_is_scikit_learns(seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(-1, 2, (40, 5))
    true = random.random((40, 5)) < sigmoid(0.5 * logits - 0.7)
    true[0, :2] = True, False
    found = fit_platt(logits, true)
    wanted = LogisticRegression(C=1e8, tol=1e-10, max_iter=1000).fit(logits.reshape(-1, 1), true.ravel())
    assert [found.a, found.b] == pytest.approx([wanted.coef_.item(), wanted.intercept_.item()], abs=2e-3)


def test_separable_decisions_have_a_finite_fit() -> None:
    found = fit_platt(np.array([-2.0, -1, 1, 3]), np.array([False, False, True, True]))
    assert np.isfinite(found).all()
    assert found.probabilities(np.array([-1.0, 1.0])) == pytest.approx([0, 1], abs=0.01)
    assert sigmoid(np.array([-800.0, 0.0, 800.0])).tolist() == [0, 0.5, 1]


def test_scaling_improves_what_is_overconfident() -> None:
    random = np.random.default_rng(1)
    logits = random.normal(0, 1, (400, 4))
    true = random.random(logits.shape) < sigmoid(logits)
    before = reduce_units(reliability_units("e", sigmoid(3 * logits), true, 10))["e"]
    found = fit_platt(3 * logits, true)
    after = reduce_units(reliability_units("e", found.probabilities(3 * logits), true, 10))["e"]
    assert found.a == pytest.approx(1 / 3, abs=0.05)
    assert before is not None
    assert after is not None
    assert after < before / 3


def test_reliability_by_hand() -> None:
    probabilities = np.array([[0.1, 0.2], [0.9, 1.0], [0.3, 0.7]])
    true = np.array([[False, True], [True, True], [True, False]])
    units = reliability_units("ece", probabilities, true, 2)
    # below 0.5: sum of p 0.6, two are true; above: sum of p 2.6, two are true
    assert units.select("unit", "numerator", "denominator").rows() == [
        ("0.00 to 0.50", pytest.approx(1.4), 3.0), ("0.50 to 1.00", pytest.approx(0.6), 3.0),
    ]  # fmt: skip
    assert reduce_units(units) == {"ece": pytest.approx(2.0 / 6)}
    assert reliability(probabilities, true, 2).rows() == [
        (0, 3, pytest.approx(0.2), pytest.approx(2 / 3)), (1, 3, pytest.approx(2.6 / 3), pytest.approx(2 / 3)),
    ]  # fmt: skip
