"""Recalibrate for a new hospital from some of its labelled images, without training anew.

Another hospital has another prevalence and other scanners: its probabilities may all be too high,
or too sure. One number amends the first, two amend both. With few images both are pulled towards
leaving things as they are, as is advised when a prediction model is moved to a new place.

References:
    Steyerberg, Borsboom, van Houwelingen, Eijkemans, Habbema: Validation and updating of predictive
    logistic regression models: a study on sample size and shrinkage. Stat. Med. 23, 2004, 2567.
    Le Cessie, van Houwelingen: Ridge Estimators in Logistic Regression. Appl. Stat. 41, 1992, 191.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from breastus.evaluation.calibration.calibrators import Calibrator
from breastus.evaluation.calibration.logistic import SLOPES, fit_logistic, logit
from breastus.evaluation.checks import (
    check_both_classes,
    check_choice,
    check_predictions,
    groups_of_class,
)
from breastus.evaluation.decision.thresholds import Threshold, choose_threshold

RECALIBRATIONS = ("intercept", "platt", "auto")
# Ridge penalties, one over the variance of a normal prior. Two times in three slopes of other
# hospitals are within 1 +/- 0.5, intercepts within +/- 2 (prevalences of 12 and 88 % for 50 %).
SLOPE_PENALTY = 4.0
INTERCEPT_PENALTY = 0.25
# Of each class. In simulations with about as many a slope costs 0.01 of log loss where the shift
# would do, and gains 0.03 where the new hospital's slope is a half.
PLATT_GROUPS = 10
FEW_GROUPS = 5  # of each class; with fewer it follows chance


@dataclass(frozen=True)
class Recalibration:
    """What is put behind a model at a new hospital.

    Attributes:
        calibrator: of the method "platt", from the probabilities the model gives, calibrated as it
            came, to those of the new hospital.
        method: "intercept" or "platt".
        threshold: of the new probabilities; None when no rule was given.
    """

    calibrator: Calibrator
    method: str
    threshold: Threshold | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain JSON values."""
        return {
            "method": self.method,
            "calibrator": self.calibrator.to_dict(),
            "threshold": self.threshold.to_dict() if self.threshold else None,
        }


def recalibrate(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    groups: Sequence,
    *,
    method: str = "auto",
    rule: str | None = None,
    **numbers: float,
) -> Recalibration:
    """Fit a shift, or slope and shift, of the logits to labelled images of a new hospital.

    intercept  sigmoid(z + intercept), as for another prevalence.
    platt      sigmoid(slope * z + intercept), slope kept above 0.
    auto       platt from 10 groups of each class, else intercept.

    The lowest of (groups / n) * (sum of cross-entropies) + 4 / 2 * (slope - 1)^2
    + 0.25 / 2 * intercept^2: images count alike, and all together as many as there are groups, so
    that many images of few patients do not outweigh the penalty.

    Args:
        y_true: int [n], 1 for lump; as the hospital sees them, not picked by class, or the
            prevalence is not the hospital's.
        y_prob: [n], probability of lump as the model gives it, 0 to 1.
        groups: [n], images of one patient or scene have the same.
        method: intercept, platt or auto.
        rule: of `choose_threshold`, for a threshold of the new probabilities on the same images;
            None chooses none.
        **numbers: what the rule takes, such as `target`.

    Raises:
        ConfigError: when the method or the rule is unknown, or the rule's numbers do not fit.
        DataError: when the arrays do not fit each other, or a class is missing.

    Warns:
        UserWarning: when there are fewer than five groups of a class, or the probabilities order
            the images no better than chance.
    """
    check_choice("method", method, RECALIBRATIONS)
    y_true, y_prob, groups = check_predictions(y_true, y_prob, groups)
    check_both_classes(y_true, "Recalibration")
    number = groups_of_class(y_true, groups)
    fewest = min(number.values())
    if fewest < FEW_GROUPS:
        warnings.warn(
            f"Recalibration follows chance with fewer than {FEW_GROUPS} groups of a class. "
            f"Received: {number}",
            stacklevel=2,
        )
    if method == "auto":
        method = "platt" if fewest >= PLATT_GROUPS else "intercept"
    worth = len(np.unique(groups)) / len(y_true)
    slope, intercept = fit_logistic(
        logit(y_prob),
        y_true,
        weights=np.full(len(y_true), worth),
        penalties=(SLOPE_PENALTY, INTERCEPT_PENALTY),
        slope=1.0 if method == "intercept" else None,
    )
    if slope == SLOPES[0]:
        warnings.warn(
            "The probabilities order the images of the new hospital no better than chance, so the "
            f"slope is held at its lowest, {SLOPES[0]:g}.",
            stacklevel=2,
        )
    calibrator = Calibrator("platt", slope=slope, intercept=intercept)
    threshold = None
    if rule is not None:
        threshold = choose_threshold(y_true, calibrator.apply(y_prob), groups, rule=rule, **numbers)
    return Recalibration(calibrator, method, threshold)
