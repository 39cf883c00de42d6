"""Scores of an entry equal the functions for one model, for runs, and for two models."""

import numpy as np
import pytest
from prediction_tables import predictions

from breastus.errors import DataError
from breastus.evaluation.comparison.paired import compare
from breastus.evaluation.entry_scores import score_entry
from breastus.evaluation.intervals.repeated_metrics import mean_difference, mean_metrics
from breastus.evaluation.options import EvaluationOptions

OPTIONS = EvaluationOptions(resamples=100)


def table(seed=0, threshold=0.5):
    one = predictions(seed=seed).assign(threshold=threshold)
    lump = one["probability"] >= one["threshold"]
    return one.assign(predicted=np.where(lump, "lump", "no_lump"))


def test_one_model_is_scored_and_compared_as_ever():
    ours, other = table(0), table(1, 0.6)
    found = score_entry([ours], baselines={"other": other}, options=OPTIONS)
    means = mean_metrics([ours], options=OPTIONS)
    for name in ("roc_auc", "sensitivity", "ece", "brier"):
        assert found[name] == means[name]
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


def test_the_mean_of_runs_is_compared():
    runs, other = [table(0), table(2)], table(1)
    found = score_entry(runs, baselines={"other": other}, options=OPTIONS)
    assert found["runs"] == 2
    assert found["n"] == len(other)
    expected = mean_difference(runs, [other, other], options=OPTIONS)
    for name in ("roc_auc", "specificity", "brier"):
        difference = found["baselines"]["other"]["metrics"][name]["difference"]
        assert difference == pytest.approx(expected[name])
    assert "mcnemar" not in found["baselines"]["other"]
    assert [one["roc_auc"] for one in found["per_run"]] == [
        score_entry([run], options=OPTIONS)["roc_auc"]["value"] for run in runs
    ]


def test_a_baseline_of_other_images_is_refused():
    ours = table()
    with pytest.raises(DataError, match="differ in label"):
        score_entry([ours], baselines={"x": ours.assign(label="lump")}, options=OPTIONS)
