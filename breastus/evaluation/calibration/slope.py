"""Calibration slope and intercept, for the images themselves and many resamples at once.

Logistic recalibration regresses the label on the logit of the probability (Cox, Biometrika 45,
1958, 562). The slope is below 1 when probabilities are too extreme and above 1 when they are too
moderate. The intercept with the slope fixed at 1, calibration in the large, is above 0 when lumps
are more frequent than the probabilities say. Ideal are a slope of 1 and an intercept of 0.

Probabilities are clipped to 1e-12 from 0 and 1, as in the exported graph. A single wrong image at
that limit has a logit of 28 and dominates the slope, as it should.

Reference:
    Van Calster, Nieboer, Vergouwe, De Cock, Pencina, Steyerberg: A calibration hierarchy for risk
    models was defined. Journal of Clinical Epidemiology 74, 2016, 167.
"""

import math

import numpy as np
from scipy.special import expit, logit

from breastus.evaluation.calibration.logistic import TINY
from breastus.evaluation.validation import check_arrays

_FAR = -logit(TINY)
_STEPS = 100  # Newton steps; a dozen are common, more than these mean that there is no fit
_CLOSE = 1e-10  # relative change of every image's logit in the last step at convergence


def calibration_slope(y_true: np.ndarray, y_prob: np.ndarray, weights=None) -> np.ndarray:
    """Return the slope of the logistic regression of the label on the logit; any number, ideal 1.

    Values have the weights' leading shape. They are NaN with one class only, and when the scores of
    the classes do not overlap: no finite slope fits then (Albert, Anderson, Biometrika 71, 1984).
    """
    truth, x, rows = _arrays(y_true, y_prob, weights)
    found = np.full(len(rows), np.nan)
    # A fit exists if and only if the score ranges of the classes overlap.
    (low_0, high_0), (low_1, high_1) = (_reach(x, rows * (truth == value)) for value in (0, 1))
    exists = np.flatnonzero((low_1 < high_0) & (low_0 < high_1))
    if len(exists):
        # Standardized scores make the two equations of a step well conditioned.
        z = (x - x.mean()) / x.std()
        found[exists] = _newton(truth, z, rows[exists]) / x.std()
    return found.reshape(np.shape(weights)[:-1])


def calibration_intercept(y_true: np.ndarray, y_prob: np.ndarray, weights=None) -> np.ndarray:
    """Return the intercept on the logit scale with the slope fixed at 1; any number, ideal 0.

    Shapes are as in `calibration_slope`. NaN with one class only.
    """
    truth, x, rows = _arrays(y_true, y_prob, weights)
    shift = np.full(len(rows), np.nan)
    lumps, others = rows @ truth, rows @ (1 - truth)
    both = np.flatnonzero((lumps > 0) & (others > 0))
    if len(both):
        # With these shifts all probabilities are at most, or at least, the proportion of lumps.
        odds = np.log(lumps[both] / others[both])
        shift[both] = _root(truth, x, rows[both], odds - x.max(), odds - x.min())
    return shift.reshape(np.shape(weights)[:-1])


def _root(truth, x, rows, low, high) -> np.ndarray:
    """Return the shift in [low, high], [rows], at which predicted and actual lumps are as many.

    Newton's method, safeguarded by bisection: a step that leaves the bracket, or is more than half
    of the last one, is replaced by the middle of the bracket. Where all probabilities are extreme
    the equation is almost flat, and plain Newton steps diverge.
    """
    guess = np.clip(0.0, low, high)
    last = high - low
    left = np.arange(len(rows))
    for _ in range(_STEPS):
        some = rows if len(left) == len(rows) else rows[left]
        missing, spread = _missing_lumps(truth, x + guess[left, None], some)
        low[left] = np.where(missing >= 0, guess[left], low[left])
        high[left] = np.where(missing <= 0, guess[left], high[left])
        step = missing / np.maximum(spread, np.finfo(float).tiny)
        there = guess[left] + step
        good = (low[left] <= there) & (there <= high[left]) & (2 * np.abs(step) <= last[left])
        there = np.where(good, there, (low[left] + high[left]) / 2)
        last[left] = np.abs(there - guess[left])
        guess[left] = there
        left = left[last[left] > _CLOSE * (1 + np.abs(there))]
        if not len(left):
            break
    return guess


