"""Thresholds follow their rule, flip no call by rounding, and keep the sensitivity they promise."""

import json
import math
import warnings
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from breastus.errors import ConfigError, DataError, UndefinedMetricWarning
from breastus.evaluation.decision.thresholds import choose_threshold
from breastus.evaluation.intervals.proportions import wilson_interval
from breastus.evaluation.metrics.metrics import confusion_matrix

TRUTH = np.array([0, 0, 0, 1, 0, 1, 1, 1])
PROB = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 0.9])
APART = np.arange(8)

scores = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5 + 1e-16, 0.75, 1.0])
cases = st.lists(st.tuples(st.integers(0, 1), scores), min_size=2, max_size=25).filter(
    lambda rows: {t for t, _ in rows} == {0, 1}
)


def merit(truth, prob, threshold, *, miss=1.0, alarm=1.0):
    (cleared, alarms), (missed, caught) = confusion_matrix(truth, prob, threshold=threshold)
    return -miss * missed / (missed + caught) - alarm * alarms / (cleared + alarms)


def test_youden_by_hand():
    # From 0.55: 3 of 4 caught, all cleared. From 0.35: all caught, 3 of 4 cleared; lower, as good.
    found = choose_threshold(TRUTH, PROB, APART, rule="youden")
    assert found.threshold == pytest.approx(0.35)
    assert found.sensitivity["value"] == 1
    assert found.specificity["value"] == 0.75
    low, high = wilson_interval(3, 4)
    assert (found.specificity["ci_low"], found.specificity["ci_high"]) == (low, high)
    assert "Youden" in found.description


def test_likelihood_is_the_share_of_lumps():
    found = choose_threshold([0, 1, 1, 1], [0.6, 0.7, 0.75, 0.9], range(4), rule="likelihood")
    assert found.threshold == 0.75
    assert found.sensitivity["value"] == pytest.approx(2 / 3)
    assert "0.750" in found.description


def test_likelihood_is_youdens_where_probabilities_mean_what_they_say():
    rng = np.random.default_rng(0)
    prob = rng.beta(2, 1, 200_000)
    truth = (rng.random(len(prob)) < prob).astype(int)
    best, found = (
        choose_threshold(truth, prob, np.arange(len(prob)), rule=rule)
        for rule in ("youden", "likelihood")
    )
    ours, highest = (merit(truth, prob, one.threshold) for one in (found, best))
    assert highest - 1e-3 < ours <= highest


@settings(max_examples=80, deadline=None)
@given(cases, st.floats(0.1, 10), st.floats(0.05, 0.95))
def test_no_threshold_at_all_does_better(rows, miss, prevalence):
    truth, prob = (np.array(column) for column in zip(*rows, strict=True))
    apart = np.arange(len(truth))
    every = np.concatenate([prob, np.nextafter(prob, 2)])
    every = every[every <= 1]
    youden = choose_threshold(truth, prob, apart, rule="youden").threshold
    best = max(merit(truth, prob, threshold) for threshold in every)
    assert merit(truth, prob, youden) == pytest.approx(best)
    cost = choose_threshold(
        truth, prob, apart, rule="cost", cost_ratio=miss, prevalence=prevalence
    ).threshold
    weights = {"miss": miss * prevalence, "alarm": 1 - prevalence}
    best = max(merit(truth, prob, threshold, **weights) for threshold in every)
    assert merit(truth, prob, cost, **weights) == pytest.approx(best)
    assert 0 <= cost <= 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_last_digits_flip_no_call(seed):
    rng = np.random.default_rng(seed)
    truth, prob = np.arange(30) % 2, rng.random(30).round(2)
    for options in ({"rule": "youden"}, {"rule": "sensitivity", "target": 0.5}):
        threshold = choose_threshold(truth, prob, np.arange(30), **options).threshold
        called = prob >= threshold
        for off in (-1e-6, 1e-6):
            np.testing.assert_array_equal(np.clip(prob + off, 0, 1) >= threshold, called)


def test_cost_by_hand():
    def chosen(**costs):
        return choose_threshold(TRUTH, PROB, APART, rule="cost", prevalence=0.5, **costs)

    # 0.35 raises a quarter of alarms, 0.55 misses a quarter of lumps.
    assert chosen(cost_ratio=1.01).threshold == pytest.approx(0.35)
    assert chosen(cost_ratio=1 / 1.01).threshold == pytest.approx(0.55)
    assert (
        "20 for a miss and 1 for a false alarm, at a prevalence of 0.5"
        in chosen(cost_ratio=20).description
    )
    rare = choose_threshold(TRUTH, PROB, APART, rule="cost", cost_ratio=1, prevalence=0.01)
    assert rare.threshold == pytest.approx(0.55)
    never = choose_threshold(TRUTH, 1 - PROB, APART, rule="cost", cost_ratio=1 / 9, prevalence=0.1)
    assert never.threshold == pytest.approx(0.95)  # none is predicted lump


def test_sensitivity_by_hand():
    # 60 lumps apart, one score each; Wilson's one-sided bound of 58 of 60 is 0.90, of 57 is 0.88.
    lumps = np.linspace(0.4, 0.99, 60)
    truth = np.array([1] * 60 + [0, 0])
    prob = np.concatenate([lumps, [0.1, 0.2]])
    z = NormalDist().inv_cdf(0.95)
    bound = wilson_interval(58, 60, confidence=0.9)[0]
    centre, spread = 58 / 60 + z**2 / 120, math.sqrt(58 * 2 / 60**3 + (z / 120) ** 2)
    assert bound == pytest.approx((centre - z * spread) / (1 + z**2 / 60))
    found = choose_threshold(
        truth, prob, np.arange(62), rule="sensitivity", target=bound - 1e-9, confidence=0.95
    )
    assert found.threshold == pytest.approx((lumps[1] + lumps[2]) / 2)
    assert found.attained
    more = choose_threshold(
        truth, prob, np.arange(62), rule="sensitivity", target=bound + 1e-9, confidence=0.95
    )
    assert more.threshold == pytest.approx((lumps[0] + lumps[1]) / 2)


