"""Reliability diagram, log loss, expected calibration error (ECE) and its interval."""

import numpy as np

from breastus.evaluation.calibration.logistic import TINY
from breastus.evaluation.validation import check_arrays, ratio

_BINS = 5


def image_log_loss(y_true: np.ndarray, y_prob: np.ndarray) -> np.ndarray:
    """Return the log loss of each image, [n]: minus the logarithm of its class's probability.

    0 or more, lower is better; probabilities are clipped at 1e-12.
    """
    y_true, y_prob, _ = check_arrays(y_true, y_prob)
    return -np.log(np.maximum(np.where(y_true == 1, y_prob, 1 - y_prob), TINY))


def reliability(y_true: np.ndarray, y_prob: np.ndarray) -> list[dict]:
    """Compare predicted probabilities with the proportion of lumps, in five bins of equal count.

    Returns:
        For each bin, in rising order: `low`, `high`, `count`, `lumps`, `mean_probability`. There
        are fewer bins when there are fewer distinct probabilities.
    """
    y_true, y_prob, _ = check_arrays(y_true, y_prob)
    if not len(y_prob):
        return []
    edges = np.unique(np.quantile(y_prob, np.linspace(0, 1, _BINS + 1)))
    place = np.clip(np.searchsorted(edges, y_prob, side="right") - 1, 0, max(len(edges) - 2, 0))
    return [
        {
            "low": float(y_prob[inside].min()),
            "high": float(y_prob[inside].max()),
            "count": int(inside.sum()),
            "lumps": int(y_true[inside].sum()),
            "mean_probability": float(y_prob[inside].mean()),
        }
        for inside in (place == number for number in np.unique(place))
    ]


def expected_calibration_error(
    y_true: np.ndarray, y_prob: np.ndarray, *, weights=None
) -> np.ndarray:
    """Return the expected calibration error (ECE), 0 to 1, lower is better.

    The mean, weighted by count, of |mean probability - proportion of lumps| over the bins of
    `reliability`. With few images it is noisy and biased upwards: perfect probabilities have an ECE
    above 0, see `chance_ece`.

    Weights count for the edges of the bins as well. Values have their leading shape; NaN without
    images.
    """
    y_true, y_prob, weights = check_arrays(y_true, y_prob, weights)
    order = np.argsort(y_prob, kind="stable")
    prob, weights = y_prob[order], weights[..., order]
    if not len(prob):
        return np.full(weights.shape[:-1], np.nan)[()]
    excess = np.cumsum(weights * (y_true[order] - prob), axis=-1)
    excess = np.concatenate([np.zeros((*excess.shape[:-1], 1)), excess], axis=-1)
    gaps = np.abs(np.diff(np.take_along_axis(excess, _bin_ends(prob, weights), axis=-1), axis=-1))
    return ratio(gaps.sum(-1), weights.sum(-1))[()]


def bin_gaps(y_true: np.ndarray, y_prob: np.ndarray) -> np.ndarray:
    """Return probability minus label of each image in the column of its bin, [n, bins].

    Multiplied by resample weights it gives the gaps of every resample at once. The bins are those
    of `reliability` for the images themselves.
    """
    lows = [each["low"] for each in reliability(y_true, y_prob)]
    place = np.searchsorted(lows, y_prob, side="right") - 1
    return (place[:, None] == np.arange(len(lows))) * (y_prob - y_true)[:, None]


