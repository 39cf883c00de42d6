"""Probabilities that mean what they say: temperature scaling, and how to see whether it worked.

Reference:
    Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks. ICML 2017.
"""

import warnings

import numpy as np

from breastus.errors import UndefinedMetricWarning
from breastus.evaluation.checks import check_choice
from breastus.evaluation.validation import check_probabilities, checked, ratio
from breastus.labels import LUMP

STRATEGIES = ("count", "width")  # what bins have in common
_TINY = 1e-12  # probabilities are kept off zero, as in the exported graph
_BOUNDS = (0.05, 20.0)  # temperatures beyond these say that the fit went wrong


def apply_temperature(
    probabilities: np.ndarray, temperature: float, *, shift: float = 0.0
) -> np.ndarray:
    """Divide the logarithms of softmax probabilities by a temperature and normalise again.

    Args:
        probabilities: [n, classes].
        temperature: above 1 makes them less sure, below 1 surer; the order stays.
        shift: taken from the logarithm of lump first.
    """
    logits = np.log(np.maximum(np.asarray(probabilities, float), _TINY))
    logits[..., LUMP] -= shift
    logits /= temperature
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def fit_temperature(y_true: np.ndarray, probabilities: np.ndarray, *, shift: float = 0.0) -> float:
    """Return the temperature with the lowest cross-entropy; to be fitted on validation images.

    Of one class only, or where no image has another class likelier than its own, the loss falls
    with the temperature without end: the surest answer would always be the best. Images without an
    error cannot say how often a sure answer is wrong, so they are no evidence for surer
    probabilities, and the temperature is left at 1. Platt's smoothed targets would be finite there,
    but used throughout they would change every temperature, and used there alone they would
    sharpen all the same; who wants them takes the method platt.

    Args:
        y_true: int [n], class ids.
        probabilities: [n, classes], softmax probabilities of the network, 0 to 1.
        shift: taken from the logarithm of lump first.

    Returns:
        A number from 0.05 to 20.

    Raises:
        ValueError: when the two do not fit each other, or hold something else.

    Warns:
        UndefinedMetricWarning: when the temperature is left at 1.
        UserWarning: when it is held at 0.05 or 20, as the lowest cross-entropy lies beyond.
    """
    y_true, probabilities = _classes_and_probabilities(y_true, probabilities)
    if reason := _why_undefined(y_true, probabilities, shift):
        warnings.warn(
            f"The temperature is left at 1: {reason}", UndefinedMetricWarning, stacklevel=2
        )
        return 1.0
    temperature = _lowest_loss(y_true, probabilities, shift, floor=_TINY)
    if (_own(y_true, probabilities, temperature, shift) <= _TINY).any():
        # Below 1e-12 a wrong image costs no more, so that one of them, given up, lets the others
        # grow as sure as they like. Searched again with all that it costs.
        temperature = _lowest_loss(y_true, probabilities, shift, floor=np.finfo(float).tiny)
    if temperature in _BOUNDS:
        warnings.warn(_of_bound(temperature), stacklevel=2)
    return temperature


def _classes_and_probabilities(y_true, probabilities) -> tuple[np.ndarray, np.ndarray]:
    y_true, probabilities = np.asarray(y_true), np.asarray(probabilities, float)
    if probabilities.ndim != 2 or y_true.shape != probabilities.shape[:1]:
        raise ValueError(
            "probabilities must be [n, classes], a row for each of y_true. "
            f"Received: shapes {probabilities.shape} and {y_true.shape}"
        )
    check_probabilities(probabilities, "probabilities")
    classes = range(probabilities.shape[1])
    if not (known := np.isin(y_true, classes)).all():
        raise ValueError(
            f"y_true must hold class ids from 0 to {len(classes) - 1}. "
            f"Received: {y_true[~known][0]}"
        )
    return y_true.astype(int), probabilities


def _own(y_true, probabilities, temperature: float, shift: float) -> np.ndarray:
    """Return what is said of each image's own class at a temperature, [n]."""
    calibrated = apply_temperature(probabilities, temperature, shift=shift)
    return calibrated[np.arange(len(y_true)), y_true]


