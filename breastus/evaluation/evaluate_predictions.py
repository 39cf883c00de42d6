"""Evaluation of predictions: tables and their decision in, the content of metrics.json out."""

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
from breastus.evaluation.intervals.metric_intervals import Resampled, Sample
from breastus.evaluation.metrics.metrics import METRICS, compute_metrics, confusion_matrix
from breastus.evaluation.metrics.subgroups import subgroups
from breastus.evaluation.options import DEFAULTS, EvaluationOptions
from breastus.evaluation.predictions import finding_confusion, truth_and_probability
from breastus.evaluation.published_baseline import published_baseline
from breastus.evaluation.validation import group_numbers, image_counts, with_interval
from breastus.labels import POSITIVE

# Metrics that are also given for the uncalibrated probabilities.
CALIBRATION_METRICS = ("calibration_slope", "calibration_intercept", "ece", "brier")
INTERVAL = (
    "Wilson's over groups (patients or scenes) for accuracy, sensitivity, specificity and any "
    "proportion of exactly 0 or 1; DeLong's over groups for the ROC-AUC; else percentile bootstrap "
    "over groups, expanded for few groups; for the calibration error, less what noise adds, from 0 "
    "when chance alone explains it"
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
    calibrated_at: float | None = None,
) -> dict[str, Any]:
    """Add calibration before and after, referral, decision curve and subgroups to the scores.

    Args:
        predictions: split, "test" among them, to predictions as `Decision.apply` returns them.
        decision: decision that was fitted on validation.
        attributes: attributes of the test images for `subgroups`.
        model, color: arguments of `published_baseline`.
        settings, seed: options of the intervals.
        calibrated_at: prevalence at which the probabilities were calibrated; None: the
            prevalence of "val", if it is among the predictions.

    Returns:
        As `score_predictions`; `decision`; `calibrated_at`; for each split `before_calibration`,
        `reliability_before` and `reliability`; for test `referral` (as from `coverage_report`) and
        `decision_curve` (columns of that table, at the `prevalence` of PPV and NPV); `subgroups`.
    """
    options = EvaluationOptions.from_settings(settings, seed=seed)
    confidence, threshold = options.confidence, decision.threshold
    metrics = score_predictions(
        predictions, threshold=threshold, options=options, model=model, color=color
    )
    metrics["decision"] = decision.to_dict()
    for split, table in predictions.items():
        metrics[split] |= _calibration(table)
    test = predictions["test"]
    arrays = (*truth_and_probability(test), test["group_id"].tolist())
    metrics["test"]["referral"] = coverage_report(
        *arrays, decision.conformal, threshold=threshold, confidence=confidence
    )
    if calibrated_at is None and "val" in predictions:
        calibrated_at = float(truth_and_probability(predictions["val"])[0].mean())
    metrics["calibrated_at"] = calibrated_at
    metrics["test"]["decision_curve"] = decision_curve(
        *arrays, calibrated_at=calibrated_at, options=options
    ).to_dict("list")
    metrics["subgroups"] = subgroups(
        test, attributes, threshold=threshold, confidence=confidence, whole=metrics["test"]
    )
    return metrics


def score_predictions(
    predictions: dict[str, pd.DataFrame],
    *,
    threshold: float,
    options: EvaluationOptions = DEFAULTS,
    model: str = "",
    color: str = "plain",
) -> dict[str, Any]:
    """Compute every metric with its interval for each split, beside the published baseline.

    Args:
        predictions: split to predictions table.
        threshold: one, or one an image of a single split.
        model, color: arguments of `published_baseline`.

    Returns:
        The settings; for each split `n`, `n_groups`, `n_lump`, `n_no_lump`, `confusion_matrix`,
        its bounds, `finding_confusion_matrix` of a network of findings, and under each metric's
        name `value`, `ci_low`, `ci_high` (`ece` also has `uncorrected` and `noise`, see
        `debiased_ece`); and `published_baseline`, as from the function.
    """
    prevalence, confidence = options.prevalence, options.confidence
    result: dict[str, Any] = {
        "positive": POSITIVE,
        "threshold": threshold,
        "prevalence": prevalence,
        "confidence": confidence,
        "resamples": options.resamples,
        "interval_method": INTERVAL,
    }
    for split, table in predictions.items():
        y_true, y_prob = truth_and_probability(table)
        with warnings.catch_warnings(record=True) as undefined:
            warnings.simplefilter("always", UndefinedMetricWarning)
            values = compute_metrics(y_true, y_prob, threshold=threshold, prevalence=prevalence)
            groups = group_numbers(table["group_id"], len(table))
            found = Resampled([Sample(y_true, y_prob, groups, threshold)], options)
            bounds = found.intervals()
        for warning in undefined:
            warnings.warn(f"{split}: {warning.message}", warning.category, stacklevel=2)
        counts = confusion_matrix(y_true, y_prob, threshold=threshold)
        low, high = bounds["confusion_matrix"]
        result[split] = {
            **image_counts(y_true, table["group_id"]),
            "confusion_matrix": counts.astype(int).tolist(),
            "confusion_matrix_ci_low": low.tolist(),
            "confusion_matrix_ci_high": high.tolist(),
            **{name: with_interval(values[name], bounds[name]) for name in METRICS},
        }
        # The calibration error without what noise adds, as its interval is.
        result[split]["ece"] |= {"value": found.means["ece"], **found.ece}
        if (by_finding := finding_confusion(table, threshold)) is not None:
            result[split]["finding_confusion_matrix"] = by_finding.tolist()
    result["published_baseline"] = published_baseline(
        model, color, confidence=confidence, prevalence=prevalence
    )
    return result


def _calibration(table: pd.DataFrame) -> dict[str, Any]:
    y_true, y_prob = truth_and_probability(table, column="probability_uncalibrated")
    # Weights suppress a second warning of undefined metrics.
    before = compute_metrics(y_true, y_prob, weights=np.ones(len(y_prob)))
    return {
        "before_calibration": {name: float(before[name]) for name in CALIBRATION_METRICS},
        "reliability_before": reliability(y_true, y_prob),
        "reliability": reliability(*truth_and_probability(table)),
    }
