"""Temperature scaling: softmax probabilities in, calibrated ones out.

Reference:
    Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks. ICML 2017.
"""

import warnings

import numpy as np

from breastus.errors import DataError, UndefinedMetricWarning
from breastus.evaluation.calibration.logistic import TINY
from breastus.evaluation.validation import check_probabilities
from breastus.labels import LUMP

# A temperature beyond these means that the fit has failed.
_BOUNDS = {
    0.05: "lower bound, 0.05: on validation the network is right far more often than its "
    "probabilities say. Train longer, or use evaluation.calibration=platt.",
    20.0: "upper bound, 20: on validation the network is not more often right where it is more "
    "confident. Check for swapped labels, train longer, or use evaluation.calibration=platt if all "
    "probabilities are too high or low.",
}


def apply_temperature(
    probabilities: np.ndarray, temperature: float, *, shift: float = 0.0
) -> np.ndarray:
    """Divide the logarithms of softmax probabilities, [n, 2], by a temperature and normalize again.

    A temperature above 1 makes probabilities less extreme, below 1 more; the order stays. The shift
    is subtracted from the logarithm of lump first.
    """
    logits = np.log(np.maximum(np.asarray(probabilities, float), TINY))
    logits[..., LUMP] -= shift
    logits /= temperature
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def fit_temperature(y_true: np.ndarray, probabilities: np.ndarray, *, shift: float = 0.0) -> float:
    """Return the temperature, 0.05 to 20, with the lowest cross-entropy on validation images.

    With one class only, or when every image's own class is the likeliest, the loss falls without
    end as the temperature falls. Images without an error cannot tell how often a confident
    prediction is wrong, so the temperature stays 1. Platt's smoothed targets would be finite
    there, but would change every other temperature; `platt` is the method for them.

    Raises:
        DataError: when the arrays do not fit each other, or hold an invalid class or probability.

    Warns:
        UndefinedMetricWarning: when the temperature stays 1.
        UserWarning: when the lowest cross-entropy lies beyond 0.05 or 20, where it stops.
    """
    y_true, probabilities = np.asarray(y_true), np.asarray(probabilities, float)
    if probabilities.ndim != 2 or y_true.shape != probabilities.shape[:1]:
        raise DataError(
            "probabilities must be [n, classes], a row for each of y_true. "
            f"Received: shapes {probabilities.shape} and {y_true.shape}"
        )
    check_probabilities(probabilities.ravel(), "probabilities")
    if not (known := np.isin(y_true, range(probabilities.shape[1]))).all():
        raise DataError(
            f"y_true must hold class ids from 0 to {probabilities.shape[1] - 1}. "
            f"Received: {y_true[~known][0]}"
        )
    y_true = y_true.astype(int)
    if reason := _why_undefined(y_true, probabilities, shift):
        warnings.warn(f"The temperature stays 1: {reason}", UndefinedMetricWarning, stacklevel=2)
        return 1.0
    temperature = _lowest_loss(y_true, probabilities, shift, floor=TINY)
    if (_own(y_true, probabilities, temperature, shift) <= TINY).any():
        # The floor caps the loss of a wrong image, so that the search may sacrifice one for the
        # others. It is repeated without the cap.
        temperature = _lowest_loss(y_true, probabilities, shift, floor=np.finfo(float).tiny)
    if temperature in _BOUNDS:
        warnings.warn(f"The temperature is at its {_BOUNDS[temperature]}", stacklevel=2)
    return temperature


def _own(y_true, probabilities, temperature: float, shift: float) -> np.ndarray:
    """Return the calibrated probability of each image's own class."""
    calibrated = apply_temperature(probabilities, temperature, shift=shift)
    return calibrated[np.arange(len(y_true)), y_true]


def _why_undefined(y_true: np.ndarray, probabilities: np.ndarray, shift: float) -> str:
    """Return why the cross-entropy has no minimum; empty text when it has one."""
    if len(np.unique(y_true)) < 2:
        return "the validation images have one class only."
    likeliest = apply_temperature(probabilities, 1.0, shift=shift).max(axis=1)
    # By more than rounding.
    if (_own(y_true, probabilities, 1.0, shift) < likeliest - TINY).any():
        return ""
    return (
        "on every validation image the network's likeliest class is the right one, so no finite "
        "temperature is best. Use more validation images or evaluation.calibration=platt."
    )


def _lowest_loss(y_true, probabilities, shift: float, *, floor: float) -> float:
    """Return the temperature of the lowest cross-entropy, exactly a bound when it lies there."""
    from scipy.optimize import minimize_scalar

    def cross_entropy(log_temperature: float) -> float:
        own = _own(y_true, probabilities, np.exp(log_temperature), shift)
        return -np.log(np.maximum(own, floor)).mean()

    ends = np.log(list(_BOUNDS))
    fit = minimize_scalar(cross_entropy, bounds=ends, method="bounded")
    # The search stops short of a bound, by some times its tolerance of 1e-5.
    for bound, end in zip(_BOUNDS, ends, strict=True):
        if abs(fit.x - end) < 1e-4:
            return bound
    return float(np.exp(fit.x))
