"""Prediction sets hold the truth as often as they promise, with groups and without."""

import json
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from breastus.errors import ConfigError, DataError, UndefinedMetricWarning
from breastus.evaluation.calibration.fit import fit_calibrator
from breastus.evaluation.decision.conformal import ConformalSets, coverage_report, fit_conformal
from breastus.evaluation.intervals.proportions import wilson_interval

report = partial(coverage_report, confidence=0.95)


def draw(rng, groups, *, sizes=(1,), within=0.0):
    """Images of `groups` groups, half of them lumps; large groups are the harder ones."""
    truth = np.arange(groups) % 2
    size = rng.choice(sizes, groups)
    strength = np.where(size == max(sizes), 0.3, 1.5) if len(sizes) > 1 else np.full(groups, 1.0)
    member = np.repeat(np.arange(groups), size)
    shared = rng.normal(size=groups)[member]
    noise = within * shared + np.sqrt(1 - within**2) * rng.normal(size=len(member))
    score = (2 * truth[member] - 1) * strength[member] + noise
    return truth[member], 1 / (1 + np.exp(-score)), member


def true_coverage(truth, prob, member, conformal):
    """Mean over groups of the share of their images whose set holds the truth, by class."""
    held = conformal.sets(prob)[np.arange(len(truth)), truth]
    share = np.bincount(member, weights=held) / np.bincount(member)
    label = np.arange(len(share)) % 2
    return share[label == 0].mean(), share[label == 1].mean()


@pytest.mark.parametrize("groups", [30, 78])
def test_coverage_of_images_apart(groups):
    rng = np.random.default_rng(0)
    new = draw(rng, 20_000)
    found = []
    for _ in range(300):
        conformal = fit_conformal(*draw(rng, groups), coverage=0.9)
        found.append(true_coverage(*new, conformal))
    # At least 0.9 and, as scores are continuous, at most 1 / (groups of the class + 1) above;
    # 0.01 is three standard errors of the mean over fits.
    for mean in np.mean(found, axis=0):
        assert 0.9 - 0.01 <= mean <= 0.9 + 1 / (groups / 2 + 1) + 0.01


def test_coverage_of_groups_that_pooling_would_miss():
    rng = np.random.default_rng(1)
    shape = {"sizes": (1, 1, 1, 9), "within": 0.9}
    new = draw(rng, 20_000, **shape)
    grouped, pooled = [], []
    for _ in range(300):
        truth, prob, member = draw(rng, 60, **shape)
        conformal = fit_conformal(truth, prob, member, coverage=0.8)
        grouped.append(true_coverage(*new, conformal))
        as_if_apart = fit_conformal(truth, prob, np.arange(len(truth)), coverage=0.8)
        pooled.append(true_coverage(*new, as_if_apart))
    for mean in np.mean(grouped, axis=0):
        assert 0.79 <= mean <= 0.8 + 1 / 31 + 0.01
    # Of images taken as apart, the large groups outvote the small ones: far from what was asked.
    assert (np.abs(np.mean(pooled, axis=0) - 0.8) > 0.05).all()


def test_few_groups_of_many_images_promise_no_more_than_they_can():
    # Images of a group are all but copies: 60 images of twelve groups are worth twelve.
    rng = np.random.default_rng(2)
    shape = {"sizes": (5,), "within": 0.999}
    new = draw(rng, 5_000, **shape)
    grouped, pooled = [], []
    for _ in range(200):
        truth, prob, member = draw(rng, 24, **shape)
        grouped.append(true_coverage(*new, fit_conformal(truth, prob, member, coverage=0.9)))
        apart = fit_conformal(truth, prob, np.arange(len(truth)), coverage=0.9)
        pooled.append(true_coverage(*new, apart))
    assert np.mean(grouped) >= 0.9 - 0.01
    assert np.mean(pooled) < np.mean(grouped) - 0.03


