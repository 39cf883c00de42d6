"""What is wrong with probabilities as a whole: are they too sure, are they too high?

Logistic recalibration fits the truth to the logit of the probability (Cox, Biometrika 45, 1958,
562). Its slope is below 1 where probabilities are too extreme, above 1 where they are too timid.
Its intercept with the slope held at 1, "calibration in the large", is above 0 where lumps are more
frequent than the probabilities say. Of good ones the slope is 1 and the intercept 0.

A probability is kept 1e-12 off 0 and 1, as in the exported graph. One wrong image of which the
model was that sure has a logit of 28 and sways the slope of all the others; it should.

Reference:
    Van Calster, Nieboer, Vergouwe, De Cock, Pencina, Steyerberg: A calibration hierarchy for risk
    models was defined. Journal of Clinical Epidemiology 74, 2016, 167.
"""

import math

import numpy as np
from scipy.special import expit, logit

from breastus.evaluation.validation import check_probabilities, checked

_TINY = 1e-12
_FAR = -logit(_TINY)
_STEPS = 100  # a dozen are common; what takes more than these has no fit
_CLOSE = 1e-10  # the last step moved no image's logit by more, as a part of the logits' size


def calibration_slope(y_true: np.ndarray, y_prob: np.ndarray, weights=None) -> np.ndarray:
    """Slope of the logistic regression of truth on the logit of `y_prob`; ideal 1, any number.

    Args:
        y_true: int [n], 1 for lump.
        y_prob: float [n], 0 to 1.
        weights: [..., n], how often each image counts; None counts each once.

    Returns:
        A value for each of the weights' leading shape. NaN with one class only, and where the
        scores of the classes do not overlap: then no slope is steep enough (Albert, Anderson,
        Biometrika 71, 1984, 1).
    """
    truth, x, rows = _arrays(y_true, y_prob, weights)
    found = np.full(len(rows), np.nan)
    # A fit exists if and only if each class reaches into the other's scores.
    (low_0, high_0), (low_1, high_1) = (_reach(x, rows * (truth == value)) for value in (0, 1))
    exists = np.flatnonzero((low_1 < high_0) & (low_0 < high_1))
    if len(exists):
        # Centred and scaled, so that the two equations of a step are well apart.
        z = (x - x.mean()) / x.std()
        found[exists] = _newton(truth, z, rows[exists]) / x.std()
    return found.reshape(np.shape(weights)[:-1])


def calibration_intercept(y_true: np.ndarray, y_prob: np.ndarray, weights=None) -> np.ndarray:
    """Intercept on the logit scale with the slope held at 1; ideal 0, any number.

    Arguments and shape as of `calibration_slope`. NaN with one class only.
    """
    truth, x, rows = _arrays(y_true, y_prob, weights)
    shift = np.full(len(rows), np.nan)
    lumps, others = rows @ truth, rows @ (1 - truth)
    both = np.flatnonzero((lumps > 0) & (others > 0))
    if len(both):
        # Shifted so far, all probabilities are at most, or at least, the share of lumps.
        odds = np.log(lumps[both] / others[both])
        shift[both] = _root(truth, x, rows[both], odds - x.max(), odds - x.min())
    return shift.reshape(np.shape(weights)[:-1])


def _root(truth, x, rows, low, high) -> np.ndarray:
    """Return the shift between low and high, [rows], at which as many lumps are said as there are.

    Newton's steps while each stays between the ends and is half of the last one at most; else the
    middle of the ends. Where all images are sure the equation is all but level, and from there
    Newton's steps alone go anywhere.
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
    """Return by how much the probabilities of scores fall short of the lumps, and its slope."""
    # What is called is counted apart from the tails, which beside 1 would be rounded away: with
    # probabilities of 1e-12 they alone say where the root is.
    called = ~np.signbit(scores)
    tail = expit(-np.abs(scores))
    missing = _summed(rows, truth - called) + _summed(rows, np.copysign(tail, scores))
    return missing, _summed(rows, tail - tail * tail)


def _summed(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the weighted sum of each row, [rows], without a third array of that size."""
    return np.einsum("rn,rn->r", rows, values)


def _newton(truth: np.ndarray, z: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the slope on z for each row of weights; NaN where it does not settle.

    All rows are stepped together; those that have settled drop out. They start from the fit of
    all of them summed, from which a bootstrap's rows are a few steps away.
    """
    start = np.zeros((1, 2))
    if len(rows) > 1:
        total = rows.sum(0, keepdims=True)
        start, _ = _fit(truth, z, total / total.max(), start)
    guess, settled = _fit(truth, z, rows, np.repeat(start, len(rows), axis=0))
    return np.where(settled, guess[:, 1], np.nan)


def _fit(truth, z, rows, guess) -> tuple[np.ndarray, np.ndarray]:
    left = np.arange(len(rows))
    settled = np.zeros(len(rows), bool)
    for _ in range(_STEPS):
        if not len(left):
            break
        some = rows if len(left) == len(rows) else rows[left]
        mean = expit(guess[left, :1] + guess[left, 1:] * z)
        error = some * (truth - mean)
        spread = some * mean * (1 - mean)
        a, b, c = spread.sum(-1), spread @ z, spread @ (z * z)
        g, h = error.sum(-1), error @ z
        area = np.maximum(a * c - b * b, _TINY**2)
        step = np.stack([(c * g - b * h) / area, (a * h - b * g) / area], axis=-1)
        # A line moves most at one of its ends.
        move = np.abs(step[:, :1] + step[:, 1:] * np.array([z.min(), z.max()])).max(-1)
        guess[left] += _damped(step, move[:, None])
        close = move <= _CLOSE * (1 + np.abs(guess[left]).max(-1))
        settled[left[close]] = True
        left = left[~close]
    return guess, settled


def _damped(step: np.ndarray, move: np.ndarray) -> np.ndarray:
    """Shorten a Newton step that moves some image's logit by `move`, so that it never overshoots.

    The logistic loss curves by at most e^move more than assumed, whence the factor
    log(1 + move) / move (Sun, Tran-Dinh, Mathematical Programming 178, 2019, 145).
    """
    return step * np.where(move > 0, np.log1p(move) / np.where(move > 0, move, 1.0), 1.0)


def _reach(x: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest x that counts; of none, infinities that meet nothing."""
    low = np.where(rows > 0, x, np.inf).min(-1, initial=np.inf)
    return low, np.where(rows > 0, x, -np.inf).max(-1, initial=-np.inf)


def _arrays(y_true, y_prob, weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y_true, y_prob, weights = checked(y_true, y_prob, weights)
    check_probabilities(y_prob)
    # Not the probability: 1 - 1e-12 is rounded, so that the two ends would not be equally far.
    x = np.clip(logit(y_prob), -_FAR, _FAR)
    return y_true.astype(float), x, weights.reshape(math.prod(weights.shape[:-1]), len(y_true))