def test_a_sensitivity_out_of_reach_is_said_to_be():
    for number, attained in ((51, False), (52, True)):
        truth = np.array([1] * number * 2 + [0] * 3)
        prob = np.concatenate([np.full(number * 2, 0.8), [0.1, 0.6, 0.9]])
        groups = np.concatenate([np.repeat(np.arange(number), 2), [100, 101, 102]])
        options = {"rule": "sensitivity", "target": 0.95}
        if attained:
            found = choose_threshold(truth, prob, groups, **options)
        else:
            with pytest.warns(UserWarning, match=r"needs lumps of 52 groups.*Received: 51 groups"):
                found = choose_threshold(truth, prob, groups, **options)
            assert "51 groups are too few" in found.description
        assert found.attained == attained
        assert found.threshold == pytest.approx(0.7)
        assert found.sensitivity["value"] == 1


@pytest.mark.parametrize(
    ("sizes", "within"), [([1] * 70, 0.0), ([3] * 70, 0.9), ([1, 1, 1, 20] * 30, 0.9)]
)
def test_the_sensitivity_is_kept_as_often_as_it_says(sizes, within):
    # Scores of lumps are normal, so the true sensitivity of a threshold is known.
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    normal, kept = NormalDist(), 0
    for _ in range(150):
        z = within * rng.normal(size=len(sizes))[groups] + math.sqrt(1 - within**2) * rng.normal(
            size=len(groups)
        )
        prob = np.concatenate([1 / (1 + np.exp(-z)), [0.001]])
        truth, every = np.append(np.ones(len(groups), int), 0), np.append(groups, len(sizes))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where uneven groups are too few to show it
            found = choose_threshold(truth, prob, every, rule="sensitivity", target=0.9)
        kept += 1 - normal.cdf(math.log(found.threshold / (1 - found.threshold))) >= 0.9
    assert kept / 150 >= 0.91


def test_ties_are_parted_or_kept_together():
    truth = np.array([0, 1, 1, 0])
    found = choose_threshold(truth, np.full(4, 0.5), np.arange(4), rule="youden")
    assert found.threshold == 0.25  # all or none: the lower one
    neighbours = np.array([0.5, np.nextafter(0.5, 1)])
    found = choose_threshold([0, 1], neighbours, [0, 1], rule="youden")
    assert (neighbours >= found.threshold).tolist() == [False, True]
    zero = choose_threshold([1, 0], np.array([0.0, 1.0]), [0, 1], rule="youden")
    assert zero.threshold == 0


def test_fixed_takes_what_it_gets_and_json_takes_it():
    found = choose_threshold(TRUTH, PROB, APART, rule="fixed", threshold=0.5)
    assert found.threshold == 0.5
    assert found.specificity["value"] == 0.75  # 0.5 itself is predicted lump
    assert json.loads(json.dumps(found.to_dict()))["sensitivity"]["n_groups"] == 4


def test_one_class_only():
    with pytest.warns(UndefinedMetricWarning, match="NaN: specificity"):
        found = choose_threshold([1, 1], [0.2, 0.9], [1, 2], rule="fixed", threshold=0.5)
    assert math.isnan(found.specificity["value"])
    for options in (
        {"rule": "youden"},
        {"rule": "sensitivity", "target": 0.9},
        {"rule": "cost", "cost_ratio": 1, "prevalence": 0.5},
    ):
        with pytest.raises(DataError, match="Received: no image of no_lump"):
            choose_threshold([1, 1], [0.2, 0.9], [1, 2], **options)


def test_wrong_arrays_are_refused():
    with pytest.raises(ConfigError, match="Did you mean youden"):
        choose_threshold([0, 1], [0.1, 0.9], [0, 1], rule="yuden")
    with pytest.raises(DataError, match="Received: nan"):
        choose_threshold([0, 1], [0.1, np.nan], [0, 1], rule="youden")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "fixed"}, "fixed needs threshold"),
        ({"rule": "fixed", "threshold": 1.1}, "from 0 to 1. Received: threshold=1.1"),
        ({"rule": "fixed", "threshold": float("nan")}, "Received: threshold=nan"),
        ({"rule": "youden", "target": 0.9}, "youden takes no target. Received: target=0.9"),
        ({"rule": "sensitivity", "target": 1.0}, "below 1. Received: target=1"),
        ({"rule": "sensitivity", "target": 0}, "above 0 .*Received: target=0"),
        ({"rule": "sensitivity", "target": 0.9, "confidence": 0.5}, "Received: confidence=0.5"),
        ({"rule": "cost", "cost_ratio": 1}, "cost needs prevalence"),
        ({"rule": "cost", "cost_ratio": 0, "prevalence": 0.5}, "Received: cost_ratio=0"),
        ({"rule": "cost", "cost_ratio": 1, "prevalence": 1}, "Received: prevalence=1"),
    ],
)
def test_rules_take_their_own_numbers(options, message):
    with pytest.raises(ConfigError, match=message):
        choose_threshold(TRUTH, PROB, APART, **options)
