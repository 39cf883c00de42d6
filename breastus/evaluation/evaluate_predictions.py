"""Everything that metrics.json says: predictions and their decision in, a dictionary out.

Scores with intervals, calibration before and after, what is referred to a reader, what it is worth
to act on it, and the parts of the test images one by one.
"""

from typing import Any

import numpy as np
import pandas as pd

from breastus.config.schema import EvaluationConfig
from breastus.evaluation.calibration.reliability import reliability
from breastus.evaluation.decision.conformal import coverage_report
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.decision.decision_curve import decision_curve
from breastus.evaluation.metrics.metrics import compute_metrics
from breastus.evaluation.metrics.subgroups import subgroups
from breastus.evaluation.predictions import truth_and_probability
from breastus.evaluation.score import evaluate

# What is said of the probabilities before calibration, beside those after it.
CALIBRATION_METRICS = ("ece", "brier", "calibration_slope", "calibration_intercept")


def judgement(
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
        predictions: split to predictions table with `raw`, "test" among them, as `Decision.apply`
            returns them.
        decision: fitted on validation.
        attributes: of the test images, as `subgroups` takes them.
        model: name of the network, to find the study's row.
        color: "plain" or "parula", likewise.
        settings: level and resamples of the intervals, prevalence.
        seed: of the resamples.

    Returns:
        As `evaluate`; `decision`; for each split `before_calibration`, `reliability_before` and
        `reliability`; for test `referral` (as from `coverage_report`) and `decision_curve`
        (columns of that table); `subgroups`.
    """
    drawn = {
        "resamples": settings.resamples,
        "confidence": settings.confidence,
        "seed": seed,
    }
    metrics = evaluate(
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
        test, attributes, threshold=decision.threshold, confidence=settings.confidence
    )
    return metrics


def _calibration(table: pd.DataFrame) -> dict[str, Any]:
    y_true, raw = truth_and_probability(table, column="raw")
    # With weights, as warnings of what is undefined would come twice.
    before = compute_metrics(y_true, raw, weights=np.ones(len(raw)))
    return {
        "before_calibration": {name: float(before[name]) for name in CALIBRATION_METRICS},
        "reliability_before": reliability(y_true, raw),
        "reliability": reliability(*truth_and_probability(table)),
    }
