"""Choose the threshold on validation predictions, by a rule that has a name.

An image is called lump when `probability >= threshold`. A threshold lies midway between two
neighbouring scores of validation images, or between the outermost score and 0 or 1, so that the
last digits of a probability flip no call; the rules fixed and likelihood, which do not search, may
meet a score.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from breastus.errors import ConfigError
from breastus.evaluation.checks import (
    check_both_classes,
    check_choice,
    check_number,
    check_predictions,
)
from breastus.evaluation.intervals.clustered_proportion import clustered_proportion
from breastus.evaluation.intervals.proportions import effective_size
from breastus.evaluation.validation import warn_undefined

RULES = ("fixed", "youden", "likelihood", "sensitivity", "cost")


@dataclass(frozen=True)
class Threshold:
    """A threshold, where it comes from and what it does on validation.

    Attributes:
        threshold: called lump when the probability of lump is at least this, 0 to 1.
        rule: one of `RULES`.
        words: the rule and its numbers in words.
        attained: whether the rule got what it asks for; false for a sensitivity out of reach.
        sensitivity: share of the lumps called lump: `value`, `ci_low`, `ci_high` (Wilson's, of as
            many images as the grouped ones are worth), `n`, `n_groups`.
        specificity: share of the images without a lump called so, likewise.
    """

    threshold: float
    rule: str
    words: str
    attained: bool
    sensitivity: dict[str, float]
    specificity: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain JSON values."""
        return asdict(self)


def choose_threshold(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    groups: Sequence,
    *,
    rule: str,
    threshold: float | None = None,
    target: float | None = None,
    cost_miss: float | None = None,
    cost_alarm: float | None = None,
    prevalence: float | None = None,
    confidence: float = 0.95,
) -> Threshold:
    """Choose a threshold; to be chosen on validation images alone, after calibration.

    fixed        `threshold` as given.
    youden       highest sensitivity + specificity - 1.
    likelihood   the share of lumps among the images given: what a lump is likelier to show than no
                 lump is called lump. Where probabilities mean what they say, this is Youden's
                 threshold; as it is not searched for, few images make it scatter less.
    sensitivity  the largest threshold whose sensitivity is at least `target` with one-sided
                 `confidence`. Thresholds are tried from the lowest up to the first whose lower
                 bound (Wilson's, of as many images as the grouped ones are worth) falls short.
                 Tried in an order fixed beforehand, they need no correction for their number.
                 Where none attains the target, the largest threshold that calls every lump of
                 validation lump; a lower one would add nothing but alarms.
    cost         lowest prevalence * cost_miss * (1 - sensitivity) + (1 - prevalence) * cost_alarm
                 * (1 - specificity).

    Of thresholds that do equally well the lowest is chosen, as a missed lump is the worse error.
    On the images a threshold was chosen by, sensitivity and specificity are flattered; of
    sensitivity's lower bound this rule keeps its promise, of the rest a test set has to tell.

    Args:
        y_true: int [n], 1 for lump.
        y_prob: [n], probability of lump, 0 to 1.
        groups: [n], images of one patient or scene have the same.
        rule: one of `RULES`; what it takes must be given, and nothing else.
        threshold: of fixed, 0 to 1.
        target: of sensitivity, above 0 and below 1.
        cost_miss: of cost: of a lump that is called no lump, above 0.
        cost_alarm: of cost: of an image without a lump that is called lump, above 0.
        prevalence: of cost: share of lumps where the threshold will be used, above 0 and below 1.
        confidence: level of the intervals (two-sided) and of the bound of sensitivity (one-sided).

    Raises:
        ConfigError: when the rule is unknown, or lacks a number, or has one that is not its own.
        DataError: when the arrays do not fit each other, or hold one class only (fixed needs none).

    Warns:
        UndefinedMetricWarning: when fixed meets one class only, and a share is NaN.
        UserWarning: when no threshold attains the target.

    References:
        Youden: Index for rating diagnostic tests. Cancer 3, 1950, 32.
        Angelopoulos, Bates, Candes, Jordan, Lei: Learn then Test. 2021 (fixed sequence testing).
    """
    check_choice("rule", rule, RULES)
    given = {
        "threshold": threshold,
        "target": target,
        "cost_miss": cost_miss,
        "cost_alarm": cost_alarm,
        "prevalence": prevalence,
    }
    _check_numbers(rule, given)
    check_number("confidence", confidence, 0.5, 1)
    y_true, y_prob, groups = check_predictions(y_true, y_prob, groups)
    attained = True
    if rule == "fixed":
        chosen, words = float(threshold), f"fixed at {threshold:g}"
    else:
        check_both_classes(y_true, f"The rule {rule}")
        candidates = _candidates(y_prob)
    if rule == "youden":
        caught, cleared = _shares(y_true, y_prob, candidates)
        chosen = _lowest_best(candidates, caught + cleared)
        words = "highest sensitivity + specificity - 1 on validation (Youden)"
    elif rule == "likelihood":
        chosen = float((y_true == 1).mean())
        words = f"likelier of a lump than of none: the share of lumps on validation, {chosen:.3f}"
    elif rule == "cost":
        caught, cleared = _shares(y_true, y_prob, candidates)
        misses = prevalence * cost_miss * (1 - caught)
        alarms = (1 - prevalence) * cost_alarm * (1 - cleared)
        chosen = _lowest_best(candidates, -(misses + alarms))
        words = (
            f"lowest cost on validation, a miss at {cost_miss:g} and an alarm at {cost_alarm:g}, "
            f"at a prevalence of {prevalence:g}"
        )
    elif rule == "sensitivity":
        lump = y_true == 1
        chosen, attained, words = _sensitive(
            y_prob[lump], groups[lump], candidates, target, confidence
        )
    lump = y_true == 1
    result = Threshold(
        chosen,
        rule,
        words,
        attained,
        clustered_proportion(y_prob[lump] >= chosen, groups[lump], confidence=confidence),
        clustered_proportion(y_prob[~lump] < chosen, groups[~lump], confidence=confidence),
    )
    undefined = [name for name in ("sensitivity", "specificity") if not getattr(result, name)["n"]]
    warn_undefined(undefined)
    return result


