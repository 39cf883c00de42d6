"""Few images of a new hospital shift, more of them bend; the curve shows from when they pay off."""

import json

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.metrics import brier_score_loss, log_loss

from breastus.errors import DataError
from breastus.evaluation.calibration.calibrators import Calibrator
from breastus.evaluation.calibration.logistic import SLOPES, logit, sigmoid
from breastus.evaluation.calibration.recalibration import (
    INTERCEPT_PENALTY,
    PLATT_GROUPS,
    SLOPE_PENALTY,
    recalibrate,
)
from breastus.evaluation.calibration.recalibration_study import learning_curve
from breastus.evaluation.calibration.reliability import image_log_loss

# A curve is of samples too small to recalibrate on.
QUIET = pytest.mark.filterwarnings("ignore:Recalibration is unreliable", "ignore:The probabilities")


def draw(count, *, slope=1.0, intercept=0.0, seed=0):
    """A hospital where the truth follows sigmoid(slope * z + intercept) of the model's logit z."""
    rng = np.random.default_rng(seed)
    z = rng.normal(scale=2, size=count)
    truth = (rng.random(count) < sigmoid(slope * z + intercept)).astype(int)
    return truth, sigmoid(z), np.arange(count)


@pytest.mark.parametrize(("method", "number"), [("intercept", 6), ("platt", 60)])
def test_the_penalised_sum_of_the_docstring_is_lowest(method, number):
    truth, prob, groups = draw(180, slope=0.5, intercept=-1)
    groups = groups // (180 // number)
    z = logit(prob)

    def loss(line):
        slope, intercept = line if method == "platt" else (1.0, line[0])
        calibrated = sigmoid(slope * z + intercept)
        return (
            number / 180 * image_log_loss(truth, calibrated).sum()
            + SLOPE_PENALTY / 2 * (slope - 1) ** 2
            + INTERCEPT_PENALTY / 2 * intercept**2
        )

    start = [1.0, 0.0] if method == "platt" else [0.0]
    expected = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
    recalibration = recalibrate(truth, prob, groups)
    found = recalibration.calibrator
    assert recalibration.method == method
    line = [found.slope, found.intercept] if method == "platt" else [found.intercept]
    np.testing.assert_allclose(line, expected.x, atol=1e-5)


def test_many_images_leave_the_penalty_behind():
    found = recalibrate(*draw(20_000, slope=0.5, intercept=-1.5)).calibrator
    assert found.slope == pytest.approx(0.5, abs=0.03)
    assert found.intercept == pytest.approx(-1.5, abs=0.06)


def test_few_images_stay_near_the_model():
    # Images that contradict the model a little: without a penalty the slope would be below zero.
    truth, prob = np.repeat([0, 1], 10), np.repeat([0.6, 0.4], 10)
    found = recalibrate(truth, prob, np.arange(20)).calibrator
    assert 0 < found.slope < 1
    with pytest.warns(UserWarning, match=r"fewer than 5 groups .*'lump': 2"):
        assert recalibrate(truth[8:12], prob[8:12], np.arange(4)).calibrator.slope == 1
    truth, prob, groups = draw(2000, slope=2)
    with pytest.warns(UserWarning, match="no better than chance"):
        assert recalibrate(1 - truth, prob, groups).calibrator.slope == SLOPES[0]
    # Images of one class only would push the shift away for ever; nearly so, it stays.
    truth = np.array([1] + [0] * 19)
    with pytest.warns(UserWarning, match="unreliable"):
        found = recalibrate(truth, np.full(20, 0.9), np.arange(20)).calibrator
    assert -6 < found.intercept < -3


def test_auto_goes_by_the_groups_of_the_rarer_class():
    for lumps, method in ((PLATT_GROUPS - 1, "intercept"), (PLATT_GROUPS, "platt")):
        truth = np.array([1] * lumps + [0] * 40)
        prob = np.random.default_rng(0).random(len(truth))
        # Each image twice: images do not count, groups do.
        twice = [np.repeat(part, 2) for part in (truth, prob, np.arange(len(truth)))]
        found = recalibrate(*twice)
        assert found.method == method
        assert (found.calibrator.slope == 1) == (method == "intercept")
        once = recalibrate(truth, prob, np.arange(len(truth)))
        assert once.calibrator.slope == pytest.approx(found.calibrator.slope, abs=1e-6)


