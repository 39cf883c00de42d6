"""Variances of ROC-AUCs equal their definition; intervals hold the truth as often as they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from breastus.errors import UndefinedMetricWarning
from breastus.evaluation.intervals.bootstrap import resample_weights
from breastus.evaluation.intervals.delong import (
    delong_difference,
    delong_interval,
    mean_delong_interval,
)
from breastus.evaluation.intervals.proportions import wilson_interval
from breastus.evaluation.metrics.metrics import roc_auc


def wins(truth, prob):
    """[lumps, others]: 1 where the lump scores higher, 0.5 where they tie."""
    lumps, others = prob[truth == 1][:, None], prob[truth == 0][None]
    return (lumps > others) + 0.5 * (lumps == others)


def by_definition(truth, prob, other_prob, groups):
    """Obuchowski's covariance of two ROC-AUCs (1997, equations of section 2), in plain loops."""
    first, second = wins(truth, prob), wins(truth, other_prob)
    lumps, others = first.shape
    names = sorted(set(groups))
    rows, columns = groups[truth == 1], groups[truth == 0]
    s10 = s01 = s11 = s11_turned = 0.0
    for name in names:
        v10 = [
            sum(table[i].mean() - table.mean() for i in np.flatnonzero(rows == name))
            for table in (first, second)
        ]
        v01 = [
            sum(table[:, i].mean() - table.mean() for i in np.flatnonzero(columns == name))
            for table in (first, second)
        ]
        s10 += v10[0] * v10[1]
        s01 += v01[0] * v01[1]
        s11 += v10[0] * v01[1]
        s11_turned += v10[1] * v01[0]
    i10, i01, i = len(set(rows)), len(set(columns)), len(names)
    return (
        i10 / (i10 - 1) * s10 / lumps**2
        + i01 / (i01 - 1) * s01 / others**2
        + i / (i - 1) * (s11 + s11_turned) / (lumps * others)
    )


