"""Checks that all statistics of predictions share: array lengths, labels, groups, options."""

import math
import warnings
from collections.abc import Sequence

import numpy as np

from breastus.errors import ConfigError, DataError, UndefinedMetricWarning, did_you_mean
from breastus.labels import LABELS


def check_arrays(
    y_true, y_prob, weights=None, *, any_score: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, probabilities and weights as arrays: int [n], float [n] and float [..., n].

    If `any_score`, every finite number is accepted as a score, such as a logit.
    """
    y_true, y_prob = np.asarray(y_true), np.asarray(y_prob, float)
    if y_true.shape != y_prob.shape or y_true.ndim != 1:
        raise DataError(
            "y_true and y_prob must have the same length, [n]. "
            f"Received: shapes {y_true.shape} and {y_prob.shape}"
        )
    if not (known := np.isin(y_true, (0, 1))).all():
        raise DataError(f"y_true must hold 0 and 1 only. Received: {y_true[~known][0]}")
    if not any_score:
        check_probabilities(y_prob)
    elif not (finite := np.isfinite(y_prob)).all():
        raise DataError(f"y_prob must hold finite numbers. Received: {y_prob[~finite][0]}")
    y_true = y_true.astype(int)
    if weights is None:
        return y_true, y_prob, np.ones(len(y_true))
    weights = np.asarray(weights, float)
    if weights.shape[-1:] != y_true.shape:
        raise DataError(
            f"weights must have one number for each of {len(y_true)} images on the last axis. "
            f"Received: shape {weights.shape}"
        )
    if not (valid := weights >= 0).all():  # false for NaN as well
        raise DataError(f"weights must be 0 or more. Received: {weights[~valid][0]}")
    return y_true, y_prob, weights


def check_grouped(y_true, y_prob, groups: Sequence) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what `check_arrays` and `group_numbers` return: labels, probabilities, groups, [n]."""
    y_true, y_prob, _ = check_arrays(y_true, y_prob)
    return y_true, y_prob, group_numbers(groups, len(y_true))


def check_probabilities(y_prob, name: str = "y_prob") -> np.ndarray:
    """Return probabilities as float [n]; `name` names the argument in errors."""
    y_prob = np.asarray(y_prob, float)
    if y_prob.ndim != 1:
        raise DataError(f"{name} must have 1 dimension. Received: shape {y_prob.shape}")
    if not (valid := (y_prob >= 0) & (y_prob <= 1)).all():  # false for NaN as well
        position = int(np.flatnonzero(~valid)[0])
        raise DataError(
            f"{name} must hold probabilities from 0 to 1. "
            f"Received: {y_prob[position]} at position {position}"
        )
    return y_prob


def group_numbers(groups: Sequence | None, count: int) -> np.ndarray:
    """Return the number of each image's group, int [count], from 0 in the order of the names.

    A group of None, NaN, NA or blank text is refused.
    """
    if groups is None:
        return np.arange(count)
    array = np.asarray(groups)
    if array.shape != (count,):
        raise DataError(
            f"groups must name the group of each of {count} images. Received: shape {array.shape}"
        )
    import pandas as pd  # not when this module is imported, which a prediction does

    # The argument is searched, not the array, in which NaN beside text has become "nan".
    # Pooled as one group, images of many unknown patients would count as images of one patient.
    for position, value in enumerate(groups):
        if pd.isna(value) or (isinstance(value, str) and not value.strip()):
            raise DataError(
                "groups must name the group of each image; where none is known, give the image a "
                f"group of its own. Received: a missing group at position {position}"
            )
    return np.unique(array, return_inverse=True)[1]


def groups_per_class(y_true: np.ndarray, groups: np.ndarray) -> dict[str, int]:
    """Return label name to the number of groups that its images come from."""
    y_true, groups = np.asarray(y_true), np.asarray(groups)
    return {label: len(np.unique(groups[y_true == value])) for value, label in enumerate(LABELS)}


def image_counts(y_true: np.ndarray, groups: np.ndarray) -> dict[str, int]:
    """Return `n`, `n_groups`, `n_lump` and `n_no_lump`."""
    lumps = int(np.sum(y_true))
    return {
        "n": len(y_true),
        "n_groups": len(np.unique(groups)),
        "n_lump": lumps,
        "n_no_lump": len(y_true) - lumps,
    }


def with_interval(value: float, interval: tuple) -> dict[str, float]:
    """Return `value`, `ci_low` and `ci_high`."""
    return {"value": value, "ci_low": interval[0], "ci_high": interval[1]}


def check_both_classes(y_true: np.ndarray, purpose: str) -> None:
    """Raise DataError unless images of both classes are present; `purpose` starts the message."""
    missing = [label for value, label in enumerate(LABELS) if not (y_true == value).any()]
    if missing:
        raise DataError(
            f"{purpose} needs images of both classes. Received: no image of {', '.join(missing)}"
        )


def check_choice(name: str, value: str, choices: Sequence[str]) -> str:
    """Return `value`; raise ConfigError, with a close match, unless it is one of `choices`."""
    if value in choices:
        return value
    raise ConfigError(
        f"{name} must be one of {', '.join(choices)}.{did_you_mean(value, choices)} "
        f"Received: {name}={value!r}"
    )


def check_number(
    name: str, value: float, low: float = 0, high: float = 1, *, inclusive: bool = False
) -> float:
    """Return a number between two bounds, or at one if `inclusive`; raise ConfigError otherwise."""
    is_number = not isinstance(value, bool) and isinstance(value, int | float | np.number)
    if is_number and (low < value < high or (inclusive and low <= value <= high)):
        return float(value)
    rule = f"from {low:g} to {high:g}" if inclusive else f"above {low:g} and below {high:g}"
    raise ConfigError(f"{name} must be a number {rule}. Received: {name}={value!r}")


def check_thresholds(threshold: float | np.ndarray, count: int) -> np.ndarray:
    """Return one threshold, [], or one an image, [count]; raise ConfigError unless 0 to 1."""
    values = np.asarray(threshold, float)
    if values.shape not in ((), (count,)):
        raise ConfigError(
            f"threshold must be one number, or one for each of {count} images. "
            f"Received: shape {values.shape}"
        )
    # With NaN no image is predicted lump, which would pass for a sensitivity of 0.
    if (wrong := ~((values >= 0) & (values <= 1))).any():
        raise ConfigError(f"threshold must be from 0 to 1. Received: threshold={values[wrong][0]}")
    return values


def check_count(name: str, value: int, low: int = 1, high: float = math.inf) -> int:
    """Return a whole number from `low` to `high`; raise ConfigError unless it is one."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or not low <= value <= high:
        rule = f"from {low}" + ("" if high == math.inf else f" to {high}")
        raise ConfigError(f"{name} must be a whole number {rule}. Received: {value!r}")
    return int(value)


def warn_undefined(names: Sequence[str], reason: str = "") -> None:
    """Warn of the metrics that are NaN, if any, two calls up the stack."""
    if names:
        warnings.warn(
            f"These metrics are undefined and therefore NaN: {', '.join(names)}{reason}.",
            UndefinedMetricWarning,
            stacklevel=3,
        )


def ratio(part, whole, undefined: float = np.nan) -> np.ndarray:
    """Return `part / whole`, and `undefined` where `whole` is 0."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    safe = np.where(whole > 0, whole, 1.0)
    return np.where(whole > 0, part / safe, undefined)