def test_a_threshold_comes_along():
    truth, prob, groups = draw(400, slope=0.7, intercept=-1)
    found = recalibrate(truth, prob, groups, rule="sensitivity", target=0.8)
    calibrated = found.calibrator.apply(prob)
    assert found.threshold.attained
    assert found.threshold.sensitivity["value"] == pytest.approx(
        (calibrated[truth == 1] >= found.threshold.threshold).mean()
    )
    values = json.loads(json.dumps(found.to_dict()))
    assert Calibrator.from_dict(values["calibrator"]) == found.calibrator
    assert values["threshold"]["rule"] == "sensitivity"
    assert recalibrate(truth, prob, groups).to_dict()["threshold"] is None


def test_recalibration_refuses():
    truth, prob, groups = draw(40)
    with pytest.raises(DataError, match=r"Recalibration needs .*Received: no image of no_lump"):
        recalibrate(np.ones(40, int), prob, groups)
    with pytest.raises(DataError, match="same length"):
        recalibrate(truth, prob[1:], groups)


@QUIET
def test_the_curve_falls_where_hospitals_differ_and_repeats_with_its_seed():
    data = draw(600, slope=0.6, intercept=-2)
    rows = learning_curve(*data, sizes=(200, 40, 10), repeats=12, seed=1)
    assert [row["images"] for row in rows] == [0, 10, 40, 200]
    for name in ("log_loss", "brier", "ece"):
        values = [row[name] for row in rows]
        assert values[0] > values[2] > values[3] - 0.005
        assert rows[2][f"{name}_low"] <= values[2] <= rows[2][f"{name}_high"]
    assert rows[3]["improved"] == 1
    assert [row["groups"] for row in rows] == [0, 10, 40, 200]
    assert rows[1:] == learning_curve(*data, sizes=(200, 40, 10), repeats=12, seed=1)[1:]
    assert rows[3] != learning_curve(*data, sizes=(200,), repeats=12, seed=2)[1]


@QUIET
def test_without_recalibration_the_curve_has_the_scores_of_the_other_images():
    # All lumps have one probability, and all others another: every half has the same scores.
    truth, prob = np.tile([0, 1], 20), np.tile([0.3, 0.6], 20)
    rows = learning_curve(truth, prob, np.arange(40), sizes=(4,), repeats=5)
    assert rows[0]["log_loss"] == pytest.approx(log_loss([0, 1], [0.3, 0.6]))
    assert rows[0]["brier"] == pytest.approx(brier_score_loss([0, 1], [0.3, 0.6]))


@QUIET
def test_where_nothing_changed_few_images_do_harm():
    rows = learning_curve(*draw(600), sizes=(10, 200), repeats=25)
    assert rows[1]["log_loss"] > rows[0]["log_loss"] + 0.005
    assert abs(rows[2]["log_loss"] - rows[0]["log_loss"]) < 0.01
    assert rows[1]["improved"] < 0.5


@QUIET
def test_groups_are_taken_whole_and_never_judged_by():
    # Every image of a group has its group's label, the model knows nothing, and the four groups
    # of a class split evenly: whatever is learned of two is true of the others too.
    groups = np.repeat(np.arange(8), 10)
    truth = groups % 2
    rows = learning_curve(truth, np.full(80, 0.9), groups, sizes=(1, 15, 40), repeats=6)
    assert [row["groups"] for row in rows] == [0, 1, 2, 4]
    assert rows[1]["single_class"] == 1  # one group has one class
    assert rows[1]["log_loss"] == rows[0]["log_loss"]
    assert rows[1]["improved"] == 0
    assert 0 < rows[2]["single_class"] < 1
    assert rows[3]["single_class"] == 0
    assert rows[3]["log_loss"] < rows[0]["log_loss"]


@QUIET
def test_a_size_that_half_of_the_groups_cannot_fill_is_nan():
    rows = learning_curve(*draw(60), sizes=(5, 31), repeats=3)
    assert np.isfinite(rows[1]["ece"])
    assert np.isnan(rows[2]["ece"])
    assert np.isnan(rows[2]["log_loss_high"])


def test_the_curve_refuses():
    with pytest.raises(DataError, match=r"needs four groups of each class.*'lump': 3"):
        learning_curve([1, 1, 1, 0, 0, 0, 0], np.full(7, 0.5), np.arange(7), sizes=(3,))