def _missing_lumps(truth, scores, rows) -> tuple[np.ndarray, np.ndarray]:
    """Return the lumps minus the sum of their predicted probabilities, and its derivative."""
    # The rounded probability and the tail are summed apart: beside 1 a tail of 1e-12 would be
    # rounded away, and with extreme probabilities the tails alone determine the root.
    rounded = ~np.signbit(scores)
    tail = expit(-np.abs(scores))
    missing = _summed(rows, truth - rounded) + _summed(rows, np.copysign(tail, scores))
    return missing, _summed(rows, tail - tail * tail)


def _summed(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the weighted sum of each row, [rows], without another array of that size."""
    return np.einsum("rn,rn->r", rows, values)


def _newton(truth: np.ndarray, z: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the slope on z for each row of weights; NaN where it does not converge.

    All rows are stepped together, and those that have converged drop out. They start from the fit
    of all rows summed, from which the rows of a bootstrap are a few steps away.
    """
    start = np.zeros((1, 2))
    if len(rows) > 1:
        total = rows.sum(0, keepdims=True)
        start, _ = _fit(truth, z, total / total.max(), start)
    guess, converged = _fit(truth, z, rows, np.repeat(start, len(rows), axis=0))
    return np.where(converged, guess[:, 1], np.nan)


def _fit(truth, z, rows, guess) -> tuple[np.ndarray, np.ndarray]:
    left = np.arange(len(rows))
    converged = np.zeros(len(rows), bool)
    for _ in range(_STEPS):
        if not len(left):
            break
        some = rows if len(left) == len(rows) else rows[left]
        mean = expit(guess[left, :1] + guess[left, 1:] * z)
        error = some * (truth - mean)
        spread = some * mean * (1 - mean)
        a, b, c = spread.sum(-1), spread @ z, spread @ (z * z)
        g, h = error.sum(-1), error @ z
        area = np.maximum(a * c - b * b, TINY**2)
        step = np.stack([(c * g - b * h) / area, (a * h - b * g) / area], axis=-1)
        # A line changes most at one of its ends.
        move = np.abs(step[:, :1] + step[:, 1:] * np.array([z.min(), z.max()])).max(-1)
        guess[left] += _damped(step, move[:, None])
        close = move <= _CLOSE * (1 + np.abs(guess[left]).max(-1))
        converged[left[close]] = True
        left = left[~close]
    return guess, converged


def _damped(step: np.ndarray, move: np.ndarray) -> np.ndarray:
    """Damp a Newton step that changes some image's logit by `move`, so that it never overshoots.

    The curvature of the logistic loss grows by at most e^move, whence the factor
    log(1 + move) / move (Sun, Tran-Dinh, Mathematical Programming 178, 2019, 145).
    """
    return step * np.where(move > 0, np.log1p(move) / np.where(move > 0, move, 1.0), 1.0)


def _reach(x: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest x with a weight; infinities without one."""
    low = np.where(rows > 0, x, np.inf).min(-1, initial=np.inf)
    return low, np.where(rows > 0, x, -np.inf).max(-1, initial=-np.inf)


def _arrays(y_true, y_prob, weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y_true, y_prob, weights = check_arrays(y_true, y_prob, weights)
    # The logit is clipped, not the probability: 1 - 1e-12 is rounded, which breaks the symmetry.
    x = np.clip(logit(y_prob), -_FAR, _FAR)
    return y_true.astype(float), x, weights.reshape(math.prod(weights.shape[:-1]), len(y_true))
