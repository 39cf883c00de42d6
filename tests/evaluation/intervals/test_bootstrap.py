"""Intervals hold the truth as often as they say, and know that groups go together."""

from statistics import NormalDist

import numpy as np
import pytest

from breastus.errors import UndefinedMetricWarning
from breastus.evaluation.intervals.bootstrap import expanded_tail, resample_weights
from breastus.evaluation.intervals.metric_intervals import (
    Resampled,
    Sample,
    bootstrap_intervals,
)
from breastus.evaluation.intervals.proportions import wilson_interval
from breastus.evaluation.metrics.metrics import (
    METRICS,
    PREVALENCE,
    compute_metrics,
    predictive_values,
)
from breastus.evaluation.options import EvaluationOptions


def draw(rng, groups, size, *, within=0.0):
    """Scores of `groups` groups of `size` images; `within` is what a group's images share."""
    truth = np.repeat(rng.integers(0, 2, groups), size)
    shared = np.repeat(rng.normal(size=groups), size)
    score = truth + within * shared + np.sqrt(1 - within**2) * rng.normal(size=groups * size)
    return truth, 1 / (1 + np.exp(-score)), np.repeat(np.arange(groups), size)


def test_groups_are_drawn_whole():
    groups = ["b", "a", "b", "c"]
    weights = resample_weights(groups, resamples=50, seed=0)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, [0, 1, 3]].sum(axis=1), 3)


def test_values_lie_within_and_seeds_repeat():
    truth, prob, groups = draw(np.random.default_rng(1), 60, 2)
    first = bootstrap_intervals(
        truth, prob, groups, options=EvaluationOptions(resamples=300, seed=4)
    )
    values = compute_metrics(truth, prob)
    for name in METRICS:
        low, high = first[name]
        assert low <= values[name] <= high
    assert (
        first["roc_auc"]
        == bootstrap_intervals(
            truth, prob, groups, options=EvaluationOptions(resamples=300, seed=4)
        )["roc_auc"]
    )
    wide = bootstrap_intervals(
        truth, prob, groups, options=EvaluationOptions(resamples=300, seed=4, confidence=0.99)
    )
    assert wide["roc_auc"][0] < first["roc_auc"][0]


def test_coverage_is_what_it_says():
    # The ROC-AUC of two unit normals one apart is Phi(1 / sqrt(2)) = 0.7602.
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(150):
        truth, prob, groups = draw(rng, 80, 2, within=0.9)
        low, high = bootstrap_intervals(
            truth, prob, groups, options=EvaluationOptions(resamples=200, seed=trial)
        )["roc_auc"]
        held += low <= 0.7602 <= high
    assert 0.88 <= held / 150 <= 0.99


