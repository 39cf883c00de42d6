"""Checks shared by what is fitted on predictions: labels, probabilities, groups and choices.

Each returns its arrays as NumPy arrays of one type, or raises an error that says what is wrong.
"""

import difflib
from collections.abc import Sequence

import numpy as np

from breastus.errors import ConfigError, DataError
from breastus.evaluation.validation import first_missing
from breastus.labels import LABELS


def check_probabilities(y_prob: np.ndarray) -> np.ndarray:
    """Return probabilities of lump as float [n].

    Raises:
        DataError: when they are not of one dimension, or one of them is not from 0 to 1.
    """
    y_prob = np.asarray(y_prob, float)
    if y_prob.ndim != 1:
        raise DataError(
            f"y_prob must hold one probability of lump an image, [n]. Received: shape "
            f"{y_prob.shape}"
        )
    if not (fine := (y_prob >= 0) & (y_prob <= 1)).all():  # false for NaN as well
        raise DataError(
            f"y_prob must hold probabilities from 0 to 1. Received: {y_prob[~fine][0]} at position "
            f"{int(np.flatnonzero(~fine)[0])}"
        )
    return y_prob


def check_predictions(
    y_true: np.ndarray, y_prob: np.ndarray, groups: Sequence
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return `y_true` as int [n], `y_prob` as float [n], and the number of each image's group.

    Args:
        y_true: [n], 1 for lump, 0 for no lump.
        y_prob: [n], probability of lump, 0 to 1.
        groups: [n], images of one patient or scene have the same.

    Raises:
        DataError: when the three differ in length or hold something else, or a group is missing:
            None, NaN, NA or blank text.
    """
    y_true, y_prob, groups = np.asarray(y_true), check_probabilities(y_prob), list(groups)
    if y_true.shape != y_prob.shape or len(groups) != len(y_prob):
        raise DataError(
            "y_true, y_prob and groups must be of one length. Received: "
            f"{y_true.shape}, {y_prob.shape} and ({len(groups)},)"
        )
    if not np.isin(y_true, (0, 1)).all():
        raise DataError(f"y_true must hold 0 and 1. Received: {set(y_true.tolist()) - {0, 1}}")
    if (place := first_missing(groups)) is not None:
        raise DataError(
            "Each image must have a group; where none is known, give it one of its own. "
            f"Received: {groups[place]!r} at position {place}"
        )
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    return y_true.astype(int), y_prob, np.array([numbers[group] for group in groups], int)


def groups_of_class(y_true: np.ndarray, groups: np.ndarray) -> dict[str, int]:
    """Return from how many groups the images of each class come."""
    return {
        label: len(np.unique(np.asarray(groups)[np.asarray(y_true) == value]))
        for value, label in enumerate(LABELS)
    }


def check_both_classes(y_true: np.ndarray, what: str) -> None:
    """Raise DataError unless images of both classes are there; `what` needs them."""
    missing = [label for value, label in enumerate(LABELS) if not (y_true == value).any()]
    if missing:
        raise DataError(
            f"{what} needs images of both classes. Received: none of {' and '.join(missing)}"
        )


def check_choice(name: str, value: str, choices: Sequence[str]) -> str:
    """Return `value` when it is one of `choices`; else raise ConfigError with a close match."""
    if value in choices:
        return value
    near = difflib.get_close_matches(str(value), choices, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise ConfigError(
        f"{name} must be one of {', '.join(choices)}. {hint}Received: {name}={value!r}"
    )


def check_number(name: str, value: float, low: float, high: float, *, ends: bool = False) -> float:
    """Return a number strictly between two others, or from one to the other with `ends`.

    Raises:
        ConfigError: when it is no number or lies outside.
    """
    number = not isinstance(value, bool) and isinstance(value, int | float | np.number)
    if number and (low < value < high or (ends and low <= value <= high)):
        return float(value)
    rule = f"from {low:g} to {high:g}" if ends else f"above {low:g} and below {high:g}"
    raise ConfigError(f"{name} must be a number {rule}. Received: {name}={value!r}")
