"""Recalibration for a new hospital from some of its labelled images, without retraining.

At another prevalence, or with other scanners, all probabilities may be too high or too extreme. An
intercept corrects the first, slope and intercept both. With few images both are shrunk towards no
change, as is advised when a prediction model is transported to a new setting.

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

from breastus.errors import FewGroupsWarning
from breastus.evaluation.calibration.calibrators import Calibrator
from breastus.evaluation.calibration.logistic import SLOPES, fit_logistic, logit
from breastus.evaluation.decision.thresholds import Threshold, choose_threshold
from breastus.evaluation.validation import check_both_classes, check_grouped, groups_per_class

# Ridge penalties, the inverse variance of normal priors: standard deviations of 0.5 for the slope
# around 1, and of 2 for the intercept (a prevalence of 12 or 88 % instead of 50 %).
SLOPE_PENALTY = 4.0
INTERCEPT_PENALTY = 0.25
# Groups of each class from which a slope is fitted. In simulations with about as many, a slope
# costs 0.01 of log loss when the true slope is 1, and gains 0.03 when it is 0.5.
PLATT_GROUPS = 10
FEW_GROUPS = 5  # groups of a class below which recalibration is unreliable


@dataclass(frozen=True)
class Recalibration:
    """The correction that is applied to a model's output at a new hospital.

    Attributes:
        calibrator: calibrator (method "platt") from the model's calibrated probabilities to those
            of the new hospital.
        method: "intercept" or "platt".
        threshold: threshold for the new probabilities; None when no rule was given.
    """

    calibrator: Calibrator
    method: str
    threshold: Threshold | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the recalibration as plain JSON values."""
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
    rule: str | None = None,
    **numbers: float,
) -> Recalibration:
    """Fit an intercept, or slope and intercept, of the logits to labelled images of a new hospital.

    intercept  sigmoid(z + intercept), as for another prevalence.
    platt      sigmoid(slope * z + intercept) with a positive slope, from 10 groups of each class.

    They minimize (groups / n) * (sum of cross-entropies) + 4 / 2 * (slope - 1)^2
    + 0.25 / 2 * intercept^2: images count alike and together as much as there are groups, so that
    many images of few patients do not outweigh the penalty.

    Args:
        y_true, y_prob, groups: of unselected images, or the prevalence is not the hospital's.
        rule: rule of `choose_threshold` for a new threshold on the same images; None chooses none.
        **numbers: numbers of the rule, such as `target`.

    Raises:
        DataError: when a class is missing.

    Warns:
        FewGroupsWarning: when there are fewer than five groups of a class.
        UserWarning: when the probabilities order the images no better than chance.
    """
    y_true, y_prob, groups = check_grouped(y_true, y_prob, groups)
    check_both_classes(y_true, "Recalibration")
    number = groups_per_class(y_true, groups)
    fewest = min(number.values())
    if fewest < FEW_GROUPS:
        warnings.warn(
            f"Recalibration is unreliable with fewer than {FEW_GROUPS} groups of a class. "
            f"Received: {number}",
            FewGroupsWarning,
            stacklevel=2,
        )
    method = "platt" if fewest >= PLATT_GROUPS else "intercept"
    weight = len(np.unique(groups)) / len(y_true)
    slope, intercept = fit_logistic(
        logit(y_prob),
        y_true,
        weights=np.full(len(y_true), weight),
        penalties=(SLOPE_PENALTY, INTERCEPT_PENALTY),
        slope=1.0 if method == "intercept" else None,
    )
    if slope == SLOPES[0]:
        warnings.warn(
            "The probabilities order the new hospital's images no better than chance: the slope "
            f"is at its lower bound, {SLOPES[0]:g}.",
            stacklevel=2,
        )
    calibrator = Calibrator("platt", slope=slope, intercept=intercept)
    threshold = None
    if rule is not None:
        threshold = choose_threshold(y_true, calibrator.apply(y_prob), groups, rule=rule, **numbers)
    return Recalibration(calibrator, method, threshold)
