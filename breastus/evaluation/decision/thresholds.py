"""Choose the threshold on validation predictions, by a named rule.

An image is predicted lump when `probability >= threshold`. The rules that search try thresholds
midway between neighbouring scores, so that the last digits of a probability change no prediction;
the rules fixed and likelihood may coincide with a score.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from breastus.errors import ConfigError, FewGroupsWarning
from breastus.evaluation.intervals.proportions import clustered_proportion, kish_size
from breastus.evaluation.validation import (
    check_both_classes,
    check_choice,
    check_grouped,
    check_number,
    warn_undefined,
)

# Rule to the numbers that it needs.
_NUMBERS = {
    "fixed": ("threshold",),
    "youden": (),
    "likelihood": (),
    "sensitivity": ("target",),
    "cost": ("cost_ratio", "prevalence"),
}
RULES = tuple(_NUMBERS)


@dataclass(frozen=True)
class Threshold:
    """A threshold, how it was chosen and its operating point on validation.

    Attributes:
        threshold: images are predicted lump when their probability is at least this, 0 to 1.
        rule: one of `RULES`.
        description: the rule and its numbers, for a report.
        attained: success of the rule; false when no threshold proves the sensitivity.
        sensitivity: sensitivity on validation, result of `clustered_proportion`.
        specificity: specificity on validation, in the same form.
    """

    threshold: float
    rule: str
    description: str
    attained: bool
    sensitivity: dict[str, float]
    specificity: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the threshold as JSON values."""
        return asdict(self)


def choose_threshold(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    groups: Sequence,
    *,
    rule: str,
    threshold: float | None = None,
    target: float | None = None,
    cost_ratio: float | None = None,
    prevalence: float | None = None,
    confidence: float = 0.95,
) -> Threshold:
    """Choose a threshold on validation images, after calibration.

    fixed        `threshold` as given.
    youden       maximizes sensitivity + specificity - 1.
    likelihood   the prevalence among the images: an image is predicted lump when its likelihood
                 ratio is at least 1. For calibrated probabilities this is Youden's threshold;
                 without a search it varies less with few images.
    sensitivity  the largest threshold whose sensitivity is at least `target` with one-sided
                 `confidence`. Thresholds are tried in rising order up to the first whose lower
                 bound (`clustered_proportion`) is below the target; in a fixed order they need no
                 correction for multiplicity. When none attains the target, the largest threshold
                 that finds every lump of validation.
    cost         minimizes prevalence * cost_ratio * (1 - sensitivity)
                 + (1 - prevalence) * (1 - specificity).

    Among equally good thresholds the lowest is chosen, because a missed lump is the worse error.
    Sensitivity and specificity are optimistic on the images a threshold was chosen on, except for
    the lower bound that the rule sensitivity guarantees.

    Args:
        rule: one of `RULES`; its numbers must be given.
        threshold: the threshold, 0 to 1 (only for `fixed`).
        target: sensitivity to attain, above 0 and below 1 (only for `sensitivity`).
        cost_ratio: false alarms that cost as much as a missed lump, above 0 (only for `cost`).
        prevalence: prevalence where the threshold is used, above 0 and below 1 (only for `cost`).
        confidence: level of the intervals (two-sided) and, above 0.5, of the bound of sensitivity
            (one-sided).

    Raises:
        ConfigError: when a number of the rule is missing or out of range, or of another rule.
        DataError: when there is one class only (but for `fixed`).

    Warns:
        FewGroupsWarning: when no threshold attains the target.

    References:
        Youden: Index for rating diagnostic tests. Cancer 3, 1950, 32.
        Angelopoulos, Bates, Candes, Jordan, Lei: Learn then Test. 2021 (fixed sequence testing).
    """
    check_choice("rule", rule, RULES)
    given = {"threshold": threshold, "target": target}
    _check_numbers(rule, given | {"cost_ratio": cost_ratio, "prevalence": prevalence})
    check_number("confidence", confidence, 0.5, 1)
    y_true, y_prob, groups = check_grouped(y_true, y_prob, groups)
    lump, attained = y_true == 1, True
    if rule == "fixed":
        chosen, description = float(threshold), f"fixed at {threshold:g}"
    else:
        check_both_classes(y_true, f"The rule {rule}")
        candidates = _candidates(y_prob)
    if rule == "youden":
        chosen = _lowest_best(candidates, y_prob, lump)
        description = "maximum of sensitivity + specificity - 1 on validation (Youden)"
    elif rule == "likelihood":
        chosen = float(lump.mean())
        description = f"likelihood ratio of at least 1: the prevalence on validation, {chosen:.3f}"
    elif rule == "cost":
        weights = prevalence * cost_ratio, 1 - prevalence
        chosen = _lowest_best(candidates, y_prob, lump, weights)
        description = (
            f"minimum cost on validation, {cost_ratio:g} for a miss and 1 for a false alarm, at a "
            f"prevalence of {prevalence:g}"
        )
    elif rule == "sensitivity":
        chosen, attained, description = _sensitive(
            y_prob[lump], groups[lump], candidates, target, confidence
        )
    result = Threshold(
        chosen,
        rule,
        description,
        attained,
        clustered_proportion(y_prob[lump] >= chosen, groups[lump], confidence=confidence),
        clustered_proportion(y_prob[~lump] < chosen, groups[~lump], confidence=confidence),
    )
    warn_undefined([n for n in ("sensitivity", "specificity") if not getattr(result, n)["n"]])
    return result


