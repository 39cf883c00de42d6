"""Prevalence at a new hospital, estimated from a model's probabilities without labels.

    found = prevalence_estimate(table, training_prevalence=0.8, settings=config.evaluation, seed=0)
    html = prevalence_section(found)      # breastus.reporting.prevalence_section

The estimate is reported and never applied: it assumes a prior shift (see `prior_shift`), which
cannot be verified without labels.
"""

import math
import warnings
from typing import Any

import numpy as np
import pandas as pd

from breastus.config.schema import EvaluationConfig
from breastus.evaluation.calibration.prior_shift import adjust_prior, estimate_prevalence
from breastus.evaluation.calibration.reliability import image_log_loss
from breastus.evaluation.intervals.bootstrap import percentile_interval, resample_weights
from breastus.evaluation.metrics.metrics import compute_metrics
from breastus.evaluation.predictions import truth_and_probability

SCORES = ("ece", "brier", "calibration_intercept", "calibration_slope")
_MAX_RESAMPLES = 500  # the likelihood is maximized for each
_MIN_PREVALENCE = 1e-3  # adjusted to 0 or 1, every probability would be 0 or 1


def prevalence_estimate(
    table: pd.DataFrame, *, training_prevalence: float, settings: EvaluationConfig, seed: int
) -> dict[str, Any]:
    """Estimate the prevalence from probabilities alone, and score what adjusting to it would do.

    Args:
        table: predictions; labels serve the comparison, not the estimate.
        training_prevalence: prevalence where the probabilities were calibrated.
        settings: level and resamples of the interval.
        seed: seed of the resamples of groups.

    Returns:
        `training_prevalence`; `estimate`: `value`, `ci_low`, `ci_high`; `prevalence` (by the
        labels); `mean_probability`; `confidence`; `unadjusted` and `adjusted`: `log_loss` and the
        metrics of `SCORES`, all NaN when the prevalence cannot be estimated.
    """
    truth, prob = truth_and_probability(table)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the report states estimates of 0, 1 and NaN
        value = _estimate(prob, training_prevalence)
        resamples = min(settings.resamples, _MAX_RESAMPLES)
        weights = resample_weights(table["group_id"].tolist(), resamples=resamples, seed=seed)
        drawn = [_estimate(np.repeat(prob, weight), training_prevalence) for weight in weights]
    low, high = percentile_interval(np.array(drawn), (1 - settings.confidence) / 2)
    adjusted = np.full(len(prob), math.nan)
    if not math.isnan(value):
        adjusted = adjust_prior(
            prob, training_prevalence, np.clip(value, _MIN_PREVALENCE, 1 - _MIN_PREVALENCE)
        )
    return {
        "training_prevalence": training_prevalence,
        "estimate": {"value": value, "ci_low": low, "ci_high": high},
        "prevalence": float(truth.mean()),
        "mean_probability": float(prob.mean()),
        "confidence": settings.confidence,
        "unadjusted": _scores(truth, prob),
        "adjusted": _scores(truth, adjusted),
    }


def _estimate(prob: np.ndarray, training_prevalence: float) -> float:
    if not 0 < training_prevalence < 1:
        return math.nan  # calibrated on one class only
    return estimate_prevalence(prob, training_prevalence)


def _scores(truth: np.ndarray, prob: np.ndarray) -> dict[str, float]:
    if np.isnan(prob).any():
        return dict.fromkeys(("log_loss", *SCORES), math.nan)
    values = compute_metrics(truth, prob, weights=np.ones(len(prob)))
    return {
        "log_loss": float(image_log_loss(truth, prob).mean()),
        **{name: float(values[name]) for name in SCORES},
    }
