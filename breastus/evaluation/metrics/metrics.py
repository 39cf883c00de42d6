"""Metrics of a two-class prediction; lump is the positive class.

`y_true` holds 1 for lump and 0 for no lump, `y_prob` the probability of lump, 0 to 1. An image is
called lump when `probability >= threshold`. Each metric takes weights, so that a bootstrap resample
is a vector of counts. What is undefined (no image of a class, none called lump) is NaN.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from breastus.evaluation.calibration.reliability import expected_calibration_error
from breastus.evaluation.calibration.slope import calibration_intercept, calibration_slope
from breastus.evaluation.metrics.ranking import average_precision, roc_auc
from breastus.evaluation.validation import (
    check_probabilities,
    check_share,
    checked,
    ratio,
    warn_undefined,
)

PREVALENCE = 0.1  # of lumps among the women examined, for PPV and NPV


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        title: as in a table.
        meaning: formula or reading in one line; higher is better unless it says otherwise.
        compute: (counts, y_true, y_prob, weights, prevalence) to a value, where counts is
            [..., 2, 2].
    """

    title: str
    meaning: str
    compute: Callable[..., np.ndarray]


def confusion_matrix(
    y_true: np.ndarray, y_prob: np.ndarray, *, threshold: float = 0.5, weights=None
) -> np.ndarray:
    """Count images by what they are and what they were called.

    Args:
        y_true: int [n].
        y_prob: float [n].
        threshold: called lump when `y_prob >= threshold`, 0 to 1; or one for each image, [n].
        weights: [..., n], how often each image counts; None counts each once.

    Returns:
        [..., 2, 2]: rows actual (no lump, lump), columns called (no lump, lump).

    Raises:
        ValueError: when the arrays do not fit each other, or a threshold is not from 0 to 1.
    """
    y_true, y_prob, weights = checked(y_true, y_prob, weights)
    threshold = _thresholds(threshold, len(y_prob))
    cell = 2 * (y_true == 1) + (y_prob >= threshold)
    counts = weights @ (cell[:, None] == np.arange(4)).astype(float)
    return counts.reshape(*weights.shape[:-1], 2, 2)


def _thresholds(threshold, count: int) -> np.ndarray:
    """Return one threshold, [], or that of each image, [n]."""
    values = np.asarray(threshold, float)
    if values.shape not in ((), (count,)):
        raise ValueError(
            f"threshold must be one number, or one for each of {count} images. "
            f"Received: shape {values.shape}"
        )
    # Against NaN nothing is called lump, which would pass for a sensitivity of 0.
    if (wrong := ~((values >= 0) & (values <= 1))).any():
        raise ValueError(f"threshold must be from 0 to 1. Received: threshold={values[wrong][0]}")
    return values


def _share(row: int, column: int, axis: int) -> Callable:
    return lambda c, *_: ratio(c[..., row, column], c.sum(axis)[..., column if axis == -2 else row])


_SENSITIVITY, _SPECIFICITY = _share(1, 1, -1), _share(0, 0, -1)
_PRECISION, _PRECISION_NO_LUMP = _share(1, 1, -2), _share(0, 0, -2)


def predictive_values(sensitivity, specificity, prevalence: float) -> tuple:
    """Return PPV and NPV by Bayes' rule: what a call means where `prevalence` of all are lumps.

    Each is 0 to 1, higher is better; NaN where nothing is called so.
    """
    found, missed = sensitivity * prevalence, (1 - sensitivity) * prevalence
    cleared, alarms = specificity * (1 - prevalence), (1 - specificity) * (1 - prevalence)
    return ratio(found, found + alarms), ratio(cleared, cleared + missed)


def _predictive_value(which: int) -> Callable:
    return lambda c, t, p, w, prevalence: predictive_values(
        _SENSITIVITY(c), _SPECIFICITY(c), prevalence
    )[which]


