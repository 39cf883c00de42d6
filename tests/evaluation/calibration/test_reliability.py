"""Temperatures undo what was done to the probabilities; bins count right."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from breastus.errors import UndefinedMetricWarning
from breastus.evaluation.calibration.fit import fit_calibrator
from breastus.evaluation.calibration.logistic import logit
from breastus.evaluation.calibration.reliability import (
    expected_calibration_error,
    image_log_loss,
    reliability,
)
from breastus.evaluation.calibration.temperature import apply_temperature, fit_temperature


def draw(count=20_000, seed=0):
    """True probabilities, and labels that follow them."""
    rng = np.random.default_rng(seed)
    lump = 1 / (1 + np.exp(-rng.normal(scale=1.5, size=count)))
    return (rng.random(count) < lump).astype(int), np.stack([1 - lump, lump], axis=1)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_a_temperature_is_found_again(temperature):
    truth, probabilities = draw()
    distorted = apply_temperature(probabilities, 1 / temperature)
    assert fit_temperature(truth, distorted) == pytest.approx(temperature, rel=0.05)


@given(st.floats(0.05, 20), st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_order_and_sum_stay(temperature, values):
    values = np.array(values)
    changed = apply_temperature(np.stack([1 - values, values], axis=1), temperature)
    np.testing.assert_allclose(changed.sum(axis=1), 1)
    order = np.argsort(values, kind="stable")
    assert (np.diff(changed[order, 1]) >= -1e-12).all()


def test_one_class_leaves_the_temperature_alone():
    with pytest.warns(UndefinedMetricWarning, match="stays 1"):
        assert fit_temperature(np.ones(3, int), np.full((3, 2), 0.5)) == 1


def of(lump):
    lump = np.asarray(lump, float)
    return np.stack([1 - lump, lump], axis=1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(4))
def test_a_temperature_is_one_over_the_slope_of_a_logistic_regression(seed):
    rng = np.random.default_rng(seed)
    z = rng.normal(scale=1 + seed, size=80)
    truth = (rng.random(80) < expit(0.7 * z)).astype(int)
    fit = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(z[:, None], truth)
    found = fit_temperature(truth, of(expit(z)))
    assert found == pytest.approx(1 / fit.coef_[0, 0], rel=1e-4)


@pytest.mark.parametrize("prob", [(0.4, 0.6), (0.001, 0.999), (0.5, 0.6), (0.5, 0.5)])
def test_images_without_an_error_leave_the_temperature_at_1(prob):
    truth = np.repeat([0, 1], 20)
    with pytest.warns(UndefinedMetricWarning, match="stays 1: on every") as caught:
        assert fit_temperature(truth, of(np.array(prob)[truth])) == 1
    assert len(caught) == 1
    # The shift is taken first: after it, an image may have the other class likelier.
    with pytest.warns(UserWarning, match="stays 1"):
        fit = fit_calibrator(
            truth, expit(logit(np.array(prob)[truth]) - 2), truth, shift=-2.0, method="temperature"
        )
    assert (fit.calibrator.temperature, fit.calibrator.shift) == (1.0, -2.0)


def test_reversed_scores_hold_the_temperature_at_its_highest():
    truth = np.repeat([0, 1], 20)
    with pytest.warns(UserWarning, match="upper bound, 20: .*swapped labels"):
        assert fit_temperature(truth, of(np.where(truth == 1, 0.2, 0.8))) == 20
    with pytest.warns(UserWarning, match="at its upper bound"):
        fit_calibrator(truth, np.where(truth == 1, 0.2, 0.8), truth, method="temperature")


def test_timid_scores_hold_the_temperature_at_its_lowest():
    truth = np.arange(40) % 2
    prob = 0.5 + 1e-3 * (2 * truth - 1)
    prob[0] = 0.501  # one error in forty
    with pytest.warns(UserWarning, match=r"lower bound, 0\.05: .*calibration=platt"):
        assert fit_temperature(truth, of(prob)) == 0.05


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("prob", [1e-4, 1e-6, 1e-9, 1e-12, 0.0])
def test_one_gross_error_is_not_given_up(prob):
    truth = np.arange(200) % 2
    z = np.where(truth == 1, 1.0, -1.0) * logit(0.9)
    z[1] = logit(prob)
    fit = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(z[:, None], truth)
    found = fit_temperature(truth, of(expit(z)))
    assert found == pytest.approx(1 / fit.coef_[0, 0], rel=1e-4)
    assert found > 0.5


def test_folds_do_not_warn_of_their_temperatures():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], 20)
    prob = expit(4 * truth - 2 + 0.1 * rng.normal(size=40))
    prob[0] = 0.51  # the folds without it have no error
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fit_calibrator(truth, prob, np.arange(40), repeats=1).losses


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0, 0.2, 0.5, 0.7, 1])), max_size=30))
def test_bins_hold_every_image_once(rows):
    truth, prob = np.array(rows).reshape(-1, 2).T
    table = reliability(truth, prob)
    assert sum(row["count"] for row in table) == len(rows)
    assert sum(row["lumps"] for row in table) == truth.sum()
    for row, following in pairwise(table):
        assert row["high"] < following["low"]


def test_calibration_error():
    truth, probabilities = draw()
    assert expected_calibration_error(truth, probabilities[:, 1]) < 0.02
    assert expected_calibration_error(np.array([0, 0, 1, 1]), np.full(4, 0.9)) == pytest.approx(0.4)
    assert np.isnan(expected_calibration_error(np.array([]), np.array([])))


def test_log_loss_equals_scikit_learn():
    truth, probabilities = draw(200)
    loss = image_log_loss(truth, probabilities[:, 1])
    assert loss.mean() == pytest.approx(log_loss(truth, probabilities[:, 1]))
    assert image_log_loss([1], [0.0])[0] == pytest.approx(-np.log(1e-12))


@pytest.mark.parametrize(
    ("truth", "prob", "message"),
    [
        ([0, 1], [0.1, np.nan], "Received: nan"),
        ([0, 1], [0.1, 2.0], r"from 0 to 1. Received: 2\.0"),
        ([0, 2], [0.1, 0.9], "must hold 0 and 1"),
        ([0, 1], [0.1], "same length"),
    ],
)
@pytest.mark.parametrize("compute", [reliability, expected_calibration_error, image_log_loss])
def test_what_is_no_label_or_probability_is_refused(compute, truth, prob, message):
    with pytest.raises(ValueError, match=message):
        compute(truth, prob)


@pytest.mark.parametrize(
    ("truth", "probabilities", "message"),
    [
        (
            [0, 1],
            [[0.5, 0.5], [0.1, np.nan]],
            "probabilities must hold .* from 0 to 1. Received: nan",
        ),
        ([0, 1], [[0.5, 0.5], [-1.0, 2.0]], r"from 0 to 1. Received: -1\.0"),
        ([0, 1], [[0.5, 0.5]], r"a row for each of y_true. Received: shapes \(1, 2\) and \(2,\)"),
        ([0, 1], [0.5, 0.5], r"must be \[n, classes\]"),
        ([0, 2], [[0.5, 0.5], [0.1, 0.9]], "class ids from 0 to 1. Received: 2"),
        ([0, -1], [[0.5, 0.5], [0.1, 0.9]], "class ids from 0 to 1. Received: -1"),
    ],
)
def test_a_temperature_of_something_else_is_refused(truth, probabilities, message):
    with pytest.raises(ValueError, match=message):
        fit_temperature(truth, probabilities)