@pytest.mark.filterwarnings("ignore:No interval")  # of slopes, which nothing here is about
@pytest.mark.parametrize(
    ("count", "shift"),
    [
        (20, 3.0),
        pytest.param(40, 2.5, marks=pytest.mark.slow),
        pytest.param(200, 1.0, marks=pytest.mark.slow),
    ],
)
def test_the_roc_auc_near_one_is_held_as_often_as_it_says(count, shift):
    # Few images and well parted: many a sample is in perfect order.
    rng = np.random.default_rng(0)
    true, held = NormalDist().cdf(shift / 2**0.5), 0
    truth = np.repeat([0, 1], count // 2)
    for _ in range(200):
        prob = 1 / (1 + np.exp(-(shift * truth + rng.normal(size=count))))
        low, high = bootstrap_intervals(
            truth, prob, np.arange(count), options=EvaluationOptions(resamples=20)
        )["roc_auc"]
        held += low <= true <= high
    assert held / 200 >= 0.92


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:No interval")  # of slopes, which nothing here is about
@pytest.mark.parametrize("patients", [30, 100])
def test_every_score_of_calls_is_held_as_often_as_it_says(patients):
    # Two images alike of each patient, half of them lumps, 0.85 of them called right with a
    # probability of 0.8 or 0.2: what each score is in the long run follows by hand.
    right, groups = 0.85, np.repeat(np.arange(patients), 2)
    ppv, npv = predictive_values(right, right, PREVALENCE)
    in_the_long_run = {
        **dict.fromkeys(("accuracy", "sensitivity", "specificity", "precision", "f1"), right),
        "balanced_accuracy": right,
        "pr_auc_lump": right * right + (1 - right) * 0.5,
        "pr_auc_no_lump": right * right + (1 - right) * 0.5,
        "brier": right * 0.2**2 + (1 - right) * 0.8**2,
        "ppv": ppv,
        "npv": npv,
    }
    rng = np.random.default_rng(0)
    held = dict.fromkeys(in_the_long_run, 0)
    for trial in range(150):
        truth = np.repeat([0, 1], patients)
        called = truth == (rng.random(patients) < right)[groups]
        found = bootstrap_intervals(
            truth,
            np.where(called, 0.8, 0.2),
            groups,
            options=EvaluationOptions(resamples=200, seed=trial),
        )
        for name, value in in_the_long_run.items():
            held[name] += found[name][0] <= value <= found[name][1]
    assert all(count / 150 >= 0.88 for count in held.values()), held
    if patients == 100:  # of few the intervals err on the wide side
        assert all(count / 150 <= 0.995 for count in held.values()), held


@pytest.mark.parametrize("wrong", [False, True])
def test_nothing_but_right_or_wrong_calls_are_not_certain(wrong):
    truth = np.repeat([0, 1], 10)
    prob = np.where(truth == 1, 0.9, 0.1)
    prob = 1 - prob if wrong else prob
    found = bootstrap_intervals(
        truth, prob, np.arange(20), options=EvaluationOptions(resamples=100)
    )
    ten, twenty = (wilson_interval(0 if wrong else n, n) for n in (10, 20))
    assert found["accuracy"] == pytest.approx(twenty)
    assert found["f1"] == pytest.approx(
        [2 * end / (1 + end) for end in (twenty if wrong else ten)]  # of lumps and those called so
    )
    assert found["roc_auc"] == pytest.approx(ten)
    reach = (ten[1] - ten[0]) / 2**0.5  # of the mean of two, each of ten
    both = (0.0, reach) if wrong else (1 - reach, 1.0)
    assert found["balanced_accuracy"] == pytest.approx(both)
    if not wrong:
        assert found["pr_auc_lump"] == pytest.approx(ten)
        assert found["pr_auc_macro"] == pytest.approx(both)


def test_calling_everything_lump_has_a_balanced_accuracy_that_is_not_certain():
    truth = np.repeat([0, 1], 10)
    found = bootstrap_intervals(
        truth, np.full(20, 0.9), np.arange(20), options=EvaluationOptions(resamples=100)
    )
    low, high = found["balanced_accuracy"]
    assert low < 0.5 < high
    assert high - low == pytest.approx(1 - wilson_interval(10, 10)[0])


def alike(right, label):
    """Truth and probability of images of one class, the right ones with 0.8 or 0.2."""
    truth = np.full(len(right), label)
    return truth, np.where(right == (label == 1), 0.8, 0.2)


def both_classes(lumps, others):
    (truth, prob), (other_truth, other_prob) = alike(lumps, 1), alike(others, 0)
    return np.append(truth, other_truth), np.append(prob, other_prob)


@pytest.mark.filterwarnings("ignore:There (is|are) no interval")
@pytest.mark.parametrize("others", [1, 4, 300])
def test_the_sensitivity_does_not_depend_on_the_other_class(others):
    lumps = np.arange(60) % 6 > 0
    truth, prob = both_classes(lumps, np.arange(others) % 3 > 0)
    options = EvaluationOptions(resamples=50)
    found = bootstrap_intervals(truth, prob, np.arange(len(truth)), options=options)
    assert found["sensitivity"] == found["recall"] == pytest.approx(wilson_interval(50, 60))
    turned = bootstrap_intervals(1 - truth, 1 - prob, np.arange(len(truth)), options=options)
    assert turned["specificity"] == turned["recall_no_lump"] == pytest.approx(found["sensitivity"])
    # Both classes decide a mean of both.
    assert np.isnan(found["balanced_accuracy"]).all() == (others == 1)


@pytest.mark.filterwarnings("ignore:There (is|are) no interval")
@pytest.mark.parametrize(("share", "size"), [(0.8, 1), (0.93, 1), (0.85, 3)])
def test_the_sensitivity_is_held_as_often_as_it_says(share, size):
    rng = np.random.default_rng(0)
    groups = np.append(np.repeat(np.arange(60), size), np.arange(60, 65))
    held, widths = 0, []
    for _ in range(120):
        shared, own = rng.normal(size=60).repeat(size), rng.normal(size=60 * size)
        score = own if size == 1 else (shared + own) / 2**0.5
        lumps = score < NormalDist().inv_cdf(share)
        truth, prob = both_classes(lumps, np.array([True, True, True, True, False]))
        low, high = bootstrap_intervals(
            truth, prob, groups, options=EvaluationOptions(resamples=2)
        )["sensitivity"]
        held += low <= share <= high
        widths.append(high - low)
    assert held / 120 >= 0.9
    independent = np.diff(wilson_interval(60 * share, 60))
    assert np.mean(widths) < 1.1 * independent


@pytest.mark.parametrize(
    ("confidence", "groups", "tail"),
    # Student's 0.975 quantiles of 1 and 9 degrees of freedom are 12.706 and 2.262, and 1.833 is the
    # 0.95 quantile of 9; times sqrt(2) and sqrt(10 / 9), a normal distribution has this below.
    [(0.95, 2, 0.0), (0.95, 10, 0.00855), (0.9, 10, 0.02666), (0.95, 10**6, 0.025)],
)
def test_few_groups_expand_the_percentiles(confidence, groups, tail):
    assert expanded_tail(confidence, groups) == pytest.approx(tail, abs=2e-5)


def test_the_groups_of_the_rarer_class_expand_what_depends_on_both():
    truth, prob = both_classes(np.arange(40) % 4 > 0, np.arange(10) % 3 > 0)
    options = EvaluationOptions(resamples=4000)
    found = Resampled([Sample(truth, prob, np.arange(50))], options)
    assert found.bootstrap.tail == pytest.approx(0.00855, abs=2e-5)
    for name in ("balanced_accuracy", "f1", "brier"):
        expected = np.quantile(found.drawn[name], [0.00855, 0.99145])
        assert found.intervals()[name] == pytest.approx(expected, abs=1e-3)


def test_images_drawn_one_by_one_would_be_too_sure():
    truth, prob, groups = draw(np.random.default_rng(2), 40, 6, within=0.95)
    by_group = bootstrap_intervals(truth, prob, groups, options=EvaluationOptions(resamples=400))[
        "roc_auc"
    ]
    by_image = bootstrap_intervals(
        truth, prob, np.arange(len(truth)), options=EvaluationOptions(resamples=400)
    )["roc_auc"]
    assert by_group[1] - by_group[0] > 1.5 * (by_image[1] - by_image[0])


def test_a_perfect_share_is_not_certain():
    truth = np.array([1] * 20 + [0] * 20)
    prob = np.where(truth == 1, 0.9, 0.1)
    prob[-1] = 0.8
    groups = np.arange(40) // 2  # ten groups of lumps
    low, high = bootstrap_intervals(truth, prob, groups, options=EvaluationOptions(resamples=200))[
        "sensitivity"
    ]
    assert (low, high) == wilson_interval(10, 10)
    assert 0.7 < low < 0.73


def test_a_perfect_predictive_value_is_not_certain():
    truth = np.array([1] * 20 + [0] * 20)
    prob = np.where(truth == 1, 0.9, 0.1)
    prob[:4] = 0.2  # no false alarm, so every resample has a PPV of 1
    groups = np.arange(40) // 2
    found = bootstrap_intervals(
        truth, prob, groups, options=EvaluationOptions(resamples=200, prevalence=0.05)
    )
    low, _ = predictive_values(found["sensitivity"][0], found["specificity"][0], 0.05)
    assert found["ppv"] == (low, 1.0)
    assert low < 0.2
    assert 0.9 < found["npv"][0] < 0.99  # no share of 1, so it has percentiles of its own


def test_predictive_values_follow_the_prevalence():
    truth, prob, groups = draw(np.random.default_rng(5), 60, 2)
    rare, common = (
        bootstrap_intervals(
            truth, prob, groups, options=EvaluationOptions(resamples=200, prevalence=share)
        )
        for share in (0.01, 0.5)
    )
    assert rare["ppv"][1] < common["ppv"][0]
    assert rare["npv"][0] > common["npv"][1]
    assert rare["precision"] == common["precision"]


def test_the_calibration_error_of_good_probabilities_may_be_none():
    # Its percentiles never reach 0, which is the truth.
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(40):
        prob = rng.random(100)
        truth = (rng.random(100) < prob).astype(int)
        low, high = bootstrap_intervals(
            truth, prob, np.arange(100), options=EvaluationOptions(resamples=100, seed=trial)
        )["ece"]
        assert low <= compute_metrics(truth, prob)["ece"] <= high
        held += low == 0
    assert held >= 25


def test_the_confusion_matrix_has_bounds():
    truth, prob, groups = draw(np.random.default_rng(3), 50, 1)
    low, high = bootstrap_intervals(truth, prob, groups, options=EvaluationOptions(resamples=200))[
        "confusion_matrix"
    ]
    assert low.shape == high.shape == (2, 2)
    assert (low < high).all()


@pytest.mark.parametrize("truth", [[1, 1, 1, 1], [1, 1, 1, 0]])
def test_too_few_groups_have_no_interval(truth):
    prob = np.array([0.9, 0.8, 0.7, 0.1])
    with pytest.warns(UndefinedMetricWarning, match="both classes: the images of no lump"):
        found = bootstrap_intervals(
            np.array(truth), prob, np.arange(4), options=EvaluationOptions(resamples=100)
        )
    assert np.isnan(found["roc_auc"]).all()


def test_a_metric_that_is_often_undefined_has_no_interval():
    truth = np.array([1] * 10 + [0] * 2)
    prob = np.array([0.9] * 12)
    prob[-1] = 0.1  # the only one called no lump
    with pytest.warns(UndefinedMetricWarning, match="no interval for .*precision_no_lump"):
        found = bootstrap_intervals(
            truth, prob, np.arange(12), options=EvaluationOptions(resamples=200)
        )
    assert np.isnan(found["precision_no_lump"]).all()


@pytest.mark.parametrize(
    ("groups", "options", "message"),
    [
        ([1, 2, 3], {}, "the group of each of 4 images"),
        ([1, 2, 3, np.nan], {}, "the group of each image.*Received: a missing group"),
        (["a", "b", None, "c"], {}, "the group of each image.*Received: a missing group"),
        ([1, 2, 3, 4], {"confidence": 95}, "above 0 and below 1. Received: confidence=95"),
        ([1, 2, 3, 4], {"prevalence": 0.0}, "above 0 and below 1. Received: prevalence=0"),
    ],
)
def test_wrong_arguments_are_refused(groups, options, message):
    truth, prob = np.array([0, 1, 0, 1]), np.array([0.1, 0.4, 0.6, 0.9])
    with pytest.raises(ValueError, match=message):
        bootstrap_intervals(truth, prob, groups, options=EvaluationOptions(**options))
