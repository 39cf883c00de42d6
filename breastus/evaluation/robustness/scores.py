"""Scores by which robustness is measured, fast for many resamples, and tests of their change.

Two states of the images share their resamples, so that the difference of two results is paired.
"""

import numpy as np

from breastus.evaluation.calibration.reliability import bin_gaps
from breastus.evaluation.intervals.bootstrap import GroupBootstrap, percentile_interval
from breastus.evaluation.intervals.degenerate_intervals import is_degenerate, mean_interval
from breastus.evaluation.intervals.delong import degenerate_auc_interval
from breastus.evaluation.intervals.proportions import kish_size, wilson_interval
from breastus.evaluation.metrics.metrics import METRICS, roc_auc
from breastus.evaluation.validation import ratio

CALIBRATION_ERROR = "calibration_error"
# Name to title; all but the last are metrics of `METRICS`, and equal to them.
SCORES = {
    **{
        name: METRICS[name].title
        for name in ("roc_auc", "balanced_accuracy", "sensitivity", "specificity", "brier")
    },
    CALIBRATION_ERROR: "Calibration error",
}


class ImageScores:
    """Scores of the clean or corrupted images, and of each resample.

    Attributes:
        values: name of `SCORES` to float; NaN when undefined.
        drawn: name to float [resamples].
    """

    def __init__(self, y_true, y_prob, threshold: float, bootstrap: GroupBootstrap):
        """Compute all scores.

        Args:
            y_true: int [n], 1 for lump.
            y_prob: float [n], probability of lump.
            threshold: images are predicted lump when `y_prob >= threshold`.
            bootstrap: resamples of the same images.
        """
        self.y_true, self.y_prob = np.asarray(y_true), np.asarray(y_prob, float)
        lump, predicted = self.y_true == 1, self.y_prob >= threshold
        # What each image adds to the sums that the scores are made of; one product sums them all.
        parts = [lump, ~lump, lump & predicted, ~lump & ~predicted, (self.y_prob - lump) ** 2]
        self._columns = np.column_stack([*parts, bin_gaps(self.y_true, self.y_prob)]).astype(float)
        whole = self._scores(np.ones((1, len(self.y_true))))
        self.values = {name: float(score[0]) for name, score in whole.items()}
        self.drawn = bootstrap.scores(self._scores)

    def _scores(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return the scores for weights [rows, n], each [rows].

        The calibration error has the five bins of equal count of all images, in every resample.
        """
        sums = (np.asarray(weights, float) @ self._columns).T
        lumps, others, found, cleared, squares, *gaps = sums
        sensitivity, specificity = ratio(found, lumps), ratio(cleared, others)
        return {
            "roc_auc": roc_auc(self.y_true, self.y_prob, weights),
            "balanced_accuracy": (sensitivity + specificity) / 2,
            "sensitivity": sensitivity,
            "specificity": specificity,
            "brier": ratio(squares, lumps + others),
            CALIBRATION_ERROR: ratio(np.abs(gaps).sum(axis=0), lumps + others),
        }


def score_interval(name: str, value: float, drawn: np.ndarray, tail: float) -> tuple[float, float]:
    """Return the percentile interval of a score, or of its change.

    For the calibration error it is moved by the bootstrap bias: noise only adds to the error, so
    that resamples have a larger one than the images they are drawn from (Efron and Tibshirani: An
    Introduction to the Bootstrap, 1993, chapter 10).

    Args:
        name: name of the score.
        value: score of the images themselves.
        drawn: float [resamples].
        tail: share of the resamples left out on either side.
    """
    low, high = percentile_interval(drawn, tail)
    if name == CALIBRATION_ERROR and not np.isnan(low):
        bias = float(np.nanmedian(drawn)) - value
        return low - bias, high - bias
    return low, high


def score_intervals(
    scores: ImageScores, groups: np.ndarray, *, tail: float, confidence: float
) -> dict[str, tuple[float, float]]:
    """Return the interval of each score within its range.

    A score that is the same in every resample, such as a proportion of exactly 1, has the intervals
    of `replace_degenerate_intervals`.

    Args:
        scores: the scores.
        groups: [n], name of each image's group.
        tail: share of the resamples left out on either side.
        confidence: level of the intervals.
    """
    values = scores.values
    found = {name: score_interval(name, values[name], scores.drawn[name], tail) for name in values}
    parts = {"sensitivity": 1, "specificity": 0}
    for name, label in parts.items():
        if is_degenerate(found[name]):
            size = kish_size(groups[scores.y_true == label])
            found[name] = wilson_interval(values[name] * size, size, confidence=confidence)
    if is_degenerate(found["balanced_accuracy"]):
        found["balanced_accuracy"] = mean_interval(
            [values[name] for name in parts], [found[name] for name in parts]
        )
    if is_degenerate(found["roc_auc"]):
        found["roc_auc"] = degenerate_auc_interval(
            values["roc_auc"], scores.y_true, groups, confidence=confidence
        )
    low, high = found[CALIBRATION_ERROR]
    found[CALIBRATION_ERROR] = float(np.maximum(low, 0)), float(np.maximum(high, 0))
    return found


def significant_changes(change: np.ndarray, drawn: np.ndarray, confidence: float) -> np.ndarray:
    """Return which of several changes are larger than chance explains, tested jointly.

    A change counts when it exceeds what the largest of as many changes would be by chance: each is
    divided by its standard deviation over the resamples, and the limit is the quantile of the
    largest of them (studentized maximum; Romano and Wolf, Econometrica 73, 2005, 1237). The limit
    so accounts for the number of changes and for their correlation. The median standard deviation
    is added to each (Tusher, Tibshirani and Chu, PNAS 98, 2001, 5116), because for a
    tiny change, which depends on a single image, it does not measure the tails.

    Args:
        change: float [changes]; NaN is not significant.
        drawn: float [changes, resamples], of the same resamples.
        confidence: joint level of all changes, such as 0.95.

    Returns:
        bool [changes].
    """
    significant = np.zeros(len(change), bool)
    known = np.flatnonzero(~np.isnan(drawn).all(axis=1) & ~np.isnan(change))
    spread = np.nanstd(drawn[known], axis=1)
    # A change that is the same in every resample is not chance, unless it is 0.
    significant[known] = change[known] != 0
    varies, spread = known[spread > 0], spread[spread > 0]
    if len(varies):
        spread = spread + np.median(spread)
        away = np.abs(drawn[varies] - change[varies, None]) / spread[:, None]
        limit = np.quantile(np.nan_to_num(away).max(axis=0), confidence)
        significant[varies] = np.abs(change[varies]) > limit * spread
    return significant
