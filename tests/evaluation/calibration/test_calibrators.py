"""Calibrators agree with scikit-learn, keep the order of the images and survive JSON."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from breastus.errors import ConfigError, DataError, UndefinedMetricWarning
from breastus.evaluation.calibration.calibrators import METHODS, Calibrator
from breastus.evaluation.calibration.fit import FOLDS, ISOTONIC_GROUPS, fit_calibrator
from breastus.evaluation.calibration.logistic import SLOPES, fit_logistic, logit, sigmoid
from breastus.evaluation.calibration.reliability import image_log_loss
from breastus.evaluation.calibration.temperature import apply_temperature


def draw(count=400, *, slope=1.0, intercept=0.0, size=1, seed=0):
    """Labels, and probabilities whose true value is sigmoid(slope * logit + intercept)."""
    rng = np.random.default_rng(seed)
    z = rng.normal(scale=1.5, size=count)
    truth = (rng.random(count) < sigmoid(slope * z + intercept)).astype(int)
    return truth, sigmoid(z), np.arange(count) // size


@st.composite
def calibrators(draw_value):
    method = draw_value(st.sampled_from(METHODS))
    if method == "temperature":
        temperature, shift = draw_value(st.floats(0.05, 20)), draw_value(st.floats(-9, 9))
        return Calibrator(method, temperature=temperature, shift=shift)
    if method == "platt":
        slope, intercept = draw_value(st.floats(0.05, 20)), draw_value(st.floats(-30, 30))
        return Calibrator(method, slope=slope, intercept=intercept)
    if method == "isotonic":
        inner = draw_value(st.lists(st.integers(1, 999), unique=True, max_size=8))
        x = [0.0, *(value / 1000 for value in sorted(inner)), 1.0]
        y = sorted(draw_value(st.lists(st.floats(0, 1), min_size=len(x), max_size=len(x))))
        return Calibrator(method, knots=tuple(zip(x, y, strict=True)))
    return Calibrator()


@settings(max_examples=80, deadline=None)
@given(calibrators(), st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_no_image_overtakes_another(calibrator, values):
    values = np.sort(values)
    found = calibrator.apply(values)
    assert (found >= 0).all()
    assert (found <= 1).all()
    assert (np.diff(found) >= -1e-14).all()  # rounding of exp alone


@settings(max_examples=60, deadline=None)
@given(calibrators())
def test_json_and_back(calibrator):
    assert Calibrator.from_dict(json.loads(json.dumps(calibrator.to_dict()))) == calibrator


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.filterwarnings("ignore:Isotonic calibration is unreliable")
def test_the_formulas_of_the_docstring_are_what_is_computed(method):
    truth, prob, groups = draw(600)
    prob[:2] = 0, 1
    truth[:2] = 0, 1
    found = fit_calibrator(truth, prob, groups // 4, method=method, shift=-1.5).calibrator
    values = found.to_dict()
    z = np.log(np.maximum(prob, 1e-12)) - np.log(np.maximum(1 - prob, 1e-12))
    if method == "isotonic":
        x, y = np.array(values["knots"]).T
        score = prob.astype(np.float32).astype(float)
        parts = np.clip((score[:, None] - x[:-1]) / np.diff(x), 0, 1)
        expected = y[0] + (np.diff(y) * parts).sum(axis=1)
    else:
        expected = {
            "none": lambda: prob,
            "temperature": lambda: 1 / (1 + np.exp(-(z + 1.5) / values["temperature"])),
            "platt": lambda: 1 / (1 + np.exp(-(values["slope"] * z + values["intercept"]))),
        }[method]()
    np.testing.assert_allclose(found.apply(prob), expected, atol=1e-12)


def test_temperature_is_the_temperature_of_the_softmax():
    prob = np.array([0.0, 0.2, 0.7, 1.0])
    both = np.stack([1 - prob, prob], axis=1)
    found = Calibrator("temperature", temperature=1.7).apply(prob)
    np.testing.assert_array_equal(found, apply_temperature(both, 1.7)[:, 1])


def test_a_shift_is_taken_back_before_the_temperature():
    # A half, where three lumps come to one other and both count alike, means three quarters.
    found = Calibrator("temperature", temperature=1.0, shift=-np.log(3)).apply(np.array([0.5]))
    assert found == pytest.approx([0.75])
    truth, prob, groups = draw(4000, slope=0.5)
    plain = fit_calibrator(truth, prob, groups, method="temperature").calibrator
    moved = sigmoid(logit(prob) - 1.7)
    back = fit_calibrator(truth, moved, groups, method="temperature", shift=-1.7).calibrator
    assert back.temperature == pytest.approx(plain.temperature, rel=1e-4)
    np.testing.assert_allclose(back.apply(moved), plain.apply(prob), atol=1e-4)
    assert "log odds by +1.7" in back.description
    assert "log odds" not in plain.description


def test_auto_knows_the_shift():
    truth, prob, groups = draw(3000, slope=0.5)
    moved = sigmoid(logit(prob) - 2)
    chosen = fit_calibrator(truth, moved, groups, repeats=1, shift=-2.0)
    assert (chosen.calibrator.method, chosen.calibrator.shift) == ("temperature", -2.0)
    assert fit_calibrator(truth, moved, groups, repeats=1).calibrator.method == "platt"


def test_temperatures_of_earlier_versions_have_no_shift():
    old = Calibrator.from_dict({"method": "temperature", "temperature": 2.0})
    assert old == Calibrator("temperature", temperature=2.0)


def test_plain_targets_give_the_logistic_regression_of_scikit_learn():
    truth, prob, _ = draw(300, slope=0.6, intercept=-0.8)
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        logit(prob)[:, None], truth
    )
    slope, intercept = fit_logistic(logit(prob), truth)
    assert slope == pytest.approx(reference.coef_[0, 0], rel=1e-5)
    assert intercept == pytest.approx(reference.intercept_[0], rel=1e-5)


def test_platts_targets_are_weights_on_both_labels():
    # A target t is t of an image of lump and 1 - t of one without.
    truth, prob, groups = draw(80, slope=0.6, intercept=-0.8)
    lumps, others = truth.sum(), (1 - truth).sum()
    target = np.where(truth == 1, (lumps + 1) / (lumps + 2), 1 / (others + 2))
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        np.tile(logit(prob), 2)[:, None],
        np.repeat([1, 0], len(truth)),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    found = fit_calibrator(truth, prob, groups, method="platt").calibrator
    assert found.slope == pytest.approx(reference.coef_[0, 0], rel=1e-4)
    assert found.intercept == pytest.approx(reference.intercept_[0], rel=1e-4)


def test_platt_is_finite_where_the_classes_are_apart():
    truth = np.array([0] * 10 + [1] * 10)
    prob = np.where(truth == 1, 0.9, 0.1)
    found = fit_calibrator(truth, prob, np.arange(20), method="platt").calibrator
    # Two levels, so the fit says the targets themselves: 1 / 12 and 11 / 12.
    np.testing.assert_allclose(found.apply(np.array([0.1, 0.9])), [1 / 12, 11 / 12], rtol=1e-6)


def test_platt_of_level_scores_says_the_share_of_lumps():
    truth = np.array([1] * 30 + [0] * 10)
    found = fit_calibrator(truth, np.full(40, 0.2), np.arange(40), method="platt").calibrator
    target = (30 * 31 / 32 + 10 * 1 / 12) / 40
    assert found.slope == 1
    assert found.apply(np.array([0.2]))[0] == pytest.approx(target)


def test_scores_that_point_the_wrong_way_keep_a_slope_above_zero():
    truth, prob, groups = draw(200, slope=2)
    with pytest.warns(UserWarning, match="no better than chance"):
        found = fit_calibrator(1 - truth, prob, groups, method="platt").calibrator
    assert found.slope == SLOPES[0]


def test_penalties_pull_towards_leaving_things_as_they_are():
    truth, prob, _ = draw(60, slope=0.3, intercept=2)
    free = fit_logistic(logit(prob), truth)
    held = fit_logistic(logit(prob), truth, penalties=(1e9, 1e9))
    assert held == pytest.approx((1, 0), abs=1e-6)
    between = fit_logistic(logit(prob), truth, penalties=(20, 5))
    assert free[0] < between[0] < 1
    assert 0 < between[1] < free[1]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.75, 1.0])),
        min_size=2,
        max_size=40,
    ).filter(lambda rows: {t for t, _ in rows} == {0, 1})
)
@pytest.mark.filterwarnings("ignore:Isotonic calibration is unreliable")
def test_isotonic_equals_scikit_learn(rows):
    truth, prob = (np.array(column) for column in zip(*rows, strict=True))
    off = 1 / (len(truth) + 2)
    reference = IsotonicRegression(y_min=off, y_max=1 - off, out_of_bounds="clip").fit(prob, truth)
    found = fit_calibrator(truth, prob, np.arange(len(truth)), method="isotonic").calibrator
    between = np.linspace(0, 1, 41).astype(np.float32).astype(float)
    np.testing.assert_allclose(found.apply(between), reference.predict(between), atol=1e-9)


@pytest.mark.filterwarnings("ignore:Isotonic calibration is unreliable")
def test_isotonic_puts_validation_images_on_their_step():
    """Float64 scores that lie a rounding below their float32 knot, where the step is steep."""
    knot = float(np.float32(0.7))
    prob = np.array([0.2, knot - 1e-6, knot - 1e-8, 0.9])
    truth, groups = np.array([0, 0, 1, 1]), np.arange(4)
    found = fit_calibrator(truth, prob, groups, method="isotonic").calibrator
    level = 1 / (len(groups) + 2)
    np.testing.assert_array_equal(found.apply(prob), [level, level, 1 - level, 1 - level])


def test_isotonic_worked_by_hand():
    truth = np.array([0, 1, 0, 1, 1])
    prob = np.array([0.1, 0.3, 0.4, 0.4, 0.8])
    # 0.3 (1 of 1) stands above 0.4 (1 of 2): pooled, 2 of 3. Five groups: off by 1 / 7.
    found = fit_calibrator(truth, prob, np.arange(5), method="isotonic").calibrator
    expected = [(0, 1 / 7), (0.1, 1 / 7), (0.3, 2 / 3), (0.4, 2 / 3), (0.8, 6 / 7), (1, 6 / 7)]
    np.testing.assert_allclose(found.knots, expected, rtol=1e-6)
    order = np.array([3, 1, 4, 0, 2])
    again = fit_calibrator(truth[order], prob[order], np.arange(5), method="isotonic").calibrator
    assert again == found


def test_scores_that_float32_cannot_tell_apart_are_level():
    prob = np.array([0.3, 0.3 + 1e-9, 0.6, 0.6 + 1e-9])
    with pytest.warns(UserWarning, match="unreliable"):
        found = fit_calibrator([0, 1, 0, 1], prob, np.arange(4), method="isotonic").calibrator
    x = np.array(found.knots)[:, 0].astype(np.float32)
    assert (np.diff(x) > 0).all()


@pytest.mark.parametrize(
    ("slope", "intercept", "count", "expected"),
    [
        (1.0, 0.0, 400, "none"),
        (0.4, 0.0, 400, "temperature"),
        (0.5, 1.5, 400, "platt"),
        (1.0, 0.0, 4 * FOLDS, "none"),
    ],
)
def test_auto_chooses_the_simplest_that_is_good_enough(slope, intercept, count, expected):
    chosen = []
    for seed in range(5):
        truth, prob, groups = draw(count, slope=slope, intercept=intercept, seed=seed)
        chosen.append(fit_calibrator(truth, prob, groups, repeats=1).calibrator.method)
    assert chosen.count(expected) >= 4


def test_auto_bends_where_no_line_fits():
    rng = np.random.default_rng(0)
    prob = rng.random(2000)
    truth = (rng.random(2000) < np.where(prob < 0.5, 0.05, 0.6)).astype(int)  # a step
    fit = fit_calibrator(truth, prob, np.arange(2000), repeats=1)
    assert fit.calibrator.method == "isotonic"
    assert [row["method"] for row in fit.losses] == list(METHODS)
    assert [row["selected"] for row in fit.losses] == [False, False, False, True]
    assert fit.losses[3]["difference_from_best"] == 0
    # The step says nothing in half a bit more than knowing the truth of it.
    known = np.where(prob < 0.5, 0.05, 0.6)
    assert fit.losses[3]["log_loss"] < image_log_loss(truth, known).mean() + 0.02


@pytest.mark.filterwarnings("ignore:The temperature is held")
def test_the_table_has_isotonic_from_its_number_of_groups_on():
    for number, there in ((ISOTONIC_GROUPS - 1, False), (ISOTONIC_GROUPS, True)):
        truth = np.arange(2 * number) % 2
        prob = np.random.default_rng(0).random(2 * number)
        fit = fit_calibrator(truth, prob, np.arange(2 * number), repeats=1)
        assert ("isotonic" in {row["method"] for row in fit.losses}) == there


def test_groups_widen_the_standard_error_and_seeds_repeat():
    truth, prob, _ = draw(100, slope=0.5)
    truth, prob = np.repeat(truth, 5), np.repeat(prob, 5)
    apart = fit_calibrator(truth, prob, np.arange(500), repeats=2, seed=3)
    together = fit_calibrator(truth, prob, np.arange(500) // 5, repeats=2, seed=3)
    errors = [max(row["standard_error"] for row in fit.losses) for fit in (apart, together)]
    assert errors[1] > 1.8 * errors[0]  # the root of 5 is 2.2
    assert together == fit_calibrator(truth, prob, np.arange(500) // 5, repeats=2, seed=3)


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic", "auto"])
def test_one_class_leaves_the_probabilities_alone(method):
    with pytest.warns(UndefinedMetricWarning, match="have one class only"):
        fit = fit_calibrator([1, 1], [0.2, 0.9], [1, 2], method=method)
    assert fit.calibrator == Calibrator()


def test_too_few_groups_to_choose():
    truth = np.array([1, 0] * 20)
    groups = np.arange(40) // 10
    with pytest.warns(UndefinedMetricWarning, match=r"needs 5 groups of each class.*'lump': 4"):
        assert fit_calibrator(truth, truth * 0.5, groups).calibrator == Calibrator()


@pytest.mark.parametrize(
    ("truth", "prob", "groups", "message"),
    [
        ([0, 1], [0.1], [1, 2], r"same length, .* shapes \(2,\) and \(1,\)"),
        ([0, 1], [0.1, 0.2], [1], "groups must name"),
        ([0, 2], [0.1, 0.2], [1, 2], "must hold 0 and 1"),
        ([0, 1], [0.1, float("nan")], [1, 2], "from 0 to 1. Received: nan at position 1"),
        ([0, 1], [-0.1, 0.2], [1, 2], "from 0 to 1. Received: -0.1"),
        ([0, 1], [0.1, 1.1], [1, 2], "from 0 to 1. Received: 1.1"),
        ([0, 1], [0.1, 0.2], [1, float("nan")], "groups must name .* at position 1"),
        ([0, 1], [[0.1, 0.9]] * 2, [1, 2], "same length"),
    ],
)
def test_wrong_arrays_are_refused(truth, prob, groups, message):
    with pytest.raises(DataError, match=message):
        fit_calibrator(truth, prob, groups)


def test_an_unknown_method_is_refused():
    with pytest.raises(ConfigError, match="Did you mean isotonic\\? Received: method='isotonik'"):
        fit_calibrator([0, 1], [0.1, 0.9], [1, 2], method="isotonik")


LINE = [[0, 0.1], [1, 0.9]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "must be a dict with the key method"),
        ({"temperature": 2}, "must be a dict with the key method"),
        ({"method": "bayes"}, "must be one of none"),
        ({"method": "temperature"}, "must have the keys method, shift, temperature"),
        (
            {"method": "temperature", "temperature": 2, "shift": float("nan")},
            "Received: shift=nan",
        ),
        ({"method": "none", "temperature": 1.0}, "must have the keys method. Received: method, t"),
        ({"method": "temperature", "temperature": 0}, "above 0 .*Received: temperature=0"),
        ({"method": "temperature", "temperature": "2"}, "Received: temperature='2'"),
        ({"method": "temperature", "temperature": True}, "Received: temperature=True"),
        ({"method": "temperature", "temperature": float("nan")}, "Received: temperature=nan"),
        ({"method": "platt", "slope": -1, "intercept": 0}, "Received: slope=-1"),
        ({"method": "platt", "slope": 1, "intercept": float("inf")}, "Received: intercept=inf"),
        ({"method": "isotonic", "knots": [[0, 0.5]]}, "rises from 0 to 1"),
        ({"method": "isotonic", "knots": [[0, 0.5], [0.9, 0.6]]}, "rises from 0 to 1"),
        ({"method": "isotonic", "knots": [[0, 0.5], [0, 0.5], [1, 0.6]]}, "rises from 0 to 1"),
        ({"method": "isotonic", "knots": [[0, 0.5], [1, 0.4]]}, "never falls"),
        ({"method": "isotonic", "knots": [[0, -0.5], [1, 0.4]]}, "pairs of numbers from 0 to 1"),
        ({"method": "isotonic", "knots": [[0, 0.1, 0.2], [1, 0.4]]}, "pairs of numbers"),
        ({"method": "isotonic", "knots": 3}, "pairs of numbers"),
    ],
)
def test_from_dict_checks_what_it_reads(values, message):
    with pytest.raises(ConfigError, match=message):
        Calibrator.from_dict(values)
    assert Calibrator.from_dict({"method": "isotonic", "knots": LINE}).knots[1] == (1.0, 0.9)


def test_apply_checks_and_takes_none():
    with pytest.raises(DataError, match="Received: nan"):
        Calibrator().apply(np.array([np.nan]))
    for method in ("none", "temperature", "platt"):
        assert Calibrator(method).apply(np.array([])).shape == (0,)
    assert "temperature 1" in Calibrator("temperature").description
