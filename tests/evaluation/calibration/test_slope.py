"""Slope and intercept solve the equations of logistic regression, or are undefined."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from breastus.evaluation.calibration.slope import calibration_intercept, calibration_slope
from breastus.evaluation.intervals.metric_intervals import bootstrap_intervals
from breastus.evaluation.options import EvaluationOptions

# Intercept of probabilities expit(2 x - 1) when the true ones are expit(x).
GRID = np.linspace(-9, 9, 4001)
DENSITY = np.exp(-((GRID / 1.5) ** 2) / 2)
TRUE_SHIFT = brentq(lambda a: (DENSITY * (expit(GRID) - expit(2 * GRID - 1 + a))).sum(), -9, 9)


def by_bisection(truth, prob, weights):
    """Intercept with the slope held at 1, and the slope, each the root of its equation."""
    x = logit(prob)

    def shift(slope):
        return brentq(
            lambda a: (weights * (truth - expit(a + slope * x))).sum(), -999, 999, xtol=1e-14
        )

    def pull(slope):
        return (weights * (truth - expit(shift(slope) + slope * x)) * x).sum()

    return shift(1.0), brentq(pull, -50, 50, xtol=1e-13)


@pytest.mark.parametrize("seed", range(6))
def test_the_equations_are_solved(seed):
    rng = np.random.default_rng(seed)
    score = rng.normal(scale=2, size=60)
    truth = (rng.random(60) < expit(0.6 * score + 0.5)).astype(int)
    weights = rng.integers(0, 4, 60)
    intercept, slope = by_bisection(truth, expit(score), weights)
    assert calibration_intercept(truth, expit(score), weights) == pytest.approx(intercept, abs=1e-9)
    assert calibration_slope(truth, expit(score), weights) == pytest.approx(slope, abs=1e-9)


def test_equal_to_scikit_learn():
    rng = np.random.default_rng(0)
    score = rng.normal(size=300)
    truth = (rng.random(300) < expit(score)).astype(int)
    fit = LogisticRegression(C=np.inf, tol=1e-12, solver="newton-cholesky")
    fit.fit(score[:, None], truth)
    assert calibration_slope(truth, expit(score)) == pytest.approx(fit.coef_[0, 0], abs=1e-9)


def test_a_distortion_is_found_again():
    rng = np.random.default_rng(0)
    score = rng.normal(scale=1.5, size=100_000)
    truth = (rng.random(100_000) < expit(score)).astype(int)
    assert calibration_slope(truth, expit(score)) == pytest.approx(1, abs=0.02)
    assert calibration_intercept(truth, expit(score)) == pytest.approx(0, abs=0.02)
    assert calibration_slope(truth, expit(2 * score)) == pytest.approx(0.5, abs=0.02)
    assert calibration_intercept(truth, expit(score - 1)) == pytest.approx(1, abs=0.02)


def test_the_intercept_of_one_probability_is_by_hand():
    # 3 of 4 are lumps where the probability was a half: log odds of 3 and of 1.
    found = calibration_intercept(np.array([1, 1, 1, 0]), np.full(4, 0.5))
    assert found == pytest.approx(np.log(3))


@pytest.mark.parametrize(
    ("truth", "prob"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]),  # separable
        ([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9]),  # the wrong way round
        ([0, 0, 1, 1], [0.1, 0.5, 0.5, 0.9]),  # but for a tie
        ([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5]),  # one probability has no slope
    ],
)
def test_no_overlap_is_no_slope(truth, prob):
    assert np.isnan(calibration_slope(np.array(truth), np.array(prob)))
    assert np.isfinite(calibration_intercept(np.array(truth), np.array(prob)))


def test_the_intercept_of_sure_probabilities():
    # As many are wrong on either side, so nothing is to be shifted.
    assert calibration_intercept([0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1]) == pytest.approx(0)
    assert calibration_intercept([1, 0], [0, 1]) == pytest.approx(0)
    # The logit of 1e-12 and of its complement, both kept 1e-12 off: half of the first three wrong.
    truth, prob = np.array([0, 1, 1, 1]), np.array([0.0, 0.0, 1.0, 1.0])
    assert calibration_intercept(truth, prob) == pytest.approx(-logit(1e-12), abs=1e-6)
    assert calibration_intercept(1 - truth, 1 - prob) == pytest.approx(logit(1e-12), abs=1e-6)


def test_the_intercept_of_sure_resamples_has_its_symmetry():
    rng = np.random.default_rng(0)
    truth, prob = rng.integers(0, 2, 80), rng.choice([0.0, 1e-9, 0.3, 1 - 1e-9, 1.0], 80)
    sure = np.where(rng.random(80) < 0.9, truth, 1 - truth).astype(float)
    weights = rng.multinomial(80, np.full(80, 1 / 80), size=300)
    for each in (prob, sure):
        found = calibration_intercept(truth, each, weights)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(
            calibration_intercept(1 - truth, 1 - each, weights), -found, atol=1e-6
        )
        # A row is what it is alone, whatever the other rows are.
        alone = [calibration_intercept(truth, each, row) for row in weights[:20]]
        np.testing.assert_allclose(found[:20], alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("value", [0, 1])
def test_one_class_is_undefined(value):
    prob = np.array([0.1, 0.6, 0.9])
    assert np.isnan(calibration_slope(np.full(3, value), prob))
    assert np.isnan(calibration_intercept(np.full(3, value), prob))
    # ... also where the weights leave one only; other rows stay as they are.
    truth, weights = np.array([0, 1, 0]), np.array([[1, 0, 1], [1, 1, 1]])
    assert np.isnan(calibration_slope(truth, prob, weights)).tolist() == [True, False]
    assert np.isnan(calibration_intercept(truth, prob, weights)).tolist() == [True, False]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from([0.0, 1e-9, 0.1, 0.4, 0.5, 0.8, 1.0])),
        min_size=1,
        max_size=15,
    )
)
@example([(0, p) for p in (0.0, 0.0, 0.0, 1e-9, 0.4, 0.4, 0.4, 1.0, 1.0, 1.0)] + [(1, 0.1)])
def test_a_slope_settles_or_there_is_none(rows):
    truth, prob = (np.array(column) for column in zip(*rows, strict=True))
    found = calibration_slope(truth, prob)
    of_no_lump, of_lump = (prob[truth == value] for value in (0, 1))
    overlap = (
        len(of_lump)
        and len(of_no_lump)
        and of_lump.min() < of_no_lump.max()
        and of_no_lump.min() < of_lump.max()
    )
    assert np.isfinite(found) == bool(overlap)
    # Turned round, it is as steep: the same images seen from the other class.
    np.testing.assert_allclose(calibration_slope(1 - truth, 1 - prob), found, rtol=1e-3)


@pytest.mark.slow
def test_intervals_hold_what_they_say():
    rng = np.random.default_rng(1)
    held = np.zeros(2)
    for trial in range(60):
        score = rng.normal(scale=1.5, size=150)
        truth = (rng.random(150) < expit(score)).astype(int)
        found = bootstrap_intervals(
            truth,
            expit(2 * score - 1),
            np.arange(150),
            options=EvaluationOptions(resamples=200, seed=trial),
        )
        low, high = found["calibration_slope"]
        held[0] += low <= 0.5 <= high
        low, high = found["calibration_intercept"]
        held[1] += low <= TRUE_SHIFT <= high
    assert (held / 60 > 0.86).all()


def test_what_is_no_probability_is_refused():
    for compute in (calibration_slope, calibration_intercept):
        with pytest.raises(ValueError, match=r"from 0 to 1. Received: 2\.0"):
            compute(np.array([0, 1]), np.array([0.1, 2.0]))
