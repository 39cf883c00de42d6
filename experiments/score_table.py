"""Scores with their intervals as rows of a Markdown table."""

from collections.abc import Mapping
from typing import Any

import numpy as np

COLUMNS = {
    "roc_auc": "ROC-AUC",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "accuracy": "accuracy",
    "ece": "calibration error",
}


def header(*before: str) -> list[str]:
    """Return the two lines above the rows; `before` are columns that come before the scores."""
    return [
        f"| {' | '.join(['', *before])} | {' | '.join(COLUMNS.values())} |".replace("|  |", "| |"),
        "|---" * (1 + len(before) + len(COLUMNS)) + "|",
    ]


def row(name: str, metrics: Mapping[str, Any], *before: Any) -> str:
    """Return a row; a score that `metrics` does not have is said not to be given."""
    cells = [entry(metrics[key]) if key in metrics else "not given" for key in COLUMNS]
    return f"| {' | '.join([name, *map(str, before), *cells])} |"


def entry(score: Mapping[str, float | None]) -> str:
    """Return a score as `0.85 (0.77 to 0.92)`."""
    value, low, high = score["value"], score["ci_low"], score["ci_high"]
    if value is None or np.isnan(value):
        return "undefined"
    if low is None or np.isnan(low):
        return f"{value:.2f}"
    if low == high:
        return f"{value:.2f} (no spread)"
    return f"{value:.2f} ({low:.2f} to {high:.2f})"
