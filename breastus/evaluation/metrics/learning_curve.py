"""How many labelled images of a new hospital pay off: recalibrate with more and more of them."""

import math
import warnings
from collections.abc import Sequence

import numpy as np

from breastus.errors import ConfigError, DataError, UndefinedMetricWarning
from breastus.evaluation.calibration.recalibration import RECALIBRATIONS, recalibrate
from breastus.evaluation.calibration.reliability import expected_calibration_error, image_log_loss
from breastus.evaluation.checks import (
    check_both_classes,
    check_choice,
    check_predictions,
    groups_of_class,
)
from breastus.evaluation.group_folds import group_folds

_SCORES = ("log_loss", "brier", "ece")
_SPREAD = (0.1, 0.9)  # of the draws


def learning_curve(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    groups: Sequence,
    *,
    sizes: Sequence[int] = (10, 20, 50, 100, 200),
    method: str = "auto",
    repeats: int = 50,
    seed: int = 0,
) -> list[dict]:
    """Recalibrate on N images of the new hospital and judge on others of it, again and again.

    In each draw half of the groups, of each kind half, are held out to judge by. Of the others
    whole groups are taken, in an order drawn by chance, until there are N images; so N images of
    few patients count as what they are. A draw of one class only, which `recalibrate` refuses,
    leaves the probabilities as they are.

    Args:
        y_true: int [n], 1 for lump.
        y_prob: [n], probability of lump as the model gives it, 0 to 1.
        groups: [n], images of one patient or scene have the same.
        sizes: numbers of labelled images, each at least 1.
        method: of `recalibrate`.
        repeats: draws.
        seed: of the draws.

    Returns:
        For 0, the model as it is, and for each size, rising: `images` (the size), `groups` (mean
        number taken), `one_class` (share of the draws left as they are), `better` (share of the
        draws whose log loss is lower than without recalibration), and of `log_loss`, `brier` and
        `ece` (five bins of equal count), all lower is better, the mean over draws with
        `*_low` and `*_high`, between which eight of ten draws lie. NaN where half of the groups
        have fewer images. Draws share images, so the spread is narrower than between hospitals.

    Raises:
        ConfigError: when the method is unknown, or a size or the number of draws is below 1.
        DataError: when the arrays do not fit each other, or a class has fewer than four groups.

    Warns:
        UndefinedMetricWarning: when a size is NaN.
    """
    check_choice("method", method, RECALIBRATIONS)
    for name, values in (("sizes", sizes), ("repeats", [repeats])):
        if wrong := [v for v in values if not isinstance(v, int | np.integer) or v < 1]:
            raise ConfigError(f"{name} must be whole numbers from 1. Received: {wrong[0]!r}")
    y_true, y_prob, groups = check_predictions(y_true, y_prob, groups)
    check_both_classes(y_true, "A learning curve")
    if min((number := groups_of_class(y_true, groups)).values()) < 4:
        raise DataError(
            "A learning curve needs four groups of each class, two to learn from and two to judge "
            f"by. Received: {number}"
        )
    rng = np.random.default_rng(seed)
    steps = [0, *sorted({int(size) for size in sizes})]
    draws: dict[int, list[dict]] = {size: [] for size in steps}
    for _ in range(repeats):
        held_out = group_folds(y_true, groups, 2, rng) == 0
        pool = rng.permutation(np.unique(groups[~held_out]))
        until = np.cumsum([(groups == group).sum() for group in pool])
        before = _scores(y_true[held_out], y_prob[held_out])
        for size in steps:
            if size > until[-1]:
                continue
            count = int(np.searchsorted(until, size)) + 1 if size else 0
            taken = np.isin(groups, pool[:count])
            one_class = len(np.unique(y_true[taken])) < 2
            after = before
            if not one_class:
                with warnings.catch_warnings():
                    # That few groups follow chance is what the curve shows.
                    warnings.filterwarnings("ignore", message="Recalibration follows chance")
                    found = recalibrate(y_true[taken], y_prob[taken], groups[taken], method=method)
                after = _scores(y_true[held_out], found.calibrator.apply(y_prob[held_out]))
            better = after["log_loss"] < before["log_loss"]
            draws[size].append({**after, "groups": count, "one_class": one_class, "better": better})
    if missing := [size for size in steps if len(draws[size]) < repeats]:
        warnings.warn(
            f"Undefined, so NaN: half of the groups have fewer than {missing[0]} images.",
            UndefinedMetricWarning,
            stacklevel=2,
        )
    return [_row(size, draws[size] if size not in missing else []) for size in steps]


def _scores(y_true, y_prob) -> dict[str, float]:
    return {
        "log_loss": float(image_log_loss(y_true, y_prob).mean()),
        "brier": float(((y_prob - y_true) ** 2).mean()),
        "ece": float(expected_calibration_error(y_true, y_prob)),
    }


def _row(size: int, draws: list[dict]) -> dict:
    row = {"images": size}
    for name in ("groups", "one_class", "better"):
        row[name] = float(np.mean([draw[name] for draw in draws])) if draws else math.nan
    if not size:
        row["one_class"] = math.nan  # nothing was drawn
    for name in _SCORES:
        values = [draw[name] for draw in draws]
        low, high = np.quantile(values, _SPREAD) if draws else (math.nan, math.nan)
        row[name] = float(np.mean(values)) if draws else math.nan
        row[f"{name}_low"], row[f"{name}_high"] = float(low), float(high)
    return row
