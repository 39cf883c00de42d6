"""Another prevalence, the same images of each class: estimate it without labels, adjust to it.

Both hold when lumps look as they did where the probabilities were calibrated, and images without
one too, and only how many there are of each differs. Where the images themselves look different,
another scanner for instance, neither does; labels are needed then (`recalibration`).

Reference:
    Saerens, Latinne, Decaestecker: Adjusting the Outputs of a Classifier to New a Priori
    Probabilities: A Simple Procedure. Neural Computation 14, 2002, 21.
"""

import math
import warnings

import numpy as np

from breastus.errors import UndefinedMetricWarning
from breastus.evaluation.calibration.logistic import TINY
from breastus.evaluation.checks import check_number, check_probabilities


def adjust_prior(y_prob: np.ndarray, old: float, new: float) -> np.ndarray:
    """Return the probabilities of lump at another prevalence: the odds times the ratio of priors.

    Args:
        y_prob: [n], probability of lump, calibrated at the prevalence `old`.
        old: share of lumps there, above 0 and below 1.
        new: share of lumps here, above 0 and below 1.

    Returns:
        [n], 0 to 1, in the same order; the logits are shifted by logit(new) - logit(old).

    Raises:
        ConfigError: when a prevalence is out of range.
        DataError: when `y_prob` is not of probabilities.
    """
    y_prob = check_probabilities(y_prob)
    check_number("old", old, 0, 1)
    check_number("new", new, 0, 1)
    lump = y_prob * (new / old)
    return lump / (lump + (1 - y_prob) * ((1 - new) / (1 - old)))


def estimate_prevalence(y_prob: np.ndarray, training_prevalence: float) -> float:
    """Estimate the share of lumps among images that have no labels.

    The prevalence of the highest likelihood, to which the EM steps of Saerens and others climb:
    adjust the probabilities to it and their mean is it. The likelihood is concave, so the place
    where its slope is zero is found at once. It is no better than the calibration of `y_prob` at
    the training prevalence, and with few images varies as a share does, or more.

    Args:
        y_prob: [n], probability of lump, calibrated at the training prevalence.
        training_prevalence: share of lumps where they were calibrated, above 0 and below 1.

    Returns:
        0 to 1; NaN where there are no images, or all probabilities are the training prevalence.

    Raises:
        ConfigError: when the prevalence is out of range.
        DataError: when `y_prob` is not of probabilities.

    Warns:
        UndefinedMetricWarning: when it is NaN.
        UserWarning: when it is 0 or 1, which says little but that the images are few or unlike
            those of the training.
    """
    from scipy.optimize import brentq

    y_prob = np.clip(check_probabilities(y_prob), TINY, 1 - TINY)
    check_number("training_prevalence", training_prevalence, 0, 1)
    lump = y_prob / training_prevalence
    other = (1 - y_prob) / (1 - training_prevalence)
    if not len(y_prob) or np.abs(lump - other).max() < 1e-9:
        warnings.warn(
            "The prevalence is undefined, so NaN: no probability differs from the training "
            f"prevalence ({len(y_prob)} images).",
            UndefinedMetricWarning,
            stacklevel=2,
        )
        return math.nan

    def slope(prevalence: float) -> float:
        return ((lump - other) / (prevalence * lump + (1 - prevalence) * other)).mean()

    if slope(0) > 0 > slope(1):
        return float(brentq(slope, 0, 1, xtol=1e-12))
    edge = 0.0 if slope(0) <= 0 else 1.0
    warnings.warn(
        f"The estimated prevalence is {edge:g}: the {len(y_prob)} images are too few, or unlike "
        "those of the training.",
        stacklevel=2,
    )
    return edge
