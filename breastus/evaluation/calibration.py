"""Probabilities that mean what they say: temperature scaling, and how to see whether it worked.

Reference:
    Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks. ICML 2017.
"""

import warnings

import numpy as np

from breastus.evaluation.arrays import UndefinedMetricWarning, checked, ratio
from breastus.evaluation.checks import check_choice
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

    Args:
        y_true: int [n], class ids.
        probabilities: [n, classes], softmax probabilities of the network.
        shift: taken from the logarithm of lump first.

    Returns:
        A number between 0.05 and 20; 1 with a warning when only one class is there, as then the
        surest answer would always be the best.
    """
    from scipy.optimize import minimize_scalar

    y_true = np.asarray(y_true)
    if len(np.unique(y_true)) < 2:
        warnings.warn(
            "The temperature is left at 1: the validation images are of one class only.",
            UndefinedMetricWarning,
            stacklevel=2,
        )
        return 1.0

    def cross_entropy(log_temperature: float) -> float:
        calibrated = apply_temperature(probabilities, np.exp(log_temperature), shift=shift)
        return -np.log(np.maximum(calibrated[np.arange(len(y_true)), y_true], _TINY)).mean()

    fit = minimize_scalar(cross_entropy, bounds=np.log(_BOUNDS), method="bounded")
    return float(np.exp(fit.x))


def image_log_loss(y_true: np.ndarray, y_prob: np.ndarray) -> np.ndarray:
    """Return the log loss of each image, [n]: minus the logarithm of what was said of its class.

    From 0, lower is better; probabilities are kept off zero by 1e-12.
    """
    said = np.where(np.asarray(y_true) == 1, y_prob, 1 - np.asarray(y_prob, float))
    return -np.log(np.maximum(said, _TINY))


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
    """
    check_choice("strategy", strategy, STRATEGIES)
    y_true, y_prob = np.asarray(y_true), np.asarray(y_prob, float)
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
    """
    y_true, y_prob, weights = checked(y_true, y_prob, weights)
    order = np.argsort(y_prob, kind="stable")
    prob, weights = y_prob[order], weights[..., order]
    if not len(prob):
        return np.full(weights.shape[:-1], np.nan)[()]
    if check_choice("strategy", strategy, STRATEGIES) == "count":
        ends = _bin_ends(prob, weights, bins)
    else:
        edges = np.searchsorted(prob, np.linspace(0, 1, bins + 1)[1:-1])
        ends = np.broadcast_to([0, *edges, len(prob)], (*weights.shape[:-1], bins + 1))
    excess = np.cumsum(weights * (y_true[order] - prob), axis=-1)
    excess = np.concatenate([np.zeros((*excess.shape[:-1], 1)), excess], axis=-1)
    gaps = np.abs(np.diff(np.take_along_axis(excess, ends, axis=-1), axis=-1))
    return ratio(gaps.sum(-1), weights.sum(-1))[()]


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
