"""Metrics equal scikit-learn's, with ties, weights and one class only."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from breastus.errors import ConfigError, UndefinedMetricWarning
from breastus.evaluation.calibration.reliability import reliability
from breastus.evaluation.intervals.metric_intervals import bootstrap_intervals
from breastus.evaluation.metrics.metrics import (
    METRICS,
    PREVALENCE,
    compute_metrics,
    confusion_matrix,
    register_metric,
)
from breastus.evaluation.options import EvaluationOptions
from breastus.evaluation.published_baseline import published_baseline


def at_prevalence(label):
    """Precision of images that are weighted until the prevalence is as wanted."""

    def compute(truth, called, prob, weights):
        weights = np.ones(len(truth)) if weights is None else weights
        share = np.average(truth, weights=weights)
        wanted = np.where(truth == 1, PREVALENCE / share, (1 - PREVALENCE) / (1 - share))
        return reference.precision_score(
            truth, called, pos_label=label, sample_weight=weights * wanted, zero_division=np.nan
        )

    return compute


def calibration_error(truth, called, prob, weights):
    """The mean gap over the bins of images that are repeated as often as they count."""
    times = np.ones(len(truth), int) if weights is None else weights
    bins = reliability(np.repeat(truth, times), np.repeat(prob, times))
    gaps = [abs(b["lumps"] - b["count"] * b["mean_probability"]) for b in bins]
    return sum(gaps) / times.sum()


REFERENCES = {
    "accuracy": lambda t, c, p, w: reference.accuracy_score(t, c, sample_weight=w),
    "balanced_accuracy": lambda t, c, p, w: reference.balanced_accuracy_score(
        t, c, sample_weight=w
    ),
    "sensitivity": lambda t, c, p, w: reference.recall_score(t, c, sample_weight=w),
    "specificity": lambda t, c, p, w: reference.recall_score(t, c, pos_label=0, sample_weight=w),
    "precision": lambda t, c, p, w: reference.precision_score(
        t, c, sample_weight=w, zero_division=np.nan
    ),
    "recall": lambda t, c, p, w: reference.recall_score(t, c, sample_weight=w),
    "f1": lambda t, c, p, w: reference.f1_score(t, c, sample_weight=w),
    "precision_no_lump": lambda t, c, p, w: reference.precision_score(
        t, c, pos_label=0, sample_weight=w, zero_division=np.nan
    ),
    "recall_no_lump": lambda t, c, p, w: reference.recall_score(t, c, pos_label=0, sample_weight=w),
    "f1_no_lump": lambda t, c, p, w: reference.f1_score(t, c, pos_label=0, sample_weight=w),
    "roc_auc": lambda t, c, p, w: reference.roc_auc_score(t, p, sample_weight=w),
    "pr_auc_lump": lambda t, c, p, w: reference.average_precision_score(t, p, sample_weight=w),
    "pr_auc_no_lump": lambda t, c, p, w: reference.average_precision_score(
        1 - t, 1 - p, sample_weight=w
    ),
    "pr_auc_macro": lambda t, c, p, w: np.mean(
        [
            reference.average_precision_score(truth, score, sample_weight=w)
            for truth, score in ((t, p), (1 - t, 1 - p))
        ]
    ),
    "brier": lambda t, c, p, w: reference.brier_score_loss(t, p, sample_weight=w),
    "ece": calibration_error,
    "ppv": at_prevalence(1),
    "npv": at_prevalence(0),
}
ELSEWHERE = {"calibration_slope", "calibration_intercept"}  # in test_recalibration.py


def test_no_metric_is_forgotten():
    assert set(REFERENCES) | ELSEWHERE == set(METRICS)


# Few distinct values, so that ties are common, the threshold itself among them.
scores = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
cases = st.lists(
    st.tuples(st.integers(0, 1), scores, st.integers(0, 3)), min_size=2, max_size=40
).filter(lambda rows: {t for t, _, w in rows if w} == {0, 1})


@settings(max_examples=50, deadline=None)
@given(cases)
def test_equal_to_scikit_learn(rows):
    truth, prob, weights = (np.array(column) for column in zip(*rows, strict=True))
    plain = compute_metrics(truth, prob, weights=np.ones(len(prob)))  # as none, without warnings
    weighted = compute_metrics(truth, prob, weights=weights)
    called = (prob >= 0.5).astype(int)
    for name, compute in REFERENCES.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            np.testing.assert_allclose(
                plain[name], compute(truth, called, prob, None), atol=1e-9, err_msg=name
            )
            np.testing.assert_allclose(
                weighted[name], compute(truth, called, prob, weights), atol=1e-9, err_msg=name
            )


def test_a_worked_example():
    truth = np.array([1, 1, 1, 0, 0])
    prob = np.array([0.9, 0.5, 0.2, 0.5, 0.1])
    assert confusion_matrix(truth, prob).tolist() == [[1, 1], [1, 2]]
    found = compute_metrics(truth, prob)
    assert found["sensitivity"] == pytest.approx(2 / 3)
    assert found["specificity"] == pytest.approx(1 / 2)
    # Of six pairs the lump scores higher in four and ties in one.
    assert found["roc_auc"] == pytest.approx(4.5 / 6)


def test_many_weights_at_once_equal_one_by_one():
    rng = np.random.default_rng(0)
    truth, prob = rng.integers(0, 2, 30), rng.random(30).round(1)
    weights = rng.integers(0, 3, (5, 30))
    together = compute_metrics(truth, prob, weights=weights)
    for row in range(5):
        alone = compute_metrics(truth, prob, weights=weights[row])
        for name in METRICS:
            np.testing.assert_allclose(together[name][row], alone[name])


@pytest.mark.parametrize("value", [0, 1])
def test_one_class_only_is_nan_with_a_warning(value):
    with pytest.warns(UndefinedMetricWarning, match="roc_auc"):
        found = compute_metrics(np.full(3, value), np.array([0.2, 0.6, 0.9]))
    assert np.isnan(found["roc_auc"])
    assert np.isnan(found["balanced_accuracy"])
    assert np.isfinite(found["accuracy"])


def test_nothing_called_lump_leaves_precision_undefined():
    with pytest.warns(UndefinedMetricWarning, match=r"precision, .*ppv "):
        found = compute_metrics(np.array([0, 1]), np.array([0.1, 0.2]))
    assert np.isnan(found["precision"])
    assert np.isnan(found["ppv"])
    assert found["f1"] == 0


def test_predictive_values_by_hand():
    # 3 of 4 lumps found, 4 of 5 others cleared, one woman in five with a lump.
    truth = np.array([1] * 4 + [0] * 5)
    prob = np.array([0.9, 0.8, 0.7, 0.1, 0.6, 0.1, 0.2, 0.3, 0.4])
    found = compute_metrics(truth, prob, prevalence=0.2)
    assert found["ppv"] == pytest.approx(0.15 / (0.15 + 0.16))
    assert found["npv"] == pytest.approx(0.64 / (0.64 + 0.05))
    assert found["precision"] == pytest.approx(3 / 4)


@settings(max_examples=50, deadline=None)
@given(cases, st.randoms(use_true_random=False))
def test_the_order_of_images_is_nothing(rows, random):
    mixed = random.sample(rows, len(rows))
    found = []
    for some in (rows, mixed):
        truth, prob, weights = (np.array(column) for column in zip(*some, strict=True))
        found.append(compute_metrics(truth, prob, weights=weights))
    for name in METRICS:
        np.testing.assert_allclose(found[0][name], found[1][name], atol=1e-8, err_msg=name)


@settings(max_examples=50, deadline=None)
@given(cases)
def test_a_weight_is_a_number_of_copies(rows):
    truth, prob, weights = (np.array(column) for column in zip(*rows, strict=True))
    weighted = compute_metrics(truth, prob, weights=weights)
    truth, prob = np.repeat(truth, weights), np.repeat(prob, weights)
    copied = compute_metrics(truth, prob, weights=np.ones(len(truth)))
    for name in METRICS:
        np.testing.assert_allclose(weighted[name], copied[name], atol=1e-8, err_msg=name)


def test_weights_may_have_any_shape():
    rng = np.random.default_rng(1)
    truth, prob = rng.integers(0, 2, 20), rng.random(20)
    weights = rng.integers(0, 3, (2, 3, 20))
    found = compute_metrics(truth, prob, weights=weights)
    flat = compute_metrics(truth, prob, weights=weights.reshape(6, 20))
    for name in METRICS:
        assert found[name].shape == (2, 3)
        np.testing.assert_allclose(found[name].ravel(), flat[name])


@pytest.mark.parametrize(
    ("truth", "prob", "message"),
    [
        ([0, 1], [0.1], "same length"),
        ([0, 2], [0.1, 0.2], "must hold 0 and 1"),
        ([0, 1], [0.1, float("nan")], "must hold .*Received: nan"),
        ([0, 1], [0.1, float("inf")], "must hold .*Received: inf"),
        ([0, 1], [0.1, 1.5], "from 0 to 1. Received: 1.5"),
        ([0, 1], [-0.1, 0.5], "from 0 to 1. Received: -0.1"),
    ],
)
def test_wrong_arrays_are_refused(truth, prob, message):
    with pytest.raises(ValueError, match=message):
        compute_metrics(np.array(truth), np.array(prob))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": [1.0]}, "one number for each of 2 images"),
        ({"weights": [1, -1]}, "must be 0 or more. Received: -1"),
        ({"weights": [1, float("nan")]}, "must be 0 or more. Received: nan"),
        ({"threshold": float("nan")}, "from 0 to 1. Received: threshold=nan"),
        ({"threshold": float("inf")}, "from 0 to 1. Received: threshold=inf"),
        ({"threshold": 50}, "from 0 to 1. Received: threshold=50"),
        ({"threshold": -0.1}, "from 0 to 1. Received: threshold=-0.1"),
        ({"threshold": [0.5, float("nan")]}, "from 0 to 1. Received: threshold=nan"),
        ({"threshold": [0.5, 1.5]}, "from 0 to 1. Received: threshold=1.5"),
        ({"threshold": [0.5]}, r"one for each of 2 images. Received: shape \(1,\)"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        compute_metrics(np.array([0, 1]), np.array([0.1, 0.9]), **options)
    if "threshold" in options:
        with pytest.raises(ValueError, match=message):
            confusion_matrix(np.array([0, 1]), np.array([0.1, 0.9]), **options)


def test_thresholds_may_be_at_the_ends_or_of_each_image():
    truth, prob = np.array([0, 1, 1]), np.array([0.0, 0.6, 1.0])
    assert confusion_matrix(truth, prob, threshold=0).tolist() == [[0, 1], [0, 2]]
    assert confusion_matrix(truth, prob, threshold=1).tolist() == [[1, 0], [1, 1]]
    assert confusion_matrix(truth, prob, threshold=[0, 0.7, 0.7]).tolist() == [[0, 1], [1, 1]]


def test_no_images_are_undefined():
    with pytest.warns(UndefinedMetricWarning):
        found = compute_metrics(np.array([], int), np.array([]))
    assert np.isnan(list(found.values())).all()


def test_a_registered_metric_is_scored_with_its_interval():
    @register_metric("log_loss", title="Log loss", meaning="0 or more, lower is better")
    def log_loss(x):
        loss = -np.log(np.where(x.y_true == 1, x.y_prob, 1 - x.y_prob))
        return x.weights @ loss / x.weights.sum(-1)

    try:
        rng = np.random.default_rng(0)
        truth, prob = np.arange(40) % 2, rng.uniform(0.05, 0.95, 40)
        value = compute_metrics(truth, prob)["log_loss"]
        assert value == pytest.approx(reference.log_loss(truth, prob))
        low, high = bootstrap_intervals(
            truth, prob, np.arange(40), options=EvaluationOptions(resamples=50)
        )["log_loss"]
        assert low < value < high
        assert published_baseline("cnn", "plain").get("log_loss") is None  # needs scores
        with pytest.raises(ConfigError, match="name='log_loss'"):
            register_metric("log_loss", title="", meaning="")
    finally:
        del METRICS["log_loss"]
