"""Intervals of metrics that are the same in every resample, whose percentiles have no width.

That happens when all images are right or all are wrong: without a missed lump every resample has a
sensitivity of 1. A proportion then has Wilson's interval of as many independent images as its
groups are worth; metrics that follow from proportions take their intervals from those.
"""

import math
from collections.abc import Sequence

import numpy as np

from breastus.evaluation.intervals.proportions import kish_size, wilson_interval
from breastus.evaluation.metrics.metrics import predictive_values

Interval = tuple[float, float]

# Metrics that are a proportion of some images: (lump, predicted lump) to those images, bool [n].
_PROPORTION_OF = {
    "accuracy": lambda lump, predicted: np.ones_like(lump),
    "sensitivity": lambda lump, predicted: lump,
    "recall": lambda lump, predicted: lump,
    "specificity": lambda lump, predicted: ~lump,
    "recall_no_lump": lambda lump, predicted: ~lump,
    "precision": lambda lump, predicted: predicted,
    "precision_no_lump": lambda lump, predicted: ~predicted,
}
# F1 is 2 j / (1 + j) of the proportion j of true positives among all that are, or are predicted,
# of the class.
_F1_OF = {
    "f1": lambda lump, predicted: lump | predicted,
    "f1_no_lump": lambda lump, predicted: ~lump | ~predicted,
}
# The average precision is treated as a proportion of the images of its class (Boyd, Eng, Page: Area
# under the precision-recall curve, ECML PKDD 2013, section 4: the binomial interval).
_AVERAGE_PRECISION_OF = {
    "pr_auc_lump": lambda lump, predicted: lump,
    "pr_auc_no_lump": lambda lump, predicted: ~lump,
}
_EPSILON = 1e-12  # resamples that differ by less differ by rounding


def replace_degenerate_intervals(
    intervals: dict[str, Interval],
    values: dict[str, float],
    *,
    lump: np.ndarray,
    predicted_lump: np.ndarray,
    groups: Sequence,
    prevalence: float,
    confidence: float,
) -> dict[str, Interval]:
    """Return the intervals, with those that are a point replaced.

    Args:
        intervals: name to (low, high), for all of `METRICS`.
        values: name to the metric itself.
        lump: bool [n], images of a lump.
        predicted_lump: bool [n], images that were predicted lump.
        groups: [n], name of each image's group.
        prevalence: prevalence of lumps for PPV and NPV.
        confidence: level of the intervals.
    """
    groups, found = np.asarray(groups), dict(intervals)

    def wilson(value: float, among: np.ndarray) -> Interval:
        size = kish_size(groups[among])
        return wilson_interval(value * size, size, confidence=confidence)

    for name, among in {**_PROPORTION_OF, **_AVERAGE_PRECISION_OF}.items():
        if is_degenerate(intervals[name]):
            found[name] = wilson(values[name], among(lump, predicted_lump))
    for name, among in _F1_OF.items():
        if is_degenerate(intervals[name]):
            proportion = values[name] / (2 - values[name])
            low, high = wilson(proportion, among(lump, predicted_lump))
            found[name] = 2 * low / (1 + low), 2 * high / (1 + high)
    for name, parts in (
        ("balanced_accuracy", ("sensitivity", "specificity")),
        ("pr_auc_macro", tuple(_AVERAGE_PRECISION_OF)),
    ):
        if is_degenerate(intervals[name]):
            found[name] = mean_interval(
                [values[part] for part in parts], [found[part] for part in parts]
            )
    ends = zip(found["sensitivity"], found["specificity"], strict=True)
    both = [predictive_values(*shares, prevalence) for shares in ends]
    for name, bounds in zip(("ppv", "npv"), zip(*both, strict=True), strict=True):
        if is_degenerate(intervals[name]):
            found[name] = float(bounds[0]), float(bounds[1])
    return found


def is_degenerate(interval: Interval) -> bool:
    """Return whether an interval is a point; an interval of NaN is not."""
    return abs(interval[1] - interval[0]) <= _EPSILON


def mean_interval(values: Sequence[float], intervals: Sequence[Interval]) -> Interval:
    """Return the interval of a mean of independent values from their own intervals.

    The distances of the ends from the values are added as variances are: the method of variance
    estimates recovery (Zou, Donner, Statistics in Medicine 27, 2008, 1693), to which Newcombe's
    interval of a difference belongs.
    """
    centre = float(np.mean(values))
    below = [value - low for value, (low, _) in zip(values, intervals, strict=True)]
    above = [high - value for value, (_, high) in zip(values, intervals, strict=True)]
    return centre - math.hypot(*below) / len(below), centre + math.hypot(*above) / len(above)
