"""If only the prevalence had changed: what a model itself says of a new hospital, without labels.

    found = prevalence_estimate(table, training_prevalence=0.8, settings=config.evaluation, seed=0)
    html = prevalence_section(found)      # breastus.reporting.prevalence_section

It is shown and never applied: were the images themselves different, as those of another scanner
are, it would be wrong, and without labels nobody can tell.
"""

import math
import warnings
from typing import Any

import numpy as np
import pandas as pd

from breastus.config.schema import EvaluationConfig
from breastus.evaluation.calibration.prior_shift import adjust_prior, estimate_prevalence
from breastus.evaluation.calibration.reliability import image_log_loss
from breastus.evaluation.intervals.bootstrap import percentiles, resample_weights
from breastus.evaluation.metrics.metrics import compute_metrics
from breastus.evaluation.predictions import truth_and_probability

SCORES = ("ece", "brier", "calibration_intercept", "calibration_slope")
_RESAMPLES = 500  # each climbs anew
_LEAST = 1e-3  # an estimate of 0 or 1 would make every probability 0 or 1


def prevalence_estimate(
    table: pd.DataFrame, *, training_prevalence: float, settings: EvaluationConfig, seed: int
) -> dict[str, Any]:
    """Estimate the share of lumps from probabilities alone, and see what adjusting to it would do.

    Args:
        table: predictions; labels are looked at to judge by, not to estimate.
        training_prevalence: share of lumps where the probabilities were calibrated.
        settings: level of the interval.
        seed: of its resamples, of groups.

    Returns:
        What JSON holds, NaN apart: `training_prevalence`; `estimate`: `value`, `ci_low`, `ci_high`;
        `prevalence`, the share by the labels; `mean_probability`; `confidence`; `as_it_came` and
        `adjusted`: `log_loss` and the calibration metrics, all NaN where nothing can be estimated.
    """
    truth, prob = truth_and_probability(table)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # edges and NaN are told in the section
        value = _estimate(prob, training_prevalence)
        resamples = min(settings.resamples, _RESAMPLES)
        weights = resample_weights(table["group_id"].tolist(), resamples=resamples, seed=seed)
        drawn = [_estimate(np.repeat(prob, weight), training_prevalence) for weight in weights]
    low, high = percentiles(np.array(drawn), (1 - settings.confidence) / 2)
    adjusted = np.full(len(prob), math.nan)
    if not math.isnan(value):
        adjusted = adjust_prior(prob, training_prevalence, min(max(value, _LEAST), 1 - _LEAST))
    return {
        "training_prevalence": training_prevalence,
        "estimate": {"value": value, "ci_low": low, "ci_high": high},
        "prevalence": float(truth.mean()),
        "mean_probability": float(prob.mean()),
        "confidence": settings.confidence,
        "as_it_came": _scores(truth, prob),
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