def groups_for_sensitivity(target: float, *, confidence: float = 0.95) -> int:
    """Return how many groups of one size, all their lumps found, show a sensitivity of `target`.

    Wilson's lower bound of n of n is n / (n + z^2); with 0.95 and 95 % it takes 52.
    """
    z = NormalDist().inv_cdf(confidence)
    return math.ceil(target * z**2 / (1 - target) - 1e-9)


def _check_numbers(rule: str, given: dict[str, float | None]) -> None:
    needed = {
        "fixed": ("threshold",),
        "youden": (),
        "likelihood": (),
        "sensitivity": ("target",),
        "cost": ("cost_miss", "cost_alarm", "prevalence"),
    }[rule]
    if missing := [name for name in needed if given[name] is None]:
        raise ConfigError(f"The rule {rule} needs {' and '.join(missing)}. Received: None")
    for name, value in given.items():
        if value is not None and name not in needed:
            raise ConfigError(f"The rule {rule} takes no {name}. Received: {name}={value!r}")
    for name in needed:
        if name == "threshold":
            check_number(name, given[name], 0, 1, ends=True)
        else:
            check_number(name, given[name], 0, math.inf if name.startswith("cost") else 1)


def _candidates(y_prob: np.ndarray) -> np.ndarray:
    """Return every threshold worth trying, rising: one for each way to part the scores."""
    scores = np.unique(y_prob)
    edges = np.unique(np.concatenate([[0.0], scores, [1.0]]))
    middle = (edges[:-1] + edges[1:]) / 2
    # Between neighbours of the last digit there is no middle: the upper one parts them as well.
    middle = np.where(middle > edges[:-1], middle, edges[1:])
    # A score of 0 is called lump by a threshold of 0 alone.
    return np.concatenate([[0.0], middle]) if scores[0] == 0 else middle


def _shares(y_true, y_prob, thresholds) -> tuple[np.ndarray, np.ndarray]:
    """Return sensitivity and specificity at each threshold."""
    lumps, others = np.sort(y_prob[y_true == 1]), np.sort(y_prob[y_true == 0])
    caught = 1 - np.searchsorted(lumps, thresholds, side="left") / len(lumps)
    cleared = np.searchsorted(others, thresholds, side="left") / len(others)
    return caught, cleared


def _lowest_best(candidates, merit) -> float:
    # Sums of shares that are equal on paper differ by rounding.
    return float(candidates[np.flatnonzero(merit >= merit.max() - 1e-12)[0]])


def _sensitive(y_prob, groups, candidates, target, confidence) -> tuple[float, bool, str]:
    """Choose among rising candidates by the lumps' scores alone."""
    chosen = None
    for candidate in candidates:
        # The lower end of a two-sided interval of 2 c - 1 is a one-sided bound of confidence c.
        found = clustered_proportion(y_prob >= candidate, groups, confidence=2 * confidence - 1)
        if found["ci_low"] < target:
            break
        chosen = float(candidate)
    number, worth = len(np.unique(groups)), effective_size(np.ones(len(groups), bool), groups)
    received = f"{number} groups"
    if worth < number - 0.5:
        received += f", worth {worth:.0f} of one size"
    asked = f"a sensitivity of at least {target:g} with {100 * confidence:g} % confidence"
    if chosen is not None:
        return chosen, True, f"largest threshold with {asked}, lumps of {number} groups"
    needed = groups_for_sensitivity(target, confidence=confidence)
    warnings.warn(
        f"No threshold shows {asked}: that takes lumps of {needed} groups, all of them found. The "
        f"threshold calls every lump of validation lump. Received: {received}",
        stacklevel=3,
    )
    return (
        float(candidates[candidates <= y_prob.min()][-1]),
        False,
        f"largest threshold that calls every lump of validation lump, as {received} are too few to "
        f"show {asked}",
    )