def _why_undefined(y_true: np.ndarray, probabilities: np.ndarray, shift: float) -> str:
    """Say why no temperature is low enough; nothing where there is a lowest cross-entropy."""
    if len(np.unique(y_true)) < 2:
        return "the validation images are of one class only."
    likeliest = apply_temperature(probabilities, 1.0, shift=shift).max(axis=1)
    # By more than rounding.
    if (_own(y_true, probabilities, 1.0, shift) < likeliest - _TINY).any():
        return ""
    return (
        "no validation image has another class likelier than its own, so the surest answer would "
        "always be the best, and to know how sure to be takes more validation images or "
        "evaluation.calibration=platt."
    )


def _lowest_loss(y_true, probabilities, shift: float, *, floor: float) -> float:
    """Return the temperature of the lowest cross-entropy; exactly a bound where it ends there."""
    from scipy.optimize import minimize_scalar

    def cross_entropy(log_temperature: float) -> float:
        own = _own(y_true, probabilities, np.exp(log_temperature), shift)
        return -np.log(np.maximum(own, floor)).mean()

    ends = np.log(_BOUNDS)
    fit = minimize_scalar(cross_entropy, bounds=ends, method="bounded")
    # The search stops short of an end, by some times its tolerance of 1e-5.
    for bound, end in zip(_BOUNDS, ends, strict=True):
        if abs(fit.x - end) < 1e-4:
            return bound
    return float(np.exp(fit.x))


def _of_bound(temperature: float) -> str:
    if temperature == _BOUNDS[1]:
        return (
            f"The temperature is held at its highest, {temperature:g}, which leaves hardly any "
            "difference between the images, as on validation the network is not more often right "
            "where it is surer: see that no labels are exchanged, train longer, or, where all "
            "probabilities are too high or too low, take evaluation.calibration=platt."
        )
    return (
        f"The temperature is held at its lowest, {temperature:g}, where small differences between "
        "probabilities decide, as on validation the network is right far more often than they say: "
        "train longer, or take evaluation.calibration=platt."
    )


def image_log_loss(y_true: np.ndarray, y_prob: np.ndarray) -> np.ndarray:
    """Return the log loss of each image, [n]: minus the logarithm of what was said of its class.

    From 0, lower is better; probabilities are kept off zero by 1e-12.

    Raises:
        ValueError: when the arrays differ in length, or hold what is no label or probability.
    """
    y_true, y_prob, _ = checked(y_true, y_prob)
    check_probabilities(y_prob)
    return -np.log(np.maximum(np.where(y_true == 1, y_prob, 1 - y_prob), _TINY))


def reliability(
    y_true: np.ndarray, y_prob: np.ndarray, *, bins: int = 5, strategy: str = "count"
) -> list[dict]:
    """Compare what was said with what was so, in bins of probability.

    Args:
        y_true: int [n], 1 for lump.
        y_prob: float [n], probability of lump.
        bins: how many; fewer when there are fewer distinct probabilities.
        strategy: "count" for bins that hold equally many images, "width" for bins that are equally
            wide from 0 to 1, of which the empty ones are left out.

    Returns:
        For each bin, probabilities rising: `low`, `high`, `count`, `lumps`, `mean_probability`.

    Raises:
        ConfigError: when the strategy is unknown.
        ValueError: when there is no bin, or the arrays differ in length or hold what is no label
            or probability.
    """
    check_choice("strategy", strategy, STRATEGIES)
    _check_bins(bins)
    y_true, y_prob, _ = checked(y_true, y_prob)
    check_probabilities(y_prob)
    if not len(y_prob):
        return []
    if strategy == "width":
        edges = np.linspace(0, 1, bins + 1)
    else:
        edges = np.unique(np.quantile(y_prob, np.linspace(0, 1, bins + 1)))
    place = np.clip(np.searchsorted(edges, y_prob, side="right") - 1, 0, max(len(edges) - 2, 0))
    table = []
    for number in np.unique(place):
        inside = place == number
        table.append(
            {
                "low": float(y_prob[inside].min()),
                "high": float(y_prob[inside].max()),
                "count": int(inside.sum()),
                "lumps": int(y_true[inside].sum()),
                "mean_probability": float(y_prob[inside].mean()),
            }
        )
    return table


