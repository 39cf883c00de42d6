"""Means over tables: one table's own score, and no more evidence than its scenes hold."""

import numpy as np
import pandas as pd
import pytest

from breastus.errors import DataError, UndefinedMetricWarning
from breastus.evaluation.intervals.metric_intervals import bootstrap_intervals
from breastus.evaluation.intervals.proportions import wilson_interval
from breastus.evaluation.intervals.repeated_metrics import (
    mean_difference,
    mean_metrics,
    thresholds_of,
)
from breastus.evaluation.metrics.metrics import METRICS, compute_metrics
from breastus.evaluation.options import EvaluationOptions
from breastus.evaluation.predictions import truth_and_probability


def table(seed=0, count=80, threshold=0.4, shift=1.5):
    rng = np.random.default_rng(seed)
    lump = np.arange(count) % 4 > 0
    probability = 1 / (1 + np.exp(-(shift * (lump - 0.5) + rng.normal(size=count))))
    return pd.DataFrame(
        {
            "image_id": [f"x/{i}" for i in range(count)],
            "group_id": [f"g{i // 8 * 4 + i % 4}" for i in range(count)],
            "label": np.where(lump, "lump", "no_lump"),
            "probability": probability,
            "threshold": threshold,
        }
    )


def test_the_mean_of_one_table_is_its_own_score():
    one = table()
    truth, probability = truth_and_probability(one)
    values = compute_metrics(truth, probability, threshold=0.4)
    bounds = bootstrap_intervals(
        truth,
        probability,
        one["group_id"],
        threshold=0.4,
        options=EvaluationOptions(resamples=300, seed=3),
    )
    found = mean_metrics([one], options=EvaluationOptions(resamples=300, seed=3))
    for name in METRICS:
        assert found[name]["value"] == pytest.approx(values[name])
        ends = found[name]["ci_low"], found[name]["ci_high"]
        assert ends == pytest.approx(bounds[name], nan_ok=True)
    assert found["n_groups"] == one["group_id"].nunique()


def test_the_same_table_again_is_no_more_evidence():
    once, thrice = (
        mean_metrics([table()] * times, options=EvaluationOptions(resamples=200))
        for times in (1, 3)
    )
    for name in METRICS:
        assert thrice[name] == pytest.approx(once[name], nan_ok=True)
    assert len(thrice["per_table"]) == 3


def test_means_are_of_the_tables_each_called_by_its_own_threshold():
    tables = [table(0, threshold=0.2), table(1, threshold=0.9)]
    with pytest.warns(UndefinedMetricWarning, match="no interval for precision"):
        found = mean_metrics(tables, options=EvaluationOptions(resamples=100))
    shares = [
        ((t["probability"] >= t["threshold"]) == (t["label"] == "lump")).mean() for t in tables
    ]
    assert found["accuracy"]["value"] == pytest.approx(np.mean(shares))
    assert np.sum(found["confusion_matrix"]) == pytest.approx(80)
    assert set(thresholds_of(table().drop(columns="threshold"))) == {0.5}


def test_folds_may_differ_in_threshold_within_a_table():
    mixed = table()
    mixed["threshold"] = np.where(np.arange(80) < 40, 0.2, 0.9)
    called = mixed["probability"] >= mixed["threshold"]
    lump = mixed["label"] == "lump"
    found = mean_metrics([mixed], options=EvaluationOptions(resamples=100))
    assert found["sensitivity"]["value"] == pytest.approx(called[lump].mean())


def test_a_share_that_never_varies_is_not_certain():
    sure = table().assign(probability=lambda t: (t["label"] == "lump") * 0.8 + 0.1)
    with pytest.warns(UndefinedMetricWarning, match="calibration_slope"):
        found = mean_metrics([sure, sure], options=EvaluationOptions(resamples=100))["sensitivity"]
    assert found["value"] == found["ci_high"] == 1
    assert 0.8 < found["ci_low"] < 1


