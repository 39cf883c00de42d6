"""Fit a calibrator on validation images; optionally choose the method by cross-validation."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from breastus.errors import FewGroupsWarning, UndefinedMetricWarning
from breastus.evaluation.calibration.calibrators import METHODS, Calibrator
from breastus.evaluation.calibration.logistic import SLOPES, fit_logistic, logit
from breastus.evaluation.calibration.reliability import image_log_loss
from breastus.evaluation.calibration.temperature import fit_temperature
from breastus.evaluation.validation import check_choice, check_grouped, groups_per_class

FOLDS = 5
# Isotonic regression needs some 200 to 1000 cases before it is as good as Platt's method
# (Niculescu-Mizil, Caruana: Predicting Good Probabilities with Supervised Learning. ICML 2005).
ISOTONIC_GROUPS = 100  # of each class


@dataclass(frozen=True)
class CalibratorFit:
    """A calibrator and how it was chosen.

    Attributes:
        calibrator: calibrator fitted on all images given.
        reason: why this method was chosen.
        losses: one entry per compared method, simplest first: `method`, `log_loss` (mean over
            images, out of fold), `difference_from_best` (of the log loss), `standard_error` of that
            difference over groups, and `selected`. Empty unless the method was "auto".
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
    """Fit a calibrator of the probability of lump on validation images.

    temperature  subtracts the known shift from the log odds and minimizes the cross-entropy over
                 the temperature (see `fit_temperature`).
    platt        minimizes the cross-entropy over slope and intercept, with Platt's targets
                 (lumps + 1) / (lumps + 2) and 1 / (others + 2), so that separable classes have a
                 finite fit.
    isotonic     is the isotonic regression of the label on the probability, linear between its
                 steps, and clipped to 1 / (groups + 2) from 0 and 1: by the rule of succession the
                 most extreme probability that these groups support.
    auto         chooses by repeated five-fold cross-validation over groups: the simplest method, in
                 the order none, temperature, platt, isotonic, whose out-of-fold log loss exceeds
                 the lowest by at most one standard error. That is the standard error of the
                 difference, image by image and over groups. Isotonic takes part from 100 groups of
                 each class. With fewer than five groups of a class, `none` is chosen.

    Args:
        method: none, temperature, platt, isotonic or auto.
        shift: log odds of lump that class weights or balanced sampling added in training.
        repeats: repeats of the cross-validation (only for `auto`).
        seed: seed of the folds (only for `auto`).

    Warns:
        UndefinedMetricWarning: when one class only, or too few groups to compare methods, leave the
            probabilities as they are, or no temperature fits best.
        FewGroupsWarning: when isotonic has fewer than 100 groups of a class.
        UserWarning: when the scores order the images no better than chance, or the temperature is
            at a bound.

    References:
        Breiman, Friedman, Olshen, Stone: Classification and Regression Trees. 1984 (one standard
        error).
    """
    check_choice("method", method, (*METHODS, "auto"))
    y_true, y_prob, groups = check_grouped(y_true, y_prob, groups)
    number = groups_per_class(y_true, groups)
    if method != "none" and not min(number.values()):
        _warn("The probabilities are not calibrated: the validation images have one class only.")
        return CalibratorFit(Calibrator(), "the validation images have one class only")
    if method != "auto":
        if method == "isotonic" and min(number.values()) < ISOTONIC_GROUPS:
            warnings.warn(
                f"Isotonic calibration is unreliable with fewer than {ISOTONIC_GROUPS} groups of a "
                f"class. Received: {min(number.values())}",
                FewGroupsWarning,
                stacklevel=2,
            )
        calibrator = _fit(y_true, y_prob, groups, method, shift)
        if calibrator.slope == SLOPES[0]:
            warnings.warn(
                "The probabilities order the validation images no better than chance: the slope of "
                f"Platt scaling is at its lower bound, {SLOPES[0]:g}.",
                stacklevel=2,
            )
        return CalibratorFit(calibrator, "set by evaluation.calibration")
    if min(number.values()) < FOLDS:
        _warn(
            f"The probabilities are not calibrated: choosing a method needs {FOLDS} groups of "
            f"each class. Received: {number}"
        )
        return CalibratorFit(Calibrator(), f"fewer than {FOLDS} groups of a class")

    methods = [m for m in METHODS if m != "isotonic" or min(number.values()) >= ISOTONIC_GROUPS]
    with warnings.catch_warnings():
        # The fits of the folds are compared by their loss; only the final fit warns.
        warnings.filterwarnings("ignore", message="The temperature ")
        losses = _cross_validated(y_true, y_prob, groups, methods, shift, repeats, seed)
    rows = _compare(losses, groups)
    chosen = next(row["method"] for row in rows if row["selected"])
    best = min(rows, key=lambda row: row["log_loss"])["method"]
    reason = (
        "lowest log loss in cross-validation"
        if chosen == best
        else f"simplest method within one standard error of {best}, which has the lowest log loss"
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

    # In float32, as in the exported graph, so that ties are the same in both.
    x, place, count = np.unique(
        np.asarray(y_prob, np.float32), return_inverse=True, return_counts=True
    )
    fit = isotonic_regression(np.bincount(place, weights=y_true) / count, weights=count)
    off = 1 / (groups + 2)
    level = np.clip(fit.x, off, 1 - off)
    ends = np.unique(np.concatenate([fit.blocks[:-1], fit.blocks[1:] - 1]))
    knots = {float(x[end]): float(level[end]) for end in ends}
    # The map is constant beyond the lowest and the highest score.
    return tuple(sorted({0.0: float(level[0]), 1.0: float(level[-1]), **knots}.items()))


def _cross_validated(
    y_true, y_prob, groups, methods, shift, repeats, seed
) -> dict[str, np.ndarray]:
    """Return the out-of-fold log loss of each image by method, [n]."""
    rng = np.random.default_rng(seed)
    losses = {method: np.zeros(len(y_true)) for method in methods}
    for _ in range(repeats):
        fold = group_folds(y_true, groups, FOLDS, seed=int(rng.integers(2**31)))
        for number in range(FOLDS):
            out = fold == number
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
        row = {
            "method": method,
            "log_loss": float(loss.mean()),
            "difference_from_best": float(worse.mean()),
        }
        rows.append({**row, "standard_error": math.sqrt(variance), "selected": False})
    next(row for row in rows if row["difference_from_best"] <= row["standard_error"])[
        "selected"
    ] = True
    return rows


def group_folds(y_true: np.ndarray, groups: np.ndarray, folds: int, *, seed: int) -> np.ndarray:
    """Return the fold of each image, int [n]: whole groups, classes spread evenly."""
    from sklearn.model_selection import StratifiedGroupKFold

    fold = np.empty(len(y_true), int)
    splits = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        for number, (_, held_out) in enumerate(splits.split(y_true, y_true, groups)):
            fold[held_out] = number
    return fold
