"""Class-conditional conformal prediction sets for grouped images: no lump, lump, both or none.

For each class, the set contains it for at least a stated proportion of new images of that class,
whatever the network, its calibration and the distribution are. The guarantee is for an image of a
new group (patient or scene) that is exchangeable with the fitted ones, and counts each group once.

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

from breastus.errors import ConfigError, FewGroupsWarning
from breastus.evaluation.intervals.proportions import clustered_proportion, wilson_interval
from breastus.evaluation.validation import (
    check_grouped,
    check_number,
    check_probabilities,
    groups_per_class,
    warn_undefined,
    with_interval,
)
from breastus.labels import LABELS, LUMP, NO_LUMP


@dataclass(frozen=True)
class ConformalSets:
    """Two bounds on the probability of lump.

    Attributes:
        coverage: proportion of the images of each class whose set contains it, above 0 and below 1.
        lump_from: lowest probability of lump at which the set contains lump; 0 is always.
        no_lump_to: highest probability of lump at which the set contains no lump; 1 is always.
    """

    coverage: float
    lump_from: float
    no_lump_to: float

    def __post_init__(self):
        check_number("coverage", self.coverage)
        check_number("lump_from", self.lump_from, inclusive=True)
        check_number("no_lump_to", self.no_lump_to, inclusive=True)

    def sets(self, y_prob: np.ndarray) -> np.ndarray:
        """Return bool [n, 2], whether each set contains no lump and lump, for `y_prob` [n]."""
        y_prob = check_probabilities(y_prob)
        return np.stack([y_prob <= self.no_lump_to, y_prob >= self.lump_from], axis=-1)

    def decide(self, y_prob: np.ndarray) -> np.ndarray:
        """Return "no_lump", "lump" or "refer" for each image, [n].

        An image is referred when its set contains both classes (either is possible) or none (the
        image is unlike both).
        """
        sets = self.sets(y_prob)
        return np.where(sets.sum(axis=1) == 1, np.array(LABELS)[sets.argmax(axis=1)], "refer")

    def to_dict(self) -> dict[str, float]:
        """Return the three numbers as JSON values."""
        return {name: float(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, float]) -> "ConformalSets":
        """Read what `to_dict` wrote; raise ConfigError when the keys are others."""
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
    """Fit prediction sets on images that training has not seen.

    Each class has its own bound: the images of the class are scored by the probability of the other
    one, and the bound is a quantile of the scores. Images of one group are not exchangeable with
    others, so the quantile follows hierarchical conformal prediction (Lee, Barber and Willett):
    each of K groups has the weight 1 / (K + 1), shared evenly among its images of the class, and
    the new group is at infinity with the remaining weight. The coverage then holds in finite
    samples; with one image a group this is split conformal prediction. Of the methods of Dunn,
    Wasserman and Ramdas, one random image a group is as valid but random, repeated draws guarantee
    `2 coverage - 1` only, and pooling guarantees nothing in finite samples.

    The coverage holds on average over fits: with K groups the coverage of one fit has a standard
    deviation of about sqrt(coverage * (1 - coverage) / K). It does not hold at another hospital;
    fit again there. Only the order of the probabilities matters, so the calibrator may be fitted on
    the same images. If they also chose the epoch, the guarantee is no longer exact.

    Args:
        coverage: proportion of the images of each class whose set contains it.

    Warns:
        FewGroupsWarning: when a class comes from fewer than coverage / (1 - coverage) groups. Every
            set then contains that class.
    """
    check_number("coverage", coverage)
    y_true, y_prob, groups = check_grouped(y_true, y_prob, groups)
    needed = math.ceil(coverage / (1 - coverage) - 1e-9)  # 9 for 0.9, 19 for 0.95
    for label, number in groups_per_class(y_true, groups).items():
        if number < needed:
            warnings.warn(
                f"Every conformal set contains {label}: a coverage of {coverage:g} needs images of "
                f"{needed} groups of it. Received: {number}",
                FewGroupsWarning,
                stacklevel=2,
            )
    lump = y_true == LUMP
    # For lumps a lower probability is a higher score. It is negated, not subtracted from 1, which
    # would round distinct scores to ties.
    lump_from = abs(_bound(-y_prob[lump], groups[lump], coverage, always=0.0))
    no_lump_to = _bound(y_prob[~lump], groups[~lump], coverage, always=1.0)
    return ConformalSets(float(coverage), lump_from, no_lump_to)


def _bound(scores, groups, coverage: float, *, always: float) -> float:
    """Return the hierarchical quantile of the scores; `always` when it is infinite."""
    sizes = np.bincount(groups)
    number = np.count_nonzero(sizes)
    order = np.argsort(scores, kind="stable")
    weight = np.cumsum(1 / sizes[groups[order]]) / (number + 1)
    place = np.searchsorted(weight, coverage - 1e-9)  # tolerates rounding of the sums
    return float(scores[order[place]]) if place < len(order) else always


def predicted_labels(y_prob: np.ndarray, threshold: float | np.ndarray) -> np.ndarray:
    """Return "lump" or "no_lump" for each image, [n], by one threshold or one an image."""
    return np.where(np.asarray(y_prob) >= threshold, LABELS[LUMP], LABELS[NO_LUMP])


@dataclass(frozen=True)
class PrecomputedSets:
    """Sets of given images, each by the bounds of its own fold; for `coverage_report`.

    Attributes:
        held: bool [n, 2], whether each set contains no lump and lump.
        coverage: coverage that the bounds were fitted for.
    """

    held: np.ndarray
    coverage: float

    def sets(self, y_prob: np.ndarray) -> np.ndarray:
        """Return `held`; `y_prob` must belong to the same images."""
        del y_prob
        return self.held

    decide = ConformalSets.decide


def coverage_report(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    groups: Sequence,
    conformal: ConformalSets | PrecomputedSets,
    *,
    threshold: float | np.ndarray,
    confidence: float,
) -> dict[str, Any]:
    """Return the coverage of the sets, the proportion of images referred, and scores of the others.

    Args:
        y_true, y_prob, groups: label, probability of lump and group of each image, [n], on which
            the sets were not fitted.
        conformal: the sets.
        threshold: threshold of the predicted labels, one or one an image, [n]; an image whose set
            contains only the other class is referred as well.

    Returns:
        `target_coverage`, and dicts of `value`, `ci_low`, `ci_high`, `n` and `n_groups`:
        `coverage_no_lump` and `coverage_lump` (mean over groups, as guaranteed, with Wilson's
        interval at the number of groups, which errs on the wide side), `referred` (of all images),
        `referred_no_lump` and `referred_lump` (of the images of the class), `sensitivity` and
        `specificity` of the images that are not referred. NaN without images.
    """
    y_true, y_prob, groups = check_grouped(y_true, y_prob, groups)
    held = conformal.sets(y_prob)
    decided = conformal.decide(y_prob)
    referred = decided != predicted_labels(y_prob, threshold)
    result: dict[str, Any] = {"target_coverage": conformal.coverage}
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
    warn_undefined([name for name in result if name != "target_coverage" and not result[name]["n"]])
    return result


def _mean_of_groups(hits, groups, confidence: float) -> dict[str, float]:
    names, member = np.unique(groups, return_inverse=True)
    number = len(names)
    part = (np.bincount(member, weights=hits) / np.bincount(member)).sum()
    interval = wilson_interval(min(part, number), number, confidence=confidence)
    value = float(part / number) if number else math.nan
    return {**with_interval(value, interval), "n": len(hits), "n_groups": number}
