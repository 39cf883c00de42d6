"""Another prevalence is found without labels, and adjusted to."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from breastus.config.schema import EvaluationConfig
from breastus.errors import ConfigError, DataError
from breastus.evaluation.calibration.logistic import logit
from breastus.evaluation.calibration.prior_shift import (
    adjust_prior,
    estimate_prevalence,
    prevalence_estimate,
)


def draw(rng, count, prevalence, *, training=0.6):
    """Labels of a hospital, and probabilities that are right at the training prevalence."""
    truth = (rng.random(count) < prevalence).astype(int)
    score = rng.normal(size=count) + 2 * truth - 1  # log of the likelihood ratio: 2 * score
    odds = np.exp(2 * score) * training / (1 - training)
    return truth, odds / (1 + odds)


def by_steps(prob, prevalence, steps=3000):
    """The steps of Saerens and others, as written there."""
    found = prevalence
    for _ in range(steps):
        lump = prob * found / prevalence
        other = (1 - prob) * (1 - found) / (1 - prevalence)
        found = (lump / (lump + other)).mean()
    return found


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.15, 0.85))
def test_the_estimate_is_where_the_steps_lead(seed, prevalence):
    _, prob = draw(np.random.default_rng(seed), 300, prevalence)
    assert estimate_prevalence(prob, 0.6) == pytest.approx(by_steps(prob, 0.6), abs=1e-6)


@pytest.mark.parametrize("prevalence", [0.05, 0.3, 0.6, 0.9])
def test_the_prevalence_is_found_again(prevalence):
    _, prob = draw(np.random.default_rng(0), 20_000, prevalence)
    assert estimate_prevalence(prob, 0.6) == pytest.approx(prevalence, abs=0.015)


def test_adjusted_probabilities_mean_what_they_say():
    truth, prob = draw(np.random.default_rng(1), 40_000, 0.1)
    assert prob.mean() > 0.2
    adjusted = adjust_prior(prob, 0.6, 0.1)
    assert adjusted.mean() == pytest.approx(truth.mean(), abs=0.006)
    near_half = (adjusted > 0.4) & (adjusted < 0.6)
    assert truth[near_half].mean() == pytest.approx(adjusted[near_half].mean(), abs=0.04)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.01, 0.99), st.floats(0.01, 0.99)
)
def test_adjusting_shifts_logits_and_keeps_the_order(values, old, new):
    values = np.sort(values)
    found = adjust_prior(values, old, new)
    assert (found >= 0).all()
    assert (found <= 1).all()
    assert (np.diff(found) >= -1e-15).all()
    np.testing.assert_allclose(adjust_prior(found, new, old), values, atol=1e-9)
    inner = (values > 1e-6) & (values < 1 - 1e-6)
    shift = logit(np.array([new]))[0] - logit(np.array([old]))[0]
    np.testing.assert_allclose(logit(found[inner]), logit(values[inner]) + shift, atol=1e-6)


def test_by_hand():
    # Odds of 1 at half; at a fifth the odds are a quarter.
    assert adjust_prior(np.array([0.0, 0.5, 1.0]), 0.5, 0.2).tolist() == [0.0, 0.2, 1.0]
    # 0.9 of one image, 0.2 of another: slope 1.6 / (0.2 + 1.6 x) = 1.2 / (1.6 - 1.2 x).
    assert estimate_prevalence(np.array([0.9, 0.2]), 0.5) == pytest.approx(29 / 48)
    # One certain lump and one certain image without a lump.
    assert estimate_prevalence(np.array([0.0, 1.0]), 0.3) == pytest.approx(0.5)


def test_edges_and_nothing_to_go_by():
    for values, edge in (([0.1, 0.2], 0), ([0.8, 0.7], 1)):
        assert estimate_prevalence(np.array(values), 0.5) == edge
    for values in ([], [0.3, 0.3]):
        assert np.isnan(estimate_prevalence(np.array(values), 0.3))
    for one_class in (0, 1):
        assert np.isnan(estimate_prevalence(np.array([0.2, 0.6]), one_class))


def predictions(prob):
    labels = np.where(np.arange(len(prob)) % 2, "lump", "no_lump")
    groups = [f"g{number}" for number in range(len(prob))]
    return pd.DataFrame({"label": labels, "probability": prob, "group_id": groups})


def test_the_interval_of_an_estimate_holds_the_share_of_resamples_that_it_says():
    table = predictions(np.random.default_rng(0).uniform(0.05, 0.95, 60))
    bounds = []
    for confidence in (0.5, 0.95):
        options = EvaluationConfig(resamples=200, confidence=confidence)
        found = prevalence_estimate(table, training_prevalence=0.5, settings=options, seed=1)
        bounds.append([found["estimate"][name] for name in ("ci_low", "ci_high")])
    (low, high), (lowest, highest) = bounds
    assert 0 < lowest < low < found["estimate"]["value"] < high < highest < 1
    # About normal: 95 % are 2.9 times as wide as 50 %.
    assert 2.2 < (highest - lowest) / (high - low) < 3.8


def test_an_estimate_of_0_or_1_leaves_probabilities_that_can_be_scored():
    for prob, lump in (([0.1, 0.2, 0.1], 0), ([0.9, 0.8, 0.9], 1)):
        table = predictions(np.array(prob)).assign(label=["no_lump", "lump"][lump])
        options = EvaluationConfig(resamples=20)
        found = prevalence_estimate(table, training_prevalence=0.5, settings=options, seed=0)
        assert found["estimate"]["value"] == lump
        # The right estimate brings every probability nearer to the truth.
        assert 0 < found["adjusted"]["log_loss"] < found["unadjusted"]["log_loss"]


@pytest.mark.parametrize("prevalence", [-0.1, float("nan"), "0.5", None])
def test_wrong_prevalences_are_refused(prevalence):
    prob = np.array([0.2, 0.6])
    with pytest.raises(ConfigError, match="Received: training_prevalence="):
        estimate_prevalence(prob, prevalence)
    with pytest.raises(ConfigError, match="Received: old="):
        adjust_prior(prob, prevalence, 0.5)
    with pytest.raises(ConfigError, match="Received: new="):
        adjust_prior(prob, 0.5, prevalence)


@pytest.mark.parametrize("prevalence", [0, 1])
def test_nothing_is_adjusted_between_classes_that_are_alone(prevalence):
    with pytest.raises(ConfigError, match="Received: old="):
        adjust_prior(np.array([0.2]), prevalence, 0.5)
    with pytest.raises(ConfigError, match="Received: new="):
        adjust_prior(np.array([0.2]), 0.5, prevalence)


def test_wrong_probabilities_are_refused():
    for call in (
        lambda p: estimate_prevalence(p, 0.5),
        lambda p: adjust_prior(p, 0.5, 0.4),
    ):
        with pytest.raises(DataError, match="Received: nan"):
            call(np.array([np.nan]))
