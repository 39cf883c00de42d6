"""Judge predictions: tables of val and test in, the content of metrics.json and a sentence out."""

import warnings
from typing import Any

import pandas as pd

from breastus.evaluation.intervals.bootstrap import bootstrap_intervals
from breastus.evaluation.metrics.metrics import (
    METRICS,
    PREVALENCE,
    UndefinedMetricWarning,
    compute_metrics,
    confusion_matrix,
)
from breastus.evaluation.predictions import truth_and_probability
from breastus.evaluation.published_baseline import study_row
from breastus.labels import POSITIVE

INTERVAL = (
    "percentile bootstrap over groups (patients or scenes), expanded where they are few; of the "
    "ROC-AUC DeLong's, over groups; of a share of exactly 0 or 1 Wilson's, over groups; of the "
    "calibration error from 0 where chance alone explains it"
)


def evaluate(
    predictions: dict[str, pd.DataFrame],
    *,
    model: str,
    color: str,
    threshold: float,
    resamples: int,
    confidence: float,
    seed: int,
    prevalence: float = PREVALENCE,
) -> dict[str, Any]:
    """Compute every metric with its interval for each split, and set the study's row beside them.

    Args:
        predictions: split to predictions table.
        model: name of the network, to find the study's row.
        color: "plain" or "parula", likewise.
        threshold: probability of lump from which an image is called lump.
        resamples: bootstrap resamples, drawn by group.
        confidence: level of the intervals.
        seed: of the resamples.
        prevalence: share of lumps for which PPV and NPV hold.

    Returns:
        For each split: `n`, `n_groups`, `n_lump`, `n_no_lump`, `confusion_matrix`, its bounds, and
        under each metric's name `value`, `ci_low`, `ci_high`; `study` is the study's row or None.
    """
    result: dict[str, Any] = {
        "positive": POSITIVE,
        "threshold": threshold,
        "prevalence": prevalence,
        "confidence": confidence,
        "resamples": resamples,
        "interval": INTERVAL,
    }
    for split, table in predictions.items():
        y_true, y_prob = truth_and_probability(table)
        with warnings.catch_warnings(record=True) as undefined:
            warnings.simplefilter("always", UndefinedMetricWarning)
            values = compute_metrics(y_true, y_prob, threshold=threshold, prevalence=prevalence)
            bounds = bootstrap_intervals(
                y_true,
                y_prob,
                table["group_id"],
                threshold=threshold,
                prevalence=prevalence,
                resamples=resamples,
                confidence=confidence,
                seed=seed,
            )
        for warning in undefined:
            warnings.warn(f"{split}: {warning.message}", warning.category, stacklevel=2)
        low, high = bounds["confusion_matrix"]
        result[split] = {
            "n": len(table),
            "n_groups": int(table["group_id"].nunique()),
            "n_lump": int(y_true.sum()),
            "n_no_lump": int((1 - y_true).sum()),
            "confusion_matrix": confusion_matrix(y_true, y_prob, threshold=threshold)
            .astype(int)
            .tolist(),
            "confusion_matrix_ci_low": low.tolist(),
            "confusion_matrix_ci_high": high.tolist(),
            **{
                name: {"value": values[name], "ci_low": bounds[name][0], "ci_high": bounds[name][1]}
                for name in METRICS
            },
        }
    result["study"] = study_row(model, color, confidence=confidence, prevalence=prevalence)
    return result


def sentence(metrics: dict[str, Any], split: str = "test") -> str:
    """Say the result in plain words, with intervals, and what to make of it."""
    part = metrics[split]
    (cleared, _), (_, found) = part["confusion_matrix"]
    text = (
        f"On {part['n']} {split} images of {part['n_groups']} patients or scenes the model found "
        f"{found} of {part['n_lump']} lumps (sensitivity {percent(part['sensitivity'])}) and "
        f"cleared {cleared} of {part['n_no_lump']} images without a lump (specificity "
        f"{percent(part['specificity'])}). ROC-AUC {number(part['roc_auc'])}. "
    )
    if answer := only_answer(part["confusion_matrix"]):
        text += (
            f"It calls every image {answer}: at a threshold of {metrics['threshold']:.3g} it tells "
            "nothing apart. "
        )
    return text + reading(part, metrics["confidence"])


def only_answer(confusion: list[list[float]]) -> str:
    """Return what every image is called, "lump" or "no lump"; nothing where both are given."""
    (cleared, alarms), (missed, found) = confusion
    if cleared + missed == 0:
        return "lump"
    return "no lump" if alarms + found == 0 else ""


def reading(part: dict[str, Any], confidence: float) -> str:
    """Say what to make of a split's metrics, by the interval of its ROC-AUC."""
    level = f"{100 * confidence:.0f} %"
    low, high = part["roc_auc"]["ci_low"], part["roc_auc"]["ci_high"]
    if low is None or low != low:  # NaN
        return f"The {level} intervals are undefined: there are too few groups of a class."
    if high < 0.5:
        return (
            f"Its order is worse than guessing (the {level} interval of ROC-AUC stays below 0.5): "
            "see whether labels are exchanged."
        )
    if low <= 0.5:
        return f"By its {level} interval the ROC-AUC may be no better than guessing."
    text = f"Its order is better than guessing (the {level} interval of ROC-AUC stays above 0.5)"
    if part["n_no_lump"] < 50:
        text += f", but {part['n_no_lump']} images without a lump leave the specificity uncertain"
    return text + "."


def percent(entry: dict) -> str:
    """Return a share with its interval in per cent, as text."""
    return _with_interval(entry, lambda value: f"{100 * value:.0f} %")


def number(entry: dict) -> str:
    """Return a metric with its interval, as text."""
    return _with_interval(entry, lambda value: f"{value:.2f}")


def _with_interval(entry: dict, show) -> str:
    value, low, high = entry["value"], entry["ci_low"], entry["ci_high"]
    if value is None or value != value:
        return "undefined"
    if low is None or low != low:
        return show(value)
    return f"{show(value)}, {show(low)} to {show(high)}"
