"""Fit a calibrator on validation images, and choose the method by cross-validation within them."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from breastus.errors import UndefinedMetricWarning
from breastus.evaluation.calibration.calibrators import METHODS, Calibrator
from breastus.evaluation.calibration.logistic import SLOPES, fit_logistic, logit
from breastus.evaluation.calibration.reliability import fit_temperature, image_log_loss
from breastus.evaluation.checks import check_choice, check_predictions, groups_of_class
from breastus.evaluation.group_folds import group_folds

FOLDS = 5
# Isotonic regression needs some 200 to 1000 cases before it is as good as Platt's method
# (Niculescu-Mizil, Caruana: Predicting Good Probabilities with Supervised Learning. ICML 2005).
ISOTONIC_GROUPS = 100  # of each class


@dataclass(frozen=True)
class CalibratorFit:
    """A calibrator and how it was come by.

    Attributes:
        calibrator: fitted on all images given.
        reason: why this method, in words.
        losses: for each method that was compared, simplest first: `method`, `log_loss` (mean over
            images, each judged by calibrators that saw none of its group), `worse_by` (than the
            best), `standard_error` (of `worse_by`, over groups) and `chosen`. Empty unless the
            method was "auto".
    """

    calibrator: Calibrator
    reason: str
    losses: tuple[dict, ...] = ()

    def to_dict(self) -> dict:
        """Return reason and losses as plain JSON values."""
        return {"reason": self.reason, "losses": [dict(row) for row in self.losses]}


def fit_calibrator(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    groups: Sequence,
    *,
    method: str = "auto",
    shift: float = 0.0,
    repeats: int = 5,
    seed: int = 0,
) -> CalibratorFit:
    """Fit a calibrator of the probability of lump; to be fitted on validation images alone.

    `temperature` takes the shift, which is known, from the log odds, and then minimises the
    cross-entropy; where every image's own class is the likelier one, nothing says how sure to be,
    and it is left at 1 (see `fit_temperature`). `platt` minimises it over slope and intercept, with
    Platt's targets, (lumps + 1) / (lumps + 2) for a lump and 1 / (others + 2) for no lump, so that
    separated classes have a finite fit. `isotonic` is the rising step function of least squares
    (pool adjacent violators), images of one score taken together, straight between the steps, and
    kept off 0 and 1 by 1 / (groups + 2): by the rule of succession, as sure as one could be had all
    groups been of one class.

    `auto` is a rule. The groups are dealt into five folds, each kind of group (with lumps, without,
    with both) evenly, anew in each repeat. Every image gets the log loss of calibrators that were
    fitted on the other folds. Chosen is the simplest method, in the order none, temperature,
    platt, isotonic, whose mean log loss exceeds the lowest by at most one standard error. It is
    the standard error of that difference, image by image and over groups: that of the loss itself
    would be mostly of how hard the images are. Isotonic takes part from 100 groups of each class.
    With fewer than five groups of a class nothing is compared and the method is none.

    Args:
        y_true: int [n], 1 for lump.
        y_prob: [n], the network's probability of lump, 0 to 1.
        groups: [n], images of one patient or scene have the same.
        method: none, temperature, platt, isotonic or auto.
        shift: what the training added to the log odds of lump, by class weights or even sampling.
        repeats: how often the groups are dealt anew, for auto.
        seed: of the deals.

    Raises:
        ConfigError: when the method is unknown.
        DataError: when the arrays do not fit each other or hold something else.

    Warns:
        UndefinedMetricWarning: when images of one class only, or too few groups to compare, leave
            the probabilities as they are, or the temperature is left at 1.
        UserWarning: when isotonic was asked for with few groups, the scores order the images no
            better than chance, or the temperature is held at a bound.

    References:
        Breiman, Friedman, Olshen, Stone: Classification and Regression Trees. 1984 (one standard
        error).
    """
    check_choice("method", method, (*METHODS, "auto"))
    y_true, y_prob, groups = check_predictions(y_true, y_prob, groups)
    number = groups_of_class(y_true, groups)
    if method != "none" and not min(number.values()):
        _warn("Nothing is calibrated: the validation images are of one class only.")
        return CalibratorFit(Calibrator(), "the validation images are of one class only")
    if method != "auto":
        if method == "isotonic" and min(number.values()) < ISOTONIC_GROUPS:
            warnings.warn(
                f"Isotonic calibration follows chance with fewer than {ISOTONIC_GROUPS} groups of "
                f"a class. Received: {min(number.values())}",
                stacklevel=2,
            )
        calibrator = _fit(y_true, y_prob, groups, method, shift)
        if calibrator.slope == SLOPES[0]:
            warnings.warn(
                "The probabilities order the validation images no better than chance, so Platt's "
                f"slope is held at its lowest, {SLOPES[0]:g}.",
                stacklevel=2,
            )
        return CalibratorFit(calibrator, "as asked for")
    if min(number.values()) < FOLDS:
        _warn(
            f"Nothing is calibrated: choosing a method needs {FOLDS} groups of each class. "
            f"Received: {number}"
        )
        return CalibratorFit(Calibrator(), f"fewer than {FOLDS} groups of a class")

    methods = [m for m in METHODS if m != "isotonic" or min(number.values()) >= ISOTONIC_GROUPS]
    with warnings.catch_warnings():
        # What a fit that lacks a fold is worth, its loss says; the last one, of all images, warns.
        warnings.filterwarnings("ignore", message="The temperature is")
        losses = _cross_validated(y_true, y_prob, groups, methods, shift, repeats, seed)
    rows = _compare(losses, groups)
    chosen = next(row["method"] for row in rows if row["chosen"])
    best = min(rows, key=lambda row: row["log_loss"])["method"]
    reason = (
        "lowest log loss in cross-validation"
        if chosen == best
        else f"the simplest within one standard error of the lowest log loss, that of {best}"
    )
    return CalibratorFit(_fit(y_true, y_prob, groups, chosen, shift), reason, tuple(rows))


def _warn(text: str) -> None:
    warnings.warn(text, UndefinedMetricWarning, stacklevel=3)


def _fit(y_true, y_prob, groups, method: str, shift: float) -> Calibrator:
    if method == "temperature":
        both = np.stack([1 - y_prob, y_prob], axis=-1)
        temperature = fit_temperature(y_true, both, shift=shift)
        return Calibrator(method, temperature=temperature, shift=shift)
    if method == "platt":
        lumps, others = (y_true == 1).sum(), (y_true == 0).sum()
        targets = np.where(y_true == 1, (lumps + 1) / (lumps + 2), 1 / (others + 2))
        slope, intercept = fit_logistic(logit(y_prob), targets)
        return Calibrator(method, slope=slope, intercept=intercept)
    if method == "isotonic":
        return Calibrator(method, knots=_isotonic_knots(y_true, y_prob, len(np.unique(groups))))
    return Calibrator()


def _isotonic_knots(y_true, y_prob, groups: int) -> tuple[tuple[float, float], ...]:
    from scipy.optimize import isotonic_regression

    # As float32, the type of the exported graph: what is level there has to be level here.
    x, place, count = np.unique(
        np.asarray(y_prob, np.float32), return_inverse=True, return_counts=True
    )
    fit = isotonic_regression(np.bincount(place, weights=y_true) / count, weights=count)
    off = 1 / (groups + 2)
    level = np.clip(fit.x, off, 1 - off)
    ends = np.unique(np.concatenate([fit.blocks[:-1], fit.blocks[1:] - 1]))
    knots = {float(x[end]): float(level[end]) for end in ends}
    # Beyond the lowest and the highest score the map is level.
    return tuple(sorted({0.0: float(level[0]), 1.0: float(level[-1]), **knots}.items()))


def _cross_validated(
    y_true, y_prob, groups, methods, shift, repeats, seed
) -> dict[str, np.ndarray]:
    """Return each image's log loss by method, [n], its group left out of the fit."""
    rng = np.random.default_rng(seed)
    losses = {method: np.zeros(len(y_true)) for method in methods}
    for _ in range(repeats):
        fold = group_folds(y_true, groups, FOLDS, rng)
        for left_out in range(FOLDS):
            out = fold == left_out
            for method in methods:
                calibrator = _fit(y_true[~out], y_prob[~out], groups[~out], method, shift)
                loss = image_log_loss(y_true[out], calibrator.apply(y_prob[out]))
                losses[method][out] += loss / repeats
    return losses


def _compare(losses: dict[str, np.ndarray], groups: np.ndarray) -> list[dict]:
    number = groups.max() + 1
    best = min(losses.values(), key=lambda loss: loss.mean())
    rows = []
    for method, loss in losses.items():
        worse = loss - best
        by_group = np.bincount(groups, weights=worse - worse.mean())
        variance = number / (number - 1) * (by_group**2).sum() / len(worse) ** 2
        rows.append(
            {
                "method": method,
                "log_loss": float(loss.mean()),
                "worse_by": float(worse.mean()),
                "standard_error": math.sqrt(variance),
                "chosen": False,
            }
        )
    next(row for row in rows if row["worse_by"] <= row["standard_error"])["chosen"] = True
    return rows