def test_worked_by_hand():
    lumps = np.arange(1, 10) / 10  # nine of them: of ten places the ninth is the lowest
    others = np.array([0.05] * 8 + [0.6])
    truth = np.array([1] * 9 + [0] * 9)
    prob = np.concatenate([lumps, others])
    found = fit_conformal(truth, prob, np.arange(18), coverage=0.9)
    assert found == ConformalSets(0.9, 0.1, 0.6)
    found = fit_conformal(truth, prob, np.arange(18), coverage=0.8)
    assert found == ConformalSets(0.8, 0.2, 0.05)
    values = np.array([0.05, 0.1, 0.2, 0.7])
    assert found.sets(values).tolist() == [
        [True, False],
        [False, False],
        [False, True],
        [False, True],
    ]
    assert found.decide(values).tolist() == ["no_lump", "refer", "lump", "lump"]
    both = ConformalSets(0.9, 0.2, 0.6)
    assert both.decide(np.array([0.19, 0.2, 0.6, 0.61])).tolist() == [
        "no_lump",
        "refer",
        "refer",
        "lump",
    ]


def test_a_group_shares_its_weight():
    # Four groups, so a fifth each; the pair of one group has a tenth each.
    prob = np.array([0.1, 0.2, 0.3, 0.8, 0.9])
    truth = np.zeros(5, int)
    groups = ["a", "b", "c", "d", "d"]
    for coverage, bound in ((0.6, 0.3), (0.69, 0.8), (0.7, 0.8), (0.71, 0.9), (0.8, 0.9)):
        with pytest.warns(UserWarning, match="Every conformal set contains lump"):
            assert fit_conformal(truth, prob, groups, coverage=coverage).no_lump_to == bound


def test_too_few_groups_promise_nothing_less_than_both():
    truth = np.array([1, 0] * 9)
    prob = np.where(truth == 1, 0.9, 0.1)
    assert fit_conformal(truth, prob, np.arange(18)).decide(prob[:2]).tolist() == [
        "lump",
        "no_lump",
    ]
    with pytest.warns(UserWarning, match=r"lump: .* 9 groups .*Received: 8"):
        found = fit_conformal(truth[1:], prob[1:], np.arange(17))
    assert (found.lump_from, found.no_lump_to) == (0.0, 0.1)
    assert found.sets(np.array([0.0, 0.5, 1.0]))[:, 1].all()
    for coverage, needed in ((0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)):
        with pytest.warns(UserWarning, match=f"needs images of {needed} groups"):
            fit_conformal([], [], [], coverage=coverage)
    with pytest.warns(UserWarning, match="Received: 0") as seen:
        found = fit_conformal([], [], [])
    assert len(seen) == 2
    assert found.decide(np.array([0.3])).tolist() == ["refer"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.floats(0, 1), st.integers(0, 12)), min_size=1, max_size=40
    ),
    st.floats(0.3, 0.9),
)
@pytest.mark.filterwarnings("ignore:Every conformal set contains")
def test_its_own_images_are_held_and_json_goes_both_ways(rows, coverage):
    truth, prob, groups = (np.array(column) for column in zip(*rows, strict=True))
    found = fit_conformal(truth, prob, groups, coverage=coverage)
    assert ConformalSets.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    held = found.sets(prob)[np.arange(len(truth)), truth]
    for value in (0, 1):
        inside = truth == value
        if inside.any():
            shares = [held[inside & (groups == g)].mean() for g in np.unique(groups[inside])]
            assert np.mean(shares) >= coverage - 1e-6
    more = fit_conformal(truth, prob, groups, coverage=coverage + 0.05)
    assert (found.sets(prob) <= more.sets(prob)).all()


