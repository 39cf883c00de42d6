"""What all statistics of predictions take for granted: arrays of one length, labels, numbers.

A wrong argument raises here; what the data cannot define is NaN, with a warning of its own kind.
"""

import warnings
from collections.abc import Sequence

import numpy as np

from breastus.errors import UndefinedMetricWarning


def warn_undefined(names: Sequence[str], reason: str = "") -> None:
    """Warn the caller's caller of the metrics that are NaN, if there are any."""
    if names:
        warnings.warn(
            f"Undefined for these images, so NaN: {', '.join(names)}{reason}.",
            UndefinedMetricWarning,
            stacklevel=3,
        )


def checked(y_true, y_prob, weights=None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return `y_true` [n], `y_prob` [n] and `weights` [..., n] as arrays; None counts each once.

    Raises:
        ValueError: when they differ in length, or hold what is no label, number or count.
    """
    y_true, y_prob = np.asarray(y_true), np.asarray(y_prob, float)
    if y_true.shape != y_prob.shape or y_true.ndim != 1:
        raise ValueError(
            "y_true and y_prob must be of one length. "
            f"Received: shapes {y_true.shape} and {y_prob.shape}"
        )
    if not np.isin(y_true, (0, 1)).all():
        raise ValueError(f"y_true must hold 0 and 1. Received: {set(y_true.tolist()) - {0, 1}}")
    if not np.isfinite(y_prob).all():
        wrong = y_prob[~np.isfinite(y_prob)][0]
        raise ValueError(f"y_prob must hold numbers. Received: {wrong}")
    if weights is None:
        return y_true, y_prob, np.ones(len(y_true))
    weights = np.asarray(weights, float)
    if weights.shape[-1:] != y_true.shape:
        raise ValueError(
            f"weights must end with one number for each of {len(y_true)} images. "
            f"Received: shape {weights.shape}"
        )
    if not (weights >= 0).all():  # false for NaN as well
        raise ValueError(f"weights must be 0 or more. Received: {weights[~(weights >= 0)][0]}")
    return y_true, y_prob, weights


def check_probabilities(y_prob: np.ndarray, name: str = "y_prob") -> None:
    """Raise a ValueError where a number is no probability, such as a logit or NaN."""
    if len(wrong := y_prob[~((y_prob >= 0) & (y_prob <= 1))]):
        raise ValueError(f"{name} must lie from 0 to 1. Received: {wrong[0]}")


def check_share(**named: float) -> None:
    """Raise a ValueError unless each number lies between 0 and 1, both left out."""
    for name, value in named.items():
        if not 0 < value < 1:
            raise ValueError(f"{name} must lie between 0 and 1. Received: {name}={value}")


def members(groups: Sequence | None, count: int) -> np.ndarray:
    """Return the number of each image's group, from 0: int [count]. None: each is its own.

    Raises:
        ValueError: when there is not one group for each image: None, NaN, NA and blank text are
            none.
    """
    if groups is None:
        return np.arange(count)
    array = np.asarray(groups)
    if array.shape != (count,):
        raise ValueError(
            f"groups must name the group of each of {count} images. Received: shape {array.shape}"
        )
    # Not of the array: beside text, NaN has become the text "nan" there.
    if (place := first_missing(groups)) is not None:
        raise ValueError(
            "groups must name the group of each image; where none is known, give the image one of "
            f"its own. Received: a missing one at position {place}"
        )
    return np.unique(array, return_inverse=True)[1]


def first_missing(groups: Sequence) -> int | None:
    """Return the position of the first group that is missing; None where each is there.

    Pooled as one group, images of many patients would pass for those of one.
    """
    return next((place for place, value in enumerate(groups) if _is_missing(value)), None)


def _is_missing(value) -> bool:
    if isinstance(value, str):
        return not value or value.isspace()
    if value is None:
        return True
    same = value == value  # NaN and NaT are unequal to themselves, NA says neither
    return not (isinstance(same, bool | np.bool_) and same)


def ratio(part, whole, undefined: float = np.nan) -> np.ndarray:
    """Divide; `undefined` where the whole is nothing."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    safe = np.where(whole > 0, whole, 1.0)
    return np.where(whole > 0, part / safe, undefined)
