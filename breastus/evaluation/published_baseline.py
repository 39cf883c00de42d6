"""The published student study that breastus mirrors: its four test confusion matrices.

CNN (32/64/128 filters) and Swin Transformer on BUSI, plain and in PARULA, one split of 459 images
(lump 194/66/66, no lump 80/27/26), drawn at random: near-duplicates may lie on both sides. The
study gave no intervals; those here treat its test images as independent (Wilson's score interval),
which is kind to it.
"""

import math

import numpy as np

from breastus.evaluation.intervals.proportions import wilson_interval
from breastus.evaluation.metrics.metrics import METRICS, PREVALENCE

# Rows actual (no lump, lump), columns called (no lump, lump).
CONFUSION = {
    ("cnn", "plain"): [[21, 5], [14, 52]],
    ("cnn", "parula"): [[13, 13], [6, 60]],
    ("swin", "plain"): [[5, 21], [10, 56]],
    ("swin", "parula"): [[10, 16], [13, 53]],
}
TITLE = "The published study"

# Metric: the row or column of the matrix whose share it is, as (cell, whole); these have intervals.
_SHARES = {
    "accuracy": (((0, 0), (1, 1)), ((0, 0), (0, 1), (1, 0), (1, 1))),
    "sensitivity": (((1, 1),), ((1, 0), (1, 1))),
    "specificity": (((0, 0),), ((0, 0), (0, 1))),
    "precision": (((1, 1),), ((0, 1), (1, 1))),
    "recall": (((1, 1),), ((1, 0), (1, 1))),
    "precision_no_lump": (((0, 0),), ((0, 0), (1, 0))),
    "recall_no_lump": (((0, 0),), ((0, 0), (0, 1))),
}
_NEEDS_SCORES = (
    "roc_auc",
    "pr_auc_lump",
    "pr_auc_no_lump",
    "pr_auc_macro",
    "brier",
    "ece",
    "calibration_slope",
    "calibration_intercept",
)


def published_baseline(
    model: str, color: str, *, confidence: float = 0.95, prevalence: float = PREVALENCE
) -> dict | None:
    """Return the study's result in the form of `evaluate`, or None where it has none.

    Args:
        model: "cnn" or "swin".
        color: "plain" or "parula".
        confidence: level of the intervals.
        prevalence: share of lumps for which PPV and NPV hold.

    Returns:
        `confusion_matrix` and, for each metric that follows from it, `value`, `ci_low`, `ci_high`
        (NaN where there is no simple interval).
    """
    if (model, color) not in CONFUSION:
        return None
    matrix = np.array(CONFUSION[model, color])
    row: dict = {"title": TITLE, "confusion_matrix": matrix.tolist(), "n": int(matrix.sum())}
    for name, metric in METRICS.items():
        if name in _NEEDS_SCORES:
            continue
        low = high = math.nan
        if name in _SHARES:
            part, whole = (sum(int(matrix[cell]) for cell in cells) for cells in _SHARES[name])
            low, high = wilson_interval(part, whole, confidence=confidence)
        value = float(metric.compute(matrix, None, None, None, prevalence))
        row[name] = {"value": value, "ci_low": low, "ci_high": high}
    return row
