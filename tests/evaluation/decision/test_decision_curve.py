"""Net benefit is what its formula says, and bands hold the truth as often as they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from breastus.errors import UndefinedMetricWarning
from breastus.evaluation.decision.decision_curve import decision_curve, net_benefit
from breastus.evaluation.options import EvaluationOptions

TRUTH = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
PROB = np.array([0.9, 0.6, 0.2, 0.7, 0.3, 0.2, 0.1, 0.1, 0.1, 0.05])


def curve(truth, prob, groups=None, *, prevalence=0.3, calibrated_at=None, **options):
    groups = np.arange(len(truth)) if groups is None else groups
    options = EvaluationOptions(prevalence=prevalence, **options)
    table = decision_curve(truth, prob, groups, calibrated_at=calibrated_at, options=options)
    assert table["threshold"].tolist() == [t / 100 for t in range(1, 100)]
    return table.set_index("threshold")


def test_a_case_by_hand():
    # From 0.25: 2 lumps found, 2 false alarms at 1/3 each. From 0.6, to which it belongs: 2 lumps
    # and 1 alarm at 3/2.
    found = net_benefit(TRUTH, PROB, [0.25, 0.6], prevalence=0.3)
    np.testing.assert_allclose(found, [2 / 10 - 2 / 10 / 3, 2 / 10 - 1 / 10 * 1.5])
    # One woman in fifty with a lump: sensitivity 2/3, false alarms 2/7.
    found = net_benefit(TRUTH, PROB, [0.25], prevalence=0.02)
    np.testing.assert_allclose(found, [2 / 3 * 0.02 - 2 / 7 * 0.98 / 3])


def by_formula(truth, prob, threshold):
    """Vickers and Elkin's: true positives, less false ones at the odds of the threshold, over n."""
    called = prob >= threshold
    hits, alarms = (called & (truth == 1)).sum(), (called & (truth == 0)).sum()
    return (hits - alarms * threshold / (1 - threshold)) / len(truth)


probabilities = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.8, 1.0])
cases = st.lists(
    st.tuples(st.integers(0, 1), probabilities, st.integers(0, 3)), min_size=2, max_size=20
).filter(lambda rows: {t for t, _, w in rows if w} == {0, 1})


@settings(max_examples=60, deadline=None)
@given(cases, st.sampled_from([0.05, 0.1, 0.5, 0.8]))
def test_equal_to_the_formula(rows, threshold):
    truth, prob, weights = (np.array(column) for column in zip(*rows, strict=True))
    copies = np.repeat(truth, weights), np.repeat(prob, weights)
    expected = by_formula(*copies, threshold)
    share = copies[0].mean()
    found = net_benefit(truth, prob, [threshold], weights=weights, prevalence=share)
    np.testing.assert_allclose(found, [expected], atol=1e-12)
    assert found[0] <= share + 1e-12


def test_the_curve_stands_beside_those_of_no_model():
    table = curve(TRUTH, PROB, resamples=200).loc[[0.04, 0.3, 0.95]]
    np.testing.assert_allclose(
        table["treat_all"], [0.3 - 0.7 * t / (1 - t) for t in (4 / 100, 0.3, 0.95)]
    )
    assert (table["treat_none"] == 0).all()
    # All are called at the first threshold, none at the last.
    assert table["model"].iloc[0] == table["treat_all"].iloc[0]
    assert table["model"].iloc[2] == 0
    np.testing.assert_allclose(table["gain"], [0, table["model"].iloc[1], 0], atol=1e-12)
    for name in ("model", "treat_all", "gain"):
        assert (table[f"{name}_ci_low"] <= table[name]).all()
        assert (table[name] <= table[f"{name}_ci_high"]).all()


def test_probabilities_are_adjusted_to_the_prevalence_of_use():
    # Odds of 1 at a half are odds of 1/9 at a tenth: a threshold of 0.1.
    table = curve(TRUTH, np.full(10, 0.5), prevalence=0.1, calibrated_at=0.5, resamples=20)
    assert (table["model"][:0.09] == table["treat_all"][:0.09]).all()
    assert (table["model"][0.11:] == 0).all()


def test_bands_know_that_groups_go_together_and_repeat_with_their_seed():
    rng = np.random.default_rng(0)
    truth = np.repeat(rng.integers(0, 2, 30), 6)
    prob = np.clip(0.3 * truth + np.repeat(rng.random(30), 6) * 0.7, 0, 1)
    by_group, again, by_image = (
        curve(truth, prob, groups, resamples=200, seed=3).loc[[0.4]]
        for groups in (np.repeat(np.arange(30), 6), np.repeat(np.arange(30), 6), None)
    )
    assert by_group.equals(again)
    width, narrow = (
        t["model_ci_high"].item() - t["model_ci_low"].item() for t in (by_group, by_image)
    )
    assert width > 1.5 * narrow


@pytest.mark.parametrize("prevalence", [1 / 3, 0.05])
def test_coverage_is_what_it_says(prevalence):
    # Two normals one apart, one image in three a lump; called from a score of 0.5 on.
    true = norm.sf(-0.5) * prevalence - norm.sf(0.5) * (1 - prevalence) * 0.25 / 0.75
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(200):
        truth = (rng.random(150) < 1 / 3).astype(int)
        prob = np.where(truth + rng.normal(size=150) >= 0.5, 0.25, 0.2)
        row = curve(truth, prob, prevalence=prevalence, resamples=200, seed=trial).loc[0.25]
        held += row["model_ci_low"] <= true <= row["model_ci_high"]
    assert 0.89 <= held / 200 <= 0.98


@pytest.mark.parametrize("value", [0, 1])
def test_one_class_is_undefined(value):
    with pytest.warns(UndefinedMetricWarning, match="fewer than two groups"):
        table = curve(np.full(4, value), PROB[:4])
    assert table.drop(columns="treat_none").isna().all(axis=None)


def test_few_groups_have_no_bands():
    groups = [1, 1, 1, 2, 3, 4, 5, 6, 7, 8]  # one group of lumps
    with pytest.warns(UndefinedMetricWarning, match="lump comes? from fewer than two"):
        row = curve(TRUTH, PROB, groups).loc[0.25]
    assert row["model"] == pytest.approx(2 / 10 - 2 / 10 / 3)
    assert np.isnan(row["model_ci_low"])
    groups[0] = 0  # two
    with pytest.warns(UndefinedMetricWarning, match="too many resamples lack a class"):
        row = curve(TRUTH, PROB, groups, resamples=200).loc[0.25]
    assert np.isnan(row["gain_ci_high"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prevalence": 1.0}, "above 0 and below 1. Received: prevalence=1.0"),
        ({"groups": [1, 2]}, "the group of each of 10 images"),
        ({"prob": np.append(PROB[:-1], np.nan)}, "must hold .*Received: nan"),
        ({"prob": PROB * 2}, "from 0 to 1. Received: 1.8"),
    ],
)
def test_wrong_arguments_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        curve(**{"truth": TRUTH, "prob": PROB, **change})
