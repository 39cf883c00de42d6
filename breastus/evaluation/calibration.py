"""Probabilities that mean what they say: temperature scaling, and how to see whether it worked.

Reference:
    Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks. ICML 2017.
"""

import warnings

import numpy as np

from breastus.evaluation.checks import check_choice
from breastus.evaluation.metrics import UndefinedMetricWarning

_TINY = 1e-12  # probabilities are kept off zero, as in the exported graph
_BOUNDS = (0.05, 20.0)  # temperatures beyond these say that the fit went wrong


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Divide the logarithms of softmax probabilities by a temperature and normalise again.

    Args:
        probabilities: [n, classes].
        temperature: above 1 makes them less sure, below 1 surer; the order stays.
    """
    logits = np.log(np.maximum(np.asarray(probabilities, float), _TINY)) / temperature
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def fit_temperature(y_true: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the temperature with the lowest cross-entropy; to be fitted on validation images.

    Args:
        y_true: int [n], class ids.
        probabilities: [n, classes], softmax probabilities of the network.

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
        calibrated = apply_temperature(probabilities, np.exp(log_temperature))
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
    check_choice("strategy", strategy, ("count", "width"))
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
    y_true: np.ndarray, y_prob: np.ndarray, *, bins: int = 5, strategy: str = "count"
) -> float:
    """Mean gap between said and so over the bins of `reliability`, 0 to 1, lower is better.

    Bins of equal count or width; with few images it is noisy and biased upwards. NaN of none.
    """
    table = reliability(y_true, y_prob, bins=bins, strategy=strategy)
    if not table:
        return float("nan")
    gaps = [b["count"] * abs(b["lumps"] / b["count"] - b["mean_probability"]) for b in table]
    return sum(gaps) / sum(b["count"] for b in table)
