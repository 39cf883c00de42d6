"""Two models are compared on the same images, which are drawn together."""

import json

import numpy as np
import pandas as pd
import pytest

from breastus.errors import DataError, UndefinedMetricWarning
from breastus.evaluation.comparison.mcnemar import mcnemar
from breastus.evaluation.comparison.paired import compare
from breastus.evaluation.intervals.delong import delong_difference
from breastus.evaluation.intervals.metric_intervals import bootstrap_intervals
from breastus.evaluation.intervals.proportions import wilson_interval
from breastus.evaluation.metrics.metrics import METRICS, compute_metrics
from breastus.evaluation.options import EvaluationOptions
from breastus.utils.files import jsonable


def tables(seed=0, groups=60, size=2, better=0.0, own=0.6, lumps=0.6):
    """Predictions of two models that share most of their errors; ours is `better` by a shift."""
    rng = np.random.default_rng(seed)
    count = groups * size
    lump = np.repeat(np.arange(groups) < lumps * groups, size)
    shared = np.repeat(rng.normal(size=groups), size) + 0.5 * rng.normal(size=count)
    found = []
    for shift in (better, 0.0):
        score = (0.9 + shift) * (lump - 0.5) * 2 + shared + own * rng.normal(size=count)
        probability = 1 / (1 + np.exp(-score))
        found.append(
            pd.DataFrame(
                {
                    "image_id": [f"x/{number:03d}" for number in range(count)],
                    "split": "test",
                    "group_id": [f"g{number // size}" for number in range(count)],
                    "finding": np.where(lump, "benign", "normal"),
                    "label": np.where(lump, "lump", "no_lump"),
                    "predicted": np.where(probability >= 0.5, "lump", "no_lump"),
                    "probability": probability,
                }
            )
        )
    return found


def test_the_difference_of_sensitivities_does_not_widen_with_the_rarity_of_the_other_class():
    ours, theirs = tables(groups=80, better=0.4, lumps=0.5, own=1.0)
    few = ours["label"].eq("lump") | (ours["group_id"].rank(method="dense") > 76)
    options = EvaluationOptions(resamples=2000)
    entries = [
        compare(*(table[rows].reset_index(drop=True) for table in (ours, theirs)), options=options)
        for rows in (few, few | True)
    ]
    widths = [
        entry["metrics"]["sensitivity"]["ci_high"] - entry["metrics"]["sensitivity"]["ci_low"]
        for entry in entries
    ]
    assert widths[0] == pytest.approx(widths[1], rel=0.08)


def arrays(ours, theirs):
    truth = (ours["label"] == "lump").to_numpy(int)
    return truth, *(t["probability"].to_numpy() for t in (ours, theirs)), ours["group_id"]


def test_every_metric_has_a_difference_and_an_interval():
    ours, theirs = tables(better=0.5)
    found = compare(
        ours, theirs, other_threshold=0.4, options=EvaluationOptions(resamples=300, prevalence=0.02)
    )
    truth, prob, other, groups = arrays(ours, theirs)
    first = compute_metrics(truth, prob, prevalence=0.02)
    second = compute_metrics(truth, other, threshold=0.4, prevalence=0.02)
    assert set(found["metrics"]) == set(METRICS)
    for name, entry in found["metrics"].items():
        assert (entry["ours"], entry["theirs"]) == pytest.approx((first[name], second[name]))
        assert entry["difference"] == pytest.approx(first[name] - second[name])
        assert entry["ci_low"] <= entry["difference"] <= entry["ci_high"]
    assert found["delong"] == delong_difference(truth, prob, other, groups)
    right = (prob >= 0.5) == truth, (other >= 0.4) == truth
    assert found["mcnemar"]["all"] == mcnemar(*right, groups)
    lump = truth == 1
    assert found["mcnemar"]["lump"] == mcnemar(right[0][lump], right[1][lump], groups[lump])
    part = found["mcnemar"]["no_lump"]
    assert part["n"] == found["n_no_lump"] == 48
    assert (part["only_ours"] - part["only_theirs"]) / 48 == pytest.approx(
        found["metrics"]["specificity"]["difference"]
    )
    assert (found["n"], found["n_groups"], found["n_lump"]) == (120, 60, 72)
    json.dumps(jsonable(found), allow_nan=False)


def test_a_difference_is_surer_than_the_models_and_turns_round():
    ours, theirs = tables(own=0.3)
    both = compare(ours, theirs, options=EvaluationOptions(resamples=400))["metrics"]
    found = both["roc_auc"]
    truth, prob, _, groups = arrays(ours, theirs)
    alone = bootstrap_intervals(truth, prob, groups, options=EvaluationOptions(resamples=400))[
        "roc_auc"
    ]
    assert found["ci_high"] - found["ci_low"] < alone[1] - alone[0]
    back = compare(theirs, ours, options=EvaluationOptions(resamples=400))["metrics"]
    for name in ("roc_auc", "ece"):
        entry = both[name]
        assert back[name]["ci_low"] == pytest.approx(-entry["ci_high"])
        assert back[name]["ci_high"] == pytest.approx(-entry["ci_low"])