def draw(seed, count=40, size=1, mixed=False, shift=1.0, within=0.0):
    """Truth, two scores of the same images, and groups of `size`, of one class or of both."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(count), size)
    truth = rng.integers(0, 2, count * size) if mixed else np.repeat(np.arange(count) % 2, size)
    shared = within * np.repeat(rng.normal(size=count), size)
    rest = np.sqrt(1 - within**2)
    scores = [shift * truth + shared + rest * rng.normal(size=len(truth)) for _ in range(2)]
    return truth, *scores, groups


def test_a_case_by_hand():
    # Lumps 0.8, 0.4; others 0.6, 0.2, 0.1. Shares 1, 2/3 and 1/2, 1, 1; their variances 1/18 and
    # 1/12; so the variance of the mean is 1/18 / 2 + 1/12 / 3 = 1/18.
    found = delong_interval(np.array([1, 1, 0, 0, 0]), np.array([0.8, 0.4, 0.6, 0.2, 0.1]))
    assert found["value"] == pytest.approx(5 / 6)
    assert found["standard_error"] == pytest.approx(np.sqrt(1 / 18))
    # Student's quantile of 1 degree of freedom is 12.7062, for the two lumps.
    half = 12.7062 * np.sqrt(2) * np.sqrt(1 / 18) / (5 / 36)  # about log(5), on the logit scale
    assert found["ci_low"] == pytest.approx(1 / (1 + np.exp(half) / 5), abs=1e-6)
    assert found["ci_high"] == pytest.approx(1 / (1 + np.exp(-half) / 5), abs=1e-6)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("decimals", [1, 9])
@pytest.mark.parametrize("seed", range(3))
def test_equal_to_the_definition(seed, decimals, grouped):
    truth, prob, other, groups = draw(seed, 15, 3, mixed=True, within=0.7)
    prob, other = prob.round(decimals), other.round(decimals)  # with ties, and without
    given = groups if grouped else None
    groups = groups if grouped else np.arange(len(truth))
    found = delong_interval(truth, prob, given)
    assert found["value"] == pytest.approx(roc_auc_score(truth, prob), abs=1e-12)
    variance = by_definition(truth, prob, prob, groups)
    assert found["standard_error"] ** 2 == pytest.approx(variance, abs=1e-12)

    found = delong_difference(truth, prob, other, given)
    assert found["difference"] == pytest.approx(
        roc_auc_score(truth, prob) - roc_auc_score(truth, other), abs=1e-12
    )
    of_both = (
        variance
        + by_definition(truth, other, other, groups)
        - 2 * by_definition(truth, prob, other, groups)
    )
    assert found["standard_error"] ** 2 == pytest.approx(of_both, abs=1e-12)


def test_groups_of_one_image_are_none():
    truth, prob, other, groups = draw(0)
    assert delong_interval(truth, prob, groups) == delong_interval(truth, prob)
    assert delong_difference(truth, prob, other, groups) == delong_difference(truth, prob, other)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 4))
def test_what_changes_nothing(seed, times):
    truth, prob, other, groups = draw(seed, 12, 2, mixed=True)
    prob = prob.round(1)
    if min(len(set(groups[truth == value])) for value in (0, 1)) < 2:
        return
    first = delong_interval(truth, prob, groups)
    order = np.random.default_rng(seed).permutation(len(truth))
    for same in (
        delong_interval(truth[order], prob[order], groups[order]),
        delong_interval(truth, np.exp(prob), groups),  # the order of scores alone counts
        delong_interval(1 - truth, -prob, groups),
        delong_interval(*(np.repeat(part, times) for part in (truth, prob, groups))),
    ):
        assert same == pytest.approx(first, abs=1e-9)
    there, back = (delong_difference(truth, *p, groups) for p in ((prob, other), (other, prob)))
    assert there["difference"] == pytest.approx(-back["difference"])
    assert there["ci_low"] == pytest.approx(-back["ci_high"])
    assert there["p_value"] == pytest.approx(back["p_value"])


# Of two unit normals one apart: Phi(1 / sqrt(2)).
TRUE_AUC = 0.7602


@pytest.mark.parametrize(
    ("size", "mixed", "within"), [(1, False, 0.0), (4, False, 0.9), (4, True, 0.8)]
)
def test_coverage_is_what_it_says(size, mixed, within):
    held = too_sure = 0
    for seed in range(600):
        truth, prob, _, groups = draw(seed, 60, size, mixed=mixed, within=within)
        found = delong_interval(truth, prob, groups)
        held += found["ci_low"] <= TRUE_AUC <= found["ci_high"]
        found = delong_interval(truth, prob)
        too_sure += not found["ci_low"] <= TRUE_AUC <= found["ci_high"]
    assert 0.925 <= held / 600 <= 0.975
    if within and not mixed:  # images drawn one by one would be too sure
        assert too_sure / 600 > 0.2


@pytest.mark.parametrize(("size", "within"), [(1, 0.0), (3, 0.8)])
def test_equal_models_differ_as_often_as_they_may(size, within):
    p_values, held = [], 0
    for seed in range(600):
        truth, prob, other, groups = draw(seed, 60, size, within=within)
        found = delong_difference(truth, prob, other, groups)
        p_values.append(found["p_value"])
        held += found["ci_low"] <= 0 <= found["ci_high"]
    assert held == (np.array(p_values) >= 0.05).sum()
    assert 0.025 <= 1 - held / 600 <= 0.075
    assert 0.4 <= np.mean(p_values) <= 0.6


@pytest.mark.parametrize(("within", "shift"), [(0.55, 1.0), (0.7, 1.8)])
def test_ten_patients_hold_the_roc_auc_as_often_as_they_say(within, shift):
    """Both classes of each; the normal quantile holds it in 0.85 to 0.91 of the tests."""
    true, rng = norm.cdf(shift / 2**0.5), np.random.default_rng(0)
    groups, held, too_sure = np.repeat(np.arange(10), 15), 0, 0
    for _ in range(400):
        truth = rng.integers(0, 2, 150)
        shared = within * rng.normal(size=10)[groups]
        prob = shift * truth + shared + np.sqrt(1 - within**2) * rng.normal(size=150)
        found = delong_interval(truth, prob, groups)
        held += found["ci_low"] <= true <= found["ci_high"]
        half = 1.959964 * found["standard_error"] / (found["value"] * (1 - found["value"]))
        too_sure += abs(logit(found["value"]) - logit(true)) > half
    assert 0.90 <= held / 400 <= 0.975
    assert too_sure / 400 > 1.4 * (1 - held / 400)


def test_a_mean_over_tables_counts_patients_once():
    truth, prob, other, groups = draw(5, 60, 2, within=0.8)
    alone = delong_interval(truth, prob, groups)
    table = truth, prob, groups
    assert mean_delong_interval([table] * 3) == pytest.approx(alone, abs=1e-12)
    # Of other patients the variances add up, but for i / (i - 1) of their number.
    second = truth, other, groups + 60
    both = mean_delong_interval([table, second])
    errors = [delong_interval(*part)["standard_error"] for part in (table, second)]
    assert both["standard_error"] == pytest.approx(np.hypot(*errors) / 2, rel=0.02)
    # Other scores of the same patients: the variance of the mean follows from the difference's.
    same = mean_delong_interval([table, (truth, other, groups)])
    errors = [delong_interval(*part, groups)["standard_error"] for part in (table[:2], second[:2])]
    apart = delong_difference(truth, prob, other, groups)["standard_error"]
    whole = (errors[0] ** 2 + errors[1] ** 2) / 2 - apart**2 / 4
    assert same["standard_error"] ** 2 == pytest.approx(whole, abs=1e-12)
    with pytest.warns(UndefinedMetricWarning):
        assert np.isnan(mean_delong_interval([table, (np.ones(2), prob[:2], [0, 1])])["value"])


def test_it_is_about_as_wide_as_the_bootstrap():
    truth, prob, _, groups = draw(3, 100, 3, within=0.8)
    prob = 1 / (1 + np.exp(-prob))
    found = delong_interval(truth, prob, groups)
    weights = resample_weights(groups, resamples=500, seed=0)
    low, high = np.quantile(roc_auc(truth, prob, weights), [0.025, 0.975])
    assert found["ci_high"] - found["ci_low"] == pytest.approx(high - low, rel=0.15)
    wide = delong_interval(truth, prob, groups, confidence=0.99)
    assert wide["ci_low"] < found["ci_low"] < found["ci_high"] < wide["ci_high"]


@pytest.mark.parametrize(
    ("groups", "pairs"),
    [
        (None, 6),  # six lumps, ten others
        (list("aabbcc") + list("defghijklm"), 3),  # three groups of lumps
        (list("abcabc") + list("abcabcabca"), 1),  # three groups of both: one pair of groups
    ],
)
def test_an_auc_of_one_is_not_certain(groups, pairs):
    truth = np.array([1] * 6 + [0] * 10)
    found = delong_interval(truth, truth * 1.0, groups)
    assert (found["value"], found["standard_error"]) == (1.0, 0.0)
    assert (found["ci_low"], found["ci_high"]) == wilson_interval(pairs, pairs)
    turned = delong_interval(truth, 1.0 - truth, groups)
    assert (turned["ci_low"], turned["ci_high"]) == wilson_interval(0, pairs)
    # One score for all says nothing; that it says nothing is not certain either.
    flat = delong_interval(truth, np.zeros(16), groups)
    assert (flat["value"], flat["ci_low"]) == (0.5, wilson_interval(pairs / 2, pairs)[0])


def test_nearly_one_stays_within_bounds():
    truth = np.array([1] * 100 + [0] * 100)
    prob = truth + 0.0
    prob[0] = -1.0
    groups = np.append(np.zeros(60, int), np.arange(1, 141))
    found = delong_interval(truth, prob, groups)
    assert 0 < found["ci_low"] < found["value"] < found["ci_high"] < 1


@pytest.mark.parametrize("truth", [[1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 1, 0]])
def test_too_few_groups_have_no_interval(truth):
    truth, prob = np.array(truth), np.array([0.9, 0.2, 0.7, 0.5])
    with pytest.warns(UndefinedMetricWarning, match="two groups of each class"):
        found = delong_interval(truth, prob)
    assert np.isnan([found["standard_error"], found["ci_low"], found["ci_high"]]).all()
    assert np.isnan(found["value"]) == (len(set(truth)) == 1)
    with pytest.warns(UndefinedMetricWarning, match="difference .* two groups of each class"):
        found = delong_difference(truth, prob, prob)
    assert np.isnan([found["ci_low"], found["p_value"]]).all()


def test_scores_of_one_order_have_no_interval_of_their_difference():
    truth, prob, _, groups = draw(1)
    with pytest.warns(UndefinedMetricWarning, match="difference of ROC-AUCs, 0, has no interval"):
        found = delong_difference(truth, prob, np.exp(prob), groups)
    assert (found["difference"], found["p_value"]) == (0, 1)
    assert np.isnan(found["ci_low"])
    with pytest.warns(UndefinedMetricWarning, match="difference of ROC-AUCs, 1, has no interval"):
        found = delong_difference(truth, truth * 1.0, 1.0 - truth)
    assert np.isnan([found["ci_low"], found["p_value"]]).all()


@pytest.mark.parametrize(
    ("prob", "options", "message"),
    [
        ([0.1, np.nan, 0.2, 0.9], {}, "must hold .*Received: nan"),
        ([0.1, 0.2, 0.9], {}, "same length"),
        ([0.1, 0.2, 0.3, 0.9], {"groups": [1, 2]}, "group of each of 4 images"),
        ([0.1, 0.2, 0.3, 0.9], {"confidence": 95}, "above 0 and below 1. Received: confidence=95"),
    ],
)
def test_wrong_arguments_are_refused(prob, options, message):
    truth = np.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match=message):
        delong_interval(truth, prob, **options)
    with pytest.raises(ValueError, match=message):
        delong_difference(truth, np.arange(4), prob, **options)
