"""Metrics of a two-class prediction; lump is the positive class.

`y_true` holds 1 for lump and 0 for no lump, `y_prob` the probability of lump, 0 to 1. An image is
called lump when `probability >= threshold`. Each metric takes weights, so that a bootstrap resample
is a vector of counts. What is undefined (no image of a class, none called lump) is NaN.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


class UndefinedMetricWarning(UserWarning):
    """A metric is NaN because the data cannot define it."""


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        title: as in a table.
        meaning: formula or reading in one line; higher is better unless it says otherwise.
        compute: (counts, y_true, y_prob, weights) to a value, where counts is [..., 2, 2].
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
        threshold: called lump when `y_prob >= threshold`.
        weights: [..., n], how often each image counts; None counts each once.

    Returns:
        [..., 2, 2]: rows actual (no lump, lump), columns called (no lump, lump).
    """
    y_true, y_prob, weights = _checked(y_true, y_prob, weights)
    called = y_prob >= threshold
    cells = [
        [
            (weights * ((y_true == actual) & (called == called_lump))).sum(-1)
            for called_lump in (0, 1)
        ]
        for actual in (0, 1)
    ]
    return np.moveaxis(np.array(cells), (0, 1), (-2, -1))


def roc_auc(y_true: np.ndarray, y_prob: np.ndarray, weights=None) -> np.ndarray:
    """Chance that a lump scores above an image without one, ties counting half; 0.5 is guessing.

    NaN with one class only. Equal to scikit-learn's `roc_auc_score`.
    """
    y_true, y_prob, weights = _checked(y_true, y_prob, weights)
    positive, negative = _by_score(y_true, y_prob, weights)
    below = np.cumsum(negative, axis=-1) - negative
    wins = (positive * (below + 0.5 * negative)).sum(-1)
    return _ratio(wins, positive.sum(-1) * negative.sum(-1))


def average_precision(y_true: np.ndarray, y_prob: np.ndarray, weights=None) -> np.ndarray:
    """Area under the precision-recall curve as a sum of steps (not interpolated).

    Guessing gives the share of the class. NaN without an image of the class. Equal to
    scikit-learn's `average_precision_score`.
    """
    y_true, y_prob, weights = _checked(y_true, y_prob, weights)
    positive, negative = (np.flip(part, -1) for part in _by_score(y_true, y_prob, weights))
    found = np.cumsum(positive, axis=-1)
    precision = _ratio(found, found + np.cumsum(negative, axis=-1), undefined=0.0)
    return _ratio((precision * positive).sum(-1), found[..., -1])


def _share(row: int, column: int, axis: int) -> Callable:
    return lambda c, *_: _ratio(
        c[..., row, column], c.sum(axis)[..., column if axis == -2 else row]
    )


_SENSITIVITY, _SPECIFICITY = _share(1, 1, -1), _share(0, 0, -1)
_PPV, _NPV = _share(1, 1, -2), _share(0, 0, -2)

