"""Metrics equal scikit-learn's, with ties, weights and one class only."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from breastus.evaluation.metrics import (
    METRICS,
    UndefinedMetricWarning,
    compute_metrics,
    confusion_matrix,
)

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
    "brier": lambda t, c, p, w: reference.brier_score_loss(t, p, sample_weight=w),
}


def test_no_metric_is_forgotten():
    assert set(REFERENCES) == set(METRICS)


# Few distinct values, so that ties are common, the threshold itself among them.
scores = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
cases = st.lists(
    st.tuples(st.integers(0, 1), scores, st.integers(0, 3)), min_size=2, max_size=40
).filter(lambda rows: {t for t, _, w in rows if w} == {0, 1})


@settings(max_examples=100, deadline=None)
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
    with pytest.warns(UndefinedMetricWarning, match="precision "):
        found = compute_metrics(np.array([0, 1]), np.array([0.1, 0.2]))
    assert np.isnan(found["precision"])
    assert found["f1"] == 0


@pytest.mark.parametrize(
    ("truth", "prob", "message"),
    [
        ([0, 1], [0.1], "of one length"),
        ([0, 2], [0.1, 0.2], "must hold 0 and 1"),
        ([0, 1], [0.1, float("nan")], "must hold numbers"),
    ],
)
def test_wrong_arrays_are_refused(truth, prob, message):
    with pytest.raises(ValueError, match=message):
        compute_metrics(np.array(truth), np.array(prob))