METRICS: dict[str, Metric] = {
    "accuracy": Metric(
        "Accuracy",
        "share of the images that are called right; flattered when one class is rare",
        lambda c, *_: ratio(c[..., 0, 0] + c[..., 1, 1], c.sum((-1, -2))),
    ),
    "balanced_accuracy": Metric(
        "Balanced accuracy",
        "mean of sensitivity and specificity; 0.5 is guessing",
        lambda c, *_: (_SENSITIVITY(c) + _SPECIFICITY(c)) / 2,
    ),
    "sensitivity": Metric("Sensitivity", "share of the lumps that are called lump", _SENSITIVITY),
    "specificity": Metric(
        "Specificity", "share of the images without a lump that are called so", _SPECIFICITY
    ),
    "precision": Metric(
        "Precision (lump)",
        "share of the images called lump that are; depends on prevalence",
        _PRECISION,
    ),
    "recall": Metric("Recall (lump)", "another name for sensitivity", _SENSITIVITY),
    "f1": Metric(
        "F1 (lump)",
        "harmonic mean of precision and recall of lump",
        lambda c, *_: ratio(2 * c[..., 1, 1], c[..., 1, :].sum(-1) + c[..., :, 1].sum(-1)),
    ),
    "precision_no_lump": Metric(
        "Precision (no lump)",
        "share of the images called no lump that are; depends on prevalence",
        _PRECISION_NO_LUMP,
    ),
    "recall_no_lump": Metric("Recall (no lump)", "another name for specificity", _SPECIFICITY),
    "f1_no_lump": Metric(
        "F1 (no lump)",
        "harmonic mean of precision and recall of no lump",
        lambda c, *_: ratio(2 * c[..., 0, 0], c[..., 0, :].sum(-1) + c[..., :, 0].sum(-1)),
    ),
    "roc_auc": Metric(
        "ROC-AUC",
        "chance that a lump scores above an image without one; 0.5 is guessing",
        lambda c, t, p, w, _: roc_auc(t, p, w),
    ),
    "pr_auc_lump": Metric(
        "PR-AUC (lump)",
        "average precision of lump; guessing gives the share of lumps",
        lambda c, t, p, w, _: average_precision(t, p, w),
    ),
    "pr_auc_no_lump": Metric(
        "PR-AUC (no lump)",
        "average precision of no lump; guessing gives its share",
        lambda c, t, p, w, _: average_precision(1 - t, -p, w),
    ),
    "pr_auc_macro": Metric(
        "PR-AUC (mean of both)",
        "mean of the average precisions of lump and of no lump; guessing gives 0.5",
        lambda c, t, p, w, _: (average_precision(t, p, w) + average_precision(1 - t, -p, w)) / 2,
    ),
    "brier": Metric(
        "Brier score",
        "mean squared error of the probability, 0 to 1, lower is better",
        lambda c, t, p, w, _: ratio(w @ (p - t) ** 2, w.sum(-1)),
    ),
    "ece": Metric(
        "Calibration error (ECE)",
        "mean gap between the probability and the share that are lumps, over five bins of equal "
        "count; 0 to 1, lower is better; with few images biased upwards",
        lambda c, t, p, w, _: expected_calibration_error(t, p, weights=w),
    ),
    "calibration_slope": Metric(
        "Calibration slope",
        "slope of the truth on the logit of the probability; 1 is ideal, below it the "
        "probabilities are too extreme",
        lambda c, t, p, w, _: calibration_slope(t, p, w),
    ),
    "calibration_intercept": Metric(
        "Calibration intercept",
        "shift of the logit that is left with the slope held at 1 (calibration in the large); 0 is "
        "ideal, above it there are more lumps than the probabilities say",
        lambda c, t, p, w, _: calibration_intercept(t, p, w),
    ),
    "ppv": Metric(
        "PPV at the stated prevalence",
        "of those called lump the share that are, were the prevalence as stated and not that of "
        "these images; from sensitivity and specificity by Bayes' rule",
        _predictive_value(0),
    ),
    "npv": Metric(
        "NPV at the stated prevalence",
        "of those called no lump the share that have none, likewise",
        _predictive_value(1),
    ),
}


def compute_metrics(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    *,
    threshold: float = 0.5,
    prevalence: float = PREVALENCE,
    weights=None,
) -> dict[str, np.ndarray]:
    """Compute every metric of `METRICS`.

    Args:
        y_true: int [n], 1 for lump.
        y_prob: float [n], probability of lump.
        threshold: called lump when `y_prob >= threshold`, 0 to 1; or one for each image, [n].
        prevalence: share of lumps for which PPV and NPV hold.
        weights: [..., n], how often each image counts; None counts each once.

    Returns:
        Name to value, a float or an array of the weights' leading shape; NaN where undefined.

    Raises:
        ValueError: when the arrays differ in length or hold something that is no label or
            probability, or an option is out of range.

    Warns:
        UndefinedMetricWarning: when a metric is NaN and no weights were given.
    """
    checked_true, checked_prob, full = checked(y_true, y_prob, weights)
    check_probabilities(checked_prob)
    check_share(prevalence=prevalence)
    counts = confusion_matrix(checked_true, checked_prob, threshold=threshold, weights=full)
    values = {
        name: metric.compute(counts, checked_true, checked_prob, full, prevalence)
        for name, metric in METRICS.items()
    }
    if weights is not None:
        return values
    counted = f" ({int((checked_true == 1).sum())} lump, {int((checked_true == 0).sum())} no lump)"
    warn_undefined([name for name, value in values.items() if np.isnan(value)], counted)
    return {name: float(value) for name, value in values.items()}