def test_a_difference_is_of_the_same_images_drawn_together():
    ours, theirs = [table(0), table(1)], [table(2), table(3)]
    found = mean_difference(ours, theirs, options=EvaluationOptions(resamples=500))["roc_auc"]
    parts = [
        mean_metrics(side, options=EvaluationOptions(resamples=100))["roc_auc"]["value"]
        for side in (ours, theirs)
    ]
    assert found["value"] == pytest.approx(parts[0] - parts[1])
    assert found["ci_low"] <= found["value"] <= found["ci_high"]
    for other in (table().iloc[::-1], table().assign(group_id="g"), table().assign(label="lump")):
        with pytest.raises(DataError, match="the same test images"):
            mean_difference([other], [table()])


def test_no_difference_at_all_is_not_certain():
    same = mean_difference([table()], [table()], options=EvaluationOptions(resamples=100))
    assert all(entry["value"] == 0 for entry in same.values())
    groups = table().query("label == 'lump'")["group_id"].nunique()
    reach = wilson_interval(0, groups)[1]
    assert same["sensitivity"]["ci_low"] == pytest.approx(-reach, rel=0.05)
    assert same["sensitivity"]["ci_high"] == pytest.approx(reach, rel=0.05)
    assert np.isnan(same["roc_auc"]["ci_low"])


def test_what_a_table_leaves_undefined_is_said():
    one_class = table().query("label == 'lump'")
    with pytest.warns(UndefinedMetricWarning, match="mean over 2 tables is NaN"):
        found = mean_metrics([table(), one_class], options=EvaluationOptions(resamples=50))
    assert np.isnan(found["roc_auc"]["value"])


@pytest.mark.parametrize(
    ("score", "of_lumps"),
    [
        (mean_metrics, {"accuracy", "sensitivity", "recall"}),
        (lambda tables: mean_difference(tables, tables), set()),
    ],
)
def test_one_group_of_a_class_gives_no_interval_that_depends_on_it(score, of_lumps):
    alone = table().assign(group_id=lambda t: np.where(t["label"] == "lump", t["group_id"], "one"))
    with pytest.warns(UndefinedMetricWarning, match="no lump come from fewer than two groups"):
        found = score([alone])
    assert found["roc_auc"]["value"] == found["roc_auc"]["value"]
    assert of_lumps == {name for name in METRICS if not np.isnan(found[name]["ci_low"])}


def test_repeats_that_differ_are_more_evidence_than_one_but_not_as_images_of_their_own():
    tables = [table(seed) for seed in range(3)]
    options = EvaluationOptions(resamples=50)
    others = [
        one.assign(image_id=f"{number}/" + one["image_id"], group_id=f"{number}/" + one["group_id"])
        for number, one in enumerate(tables)
    ]
    once, repeats, apart = (
        mean_metrics(each, options=options) for each in (tables[:1], tables, others)
    )
    for name in ("accuracy", "sensitivity", "specificity"):
        first, second, third = (
            found[name]["ci_high"] - found[name]["ci_low"] for found in (apart, repeats, once)
        )
        assert first < second < third, name


def test_what_never_varies_is_as_of_one_run():
    sure = table().assign(probability=lambda t: (t["label"] == "lump") * 0.8 + 0.1)
    truth, probability = truth_and_probability(sure)
    bounds = bootstrap_intervals(
        truth,
        probability,
        sure["group_id"],
        threshold=0.4,
        options=EvaluationOptions(resamples=100),
    )
    with pytest.warns(UndefinedMetricWarning, match="calibration_slope"):
        found = mean_metrics([sure], options=EvaluationOptions(resamples=100))
    for name in ("roc_auc", "pr_auc_macro", "f1", "balanced_accuracy", "ppv", "npv"):
        assert (found[name]["ci_low"], found[name]["ci_high"]) == pytest.approx(bounds[name])
        assert found[name]["ci_low"] < found[name]["value"] == 1
