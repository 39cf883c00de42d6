"""Temperatures undo what was done to the probabilities; bins count right."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from breastus.errors import ConfigError
from breastus.evaluation.calibration import (
    apply_temperature,
    expected_calibration_error,
    fit_temperature,
    image_log_loss,
    reliability,
)
from breastus.evaluation.metrics import UndefinedMetricWarning


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
    with pytest.warns(UndefinedMetricWarning, match="left at 1"):
        assert fit_temperature(np.ones(3, int), np.full((3, 2), 0.5)) == 1


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


def test_bins_of_equal_width_leave_empty_ones_out():
    truth = np.array([0, 1, 0, 1, 1])
    prob = np.array([0.0, 0.19, 0.2, 0.95, 1.0])
    table = reliability(truth, prob, strategy="width")
    assert [(row["low"], row["high"], row["count"], row["lumps"]) for row in table] == [
        (0.0, 0.19, 2, 1),
        (0.2, 0.2, 1, 0),
        (0.95, 1.0, 2, 2),
    ]
    # Gaps 0.405, 0.2 and 0.025, for two images, one and two.
    error = expected_calibration_error(truth, prob, strategy="width")
    assert error == pytest.approx((2 * 0.405 + 0.2 + 2 * 0.025) / 5)
    with pytest.raises(ConfigError, match="Did you mean width\\? Received: strategy='widths'"):
        reliability(truth, prob, strategy="widths")


def test_log_loss_equals_scikit_learn():
    truth, probabilities = draw(200)
    loss = image_log_loss(truth, probabilities[:, 1])
    assert loss.mean() == pytest.approx(log_loss(truth, probabilities[:, 1]))
    assert image_log_loss([1], [0.0])[0] == pytest.approx(-np.log(1e-12))
