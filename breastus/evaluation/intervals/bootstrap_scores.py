"""A few scores of many resamples at once, fast: truth, probabilities and weights in, scores out.

The scores are those that robustness is told by. With the same weights for two models, or for two
states of the images, the difference of two results is that of pairs.
"""

from collections.abc import Sequence

import numpy as np

from breastus.evaluation.calibration.reliability import reliability
from breastus.evaluation.intervals.bootstrap import percentiles
from breastus.evaluation.intervals.degenerate_intervals import is_degenerate, mean_interval
from breastus.evaluation.intervals.delong import degenerate_auc_interval
from breastus.evaluation.intervals.proportions import effective_size, wilson_interval
from breastus.evaluation.metrics.metrics import METRICS, roc_auc

CALIBRATION_ERROR = "calibration_error"
# Name to title; all but the last are metrics of `METRICS`, and equal to them.
SCORES = {
    **{
        name: METRICS[name].title
        for name in ("roc_auc", "balanced_accuracy", "sensitivity", "specificity", "brier")
    },
    CALIBRATION_ERROR: "Calibration error",
}
_BLOCK = 500  # resamples computed at a time, which bounds memory


def bootstrap_scores(
    y_true: np.ndarray, y_prob: np.ndarray, weights: np.ndarray, *, threshold: float
) -> dict[str, np.ndarray]:
    """Compute the scores of `SCORES` for each row of weights.

    The calibration error has five bins of equal count, as in `expected_calibration_error`; the bins
    are those of all images together, for every resample.

    Args:
        y_true: int [n], 1 for lump.
        y_prob: float [n], probability of lump.
        weights: [rows, n], how often each image counts.
        threshold: called lump when `y_prob >= threshold`.

    Returns:
        Name to float [rows]; NaN where undefined.
    """
    y_true, y_prob = np.asarray(y_true), np.asarray(y_prob, float)
    lump, called = y_true == 1, y_prob >= threshold
    lows = [bin_["low"] for bin_ in reliability(y_true, y_prob)]
    place = np.searchsorted(lows, y_prob, side="right") - 1
    gaps = np.where(place[:, None] == np.arange(len(lows)), (y_prob - y_true)[:, None], 0.0)
    # What each image adds to the sums that the scores are made of; one product sums them all.
    parts = [lump, ~lump, lump & called, ~lump & ~called, (y_prob - y_true) ** 2]
    columns = np.column_stack([*parts, gaps]).astype(float)
    found: dict[str, list] = {name: [] for name in SCORES}
    for start in range(0, len(weights), _BLOCK):
        block = np.asarray(weights[start : start + _BLOCK], float)
        lumps, others, hits, cleared, squares, *bins = (block @ columns).T
        sensitivity, specificity = _ratio(hits, lumps), _ratio(cleared, others)
        found["roc_auc"].append(roc_auc(y_true, y_prob, block))
        found["balanced_accuracy"].append((sensitivity + specificity) / 2)
        found["sensitivity"].append(sensitivity)
        found["specificity"].append(specificity)
        found["brier"].append(_ratio(squares, lumps + others))
        found[CALIBRATION_ERROR].append(_ratio(np.abs(bins).sum(axis=0), lumps + others))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def score_interval(
    name: str, value: float, drawn: np.ndarray, confidence: float
) -> tuple[float, float]:
    """Return the interval of a score, or of a change of it: percentiles of the resamples.

    The calibration error's is moved by what resampling adds to it: noise never makes it smaller, so
    that resamples have a larger one than the images they are drawn from, by about the bias that
    the value itself has (Efron and Tibshirani: An Introduction to the Bootstrap, 1993, chapter 10).

    Args:
        name: of the score.
        value: of the images themselves.
        drawn: float [resamples].
        confidence: level, such as 0.95.
    """
    low, high = percentiles(drawn, (1 - confidence) / 2)
    if name == CALIBRATION_ERROR and low == low:
        added = float(np.nanmedian(drawn)) - value
        return low - added, high - added
    return low, high


def score_intervals(
    values: dict[str, float],
    drawn: dict[str, np.ndarray],
    *,
    truth: np.ndarray,
    groups: Sequence,
    confidence: float,
) -> dict[str, tuple[float, float]]:
    """Return the interval of each score, within what it can be.

    A score that is the same in every resample, such as a share of exactly 1, has Wilson's interval,
    over groups, as in `bootstrap_intervals`.

    Args:
        values: of the images themselves.
        drawn: name to float [resamples], as from `bootstrap_scores`.
        truth: int [n], 1 for lump.
        groups: [n], what was drawn together.
        confidence: level, such as 0.95.
    """
    bounds = {name: score_interval(name, values[name], drawn[name], confidence) for name in values}
    truth, groups = np.asarray(truth), np.asarray(groups)
    for name, among in (("sensitivity", 1), ("specificity", 0)):
        if is_degenerate(bounds[name]):
            count = effective_size(
                np.ones(int((truth == among).sum()), bool), groups[truth == among]
            )
            bounds[name] = wilson_interval(values[name] * count, count, confidence=confidence)
    if is_degenerate(bounds["balanced_accuracy"]):
        parts = ("sensitivity", "specificity")
        bounds["balanced_accuracy"] = mean_interval(
            [values[name] for name in parts], [bounds[name] for name in parts]
        )
    if is_degenerate(bounds["roc_auc"]):
        bounds["roc_auc"] = degenerate_auc_interval(
            values["roc_auc"], truth, groups, confidence=confidence
        )
    low, high = bounds[CALIBRATION_ERROR]
    bounds[CALIBRATION_ERROR] = (float(np.maximum(low, 0)), float(np.maximum(high, 0)))
    return bounds


def beyond_chance(change: np.ndarray, drawn: np.ndarray, confidence: float) -> np.ndarray:
    """Say of several changes which of them chance does not explain, judged together.

    A change counts when it is larger than the largest of as many changes would be by chance: each
    is divided by its spread, and the limit is the quantile of the largest of them over the
    resamples (studentised maximum; Romano and Wolf, Econometrica 73, 2005, 1237). That many changes
    were looked at is part of the limit, and that they go together makes it no higher than needed.
    The median spread is added to each (Tusher, Tibshirani and Chu, PNAS 98, 2001, 5116): changes
    of next to nothing, which hang on one image, have a spread that is no measure of their tails.

    Args:
        change: float [changes]; NaN is not beyond chance.
        drawn: float [changes, resamples], of the same resamples.
        confidence: level for all of them together, such as 0.95.

    Returns:
        bool [changes].
    """
    beyond = np.zeros(len(change), bool)
    known = np.flatnonzero(~np.isnan(drawn).all(axis=1) & ~np.isnan(change))
    spread = np.nanstd(drawn[known], axis=1)
    # What is the same in every resample is not chance, unless it is no change.
    beyond[known] = change[known] != 0
    moves, spread = known[spread > 0], spread[spread > 0]
    if len(moves):
        spread = spread + np.median(spread)
        away = np.abs(drawn[moves] - change[moves, None]) / spread[:, None]
        limit = np.quantile(np.nan_to_num(away).max(axis=0), confidence)
        beyond[moves] = np.abs(change[moves]) > limit * spread
    return beyond


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan)
