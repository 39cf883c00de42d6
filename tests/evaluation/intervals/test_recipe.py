"""Recipes: one model's own score, no more evidence than its scenes hold, seeds that vary."""

import re

import numpy as np
import pandas as pd
import pytest

from breastus.errors import DataError, UndefinedMetricWarning
from breastus.evaluation.intervals.metric_intervals import bootstrap_intervals
from breastus.evaluation.intervals.proportions import wilson_interval
from breastus.evaluation.intervals.recipe import (
    read_recipe,
    recipe_difference,
    recipe_metrics,
    seed_and_group_variance,
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
    found = recipe_metrics([one], options=EvaluationOptions(resamples=300, seed=3))
    for name in METRICS:
        value = "uncorrected" if name == "ece" else "value"
        assert found[name][value] == pytest.approx(values[name])
        ends = found[name]["ci_low"], found[name]["ci_high"]
        assert ends == pytest.approx(bounds[name], nan_ok=True)
    assert found["n_groups"] == one["group_id"].nunique()
    assert found["interval_of"] == "one trained model"


def test_models_that_are_alike_are_as_uncertain_as_one():
    """Without variation between seeds the scenes decide, by Student's quantile of their number."""
    once, thrice = (
        recipe_metrics([table()] * times, options=EvaluationOptions(resamples=200))
        for times in (1, 3)
    )
    for name in METRICS:
        assert thrice[name]["value"] == pytest.approx(once[name]["value"], nan_ok=True)
        width, widest = (one[name]["ci_high"] - one[name]["ci_low"] for one in (once, thrice))
        assert width * 0.75 < widest < width * 1.4, name
    assert thrice["sensitivity"]["seed_sd"] == 0
    assert len(thrice["per_table"]) == 3
    assert thrice["interval_of"] == "recipe"


def test_means_are_of_the_tables_each_called_by_its_own_threshold():
    tables = [table(0, threshold=0.2), table(1, threshold=0.9)]
    with pytest.warns(UndefinedMetricWarning, match="no interval for precision"):
        found = recipe_metrics(tables, options=EvaluationOptions(resamples=100))
    shares = [
        ((t["probability"] >= t["threshold"]) == (t["label"] == "lump")).mean() for t in tables
    ]
    assert found["accuracy"]["value"] == pytest.approx(np.mean(shares))
    assert np.sum(found["confusion_matrix"]) == pytest.approx(80)


@pytest.fixture
def files(tmp_path):
    """A function that writes tables as CSV files, and returns their paths."""

    def write(*tables):
        paths = [tmp_path / f"seed {number}.csv" for number in range(len(tables))]
        for path, one in zip(paths, tables, strict=True):
            called = np.where(one["probability"] >= 0.4, "lump", "no_lump")
            one.assign(split="test", finding="", predicted=called).to_csv(path, index=False)
        return paths

    return write


def test_the_files_of_a_recipe_are_read(files):
    tables = [table(0), table(1)]
    found = recipe_metrics(read_recipe(files(*tables)), options=EvaluationOptions(resamples=50))
    expected = recipe_metrics(tables, options=EvaluationOptions(resamples=50))
    assert found["roc_auc"] == pytest.approx(expected["roc_auc"])


def test_no_threshold_is_assumed(files):
    without = table(1).drop(columns="threshold")
    with pytest.raises(DataError, match=r"seed 1\.csv must have a threshold in each row.*Received"):
        read_recipe(files(table(0), without))
    with pytest.raises(DataError, match=r"Table 2 of 2 must have a threshold"):
        recipe_metrics([table(0), without])
    with pytest.raises(DataError, match=r"Table 1 of 1 must have a threshold"):
        recipe_difference([table(0)], [table(1).assign(threshold=np.nan)])


def test_a_copy_is_no_other_seed(files):
    first, second, copy = files(table(0), table(1), table(0).iloc[::-1])
    names = re.escape(f"{first} and {copy} with the same predictions")
    with pytest.raises(DataError, match=names):
        read_recipe([first, second, copy])
    with pytest.raises(DataError, match=re.escape(f"{first} and {first} with")):
        read_recipe([first, first])


def test_folds_may_differ_in_threshold_within_a_table():
    mixed = table()
    mixed["threshold"] = np.where(np.arange(80) < 40, 0.2, 0.9)
    called = mixed["probability"] >= mixed["threshold"]
    lump = mixed["label"] == "lump"
    found = recipe_metrics([mixed], options=EvaluationOptions(resamples=100))
    assert found["sensitivity"]["value"] == pytest.approx(called[lump].mean())


def test_a_share_that_never_varies_is_not_certain():
    sure = table().assign(probability=lambda t: (t["label"] == "lump") * 0.8 + 0.1)
    with pytest.warns(UndefinedMetricWarning, match="calibration_slope"):
        found = recipe_metrics([sure, sure], options=EvaluationOptions(resamples=100))[
            "sensitivity"
        ]
    assert found["value"] == found["ci_high"] == 1
    assert 0.8 < found["ci_low"] < 1


def test_a_paired_difference_leaves_out_what_both_share():
    ours = [table(seed, threshold=0.2 + 0.1 * seed) for seed in range(6)]
    theirs = [one.assign(probability=one["probability"] ** 1.2) for one in ours]
    options = EvaluationOptions(resamples=50)
    paired = recipe_difference(ours, theirs, options=options)
    apart = recipe_difference(ours, theirs[:5], options=options)
    assert (paired["paired"], apart["paired"]) == (True, False)
    assert (paired["reason"], paired["n_seeds"]) == ("", [6, 6])
    parts = [recipe_metrics(side, options=options) for side in (ours, theirs)]
    for name in ("sensitivity", "accuracy"):
        found = paired[name]
        assert found["value"] == pytest.approx(parts[0][name]["value"] - parts[1][name]["value"])
        assert found["ci_low"] <= found["value"] <= found["ci_high"]
        other = apart[name]
        assert found["ci_high"] - found["ci_low"] < 0.5 * (other["ci_high"] - other["ci_low"])


def test_fewer_than_five_seeds_claim_no_difference():
    few = recipe_difference([table(0)] * 4, [table(1)] * 4, options=EvaluationOptions(resamples=50))
    assert "fewer than 5 seeds (4)" in few["reason"]
    assert all(np.isnan(few[name]["ci_low"]) for name in METRICS)
    assert few["roc_auc"]["value"] != 0


@pytest.mark.parametrize("change", [{"group_id": "g"}, {"label": "lump"}])
def test_recipes_that_contradict_each_other_are_refused(change):
    with pytest.raises(DataError, match=r"the same label and group\. Received: x/"):
        recipe_difference([table()] * 5, [table().assign(**change)] * 5)
    with pytest.raises(DataError, match="at least one model"):
        recipe_metrics([])


def test_no_difference_at_all_is_not_certain():
    same = recipe_difference([table()] * 5, [table()] * 5, options=EvaluationOptions(resamples=100))
    assert all(same[name]["value"] == 0 for name in METRICS)
    groups = table().query("label == 'lump'")["group_id"].nunique()
    reach = wilson_interval(0, groups)[1]
    assert same["sensitivity"]["ci_low"] == pytest.approx(-reach, rel=0.05)
    assert same["sensitivity"]["ci_high"] == pytest.approx(reach, rel=0.05)
    assert np.isnan(same["roc_auc"]["ci_low"])


def test_the_variance_is_by_hand():
    # Two seeds with scores 0.6 and 0.8: S^2 = 0.02. In three resamples both move by -0.1, 0, 0.1
    # together: W = C = 0.01, corrected by 2 / 1 for two groups to 0.02, so W - C = 0 and the mean
    # varies by 0.02 over images and by 0.02 / 2 over seeds.
    values, moves = np.array([0.6, 0.8]), np.array([-0.1, 0.0, 0.1])
    found = seed_and_group_variance([values], [values + moves[:, None]], groups=2)
    assert found.variance == pytest.approx(0.02 + 0.01)
    # Satterthwaite: 0.03^2 / (0.01^2 / 1 + 0.02^2 / 1).
    assert found.degrees == pytest.approx(0.03**2 / (0.01**2 + 0.02**2))
    # Four groups and three seeds with S^2 = 0.01: W = C = 0.01 * 4 / 3, W - C = 0.
    three, groups = np.array([0.6, 0.7, 0.8]), 0.01 * 4 / 3
    found = seed_and_group_variance([three], [three + moves[:, None]], groups=4)
    assert found.variance == pytest.approx(groups + 0.01 / 3)
    degrees = found.variance**2 / ((0.01 / 3) ** 2 / 2 + groups**2 / 3)
    assert found.degrees == pytest.approx(degrees)
    # Seeds that move apart: W = 0.02, C = -0.02. The images explain the spread between seeds.
    apart = seed_and_group_variance(
        [values], [values + moves[:, None] * np.array([1, -1])], groups=2
    )
    assert apart.variance == 0


def test_seeds_that_differ_more_make_the_interval_wider():
    def width(spread):
        tables = [table(seed).assign(threshold=0.5 + spread * (seed - 2)) for seed in range(5)]
        found = recipe_metrics(tables, options=EvaluationOptions(resamples=100))["sensitivity"]
        return found["ci_high"] - found["ci_low"], found["seed_sd"]

    calm, varied = width(0.01), width(0.15)
    assert varied[1] > 2 * calm[1]
    assert varied[0] > 1.5 * calm[0]


def test_what_a_table_leaves_undefined_is_said():
    one_class = table().query("label == 'lump'")
    with pytest.warns(UndefinedMetricWarning, match="mean over 2 tables is NaN"):
        found = recipe_metrics([table(), one_class], options=EvaluationOptions(resamples=50))
    assert np.isnan(found["roc_auc"]["value"])


def test_one_group_of_a_class_gives_no_interval_that_depends_on_it():
    alone = table().assign(group_id=lambda t: np.where(t["label"] == "lump", t["group_id"], "one"))
    with pytest.warns(UndefinedMetricWarning, match="no lump come from fewer than two groups"):
        found = recipe_metrics([alone])
    assert found["roc_auc"]["value"] == found["roc_auc"]["value"]
    with_interval = {name for name in METRICS if not np.isnan(found[name]["ci_low"])}
    assert with_interval == {"accuracy", "sensitivity", "recall"}
    difference = recipe_difference([alone] * 5, [alone] * 5)
    assert "no lump come from fewer than two groups" in difference["reason"]
    assert np.isnan(difference["sensitivity"]["ci_low"])


def test_the_same_scenes_again_are_less_evidence_than_other_scenes():
    # Five seeds that agree, on the same scenes, and five on scenes of their own.
    rng, base = np.random.default_rng(0), table(0)
    noise = [0.05 * rng.normal(size=len(base)) for _ in range(5)]
    tables = [base.assign(probability=(base["probability"] + one).clip(0, 1)) for one in noise]
    others = [
        table(seed).assign(
            image_id=lambda t, seed=seed: f"{seed}/" + t["image_id"],
            group_id=lambda t, seed=seed: f"{seed}/" + t["group_id"],
        )
        for seed in range(5)
    ]
    options = EvaluationOptions(resamples=100)
    repeats, apart = (recipe_metrics(each, options=options) for each in (tables, others))
    for name in ("accuracy", "sensitivity", "roc_auc"):
        wide, narrow = (one[name]["ci_high"] - one[name]["ci_low"] for one in (repeats, apart))
        assert narrow < 0.8 * wide, name


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
        found = recipe_metrics([sure], options=EvaluationOptions(resamples=100))
    for name in ("roc_auc", "pr_auc_macro", "f1", "balanced_accuracy", "ppv", "npv"):
        assert (found[name]["ci_low"], found[name]["ci_high"]) == pytest.approx(bounds[name])
        assert found[name]["ci_low"] < found[name]["value"] == 1
