"""Interval of a ROC-AUC without resampling, and of the difference of two on the same images.

For each lump the variance takes the proportion of the other images that score below it, and for
each other image the proportion of lumps above it (DeLong, DeLong, Clarke-Pearson, Biometrics 44,
1988, 837). These placement values come from mid-ranks, in the time of a sort (Sun, Xu, IEEE Signal
Processing Letters 21, 2014, 1389). Images of one group belong together, so the placement values are
summed by group first (Obuchowski, Biometrics 53, 1997, 567); with one image a group that is
DeLong's variance.

With few groups the variance is itself uncertain, and too small. The interval therefore reaches
Student's quantile with k - 1 degrees of freedom times sqrt(k / (k - 1)), where k groups carry the
rarer class. The normal quantile holds the truth of ten patients too seldom; with many groups the
two are the same (experiments/benchmarks/intervals.py).
"""

import math
import warnings
from collections.abc import Sequence

import numpy as np
from scipy.special import expit, logit
from scipy.stats import rankdata
from scipy.stats import t as student

from breastus.errors import UndefinedMetricWarning
from breastus.evaluation.intervals.bootstrap import student_reach
from breastus.evaluation.intervals.proportions import wilson_interval
from breastus.evaluation.validation import check_arrays, check_number, group_numbers

_EPSILON = 1e-12  # a standard error below this is rounding


def delong_interval(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    groups: Sequence | None = None,
    *,
    confidence: float = 0.95,
) -> dict[str, float]:
    """Return the ROC-AUC and its interval, which is symmetric on the logit scale.

    It cannot leave [0, 1], and near 1 it reaches further down than up (Pepe: The Statistical
    Evaluation of Medical Tests, 2003, 5.2).

    When the placement values do not vary, as with a ROC-AUC of exactly 1, the variance is 0, as if
    the value were certain. The interval is then Wilson's, of as many independent pairs of a lump
    and another image as can be formed with no group in two pairs. It errs on the wide side.

    Args:
        y_true, y_prob, groups: label, score (any number) and group of each image, [n].

    Returns:
        `value`, `standard_error`, `ci_low`, `ci_high`. All are NaN with one class only; all but the
        value when a class comes from fewer than two groups.
    """
    groups = group_numbers(groups, len(y_true))
    return mean_delong_interval([(y_true, y_prob, groups)], confidence=confidence)


def mean_delong_interval(
    tables: Sequence[tuple[np.ndarray, np.ndarray, Sequence]], *, confidence: float = 0.95
) -> dict[str, float]:
    """Return the mean ROC-AUC of several tables and its interval, as `delong_interval`.

    The same groups may be in several tables, such as the repeats of a cross-validation. Their
    placement values are summed over all tables, so that more tables of the same patients do not
    count as more patients.
    """
    check_number("confidence", confidence)
    ends = np.cumsum([len(groups) for _, _, groups in tables])
    every = group_numbers(np.concatenate([np.asarray(groups) for _, _, groups in tables]), ends[-1])
    parts = [
        (*_placements(y_true, y_prob), member)
        for (y_true, y_prob, _), member in zip(tables, np.split(every, ends[:-1]), strict=True)
    ]
    truth = np.concatenate([part[0] for part in parts])
    whole = all(len(lumps) and len(others) for _, lumps, others, _ in parts)
    value = float(np.mean([lumps.mean() for _, lumps, _, _ in parts])) if whole else math.nan
    error = _standard_error(parts) if whole else math.nan
    if math.isnan(error):
        _warn("The ROC-AUC has no interval", truth, every)
        low = high = math.nan
    elif error < _EPSILON:
        low, high = degenerate_auc_interval(value, truth, every, confidence=confidence)
    else:
        few = min(_groups_of(truth, every))
        half = student_reach(confidence, few) * error / (value * (1 - value))
        low, high = (float(expit(logit(value) + end)) for end in (-half, half))
    return {"value": value, "standard_error": error, "ci_low": low, "ci_high": high}