def expected_calibration_error(
    y_true: np.ndarray, y_prob: np.ndarray, *, bins: int = 5, strategy: str = "count", weights=None
) -> np.ndarray:
    """Mean gap between said and so over the bins of `reliability`, 0 to 1, lower is better.

    With few images it is noisy and biased upwards: of perfect probabilities it is not 0, but what
    chance leaves in each bin.

    Args:
        y_true: int [n], 1 for lump.
        y_prob: float [n], probability of lump.
        bins: how many; fewer when there are fewer distinct probabilities.
        strategy: bins of equal "count" or equal "width".
        weights: [..., n], how often each image counts, in the cutting of the bins as well; None
            counts each once.

    Returns:
        A value for each of the weights' leading shape; NaN without images.

    Raises:
        ConfigError: when the strategy is unknown.
        ValueError: when there is no bin, or the arrays do not fit each other or hold what is no
            label, probability or count.
    """
    check_choice("strategy", strategy, STRATEGIES)
    _check_bins(bins)
    y_true, y_prob, weights = checked(y_true, y_prob, weights)
    check_probabilities(y_prob)
    order = np.argsort(y_prob, kind="stable")
    prob, weights = y_prob[order], weights[..., order]
    if not len(prob):
        return np.full(weights.shape[:-1], np.nan)[()]
    if strategy == "count":
        ends = _bin_ends(prob, weights, bins)
    else:
        edges = np.searchsorted(prob, np.linspace(0, 1, bins + 1)[1:-1])
        ends = np.broadcast_to([0, *edges, len(prob)], (*weights.shape[:-1], bins + 1))
    excess = np.cumsum(weights * (y_true[order] - prob), axis=-1)
    excess = np.concatenate([np.zeros((*excess.shape[:-1], 1)), excess], axis=-1)
    gaps = np.abs(np.diff(np.take_along_axis(excess, ends, axis=-1), axis=-1))
    return ratio(gaps.sum(-1), weights.sum(-1))[()]


def _check_bins(bins: int) -> None:
    whole = isinstance(bins, int | np.integer) and not isinstance(bins, bool)
    if not whole or bins < 1:
        raise ValueError(f"bins must be a whole number from 1. Received: bins={bins!r}")


def _bin_ends(prob: np.ndarray, weights: np.ndarray, bins: int) -> np.ndarray:
    """Return where bins end among sorted probabilities, with the outer ends: int [..., bins + 1].

    The quantiles are those of np.quantile, had each probability been repeated as often as it
    counts. An image at a bin's edge is in the upper bin, as in `reliability`, and the highest
    probability has no bin of its own.
    """
    reached = np.cumsum(weights, axis=-1)
    highest = prob[np.minimum((reached < reached[..., -1:]).sum(-1), len(prob) - 1)]
    last = np.maximum(reached[..., -1] - 1, 0)
    ends = [np.zeros(weights.shape[:-1], int)]
    for share in np.linspace(0, 1, bins + 1)[1:-1]:
        place = last * share
        before = np.floor(place)
        low, high = (
            prob[np.minimum((reached <= number[..., None]).sum(-1), len(prob) - 1)]
            for number in (before, np.minimum(before + 1, last))
        )
        part = place - before
        # Rounded as np.quantile does, lest an image at the edge change its bin.
        edge = np.where(part < 0.5, low + (high - low) * part, high - (high - low) * (1 - part))
        ends.append(np.where(edge < highest, np.searchsorted(prob, edge), len(prob)))
    ends.append(np.full(weights.shape[:-1], len(prob)))
    return np.stack(ends, axis=-1)
