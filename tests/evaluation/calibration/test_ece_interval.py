"""Intervals of calibration errors hold the truth as often as they say, 0 included."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from breastus.evaluation.calibration.reliability import (
    chance_ece,
    debiased_ece,
    ece_difference_interval,
    ece_interval,
    expected_calibration_error,
)
from breastus.evaluation.intervals.bootstrap import resample_weights
from breastus.evaluation.intervals.metric_intervals import bootstrap_intervals
from breastus.evaluation.options import EvaluationOptions


def draw(rng, patients, size, shift, slope):
    """Truth, probabilities and patients; shift 0 and slope 1 make the probabilities perfect."""
    groups = np.repeat(np.arange(patients), size)
    alike = 0.8 if size > 1 else 0.0

    def normal():
        own = rng.normal(size=patients * size)
        return np.sqrt(alike) * rng.normal(size=patients)[groups] + np.sqrt(1 - alike) * own

    logit = 1.5 * normal() + 1
    truth = (norm.cdf(normal()) < expit(shift + slope * logit)).astype(int)
    return truth, expit(logit), groups


@pytest.mark.parametrize(("shift", "slope"), [(0, 1), (0.15, 1), (0, 0.6), (-0.5, 1)])
@pytest.mark.parametrize(("patients", "size"), [(200, 1), (100, 3)])
def test_coverage_is_what_it_says(patients, size, shift, slope):
    rng = np.random.default_rng(0)
    true = 0.0
    if (shift, slope) != (0, 1):
        true = expected_calibration_error(*draw(rng, 50_000, size, shift, slope)[:2])
    held = 0
    for trial in range(120):
        truth, prob, groups = draw(rng, patients, size, shift, slope)
        weights = resample_weights(groups, resamples=150, seed=trial)
        low, high = ece_interval(
            float(expected_calibration_error(truth, prob)),
            expected_calibration_error(truth, prob, weights=weights),
            chance_ece(truth, prob, weights),
            0.025,
        )
        held += low <= true <= high
    assert held / 120 >= 0.89  # of 0.95, less what 120 trials leave open


@pytest.mark.parametrize(("images", "most"), [(673, 0.010), (134, 0.022)])
def test_perfect_probabilities_have_no_error(images, most):
    """Uncorrected they have one; debiased it is half the time 0, and nearly always noise."""
    rng, found, chance = np.random.default_rng(0), [], 0
    for trial in range(60):
        truth, prob, groups = draw(rng, images, 1, 0, 1)
        weights = resample_weights(groups, resamples=60, seed=trial)
        noise = chance_ece(truth, prob, weights)
        value = float(expected_calibration_error(truth, prob))
        found.append(debiased_ece(value, noise))
        chance += value <= np.quantile(noise, 0.975)
    uncorrected = np.mean([one["uncorrected"] for one in found])
    assert uncorrected == pytest.approx(np.mean([one["noise"] for one in found]), rel=0.15)
    assert np.mean([one["value"] for one in found]) < most < 0.6 * uncorrected
    assert np.mean([one["value"] == 0 for one in found]) > 0.4
    assert chance >= 54


def test_an_error_far_above_the_noise_stays_as_it_is():
    truth, prob, groups = draw(np.random.default_rng(0), 600, 1, -1.5, 1)
    noise = chance_ece(truth, prob, resample_weights(groups, resamples=100, seed=0))
    found = debiased_ece(float(expected_calibration_error(truth, prob)), noise)
    assert found["value"] == pytest.approx(found["uncorrected"], rel=0.02)
    assert np.isnan(debiased_ece(0.1, np.zeros(0))["noise"])


def test_noise_is_the_error_of_resamples_of_perfect_probabilities():
    # By definition, bin by bin, in plain loops.
    truth, prob, groups = draw(np.random.default_rng(1), 40, 2, 0, 1)
    weights = resample_weights(groups, resamples=3, seed=0)
    edges = np.unique(np.quantile(prob, np.linspace(0, 1, 6)))
    place = np.clip(np.searchsorted(edges, prob, side="right") - 1, 0, 4)
    for found, counts in zip(chance_ece(truth, prob, weights), weights, strict=True):
        expected = 0.0
        for number in range(5):
            inside = place == number
            gap = (counts * (prob - truth))[inside].sum() / counts.sum()
            expected += abs(gap - (prob - truth)[inside].sum() / len(prob))
        assert found == pytest.approx(expected)


def test_equally_good_models_differ_as_often_as_they_may():
    rng = np.random.default_rng(0)
    sign = np.where(np.arange(2) == 1, 1, -1)
    coarse = [expit(side * 1.5 * np.abs(rng.normal(size=100_000)) + 1).mean() for side in sign]
    held = 0
    for trial in range(120):
        truth, prob, groups = draw(rng, 300, 1, 0, 1)
        other = np.where(prob > expit(1), coarse[1], coarse[0])  # as perfect, and knows less
        weights = resample_weights(groups, resamples=150, seed=trial)
        once, drawn = (
            expected_calibration_error(truth, prob, weights=w)
            - expected_calibration_error(truth, other, weights=w)
            for w in (np.ones(300), weights)
        )
        low, high = ece_difference_interval(float(once), drawn, 0.025)
        held += low <= 0 <= high
    assert held / 120 >= 0.86


def test_an_interval_reaches_beyond_the_value_on_both_sides():
    truth, prob, groups = draw(np.random.default_rng(3), 300, 1, 0, 1)
    value = expected_calibration_error(truth, prob)
    low, high = bootstrap_intervals(truth, prob, groups, options=EvaluationOptions(resamples=200))[
        "ece"
    ]
    assert low == 0 < value < high
    truth, prob, groups = draw(np.random.default_rng(3), 300, 1, -1, 1)
    value = expected_calibration_error(truth, prob)
    low, high = bootstrap_intervals(truth, prob, groups, options=EvaluationOptions(resamples=200))[
        "ece"
    ]
    assert 0 < low < value < high
