"""Prior shift: estimate the prevalence of lumps without labels, and adjust probabilities to it.

Both assume that the images of each class look as they did where the probabilities were calibrated,
and only the prevalence differs. When the images themselves differ, for instance because of another
scanner, both are wrong, and labels are needed (see `recalibration`).

Reference:
    Saerens, Latinne, Decaestecker: Adjusting the Outputs of a Classifier to New a Priori
    Probabilities: A Simple Procedure. Neural Computation 14, 2002, 21.
"""

import math
from typing import Any

import numpy as np
import pandas as pd

from breastus.config.schema import EvaluationConfig
from breastus.evaluation.calibration.logistic import TINY
from breastus.evaluation.calibration.reliability import image_log_loss
from breastus.evaluation.intervals.bootstrap import percentile_interval, resample_weights
from breastus.evaluation.metrics.metrics import compute_metrics
from breastus.evaluation.predictions import truth_and_probability
from breastus.evaluation.validation import check_number, check_probabilities, with_interval

SCORES = ("ece", "brier", "calibration_intercept", "calibration_slope")
_MAX_RESAMPLES = 500  # the likelihood is maximized for each
_MIN_PREVALENCE = 1e-3  # adjusted to 0 or 1, every probability would be 0 or 1


def adjust_prior(y_prob: np.ndarray, old: float, new: float) -> np.ndarray:
    """Return the probabilities of lump at another prevalence: logits + logit(new) - logit(old).

    They were calibrated at the prevalence `old`; both are above 0 and below 1.
    """
    y_prob = check_probabilities(y_prob)
    check_number("old", old)
    check_number("new", new)
    lump = y_prob * (new / old)
    return lump / (lump + (1 - y_prob) * ((1 - new) / (1 - old)))


def estimate_prevalence(y_prob: np.ndarray, training_prevalence: float) -> float:
    """Return the maximum-likelihood prevalence of lumps among images without labels.

    It is the limit of the EM steps of Saerens et al., at which the mean of the adjusted
    probabilities is the prevalence itself. The likelihood is concave, so the root of its derivative
    is found directly. The estimate depends on the calibration of `y_prob`, and with few images
    varies as a proportion does, or more.

    Args:
        y_prob: probability of lump of each image, [n].
        training_prevalence: prevalence where they were calibrated, 0 to 1.

    Returns:
        0 to 1, where an end means that the images are few or differ from training images; NaN
        without images, when the training images had one class only, or when all probabilities equal
        the training prevalence.
    """
    from scipy.optimize import brentq

    check_number("training_prevalence", training_prevalence, inclusive=True)
    y_prob = np.clip(check_probabilities(y_prob), TINY, 1 - TINY)
    if training_prevalence in (0, 1):
        return math.nan
    lump = y_prob / training_prevalence
    other = (1 - y_prob) / (1 - training_prevalence)
    if not len(y_prob) or np.abs(lump - other).max() < 1e-9:
        return math.nan

    def derivative(prevalence: float) -> float:
        return ((lump - other) / (prevalence * lump + (1 - prevalence) * other)).mean()

    if derivative(0) > 0 > derivative(1):
        return float(brentq(derivative, 0, 1, xtol=1e-12))
    return 0.0 if derivative(0) <= 0 else 1.0


def prevalence_estimate(
    table: pd.DataFrame, *, training_prevalence: float, settings: EvaluationConfig, seed: int
) -> dict[str, Any]:
    """Estimate the prevalence from probabilities alone, and score what adjusting to it would do.

    The estimate is reported and never applied, as a prior shift cannot be verified without labels.

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
    value = estimate_prevalence(prob, training_prevalence)
    resamples = min(settings.resamples, _MAX_RESAMPLES)
    weights = resample_weights(table["group_id"].tolist(), resamples=resamples, seed=seed)
    drawn = [
        estimate_prevalence(np.repeat(prob, weight), training_prevalence) for weight in weights
    ]
    interval = percentile_interval(np.array(drawn), (1 - settings.confidence) / 2)
    adjusted = np.full(len(prob), math.nan)
    if not math.isnan(value):
        adjusted = adjust_prior(
            prob, training_prevalence, np.clip(value, _MIN_PREVALENCE, 1 - _MIN_PREVALENCE)
        )
    return {
        "training_prevalence": training_prevalence,
        "estimate": with_interval(value, interval),
        "prevalence": float(truth.mean()),
        "mean_probability": float(prob.mean()),
        "confidence": settings.confidence,
        "unadjusted": _scores(truth, prob),
        "adjusted": _scores(truth, adjusted),
    }


def _scores(truth: np.ndarray, prob: np.ndarray) -> dict[str, float]:
    if np.isnan(prob).any():
        return dict.fromkeys(("log_loss", *SCORES), math.nan)
    values = compute_metrics(truth, prob, weights=np.ones(len(prob)))
    return {
        "log_loss": float(image_log_loss(truth, prob).mean()),
        **{name: float(values[name]) for name in SCORES},
    }