def test_the_order_of_a_table_is_nothing():
    ours, theirs = tables()
    mixed = theirs.sample(frac=1, random_state=0)
    assert compare(ours, theirs, options=EvaluationOptions(resamples=50)) == compare(
        ours, mixed, options=EvaluationOptions(resamples=50)
    )
    assert compare(mixed, ours, options=EvaluationOptions(resamples=50)) == compare(
        theirs, ours, options=EvaluationOptions(resamples=50)
    )


@pytest.mark.slow
def test_coverage_is_what_it_says():
    # Both models are drawn from one distribution, so each true difference is 0.
    names = ("balanced_accuracy", "roc_auc", "brier", "ece", "calibration_intercept")
    held = dict.fromkeys(names, 0)
    for seed in range(50):
        found = compare(
            *tables(seed, own=1.0), options=EvaluationOptions(resamples=100, seed=seed)
        )["metrics"]
        for name in names:
            held[name] += found[name]["ci_low"] <= 0 <= found[name]["ci_high"]
    assert all(count >= 0.86 * 50 for count in held.values()), held


def test_equal_calls_are_not_certain_to_be_equal():
    ours, theirs = tables()
    theirs["probability"] = np.where(ours["probability"] >= 0.5, 0.9, 0.1)
    with pytest.warns(UndefinedMetricWarning, match="have no interval: balanced_accuracy, "):
        found = compare(ours, theirs, options=EvaluationOptions(resamples=100))
    for name, groups in (("accuracy", 60), ("sensitivity", 36), ("specificity", 24)):
        reach = wilson_interval(0, groups)[1]
        entry = found["metrics"][name]
        assert (entry["difference"], entry["ci_low"], entry["ci_high"]) == (0, -reach, reach)
    assert np.isnan(found["metrics"]["f1"]["ci_low"])
    assert found["metrics"]["roc_auc"]["ci_low"] < found["metrics"]["roc_auc"]["ci_high"]
    assert found["mcnemar"]["all"]["p_value"] == 1


def test_a_model_beside_itself():
    ours, _ = tables()
    with pytest.warns(UndefinedMetricWarning) as warned:
        found = compare(ours, ours, options=EvaluationOptions(resamples=50))
    assert [str(w.message)[:30] for w in warned] == [
        "Some differences have no inter",
        "The difference of ROC-AUCs, 0,",
    ]
    assert all(w.filename == __file__ for w in warned)
    assert all(entry["difference"] == 0 for entry in found["metrics"].values())
    assert np.isnan(found["delong"]["ci_low"])


def test_one_class_is_undefined():
    ours, theirs = tables(lumps=1.0)
    with pytest.warns(UndefinedMetricWarning) as warned:
        found = compare(ours, theirs, options=EvaluationOptions(resamples=50))
    messages = " ".join(str(w.message) for w in warned)
    assert "the images of no lump come from fewer than two groups" in messages
    assert "no p-value without images" in messages
    assert np.isnan(found["metrics"]["roc_auc"]["difference"])
    assert np.isfinite(found["metrics"]["sensitivity"]["difference"])
    assert np.isnan(found["metrics"]["sensitivity"]["ci_low"])
    assert np.isnan(found["mcnemar"]["no_lump"]["p_value"])
    assert np.isfinite(found["mcnemar"]["lump"]["p_value"])
    assert np.isnan(found["delong"]["difference"])


def with_value(table, row, column, value):
    table = table.astype({column: object})
    table.loc[row, column] = value
    return table


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.iloc[2:], "theirs without 2 images: x/000, x/001$"),
        (lambda t: t.iloc[5:], "theirs without 5 images: x/000, x/001, x/002, ...$"),
        (lambda t: with_value(t, 7, "image_id", "new"), "theirs without 1 images: x/007"),
        (lambda t: pd.concat([t, t.head(1).assign(image_id="y")]), "ours without 1 images: y"),
        (lambda t: pd.concat([t, t.head(1)]), "theirs, .*image_id must be unique"),
        (
            lambda t: with_value(t, 0, "label", "no_lump").assign(finding="unknown"),
            "the same label. Received: x/000 with 'lump' and 'no_lump'",
        ),
        (
            lambda t: with_value(t, 3, "group_id", "g9"),
            "the same group_id. Received: x/003 with 'g1' and 'g9'",
        ),
        (lambda t: with_value(t, 3, "group_id", None), "theirs, row 5: group_id must not be"),
        (
            lambda t: with_value(t, 0, "probability", np.nan),
            "theirs, .*probability must be .*x/000",
        ),
        (lambda t: t.drop(columns="group_id"), "theirs lacks the column group_id"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, message):
    ours, theirs = tables()
    with pytest.raises(DataError, match=message):
        compare(ours, change(theirs), options=EvaluationOptions(resamples=20))


@pytest.mark.parametrize("option", [{"confidence": 95}, {"prevalence": 0}, {"resamples": 0}])
def test_wrong_options_are_refused(option):
    name, value = next(iter(option.items()))
    with pytest.raises(ValueError, match=rf"{name}.* Received: .*{value}"):
        compare(*tables(), options=EvaluationOptions(**option))
