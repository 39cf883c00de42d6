"""Conformal prediction sets: no lump, lump, or both, which means that a reader has to look.

Of each class, the set holds it for at least a stated share of new images, whatever the network, the
calibration and the distribution are. That is promised of one image of a new patient or scene, from
where the fitted ones come from, and counts each patient or scene once.

References:
    Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World. 2005 (class-conditional, there
    called Mondrian).
    Dunn, Wasserman, Ramdas: Distribution-Free Prediction Sets for Two-Layer Hierarchical Models.
    J. Am. Stat. Assoc. 118, 2023, 2491.
    Lee, Barber, Willett: Distribution-Free Inference with Hierarchical Data. 2023.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from breastus.errors import ConfigError
from breastus.evaluation.checks import (
    check_number,
    check_predictions,
    check_probabilities,
    groups_of_class,
)
from breastus.evaluation.intervals.clustered_proportion import clustered_proportion
from breastus.evaluation.intervals.proportions import wilson_interval
from breastus.evaluation.validation import warn_undefined
from breastus.labels import LABELS, LUMP, NO_LUMP

REFER = "refer"


@dataclass(frozen=True)
class ConformalSets:
    """Two bounds on the probability of lump.

    Attributes:
        coverage: share of the images of each class whose set holds it, above 0 and below 1.
        lump_from: the set holds lump from this probability of lump on; 0 is always.
        no_lump_to: the set holds no lump up to this probability of lump; 1 is always.

    Raises:
        ConfigError: when one of them is out of range.
    """

    coverage: float
    lump_from: float
    no_lump_to: float

    def __post_init__(self):
        check_number("coverage", self.coverage, 0, 1)
        check_number("lump_from", self.lump_from, 0, 1, ends=True)
        check_number("no_lump_to", self.no_lump_to, 0, 1, ends=True)

    def sets(self, y_prob: np.ndarray) -> np.ndarray:
        """Return bool [n, 2], whether the set holds no lump and lump; `y_prob` [n], 0 to 1."""
        y_prob = check_probabilities(y_prob)
        return np.stack([y_prob <= self.no_lump_to, y_prob >= self.lump_from], axis=-1)

    def decide(self, y_prob: np.ndarray) -> np.ndarray:
        """Return "no_lump", "lump" or "refer" of each image, [n].

        A set of both says that either is possible, a set of none that the image is unlike both;
        a reader has to look at either.
        """
        return _decided(self.sets(y_prob))

    def to_dict(self) -> dict[str, float]:
        """Return the three numbers as plain JSON values."""
        return {name: float(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, float]) -> "ConformalSets":
        """Read what `to_dict` wrote.

        Raises:
            ConfigError: when it is no such dict.
        """
        needed = {"coverage", "lump_from", "no_lump_to"}
        if not isinstance(values, dict) or set(values) != needed:
            raise ConfigError(
                f"Conformal sets must be a dict with the keys {', '.join(sorted(needed))}. "
                f"Received: {values!r}"
            )
        return cls(**values)


def fit_conformal(
    y_true: np.ndarray, y_prob: np.ndarray, groups: Sequence, *, coverage: float = 0.9
) -> ConformalSets:
    """Fit prediction sets, on images that training has not seen.

    For each class alone, the images of that class are scored by the probability of the other one,
    and the bound is a quantile of the scores. Images of one patient are not exchangeable with those
    of others, so the quantile is that of hierarchical conformal prediction (Lee, Barber and
    Willett): with K groups each has the weight 1 / (K + 1), shared evenly among its images of the
    class, and the new group stands at infinity with the weight that is left. In finite samples the
    coverage is at least what was asked for, as long as groups are exchangeable; with one image a
    group it is the usual split conformal method. Of the ways of Dunn, Wasserman and Ramdas, one
    image a group would be as valid but drawn by chance, repeated draws promise but
    `2 coverage - 1`, and pooling promises nothing in finite samples.

    The promise is on average over fits: with K groups the coverage of one fit varies, by about the
    root of coverage * (1 - coverage) / K. It does not hold at another hospital; there, fit again.
    Only the order of the probabilities matters, so a calibrator may be fitted on the same images.
    Where they chose the epoch, the promise is no longer exact.

    Args:
        y_true: int [n], 1 for lump.
        y_prob: [n], probability of lump, 0 to 1.
        groups: [n], images of one patient or scene have the same.
        coverage: share of the images of each class whose set holds it.

    Raises:
        ConfigError: when coverage is not between 0 and 1.
        DataError: when the arrays do not fit each other or hold something else.

    Warns:
        UserWarning: when a class comes from fewer than coverage / (1 - coverage) groups. Every set
            then holds that class, as nothing less can be promised.
    """
    check_number("coverage", coverage, 0, 1)
    y_true, y_prob, groups = check_predictions(y_true, y_prob, groups)
    needed = groups_for_coverage(coverage)
    for label, number in groups_of_class(y_true, groups).items():
        if number < needed:
            warnings.warn(
                f"Every set holds {label}: a coverage of {coverage:g} takes images of it from "
                f"{needed} groups. Received: {number}",
                stacklevel=2,
            )
    lump = y_true == LUMP
    # Of lumps the lower probabilities are the stranger ones. Negated, not taken from 1: rounding
    # must not level them.
    lump_from = abs(_bound(-y_prob[lump], groups[lump], coverage, always=0.0))
    no_lump_to = _bound(y_prob[~lump], groups[~lump], coverage, always=1.0)
    return ConformalSets(float(coverage), lump_from, no_lump_to)


def groups_for_coverage(coverage: float) -> int:
    """Return how many groups of a class its bound takes: 9 for 0.9, 19 for 0.95."""
    return math.ceil(coverage / (1 - coverage) - 1e-9)


def _bound(scores, groups, coverage: float, *, always: float) -> float:
    """Return the quantile of the scores, higher being stranger; `always` where it is infinite."""
    sizes = np.bincount(groups)
    number = np.count_nonzero(sizes)
    order = np.argsort(scores, kind="stable")
    weight = np.cumsum(1 / sizes[groups[order]]) / (number + 1)
    place = np.searchsorted(weight, coverage - 1e-9)  # sums that are equal on paper reach it
    return float(scores[order[place]]) if place < len(order) else always


def _decided(held: np.ndarray) -> np.ndarray:
    """Return the only label that each set holds, bool [n, 2], or "refer" of both or none."""
    return np.where(held.sum(axis=1) == 1, np.array(LABELS)[held.argmax(axis=1)], REFER)


def called(y_prob: np.ndarray, threshold: float | np.ndarray) -> np.ndarray:
    """Return "lump" or "no_lump" of each image, by a threshold or one for each, [n]."""
    return np.where(np.asarray(y_prob) >= threshold, LABELS[LUMP], LABELS[NO_LUMP])


@dataclass(frozen=True)
class PrecomputedSets:
    """The sets of certain images, each by the bounds of its own fold; for `coverage_report`.

    Attributes:
        held: bool [n, 2], whether an image's set holds no lump and lump.
        coverage: that was asked for.
    """

    held: np.ndarray
    coverage: float

    def sets(self, y_prob: np.ndarray) -> np.ndarray:
        """Return `held`, whatever the probabilities are: those of the same images."""
        del y_prob
        return self.held

    def decide(self, y_prob: np.ndarray) -> np.ndarray:
        """Return "no_lump", "lump" or "refer" of each image, as `ConformalSets.decide`."""
        return _decided(self.sets(y_prob))


def coverage_report(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    groups: Sequence,
    conformal: ConformalSets | PrecomputedSets,
    *,
    threshold: float | np.ndarray | None = None,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Count how often the sets hold the truth, how many images they refer, and what is left.

    Args:
        y_true: int [n], 1 for lump.
        y_prob: [n], probability of lump, 0 to 1, of images the sets were not fitted on.
        groups: [n], images of one patient or scene have the same.
        conformal: the sets.
        threshold: by which images are called, one or one for each, [n]; an image whose set holds
            nothing but the other class than it is called is referred as well. None: the sets alone
            decide.
        confidence: level of the intervals.

    Returns:
        `asked`, the coverage asked for, and dicts of `value`, `ci_low`, `ci_high`, `n` and
        `n_groups`: `coverage_no_lump` and `coverage_lump` (mean over groups of the share of their
        images of the class, as promised; Wilson's interval of as many images as groups, which is
        wide rather than narrow), `referred` (share of all images), `referred_no_lump` and
        `referred_lump` (of those of the class), `sensitivity` and `specificity` among the images
        that are not referred. NaN where there are no images.

    Warns:
        UndefinedMetricWarning: when one of them is NaN.
    """
    check_number("confidence", confidence, 0, 1)
    y_true, y_prob, groups = check_predictions(y_true, y_prob, groups)
    held = conformal.sets(y_prob)
    decided = conformal.decide(y_prob)
    referred = decided == REFER
    if threshold is not None:
        referred = decided != called(y_prob, threshold)
    result: dict[str, Any] = {"asked": conformal.coverage}
    shares = {"referred": (referred, np.full(len(y_true), True))}
    for value, label in enumerate(LABELS):
        inside = y_true == value
        result[f"coverage_{label}"] = _mean_of_groups(
            held[inside, value], groups[inside], confidence
        )
        shares[f"referred_{label}"] = referred, inside
        name = "sensitivity" if value == LUMP else "specificity"
        shares[name] = decided == label, inside & ~referred
    for name, (hits, among) in shares.items():
        result[name] = clustered_proportion(hits[among], groups[among], confidence=confidence)
    undefined = [name for name in result if name != "asked" and not result[name]["n"]]
    warn_undefined(undefined)
    return result


def _mean_of_groups(hits, groups, confidence: float) -> dict[str, float]:
    names, member = np.unique(groups, return_inverse=True)
    number = len(names)
    if not number:
        nothing = dict.fromkeys(("value", "ci_low", "ci_high"), math.nan)
        return {**nothing, "n": 0, "n_groups": 0}
    part = (np.bincount(member, weights=hits) / np.bincount(member)).sum()
    low, high = wilson_interval(min(part, number), number, confidence=confidence)
    return {
        "value": float(part / number),
        "ci_low": low,
        "ci_high": high,
        "n": len(hits),
        "n_groups": number,
    }