def degenerate_auc_interval(
    value: float, y_true: np.ndarray, groups: Sequence, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the interval of a ROC-AUC without variance, see `delong_interval`."""
    lump, member = np.asarray(y_true) == 1, group_numbers(groups, len(y_true))
    pairs = min(*_groups_of(lump, member), len(np.unique(member)) // 2)
    return wilson_interval(value * pairs, pairs, confidence=confidence)


def delong_difference(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    other_prob: np.ndarray,
    groups: Sequence | None = None,
    *,
    confidence: float = 0.95,
) -> dict[str, float]:
    """Return the difference of the ROC-AUCs of two scores of the same images.

    Args:
        y_true, groups: label and group of each image, [n].
        y_prob, other_prob: two scores of the same images, any number, [n].

    Returns:
        `difference`, -1 to 1, above 0 when `y_prob` is better; `standard_error`, `ci_low`,
        `ci_high`, `p_value` (two-sided, Student's). NaN as in `delong_interval`. When the
        difference does not vary, because both scores order all images alike, it has no interval,
        and a p-value of 1 if it is 0.
    """
    check_number("confidence", confidence)
    truth, *ours = _placements(y_true, y_prob)
    _, *theirs = _placements(y_true, other_prob)
    member = group_numbers(groups, len(truth))
    # The variance of the difference follows from the differences of placement values.
    lumps, others = (one - other for one, other in zip(ours, theirs, strict=True))
    difference = float(lumps.mean()) if len(lumps) and len(others) else math.nan
    error = _standard_error([(truth, lumps, others, member)])
    low = high = p_value = math.nan
    if math.isnan(error):
        _warn("The difference of ROC-AUCs has no interval", truth, member)
    elif error < _EPSILON:
        p_value = 1.0 if abs(difference) < _EPSILON else math.nan
        warnings.warn(
            f"The difference of ROC-AUCs, {difference:g}, has no interval: it is the same for "
            "every image.",
            UndefinedMetricWarning,
            stacklevel=2,
        )
    else:
        few = min(_groups_of(truth, member))
        half = student_reach(confidence, few) * error
        low, high = max(-1.0, difference - half), min(1.0, difference + half)
        p_value = float(2 * student.sf(abs(difference) / error * math.sqrt(1 - 1 / few), few - 1))
    return {
        "difference": difference,
        "standard_error": error,
        "ci_low": low,
        "ci_high": high,
        "p_value": p_value,
    }


def _placements(y_true, y_prob) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return bool [n], lumps, and the placement values of lumps and others; ties count half."""
    y_true, y_prob, _ = check_arrays(y_true, y_prob, any_score=True)
    lump = y_true == 1
    lumps, others = y_prob[lump], y_prob[~lump]
    rank = rankdata(y_prob)
    below = (rank[lump] - rankdata(lumps)) / max(len(others), 1)
    above = 1 - (rank[~lump] - rankdata(others)) / max(len(lumps), 1)
    return lump, below, above


def _standard_error(parts: Sequence[tuple]) -> float:
    """Return Obuchowski's standard error; NaN when a class comes from fewer than two groups.

    Args:
        parts: (lumps, placement values of the lumps, of the others, group numbers) of each table;
            with several, the error of the mean over them is returned.
    """
    lump, member = (np.concatenate([part[which] for part in parts]) for which in (0, 3))
    of_lump, of_other = _groups_of(lump, member)
    if min(of_lump, of_other) < 2:
        return math.nan
    number = int(member.max()) + 1
    # The deviations from the mean are summed over the images of each group.
    first, second = np.zeros(number), np.zeros(number)
    for is_lump, lumps, others, group in parts:
        mean = lumps.mean()
        first += np.bincount(group[is_lump], lumps - mean, number) / len(lumps) / len(parts)
        second += np.bincount(group[~is_lump], others - mean, number) / len(others) / len(parts)
    variance = (
        of_lump / (of_lump - 1) * (first**2).sum()
        + of_other / (of_other - 1) * (second**2).sum()
        + 2 * number / (number - 1) * (first * second).sum()
    )
    return math.sqrt(max(variance, 0.0))


def _groups_of(lump: np.ndarray, member: np.ndarray) -> tuple[int, int]:
    return len(np.unique(member[lump])), len(np.unique(member[~lump]))


def _warn(what: str, lump: np.ndarray, member: np.ndarray) -> None:
    of_lump, of_other = _groups_of(lump, member)
    warnings.warn(
        f"{what}: it takes two groups of each class ({of_lump} of lump, {of_other} of no lump).",
        UndefinedMetricWarning,
        stacklevel=3,
    )