def chance_ece(y_true: np.ndarray, y_prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the ECE that each resample has by chance, if the probabilities were perfect, [...].

    The mean gap of each bin is moved to 0, so that what a resample of groups shows is chance.
    """
    gaps = bin_gaps(y_true, y_prob)
    total = weights.sum(axis=-1, keepdims=True)
    moved = weights @ gaps / np.where(total > 0, total, np.nan) - gaps.sum(axis=0) / len(gaps)
    return np.abs(moved).sum(axis=-1)


def debiased_ece(value: float, chance: np.ndarray) -> dict[str, float]:
    """Return an ECE without the part that noise adds.

    Noise and error add as squares do, so that the value is sqrt(max(0, ECE^2 - mean chance^2)), as
    Kumar, Liang and Ma correct the squared error (Verified uncertainty calibration, NeurIPS 2019,
    section 4). Far above the noise it equals the ECE; perfect probabilities have half the time 0.

    Args:
        value: ECE of the images themselves.
        chance: `chance_ece` of the resamples, float [resamples].

    Returns:
        `value`, debiased; `uncorrected`; `noise`, the ECE of perfect probabilities by chance. With
        no resample the noise is NaN, and the value uncorrected.
    """
    if not len(chance):
        return {"value": value, "uncorrected": value, "noise": float("nan")}
    noise = float(np.sqrt(np.mean(np.square(chance))))
    corrected = float(np.sqrt(np.maximum(0.0, value**2 - noise**2)))  # NaN stays NaN
    return {"value": corrected, "uncorrected": value, "noise": noise}


def ece_by_chance(chance: np.ndarray, tail: float) -> float:
    """Return the ECE up to which probabilities cannot be distinguished from perfect ones."""
    return float(np.quantile(chance, 1 - tail))


def ece_interval(
    value: float, drawn: np.ndarray, chance: np.ndarray, tail: float
) -> tuple[float, float]:
    """Return the interval of an ECE, for a value that `debiased_ece` corrects.

    Noise only adds to an ECE, so resamples have a larger one than the images they are drawn from.
    The upper end is the percentile of the resamples, which errs on the wide side. The lower end is
    the basic bootstrap's (Davison, Hinkley: Bootstrap Methods and their Application, 1997, 5.2),
    which removes the bias; it is 0 when perfect probabilities would show as large an error by
    chance.

    Args:
        value: ECE of the images themselves, uncorrected.
        drawn, chance: ECE and `chance_ece` of the resamples, float [resamples].
        tail: share left out on either side, such as 0.025.
    """
    low, high = np.quantile(drawn, [tail, 1 - tail])
    lowest = 0.0
    if value > ece_by_chance(chance, tail):
        lowest = min(debiased_ece(value, chance)["value"], max(0.0, 2 * value - high))
    return float(lowest), float(max(high, 2 * value - low))


def ece_difference_interval(
    difference: float, drawn: np.ndarray, tail: float
) -> tuple[float, float]:
    """Return the interval of a difference of two ECEs.

    The percentiles, extended to where the basic bootstrap reaches. The biases of the two cancel as
    far as they are alike.
    """
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return (
        float(min(low, 2 * difference - high, difference)),
        float(max(high, 2 * difference - low, difference)),
    )


def _bin_ends(prob: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the ends of the bins among sorted probabilities, outer ends included, [..., 6].

    The quantiles equal np.quantile with each probability repeated as often as it counts. An
    image at the edge of a bin is in the upper one, as in `reliability`, and the highest probability
    has no bin of its own.
    """
    reached = np.cumsum(weights, axis=-1)
    highest = prob[np.minimum((reached < reached[..., -1:]).sum(-1), len(prob) - 1)]
    last = np.maximum(reached[..., -1] - 1, 0)
    ends = [np.zeros(weights.shape[:-1], int)]
    for share in np.linspace(0, 1, _BINS + 1)[1:-1]:
        place = last * share
        before = np.floor(place)
        low, high = (
            prob[np.minimum((reached <= number[..., None]).sum(-1), len(prob) - 1)]
            for number in (before, np.minimum(before + 1, last))
        )
        part = place - before
        # Rounded as np.quantile does, or an image at the edge could change its bin.
        edge = np.where(part < 0.5, low + (high - low) * part, high - (high - low) * (1 - part))
        ends.append(np.where(edge < highest, np.searchsorted(prob, edge), len(prob)))
    ends.append(np.full(weights.shape[:-1], len(prob)))
    return np.stack(ends, axis=-1)
