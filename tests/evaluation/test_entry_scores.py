"""Scores of an entry equal the functions for one model, for runs, and for two models."""

import numpy as np
import pytest
from prediction_tables import predictions

from breastus.errors import DataError
from breastus.evaluation.comparison.paired import compare
from breastus.evaluation.entry_scores import score_entry
from breastus.evaluation.intervals.recipe import recipe_difference, recipe_metrics
from breastus.evaluation.options import EvaluationOptions

OPTIONS = EvaluationOptions(resamples=100)


def table(seed=0, threshold=0.5):
    one = predictions(seed=seed).assign(threshold=threshold)
    lump = one["probability"] >= one["threshold"]
    return one.assign(predicted=np.where(lump, "lump", "no_lump"))


def test_one_model_is_scored_and_compared_as_ever():
    ours, other = table(0), table(1, 0.6)
    found = score_entry([ours], baselines={"other": other}, options=OPTIONS)
    means = recipe_metrics([ours], options=OPTIONS)
    for name in ("roc_auc", "sensitivity", "ece", "brier"):
        assert found[name] == pytest.approx(means[name], nan_ok=True)
    pair = compare(ours, other, threshold=0.5, other_threshold=0.6, options=OPTIONS)
    baseline = found["baselines"]["other"]
    for name, entry in baseline["metrics"].items():
        expected = pair["delong"] if name == "roc_auc" else pair["metrics"][name]
        difference = [entry["difference"][key] for key in ("value", "ci_low", "ci_high")]
        assert difference == pytest.approx(
            [expected[key] for key in ("difference", "ci_low", "ci_high")], nan_ok=True
        )
    assert baseline["delong"] == pytest.approx(pair["delong"])
    assert baseline["mcnemar"] == pair["mcnemar"]["all"]


def test_the_mean_of_runs_is_compared_from_five_on():
    runs, other = [table(seed) for seed in (0, 2, 3, 4, 5)], table(1)
    found = score_entry(runs, baselines={"other": other}, options=OPTIONS)
    assert found["runs"] == 5
    assert found["n"] == len(other)
    assert "recipe" in found["covered"]
    expected = recipe_difference(runs, [other] * 5, options=OPTIONS)
    baseline = found["baselines"]["other"]
    assert baseline["reason"] == ""
    for name in ("roc_auc", "specificity", "brier"):
        difference = baseline["metrics"][name]["difference"]
        assert difference == pytest.approx(expected[name])
        assert difference["ci_low"] < difference["value"] < difference["ci_high"]
    assert "mcnemar" not in baseline
    assert [one["roc_auc"] for one in found["per_run"]] == [
        score_entry([run], options=OPTIONS)["roc_auc"]["value"] for run in runs
    ]
    few = score_entry(runs[:2], baselines={"other": other}, options=OPTIONS)["baselines"]["other"]
    assert np.isnan(few["metrics"]["roc_auc"]["difference"]["ci_low"])
    assert "fewer than 5 seeds" in few["reason"]


def test_a_baseline_of_other_images_is_refused():
    ours = table()
    with pytest.raises(DataError, match="differ in label"):
        score_entry([ours], baselines={"x": ours.assign(label="lump")}, options=OPTIONS)