METRICS: dict[str, Metric] = {
    "accuracy": Metric(
        "Accuracy",
        "share of the images that are called right; flattered when one class is rare",
        lambda c, *_: _ratio(c[..., 0, 0] + c[..., 1, 1], c.sum((-1, -2))),
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
        "Precision (lump)", "share of the images called lump that are; depends on prevalence", _PPV
    ),
    "recall": Metric("Recall (lump)", "another name for sensitivity", _SENSITIVITY),
    "f1": Metric(
        "F1 (lump)",
        "harmonic mean of precision and recall of lump",
        lambda c, *_: _ratio(2 * c[..., 1, 1], c[..., 1, :].sum(-1) + c[..., :, 1].sum(-1)),
    ),
    "precision_no_lump": Metric(
        "Precision (no lump)",
        "share of the images called no lump that are; depends on prevalence",
        _NPV,
    ),
    "recall_no_lump": Metric("Recall (no lump)", "another name for specificity", _SPECIFICITY),
    "f1_no_lump": Metric(
        "F1 (no lump)",
        "harmonic mean of precision and recall of no lump",
        lambda c, *_: _ratio(2 * c[..., 0, 0], c[..., 0, :].sum(-1) + c[..., :, 0].sum(-1)),
    ),
    "roc_auc": Metric(
        "ROC-AUC",
        "chance that a lump scores above an image without one; 0.5 is guessing",
        lambda c, t, p, w: roc_auc(t, p, w),
    ),
    "pr_auc_lump": Metric(
        "PR-AUC (lump)",
        "average precision of lump; guessing gives the share of lumps",
        lambda c, t, p, w: average_precision(t, p, w),
    ),
    "pr_auc_no_lump": Metric(
        "PR-AUC (no lump)",
        "average precision of no lump; guessing gives its share",
        lambda c, t, p, w: average_precision(1 - t, -p, w),
    ),
    "brier": Metric(
        "Brier score",
        "mean squared error of the probability, 0 to 1, lower is better",
        lambda c, t, p, w: _ratio((w * (p - t) ** 2).sum(-1), w.sum(-1)),
    ),
}


def compute_metrics(
    y_true: np.ndarray, y_prob: np.ndarray, *, threshold: float = 0.5, weights=None
) -> dict[str, np.ndarray]:
    """Compute every metric of `METRICS`.

    Args:
        y_true: int [n], 1 for lump.
        y_prob: float [n], probability of lump.
        threshold: called lump when `y_prob >= threshold`.
        weights: [..., n], how often each image counts; None counts each once.

    Returns:
        Name to value, a float or an array of the weights' leading shape; NaN where undefined.

    Raises:
        ValueError: when the arrays differ in length, or hold something that is no label or
            probability.

    Warns:
        UndefinedMetricWarning: when a metric is NaN and no weights were given.
    """
    checked_true, checked_prob, full = _checked(y_true, y_prob, weights)
    counts = confusion_matrix(checked_true, checked_prob, threshold=threshold, weights=full)
    values = {
        name: metric.compute(counts, checked_true, checked_prob, full)
        for name, metric in METRICS.items()
    }
    if weights is not None:
        return values
    if undefined := [name for name, value in values.items() if np.isnan(value)]:
        warnings.warn(
            f"Undefined for these images, so NaN: {', '.join(undefined)} "
            f"({int((checked_true == 1).sum())} lump, {int((checked_true == 0).sum())} no lump).",
            UndefinedMetricWarning,
            stacklevel=2,
        )
    return {name: float(value) for name, value in values.items()}


def _by_score(y_true, y_prob, weights) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight of lumps and of the others at each distinct score, scores rising."""
    scores, place = np.unique(y_prob, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(scores)))
    if not len(scores):
        empty = np.zeros((*weights.shape[:-1], 1))
        return empty, empty
    positive = np.add.reduceat((weights * (y_true == 1))[..., order], starts, axis=-1)
    negative = np.add.reduceat((weights * (y_true == 0))[..., order], starts, axis=-1)
    return positive, negative


def _ratio(part, whole, undefined: float = np.nan) -> np.ndarray:
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    safe = np.where(whole > 0, whole, 1.0)
    return np.where(whole > 0, part / safe, undefined)


def _checked(y_true, y_prob, weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y_true, y_prob = np.asarray(y_true), np.asarray(y_prob, float)
    if y_true.shape != y_prob.shape or y_true.ndim != 1:
        raise ValueError(
            "y_true and y_prob must be of one length. "
            f"Received: shapes {y_true.shape} and {y_prob.shape}"
        )
    if not np.isin(y_true, (0, 1)).all():
        raise ValueError(f"y_true must hold 0 and 1. Received: {set(y_true.tolist()) - {0, 1}}")
    if np.isnan(y_prob).any():
        raise ValueError("y_prob must hold numbers. Received: NaN")
    full = np.ones(len(y_true)) if weights is None else np.asarray(weights, float)
    return y_true, y_prob, full
