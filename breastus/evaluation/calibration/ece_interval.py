"""How large a calibration error is by chance alone, and the interval that follows.

The calibration error is a mean of distances, so noise only adds to it: that of perfect
probabilities is above 0, and that of a resample is larger again, by about as much.
"""

import numpy as np

from breastus.evaluation.calibration.reliability import reliability


def chance_ece(y_true: np.ndarray, y_prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the calibration error of each resample were the probabilities perfect: [resamples].

    The mean of probability less truth in each bin of `reliability` is moved to 0; what it is in a
    resample is noise then, as that of whole groups.

    Args:
        y_true: int [n], 1 for lump.
        y_prob: float [n], probability of lump.
        weights: [resamples, n], how often each image counts.
    """
    gap = np.asarray(y_prob, float) - y_true
    lows = [each["low"] for each in reliability(y_true, y_prob)]
    place = np.searchsorted(lows, y_prob, side="right") - 1
    columns = (place[:, None] == np.arange(len(lows))) * gap[:, None]
    total = weights.sum(axis=-1, keepdims=True)
    moved = weights @ columns / np.where(total > 0, total, np.nan) - columns.sum(axis=0) / len(gap)
    return np.abs(moved).sum(axis=-1)


def ece_interval(
    value: float, drawn: np.ndarray, noise: np.ndarray, tail: float
) -> tuple[float, float]:
    """Return the interval of a calibration error.

    Up to the percentile of the resamples, which errs on the wide side by what resampling adds. Down
    to twice the value less that (the basic bootstrap, Davison, Hinkley: Bootstrap Methods and their
    Application, 1997, 5.2), which takes the bias off; to 0 where chance alone would make as large
    an error of perfect probabilities.

    Args:
        value: of the images themselves.
        drawn: float [resamples], of the resamples.
        noise: float [resamples], as from `chance_ece`.
        tail: what is left out at either end, such as 0.025.
    """
    low, high = np.quantile(drawn, [tail, 1 - tail])
    by_chance = np.quantile(noise, 1 - tail)
    lowest = 0.0 if value <= by_chance else min(value, max(0.0, 2 * value - high))
    return float(lowest), float(max(high, 2 * value - low))


def ece_difference_interval(
    difference: float, drawn: np.ndarray, tail: float
) -> tuple[float, float]:
    """Return the interval of a difference of calibration errors: the percentiles, and what the
    basic bootstrap reaches beyond them. The biases of the two cancel as far as they are alike.
    """
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return (
        float(min(low, 2 * difference - high, difference)),
        float(max(high, 2 * difference - low, difference)),
    )
