"""Judge predictions: tables of val and test in, the content of metrics.json out."""

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
