"""Prior shift: estimate the prevalence of lumps without labels, and adjust probabilities to it.

Both assume that the images of each class look as they did where the probabilities were calibrated,
and only the prevalence differs. When the images themselves differ, for instance because of another
scanner, both are wrong, and labels are needed (see `recalibration`).

Reference:
    Saerens, Latinne, Decaestecker: Adjusting the Outputs of a Classifier to New a Priori
    Probabilities: A Simple Procedure. Neural Computation 14, 2002, 21.
"""

import math
import warnings

import numpy as np

from breastus.errors import UndefinedMetricWarning
from breastus.evaluation.calibration.logistic import TINY
from breastus.evaluation.validation import check_number, check_probabilities


def adjust_prior(y_prob: np.ndarray, old: float, new: float) -> np.ndarray:
    """Return the probabilities of lump at another prevalence: logits + logit(new) - logit(old).

    Args:
        y_prob: float [n], probability of lump, calibrated at the prevalence `old`.
        old: prevalence of lumps there, above 0 and below 1.
        new: prevalence of lumps here, above 0 and below 1.

    Returns:
        float [n], 0 to 1.

    Raises:
        ConfigError: when a prevalence is out of range.
        DataError: when `y_prob` does not hold probabilities.
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
        y_prob: float [n], probability of lump, calibrated at the training prevalence.
        training_prevalence: prevalence where they were calibrated, above 0 and below 1.

    Returns:
        0 to 1; NaN without images, or when all probabilities equal the training prevalence.

    Raises:
        ConfigError: when the prevalence is out of range.
        DataError: when `y_prob` does not hold probabilities.

    Warns:
        UndefinedMetricWarning: when the estimate is NaN.
        UserWarning: when it is 0 or 1, as the images are few or differ from training images.
    """
    from scipy.optimize import brentq

    y_prob = np.clip(check_probabilities(y_prob), TINY, 1 - TINY)
    check_number("training_prevalence", training_prevalence)
    lump = y_prob / training_prevalence
    other = (1 - y_prob) / (1 - training_prevalence)
    if not len(y_prob) or np.abs(lump - other).max() < 1e-9:
        warnings.warn(
            "The estimated prevalence is NaN, because no probability differs from the training "
            f"prevalence ({len(y_prob)} images).",
            UndefinedMetricWarning,
            stacklevel=2,
        )
        return math.nan

    def derivative(prevalence: float) -> float:
        return ((lump - other) / (prevalence * lump + (1 - prevalence) * other)).mean()

    if derivative(0) > 0 > derivative(1):
        return float(brentq(derivative, 0, 1, xtol=1e-12))
    edge = 0.0 if derivative(0) <= 0 else 1.0
    warnings.warn(
        f"The estimated prevalence is {edge:g}: {len(y_prob)} images are too few, or they differ "
        "from training images.",
        stacklevel=2,
    )
    return edge