def _check_numbers(rule: str, given: dict[str, float | None]) -> None:
    needed = _NUMBERS[rule]
    if missing := [name for name in needed if given[name] is None]:
        raise ConfigError(f"The rule {rule} needs {' and '.join(missing)}. Received: None")
    for name, value in given.items():
        if value is not None and name not in needed:
            raise ConfigError(f"The rule {rule} takes no {name}. Received: {name}={value!r}")
    for name in needed:
        high = math.inf if name == "cost_ratio" else 1
        check_number(name, given[name], 0, high, inclusive=name == "threshold")


def _candidates(y_prob: np.ndarray) -> np.ndarray:
    """Return the thresholds to try, rising: one for each way to split the scores."""
    scores = np.unique(y_prob)
    edges = np.unique(np.concatenate([[0.0], scores, [1.0]]))
    middle = (edges[:-1] + edges[1:]) / 2
    # Adjacent floats have no number between them: the upper one splits them as well.
    middle = np.where(middle > edges[:-1], middle, edges[1:])
    # A score of 0 is predicted lump at a threshold of 0 only.
    return np.concatenate([[0.0], middle]) if scores[0] == 0 else middle


def _lowest_best(candidates, y_prob, lump, weights=(1, 1)) -> float:
    """Return the lowest threshold of the lowest weighted sum of misses and false alarms."""
    lumps, others = np.sort(y_prob[lump]), np.sort(y_prob[~lump])
    missed = np.searchsorted(lumps, candidates, side="left") / len(lumps)
    alarms = 1 - np.searchsorted(others, candidates, side="left") / len(others)
    merit = -(weights[0] * missed + weights[1] * alarms)
    # Equal sums may differ by rounding.
    return float(candidates[np.flatnonzero(merit >= merit.max() - 1e-12)[0]])


def _sensitive(y_prob, groups, candidates, target, confidence) -> tuple[float, bool, str]:
    """Return threshold, whether the target is attained, and description, from scores of lumps."""
    chosen = None
    for candidate in candidates:
        # The lower end of a two-sided interval at 2 c - 1 is a one-sided bound at c.
        found = clustered_proportion(y_prob >= candidate, groups, confidence=2 * confidence - 1)
        if found["ci_low"] < target:
            break
        chosen = float(candidate)
    number, size = len(np.unique(groups)), kish_size(groups)
    received = f"{number} groups"
    if size < number - 0.5:
        received += f", equivalent to {size:.0f} of one size"
    asked = f"a sensitivity of at least {target:g} with {100 * confidence:g} % confidence"
    if chosen is not None:
        return chosen, True, f"largest threshold with {asked}, lumps of {number} groups"
    # Wilson's lower bound of n of n is n / (n + z^2).
    z = NormalDist().inv_cdf(confidence)
    needed = math.ceil(target * z**2 / (1 - target) - 1e-9)
    warnings.warn(
        f"No threshold proves {asked}: that needs lumps of {needed} groups, all of them found. The "
        f"largest threshold that finds every lump of validation is used. Received: {received}",
        FewGroupsWarning,
        stacklevel=3,
    )
    return (
        float(candidates[candidates <= y_prob.min()][-1]),
        False,
        f"largest threshold that finds every lump of validation, as {received} are too few to "
        f"prove {asked}",
    )
