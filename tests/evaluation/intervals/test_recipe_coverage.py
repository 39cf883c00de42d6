"""Intervals of a recipe hold its score as often as they say; equal recipes seldom differ."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import norm

from breastus.evaluation.intervals.recipe import recipe_difference, recipe_metrics
from breastus.evaluation.options import EvaluationOptions

OPTIONS = EvaluationOptions(resamples=60)
MEANS = np.array([-0.85, 0.85])  # scores of images without and with a lump, threshold 0
# Another seed moves all scores up or down, and images without a lump further than lumps.
SHIFTS = np.array([0.78, 0.5])


def recipe(rng, seeds, difficulty):
    """Predictions of several seeds on 20 images without a lump and 75 lumps of the same scenes."""
    groups = np.repeat(np.arange(59), [*[2] * 6, *[1] * 8, *[2] * 30, *[1] * 15])
    lump = np.repeat([0, 1], [20, 75])
    for _ in range(seeds):
        scores = MEANS[lump] + SHIFTS[lump] * rng.normal()
        scores = scores + np.sqrt(0.6) * difficulty[groups] + np.sqrt(0.4) * rng.normal(size=95)
        yield pd.DataFrame(
            {
                "image_id": np.arange(95).astype(str),
                "group_id": groups.astype(str),
                "label": np.where(lump == 1, "lump", "no_lump"),
                "probability": expit(scores),
                "threshold": 0.5,
            }
        )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::breastus.errors.UndefinedMetricWarning")
def test_coverage_is_what_it_says():
    rng, held, too_sure = np.random.default_rng(0), {"sensitivity": 0, "specificity": 0}, 0
    for _ in range(100):
        tables = list(recipe(rng, 5, rng.normal(size=59)))
        found = recipe_metrics(tables, options=OPTIONS)
        for lump, name in enumerate(("specificity", "sensitivity")):
            # The mean over seeds of Phi((0.85 + shift) / 1), by hand: a normal of both variances.
            truth = norm.cdf(0.85 / np.hypot(1, SHIFTS[lump]))
            held[name] += found[name]["ci_low"] <= truth <= found[name]["ci_high"]
        one = recipe_metrics(tables[:1], options=OPTIONS)["specificity"]
        too_sure += not one["ci_low"] <= norm.cdf(0.85 / np.hypot(1, SHIFTS[0])) <= one["ci_high"]
    assert all(0.90 <= count / 100 <= 0.995 for count in held.values()), held
    assert too_sure / 100 > 0.15  # the interval of one trained model says nothing about another


@pytest.mark.slow
def test_equal_recipes_differ_as_often_as_they_may():
    rng, differ = np.random.default_rng(1), 0
    for _ in range(80):
        difficulty = rng.normal(size=59)
        pair = [list(recipe(rng, 5, difficulty)) for _ in range(2)]
        found = recipe_difference(*pair, options=OPTIONS)["specificity"]
        differ += not found["ci_low"] <= 0 <= found["ci_high"]
    assert differ / 80 <= 0.10
