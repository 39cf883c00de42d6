"""Everything that metrics.json says: predictions and their decision in, a dictionary out.

Scores with intervals, calibration before and after, what is referred to a reader, what it is worth
to act on it, and the parts of the test images one by one.
"""

import warnings
from typing import Any

import numpy as np
import pandas as pd

from breastus.config.schema import EvaluationConfig
from breastus.errors import UndefinedMetricWarning
from breastus.evaluation.calibration.reliability import reliability
from breastus.evaluation.decision.conformal import coverage_report
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.decision.decision_curve import decision_curve
from breastus.evaluation.intervals.bootstrap import bootstrap_intervals
from breastus.evaluation.metrics.metrics import (
    METRICS,
    PREVALENCE,
    compute_metrics,
    confusion_matrix,
)
from breastus.evaluation.metrics.subgroups import subgroups
from breastus.evaluation.predictions import truth_and_probability
from breastus.evaluation.published_baseline import published_baseline
from breastus.labels import POSITIVE

# What is said of the probabilities before calibration, beside those after it.
CALIBRATION_METRICS = ("ece", "brier", "calibration_slope", "calibration_intercept")
INTERVAL = (
    "percentile bootstrap over groups (patients or scenes), expanded where they are few; of the "
    "ROC-AUC DeLong's, over groups; of a share of exactly 0 or 1 Wilson's, over groups; of the "
    "calibration error from 0 where chance alone explains it"
)


def evaluate_predictions(
    predictions: dict[str, pd.DataFrame],
    decision: Decision,
    *,
    attributes: pd.DataFrame,
    model: str,
    color: str,
    settings: EvaluationConfig,
    seed: int,
) -> dict[str, Any]:
    """Judge predictions.

    Args:
        predictions: split to predictions table with `probability_uncalibrated`, "test" among
            them, as `Decision.apply` returns them.
        decision: fitted on validation.
        attributes: of the test images, as `subgroups` takes them.
        model: name of the network, to find the study's row.
        color: "plain" or "parula", likewise.
        settings: level and resamples of the intervals, prevalence.
        seed: of the resamples.

    Returns:
        As `score_predictions`; `decision`; for each split `before_calibration`,
        `reliability_before` and `reliability`; for test `referral` (as from
        `coverage_report`) and `decision_curve` (columns of that table); `subgroups`.
    """
    drawn = {
        "resamples": settings.resamples,
        "confidence": settings.confidence,
        "seed": seed,
    }
    metrics = score_predictions(
        predictions,
        model=model,
        color=color,
        threshold=decision.threshold,
        prevalence=settings.prevalence,
        **drawn,
    )
    metrics["decision"] = decision.to_dict()
    for split, table in predictions.items():
        metrics[split] |= _calibration(table)
    test = predictions["test"]
    y_true, y_prob = truth_and_probability(test)
    groups = test["group_id"].tolist()
    metrics["test"]["referral"] = coverage_report(
        y_true,
        y_prob,
        groups,
        decision.conformal,
        threshold=decision.threshold,
        confidence=settings.confidence,
    )
    curve = decision_curve(y_true, y_prob, groups, **drawn)
    metrics["test"]["decision_curve"] = curve.to_dict("list")
    metrics["subgroups"] = subgroups(
        test,
        attributes,
        threshold=decision.threshold,
        confidence=settings.confidence,
        whole=metrics["test"],
    )
    return metrics


def score_predictions(
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
    result["study"] = published_baseline(model, color, confidence=confidence, prevalence=prevalence)
    return result


def _calibration(table: pd.DataFrame) -> dict[str, Any]:
    y_true, raw = truth_and_probability(table, column="probability_uncalibrated")
    # With weights, as warnings of what is undefined would come twice.
    before = compute_metrics(y_true, raw, weights=np.ones(len(raw)))
    return {
        "before_calibration": {name: float(before[name]) for name in CALIBRATION_METRICS},
        "reliability_before": reliability(y_true, raw),
        "reliability": reliability(*truth_and_probability(table)),
    }