def test_the_report_by_hand():
    conformal = ConformalSets(0.8, 0.3, 0.6)  # both from 0.3 to 0.6
    truth = np.array([1, 1, 1, 1, 0, 0, 0])
    prob = np.array([0.9, 0.1, 0.5, 0.7, 0.1, 0.4, 0.8])
    groups = ["a", "a", "b", "c", "d", "e", "f"]
    found = report(truth, prob, groups, conformal, threshold=0.5)
    assert found["target_coverage"] == 0.8
    # Held: 0.9, 0.5 and 0.7; group a counts a half.
    assert found["coverage_lump"]["value"] == pytest.approx(2.5 / 3)
    assert found["coverage_lump"]["n"] == 4
    low, high = wilson_interval(2.5, 3)
    assert found["coverage_lump"]["ci_low"] == pytest.approx(low)
    assert found["coverage_lump"]["ci_high"] == pytest.approx(high)
    assert found["coverage_no_lump"]["value"] == pytest.approx(2 / 3)
    assert found["referred"]["value"] == pytest.approx(2 / 7)
    assert found["referred_lump"]["value"] == pytest.approx(1 / 4)
    assert found["referred_no_lump"]["value"] == pytest.approx(1 / 3)
    assert found["sensitivity"]["value"] == pytest.approx(2 / 3)
    assert found["specificity"]["value"] == pytest.approx(1 / 2)
    assert found["specificity"]["n"] == 2
    # Called from 0.75, the lump at 0.7 is no lump, which its set does not hold: to a reader too.
    called = report(truth, prob, groups, conformal, threshold=0.75)
    assert called["referred"]["value"] == pytest.approx(3 / 7)
    assert called["sensitivity"]["value"] == pytest.approx(1 / 2)
    assert called["specificity"] == found["specificity"]
    assert called["coverage_lump"] == found["coverage_lump"]
    assert report(truth, prob, groups, conformal, threshold=[0.75] * 7) == called


def test_the_report_of_nothing_is_nan():
    with pytest.warns(UndefinedMetricWarning, match="coverage_no_lump, referred_no_lump, spec"):
        found = report([1], [0.9], ["a"], ConformalSets(0.9, 0.5, 0.5), threshold=0.5)
    assert np.isnan(found["coverage_no_lump"]["value"])
    assert np.isnan(found["specificity"]["ci_low"])
    with pytest.warns(UndefinedMetricWarning, match="sensitivity"):
        found = report([1, 0], [0.9, 0.1], ["a", "b"], ConformalSets(0.9, 0, 1), threshold=0.5)
    assert found["referred"]["value"] == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"coverage": 0.9, "lump_from": 0.1}, "must be a dict with the keys coverage, lump_from"),
        (None, "must be a dict"),
        ({"coverage": 1.0, "lump_from": 0.1, "no_lump_to": 0.2}, r"below 1. Received: coverage=1"),
        ({"coverage": 0.9, "lump_from": -0.1, "no_lump_to": 0.2}, r"Received: lump_from=-0\.1"),
        ({"coverage": 0.9, "lump_from": 0, "no_lump_to": "1"}, "Received: no_lump_to='1'"),
        ({"coverage": 0.9, "lump_from": 0, "no_lump_to": float("nan")}, "Received: no_lump_to=nan"),
    ],
)
def test_from_dict_checks_what_it_reads(values, message):
    with pytest.raises(ConfigError, match=message):
        ConformalSets.from_dict(values)


@pytest.mark.parametrize("coverage", [0, 1, 90, float("nan")])
def test_a_coverage_is_between_0_and_1(coverage):
    with pytest.raises(ConfigError, match=f"Received: coverage={coverage}"):
        fit_conformal([0, 1], [0.1, 0.9], [0, 1], coverage=coverage)


def test_wrong_input_is_refused():
    with pytest.raises(DataError, match="Received: nan"):
        fit_conformal([0, 1], [0.1, np.nan], [0, 1])
    with pytest.raises(DataError, match=r"Received: 1\.5"):
        ConformalSets(0.9, 0.1, 0.9).decide(np.array([1.5]))
    with pytest.raises(DataError, match="same length"):
        report([0], [0.1, 0.2], [0, 1], ConformalSets(0.9, 0.1, 0.9), threshold=0.5)


def test_a_calibrator_fitted_on_the_same_images_changes_no_set():
    truth, prob, groups = draw(np.random.default_rng(3), 60)
    calibrator = fit_calibrator(truth, prob, groups, method="platt").calibrator
    before = fit_conformal(truth, prob, groups).sets(prob)
    calibrated = calibrator.apply(prob)
    after = fit_conformal(truth, calibrated, groups).sets(calibrated)
    np.testing.assert_array_equal(before, after)
