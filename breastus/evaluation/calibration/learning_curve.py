"""Learning curve of recalibration: how many labelled images of a new hospital does it take?"""

import math
import warnings
from collections.abc import Sequence

import numpy as np

from breastus.errors import DataError, FewGroupsWarning, UndefinedMetricWarning
from breastus.evaluation.calibration.recalibration import RECALIBRATIONS, recalibrate
from breastus.evaluation.calibration.reliability import expected_calibration_error, image_log_loss
from breastus.evaluation.group_folds import group_folds
from breastus.evaluation.validation import (
    check_both_classes,
    check_choice,
    check_count,
    check_grouped,
    groups_per_class,
)

_SCORES = ("log_loss", "brier", "ece")
_QUANTILES = (0.1, 0.9)  # of the draws


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
    """Recalibrate on N images of the new hospital and score the others, for rising N.

    Each draw holds out half of the groups, with both classes split evenly. From the other half
    whole groups are taken in random order until there are N images. A sample of one class, which
    `recalibrate` refuses, leaves the probabilities as they are.

    Args:
        y_true: int [n], 1 for lump.
        y_prob: float [n], probability of lump from the model, 0 to 1.
        groups: [n], name of each image's group.
        sizes: numbers of labelled images, each at least 1.
        method: method of `recalibrate`.
        repeats: number of draws.
        seed: seed of the draws.

    Returns:
        For 0 (no recalibration) and each size in rising order: `images` (the size), `groups` (mean
        number taken), `single_class` (proportion of samples of one class), `improved` (proportion
        of draws whose log loss falls), and of `log_loss`, `brier` and `ece` (five bins of equal
        count), all lower is better, the mean over draws with the 10th and 90th percentile as
        `*_low` and `*_high`. NaN when half of the groups have fewer images. Draws share images, so
        they vary less than hospitals do.

    Raises:
        ConfigError: when the method is unknown, or a size or the number of draws is below 1.
        DataError: when the arrays do not fit each other, or a class has fewer than four groups.

    Warns:
        UndefinedMetricWarning: when a size is NaN.
    """
    check_choice("method", method, RECALIBRATIONS)
    for name, values in (("sizes", sizes), ("repeats", [repeats])):
        for value in values:
            check_count(name, value)
    y_true, y_prob, groups = check_grouped(y_true, y_prob, groups)
    check_both_classes(y_true, "A learning curve")
    if min((number := groups_per_class(y_true, groups)).values()) < 4:
        raise DataError(
            "A learning curve needs four groups of each class, two to fit and two to test. "
            f"Received: {number}"
        )
    rng = np.random.default_rng(seed)
    steps = [0, *sorted({int(size) for size in sizes})]
    draws: dict[int, list[dict]] = {size: [] for size in steps}
    for _ in range(repeats):
        held_out = group_folds(y_true, groups, 2, seed=int(rng.integers(2**31))) == 0
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
                    # The curve itself shows what few groups do.
                    warnings.simplefilter("ignore", FewGroupsWarning)
                    found = recalibrate(y_true[taken], y_prob[taken], groups[taken], method=method)
                after = _scores(y_true[held_out], found.calibrator.apply(y_prob[held_out]))
            better = after["log_loss"] < before["log_loss"]
            draws[size].append(
                {**after, "groups": count, "single_class": one_class, "improved": better}
            )
    if missing := [size for size in steps if len(draws[size]) < repeats]:
        warnings.warn(
            f"The learning curve is NaN from {missing[0]} images: half of the groups have fewer.",
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
    for name in ("groups", "single_class", "improved"):
        row[name] = float(np.mean([draw[name] for draw in draws])) if draws else math.nan
    if not size:
        row["single_class"] = math.nan  # there is no sample
    for name in _SCORES:
        values = [draw[name] for draw in draws]
        low, high = np.quantile(values, _QUANTILES) if draws else (math.nan, math.nan)
        row[name] = float(np.mean(values)) if draws else math.nan
        row[f"{name}_low"], row[f"{name}_high"] = float(low), float(high)
    return row
